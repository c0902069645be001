"""The desk: what users ask for reaches what is declared, or comes back with an error; nobody waits for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import Raw

import hubbub
from hubbub.perspective.avatar import Avatar
from hubbub.perspective.declarations import command, query, stream, view
from hubbub.perspective.identity import Identity
from hubbub.perspective.realm import Realm
from hubbub.space.root import Root
from hubbub.wire import session as wire
from tests.unit.perspective.small_hub import SmallHub, User


class Picky(msgspec.Struct, frozen=True):
    number: int

    def __post_init__(self) -> None:
        raise LookupError(self.number)  # not a ValueError


class Clerk(Avatar):
    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    @command
    def rename(self, name: str) -> None:
        self.name = name

    @command
    def take(self, thing: Picky) -> None:
        pass

    @command
    def tell(self, topic: str, number: int) -> None:
        hubbub.publish(topic, number)

    @query
    def own_name(self) -> str:
        return self.name

    @query
    def hundredfold(self, number: int) -> int:
        return number * 100

    @view
    def sneaky(self) -> int:
        self.count += 1
        return self.count

    @stream()
    async def letters(self) -> AsyncIterator[str]:
        for letter in self.name:
            yield letter

    @stream()
    def topic(self, name: str) -> Any:
        return hubbub.subscribe(name)


class Clerks(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return Clerk(who.name)


BIG = Raw(b"[%d]" % 10**30)


async def in_json(hub: SmallHub) -> User:
    user = User()
    hello = wire.Hello(credentials={"name": "ann"})
    user.session, _ = await hub.hub.portal.open(hello, "json", "", user)
    return user


@pytest.mark.rule("PE1")
@pytest.mark.parametrize(
    "message",
    [
        wire.Call(1, "tell", args=Raw(b'["x",%d]' % 10**30)),
        wire.Watch(1, "hundredfold", args=BIG),
    ],
    ids=["command", "watch"],
)
async def test_an_argument_that_can_not_be_written_is_an_error_of_its_caller(message: Any) -> None:
    async with SmallHub(Clerks()) as hub:
        ann = await in_json(hub)
        ann.session.receive(message)
        await hub.rest()
        (text,) = ann.session.take(10_000)
        assert msgspec.json.decode(text)["error"]["kind"] == "invalid"


@pytest.mark.rule("PE2")
async def test_whatever_a_structs_own_check_raises_the_caller_is_told() -> None:
    async with SmallHub(Clerks()) as hub:
        ann = await hub.login("ann")
        ann.call(1, "take", {"number": 1})
        await hub.rest()
        assert ann.values() == ["internal"]


@pytest.mark.rule("PE1")
async def test_a_view_of_an_avatar_that_is_called_can_not_write() -> None:
    async with SmallHub(Clerks()) as hub:
        ann = await hub.login("ann")
        ann.call(1, "sneaky")
        await hub.rest()
        assert ann.values() == ["internal"]


@pytest.mark.rule("LV1")
async def test_a_streams_generator_leaves_no_old_state_to_queries() -> None:
    async with SmallHub(Clerks()) as hub:
        ann = await hub.login("ann")
        ann.watch(1, "letters")
        await hub.rest()
        assert [m.id for m in ann.taken() if isinstance(m, wire.Item)] == [1, 1, 1]
        ann.call(1, "rename", "bob")
        await hub.rest()
        ann.call(2, "own_name")
        await hub.rest()
        assert ann.values() == [None, "bob"]


@pytest.mark.rule("LV1")
async def test_a_watchs_number_can_be_used_again_while_the_first_is_looked_up() -> None:
    async with SmallHub(Clerks()) as hub:
        ann = await hub.login("ann")
        ann.watch(1, "hundredfold", 1)
        ann.session.receive(wire.Unwatch(1))
        ann.watch(1, "hundredfold", 2)
        await hub.rest()
        assert ann.values() == [200]
        ann.session.receive(wire.Unwatch(1))
        ann.watch(2, "topic", "old")
        ann.session.receive(wire.Unwatch(2))
        ann.watch(2, "topic", "new")
        await hub.rest()
        assert len(hub.hub.host.queries) == 0
        ann.call(1, "tell", "old", 1)
        ann.call(2, "tell", "new", 2)
        await hub.rest()
        assert [m.id for m in ann.taken() if isinstance(m, wire.Item)] == [2]
