"""Savepoints: going back within a transaction, in a connection and in the host's commands."""

from __future__ import annotations

from typing import Any

import pytest

import hubbub
from hubbub.kernel import (
    FakeClock,
    Label,
    NoTransactionError,
    ReadOnlyError,
    UnstorableError,
)
from hubbub.space import context
from hubbub.space.connection import Connection
from hubbub.space.containers import Log, Map, merge_records
from hubbub.space.live import LiveSpace
from hubbub.space.persistent import Ephemeral, Persistent
from hubbub.space.presence import Presence
from hubbub.store import MemoryStore
from hubbub.store.ledger import Ledger
from tests.unit.space.small_space import Client, SmallSpace


class Room(Persistent, name="tests.savepoints.Room"):
    def __init__(self) -> None:
        self.count = 0
        self.tags: list[str] = []
        self.lines: Log[str] = Log()
        self.here: Presence[int] = Presence()


class Plain(Persistent, name="tests.savepoints.Plain"):
    name = ""


class Guest(Ephemeral):
    def __init__(self) -> None:
        self.seen = 0


@pytest.fixture
def space() -> SmallSpace:
    space = SmallSpace()
    space.do(lambda root: root.update(room=Room()))
    return space


@pytest.mark.rule("SP5")
def test_objects_changed_since_return_and_earlier_changes_stay(space: SmallSpace) -> None:
    client = space.connect()

    def body(root: Any) -> None:
        room = root["room"]
        room.count = 1
        room.tags.append("kept")
        point = hubbub.savepoint()
        room.count = 2
        room.tags.append("dropped")
        room.lines.append("dropped")
        root["other"] = Room()
        point.rollback()
        assert (room.count, room.tags, list(room.lines), "other" in root) == (
            1,
            ["kept"],
            [],
            False,
        )
        room.count += 10
        point.rollback()
        assert room.count == 1

    client.run(body)
    client.commit()
    assert space.do(lambda root: (root["room"].count, root["room"].tags)) == (1, ["kept"])
    assert space.do(lambda root: list(root["room"].lines)) == []


@pytest.mark.rule("SP5")
def test_new_objects_lose_their_oid_and_keep_what_is_in_them(space: SmallSpace) -> None:
    client = space.connect()
    client.connection = Connection(client, cache_objects=1)
    client.begin()

    def body(root: Any) -> Room:
        point = hubbub.savepoint()
        room = root["new"] = Room()
        room.lines.extend(["x" * 300] * 40)  # chunks, and a node over them: new objects themselves
        room.tags.append("a")
        hubbub.savepoint()
        assert room.lines._p_changed is None  # a ghost; what holds a list stays awake
        assert len(room.lines) == 40
        room.lines.append("last")
        hubbub.savepoint()
        point.rollback()
        assert (room._p_oid, room._p_jar) == (None, None)
        assert list(room.lines) == ["x" * 300] * 40 + ["last"]
        return room

    room = client.run(body)
    assert room.tags == ["a"]
    client.run(lambda root: root.update(again=room))
    client.commit()
    stored = space.do(lambda root: (list(root["again"].lines), root["again"].tags))
    assert stored == (["x" * 300] * 40 + ["last"], ["a"])


@pytest.mark.rule("SP5")
def test_an_abort_after_savepoints_leaves_new_objects_whole(space: SmallSpace) -> None:
    client = space.connect()
    client.connection = Connection(client, cache_objects=1)
    client.begin()

    def body(root: Any) -> Room:
        room = root["new"] = Room()
        room.lines.extend(["x" * 300] * 40)
        root["room"].count = 5
        root["guest"] = guest = Plain()
        guest.name = "ann"
        root["last"] = Room()
        hubbub.savepoint()
        guests.append(guest)
        assert guest._p_changed is None
        return room

    guests: list[Plain] = []
    room = client.run(body)
    client.abort()
    assert guests[0].name == "ann"
    assert (room._p_jar, len(list(room.lines))) == (None, 40)
    assert client.run(lambda root: (root["room"].count, "new" in root)) == (0, False)
    client.run(lambda root: root.update(new=room))
    client.commit()
    assert space.do(lambda root: len(list(root["new"].lines))) == 40


@pytest.mark.rule("SP8")
def test_a_value_in_hand_is_watched_across_a_savepoint(space: SmallSpace) -> None:
    client = space.connect()
    client.connection = Connection(client, cache_objects=1)
    client.begin()

    def body(root: Any) -> None:
        tags = root["room"].tags
        tags.append("before")
        root["new"] = new = Room()
        new.count = len(root["room"].lines)  # so that the room is not what was used last
        point = hubbub.savepoint()
        tags.append("after")
        new.tags.append("new")
        hubbub.savepoint()
        assert root["new"].tags == ["new"]
        assert root["room"].tags == ["before", "after"]
        point.rollback()
        assert root["room"].tags == ["before"]
        root["room"].tags.append("again")

    client.run(body)
    client.commit()
    assert space.do(lambda root: root["room"].tags) == ["before", "again"]


@pytest.mark.rule("SP8")
def test_a_new_object_is_watched_after_a_savepoint(space: SmallSpace) -> None:
    client = space.connect()

    def body(root: Any) -> None:
        root["new"] = new = Room()
        hubbub.savepoint()
        new.tags.append("later")

    client.run(body)
    client.commit()
    assert space.do(lambda root: root["new"].tags) == ["later"]


def test_what_a_savepoint_has_put_aside_need_not_stay_in_memory(space: SmallSpace) -> None:
    client = space.connect()
    client.connection = Connection(client, cache_objects=10)
    client.begin()

    def fill(root: Any) -> None:
        for number in range(200):
            root[f"guest{number}"] = Map(a=number)
            if number % 20 == 19:
                hubbub.savepoint()
                awake = sum(obj._p_state >= 0 for _, obj in client.connection._cache.items())
                assert awake < 20

    client.run(fill)
    client.commit()
    numbers = space.do(lambda root: sorted(root[f"guest{n}"]["a"] for n in range(200)))
    assert numbers == list(range(200))


