"""Sets, counters and indexes in a hub: what commands change, live queries and views see."""

from __future__ import annotations

import pytest

import hubbub
from hubbub import (
    Avatar,
    Collection,
    Counter,
    Hub,
    Indexed,
    NotUniqueError,
    Persistent,
    Realm,
    Refused,
    RemoteError,
    Root,
    Set,
    command,
    query,
    view,
)
from hubbub.testing import TestHub


class Person(Indexed):
    def __init__(self, name: str, age: int) -> None:
        self.name, self.age = name, age


class Club(Persistent):
    def __init__(self) -> None:
        self.people: Collection[str, Person] = Collection(indexes=["age"], unique=["name"])
        self.topics: Set[str] = Set()
        self.visits = Counter()

    @view
    def all_topics(self) -> Set[str]:
        return self.topics


class Member(Avatar):
    def __init__(self, club: Club) -> None:
        self._club = club

    @query
    def club(self) -> Club:
        return self._club

    @query
    def grown_up(self) -> list[str]:
        return [person.name for person in self._club.people.index("age").members(min=18)]

    @query
    def visits(self) -> int:
        return int(self._club.visits)

    @command
    def join(self, key: str, name: str, age: int) -> None:
        self._club.visits += 1
        try:
            self._club.people[key] = Person(name, age)
        except NotUniqueError as error:
            raise Refused("taken", f"{name} is taken by {error.holder}") from None

    @command
    def grow(self, key: str, years: int) -> None:
        self._club.people[key].age += years

    @command
    def rename(self, key: str, name: str) -> None:
        self._club.people[key].name = name

    @command
    def tag(self, topics: list[str]) -> None:
        self._club.topics |= set(topics)


class Clubs(Realm):
    def request_avatar(self, root: Root, who: hubbub.Identity) -> Avatar:
        return Member(root["club"])


@pytest.fixture
def hub() -> Hub:
    return Hub(
        Clubs(), checkers=[hubbub.Anonymous()], setup=lambda root: root.setdefault("club", Club())
    )


@pytest.mark.rule("LV1", "LV2", "SP10")
async def test_a_live_query_follows_an_index(hub: Hub) -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        watch = ann.grown_up.watch()
        assert await anext(watch) == []
        await ann.join("a", "Ann", 17)
        await ann.join("b", "Bob", 40)
        assert await anext(watch) == ["Bob"]
        await ann.grow("a", 1)
        assert await anext(watch) == ["Ann", "Bob"]
        await t.kill_and_restart()
        await ann.grow("b", -30)
        while await anext(watch) != ["Ann"]:
            pass
        assert await t.read(lambda root: root["club"].people.check()) == []
        assert await ann.visits() == 2


async def test_what_is_not_unique_is_refused_and_nothing_of_the_command_is_stored(hub: Hub) -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        await ann.join("a", "Ann", 17)
        await ann.join("b", "Bob", 18)
        with pytest.raises(Refused, match="Bob is taken by b"):
            await ann.join("c", "Bob", 20)
        with pytest.raises(RemoteError):
            await ann.rename("a", "Bob")
        assert await ann.visits() == 2
        assert await t.read(lambda root: root["club"].people["a"].name) == "Ann"
        assert await t.read(lambda root: root["club"].people.check()) == []


@pytest.mark.rule("LV3")
async def test_a_view_may_return_a_set(hub: Hub) -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        watch = ann.club().all_topics.watch()
        assert await anext(watch) == []
        await ann.tag(["b", "a"])
        assert await anext(watch) == ["a", "b"]
        await ann.tag(["c", "a"])
        assert await anext(watch) == ["a", "b", "c"]
