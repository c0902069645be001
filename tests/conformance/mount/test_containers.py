"""Containers and weak references over each kind of mount: what merges, what is found, what a pack takes away."""

from __future__ import annotations

import threading
from collections import Counter as PlainCounter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub import (
    Collection,
    ConflictError,
    Counter,
    Indexed,
    IntMap,
    List,
    NotUniqueError,
    Persistent,
    Set,
    Space,
    WeakRef,
)
from hubbub.gateway.peers import PeerOptions
from hubbub.mount import Mount
from hubbub.store import MemoryStore
from tests.conformance.mount.serving import HostThread

OpenMount = Callable[..., Mount]


class Room(Persistent, name="test.containers.Room"):
    def __init__(self) -> None:
        self.visits = Counter()
        self.tags = Set[str]()


class Person(Indexed, name="test.containers.Person"):
    def __init__(self, name: str, age: int) -> None:
        self.name, self.age = name, age


def in_threads(count: int, body: Callable[[int], None]) -> None:
    """Run ``body`` in threads at a time; raise what one of them raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            body(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


@pytest.mark.rule("ST4", "SP9")
def test_those_who_count_never_conflict(open_mount: OpenMount) -> None:
    space = Space(open_mount())
    space.run(lambda root: root.update(room=Room()))
    mounts = [open_mount() for _ in range(4)]

    def visit(root: Any) -> None:
        root["room"].visits += 1
        root["room"].visits.add(2)

    def count(number: int) -> None:
        peer = Space(mounts[number])
        for _ in range(10):
            peer.run(visit, attempts=1)

    in_threads(4, count)
    space.sync()
    assert space.read(lambda root: root["room"].visits.value) == 120


@pytest.mark.rule("ST4", "SP9")
def test_sets_and_maps_of_ints_take_the_changes_of_all(open_mount: OpenMount) -> None:
    space = Space(open_mount())
    space.run(lambda root: root.update(room=Room(), ints=IntMap()))
    mounts = [open_mount() for _ in range(3)]

    def add(root: Any, number: int) -> None:
        root["room"].tags |= {f"t{number}"}
        root["ints"][number] = ("n", number)

    def work(writer: int) -> None:
        peer = Space(mounts[writer])
        for number in range(20):
            peer.run(add, 3 * number + writer)

    in_threads(3, work)
    space.sync()
    tags, ints = space.read(lambda root: (set(root["room"].tags), list(root["ints"].items())))
    assert tags == {f"t{number}" for number in range(60)}
    assert ints == [(number, ("n", number)) for number in range(60)]


@pytest.mark.rule("SP6", "SP10")
def test_writers_of_a_collection_leave_no_index_stale(open_mount: OpenMount) -> None:
    space = Space(open_mount())
    space.run(
        lambda root: root.update(people=Collection[int, Person](indexes=["age"], unique=["name"]))
    )
    mounts = [open_mount() for _ in range(3)]

    def change(root: Any, writer: int, step: int) -> None:
        people = root["people"]
        people[100 * writer + step] = Person(f"{writer}-{step}", step % 5)
        for person in people.index("age").find(step % 5)[:2]:
            person.age += 1
        if step % 4 == 3:
            del people[100 * writer + step - 1]

    def work(writer: int) -> None:
        peer = Space(mounts[writer])
        for step in range(12):
            peer.run(change, writer, step)
        with pytest.raises(NotUniqueError):
            peer.run(lambda root: root["people"].update({7000: Person(f"{writer}-0", 1)}))

    in_threads(3, work)
    space.sync()

    def look(root: Any) -> Any:
        people = root["people"]
        by_age = PlainCounter(person.age for person in people.values())
        ages = people.index("age")
        return (
            people.check(),
            len(people),
            by_age == {age: ages.count(age) for age in ages.distinct()},
        )

    assert space.read(look) == ([], 27, True)


def test_two_who_claim_one_unique_value_are_told_apart(open_mount: OpenMount) -> None:
    space = Space(open_mount())
    space.run(lambda root: root.update(people=Collection[str, Person](unique=["name"])))
    with Space(open_mount()).connect() as ann, Space(open_mount()).connect() as bob:
        ann.sync()
        bob.sync()
        ann.root["people"]["a"] = Person("eve", 1)
        bob.root["people"]["b"] = Person("eve", 2)
        ann.commit()
        with pytest.raises(ConflictError):
            bob.commit()
    with pytest.raises(NotUniqueError, match="'eve' is that of 'a'"):
        space.run(lambda root: root["people"].update({"b": Person("eve", 2)}))


@pytest.mark.rule("ST7")
@pytest.mark.parametrize("kind", ["memory", "sqlite", "tcp"])
def test_a_pack_takes_what_is_only_referred_to_weakly(kind: str, tmp_path: Path) -> None:
    def start(root: Any) -> None:
        root["kept"], root["lost"] = List(["kept"]), List(["lost"])
        root["weak"] = (WeakRef(root["kept"]), WeakRef(root["lost"]))

    def look(root: Any) -> list[Any]:
        return [None if weak() is None else list(weak()) for weak in root["weak"]]

    # A host keeps what peers may still read for the time of a lease.
    host = HostThread(MemoryStore(), options=PeerOptions(lease_s=0.0)) if kind == "tcp" else None
    urls = {"memory": "memory:", "sqlite": str(tmp_path / "space.hub")}
    with hubbub.open(urls[kind] if host is None else host.url) as space:
        space.run(start)
        space.run(lambda root: root.__delitem__("lost"))
        assert space.read(look) == [["kept"], ["lost"]]
        space.pack()
        # Whoever has the object in memory still has it.
        with (
            nullcontext(space) if host is None else hubbub.open(host.url) as newcomer,
            newcomer.connect() as fresh,
        ):
            assert look(fresh.root) == [["kept"], None]
    if host is not None:
        host.close()


@pytest.mark.rule("SP2", "SP3")
def test_values_with_a_codec_cross_the_mount(open_mount: OpenMount) -> None:
    hubbub.register(Money, name="test.containers.Money", encode=Money.parts, decode=Money.of)
    Space(open_mount()).run(lambda root: root.update(price=[Money(5, "EUR")]))
    found = Space(open_mount()).read(lambda root: root["price"])
    assert (type(found[0]), found[0].parts()) == (Money, [5, "EUR"])


class Money:
    def __init__(self, cents: int, unit: str) -> None:
        self.cents, self.unit = cents, unit

    def parts(self) -> list[Any]:
        return [self.cents, self.unit]

    @staticmethod
    def of(parts: list[Any]) -> Money:
        return Money(*parts)