def test_logs_merge_although_a_savepoint_was_set_between_their_additions(space: SmallSpace) -> None:
    space.do(lambda root: root["room"].lines.append("first"))
    one, two = space.connect(), space.connect()

    def adds(root: Any) -> None:
        lines = root["room"].lines
        lines.extend(["a" * 200] * 3)
        hubbub.savepoint()
        lines.extend(["b" * 600] * 3)
        hubbub.savepoint()
        lines.extend(["c" * 600] * 10)

    one.run(adds)
    two.run(lambda root: root["room"].lines.append("second"))
    two.commit()
    one.commit()
    lines = space.do(lambda root: [line[:6] for line in root["room"].lines])
    assert lines == ["first", "second", *["a" * 6] * 3, *["b" * 6] * 3, *["c" * 6] * 10]
    assert space.merges == 1


def test_keyed_changes_are_those_of_what_stays(space: SmallSpace) -> None:
    client = space.connect()

    def body(root: Any) -> None:
        root["a"] = 1
        point = hubbub.savepoint()
        root["b"] = 2
        point.rollback()
        root["c"] = 3

    client.run(body)
    client.commit()
    assert client.changes == {0: {"a": 1, "c": 3}}


def test_a_savepoint_as_a_block_goes_back_when_it_raises(space: SmallSpace) -> None:
    client = space.connect()

    def body(root: Any) -> None:
        room = root["room"]
        with hubbub.savepoint():
            room.count = 1
        with pytest.raises(ValueError, match="no"), hubbub.savepoint():
            room.count = 2
            raise ValueError("no")
        assert room.count == 1

    client.run(body)
    client.commit()
    assert space.do(lambda root: root["room"].count) == 1


def test_a_savepoint_ends_with_its_transaction(space: SmallSpace) -> None:
    client: Client = space.connect()
    old = client.run(lambda root: hubbub.savepoint())
    client.commit()
    with pytest.raises(NoTransactionError, match="its transaction has ended"):
        old.rollback()
    inner = client.run(lambda root: (hubbub.savepoint(), hubbub.savepoint()))
    inner[0].rollback()
    with pytest.raises(NoTransactionError, match="gone back to an earlier"):
        inner[1].rollback()
    with pytest.raises(NoTransactionError, match=r"hubbub\.savepoint\(\) needs a transaction"):
        hubbub.savepoint()


def test_what_cannot_be_stored_is_told_at_the_savepoint(space: SmallSpace) -> None:
    client = space.connect()

    def body(root: Any) -> None:
        room = root["room"]
        room.count = object()
        with pytest.raises(UnstorableError, match=r"Room\.count"):
            hubbub.savepoint()
        room.count = 7
        hubbub.savepoint()

    client.run(body)
    client.commit()
    assert space.do(lambda root: root["room"].count) == 7


# --- in the host ------------------------------------------------------------------------------------------------------


class World:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ledger = Ledger(self.store, FakeClock(), merge_records)
        self.live = LiveSpace(self.ledger)

    def run(self, body: Any) -> Any:
        value, self.commit = self.live.execute(lambda connection: body(connection.root), Label())
        self.store.write([self.commit])
        self.ledger.settle([self.commit])
        self.live.absorb()
        return value

    def query(self, body: Any) -> Any:
        return self.live.query(lambda connection: body(connection.root))[0]


@pytest.mark.rule("SP5")
def test_a_command_drops_what_it_has_sent_since() -> None:
    world = World()

    def body(root: Any) -> None:
        transaction = context.required("test")
        root["room"] = Room()
        transaction.notices.append("kept")
        transaction.rows.append(("job", b"kept", b""))
        hubbub.note("kept")
        point = hubbub.savepoint()
        transaction.notices.append("dropped")
        transaction.rows.append(("job", b"dropped", b""))
        transaction.record_rows.append(("job", b"dropped too", b""))
        hubbub.note("dropped")
        root["room"].here["ann"] = 1
        root["room"].count = 9
        point.rollback()
        assert "ann" not in root["room"].here

    world.run(body)
    assert world.commit.notices == ["kept"]
    assert [key for _, key, _ in world.commit.rows] == [b"kept"]
    assert world.commit.label.note == "kept"
    assert world.query(lambda root: (root["room"].count, len(root["room"].here))) == (0, 0)


def test_ephemeral_objects_go_back_too() -> None:
    world = World()
    world.run(lambda root: root.update(room=Room()))
    guests: list[Any] = []

    def enter(root: Any) -> None:
        root["room"].here["ann"] = Guest()
        guests.append(root["room"].here["ann"])

    world.run(enter)

    def body(root: Any) -> None:
        guest = guests[0]
        guest.seen = 1
        root["room"].here["bob"] = 2
        point = hubbub.savepoint()
        guest.seen = 2
        del root["room"].here["bob"]
        root["room"].here["eve"] = Guest()
        point.rollback()
        assert guest.seen == 1

    world.run(body)
    assert world.query(lambda root: root["room"].here["ann"].seen) == 1
    assert world.query(lambda root: root["room"].here.keys()) == ["ann", "bob"]
    world.run(lambda root: setattr(guests[0], "seen", 3))
    assert world.query(lambda root: root["room"].here["ann"].seen) == 3


def test_a_query_has_no_savepoints() -> None:
    with pytest.raises(ReadOnlyError, match="nothing to go back from"):
        World().query(lambda root: hubbub.savepoint())
