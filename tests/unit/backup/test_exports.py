"""Sub-graphs in a file, and copies from space to space."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub import Blob, Log, Map, Persistent, Space
from hubbub.backup import copy_to_store
from hubbub.kernel import (
    ConfigurationError,
    CorruptRecordError,
    Job,
    JobStoppedError,
    Record,
    StoreError,
    UnknownObjectError,
    UnstorableError,
)
from hubbub.mount import LocalMount
from hubbub.store import MemoryStore
from tests.conformance.store.building import commit


class Room(Persistent, name="test.exports.Room"):
    def __init__(self, name: str) -> None:
        self.name = name
        self.neighbour: Room | None = None
        self.lines: Log[Any] = Log()
        self.things: Map[Any, Any] = Map()


def furnish(root: Any, lines: int = 3000) -> None:
    room, other = Room("red"), Room("blue")
    room.neighbour, other.neighbour = other, room
    for number in range(lines):
        room.lines.append({"n": number, "who": ("ann", number)})
        room.things[number] = other if number % 5 == 0 else number
    root["room"] = room
    root["unrelated"] = Room("grey")


def seen(root: Any, key: str) -> list[Any]:
    room = root[key]
    other = room.neighbour
    assert other.neighbour is room
    assert all(room.things[n] is other for n in range(0, len(room.things), 5))
    return [room.name, other.name, list(room.lines), [n for n in room.things if n % 5]]


@pytest.fixture
def space() -> Iterator[Space]:
    with hubbub.open("memory:") as opened:
        opened.run(furnish)
        yield opened


def test_a_graph_moves_with_its_cycles_logs_and_maps(space: Space, tmp_path: Path) -> None:
    before = space.read(seen, "room")
    oid = space.read(lambda root: int.from_bytes(root["room"]._p_oid))
    report = space.export(oid, tmp_path / "room.hubx")
    assert (report.oid, report.class_name) == (oid, "test.exports.Room")
    with hubbub.open(tmp_path / "other.hub") as other:
        other.run(lambda root: root.__setitem__("old", Room("old")))
        done = other.import_(tmp_path / "room.hubx", "room")
        assert done.objects == report.objects
        assert other.read(seen, "room") == before
        other.import_(tmp_path / "room.hubx", "again")
        assert other.read(lambda root: root["room"]._p_oid != root["again"]._p_oid)
        other.run(lambda root: root["again"].lines.append("new"))
        assert other.read(seen, "room") == before
        assert other.read(lambda root: sorted(root)) == ["again", "old", "room"]


def test_a_blob_goes_along(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    with hubbub.open(tmp_path / "a.hub") as one, hubbub.open(tmp_path / "b.hub") as two:
        one.run(lambda root: root.update(files=Map(big=Blob(data), empty=Blob())))
        with one.connect() as connection:
            one.export(connection.root["files"], tmp_path / "files.hubx")
        two.import_(tmp_path / "files.hubx", "files")
        assert two.read(lambda root: root["files"]["big"].read()) == data
        assert two.read(lambda root: root["files"]["empty"].read()) == b""
        for history in (True, False):
            with hubbub.open("memory:") as copy:
                two.copy_to(copy, history=history)
                assert copy.read(lambda root: root["files"]["big"].read()) == data
        assert list(two.verify()) == []


def test_an_import_into_the_same_space_is_a_second_graph(space: Space, tmp_path: Path) -> None:
    with space.connect() as connection:
        space.export(connection.root["room"], tmp_path / "room.hubx")
    space.import_(
        tmp_path / "room.hubx", lambda root, obj: root["unrelated"].things.update(copy=obj)
    )
    assert space.read(lambda root: root["unrelated"].things["copy"].name) == "red"


def test_an_export_as_of_an_older_tid(space: Space, tmp_path: Path) -> None:
    tid = space.tid
    space.run(lambda root: setattr(root["room"], "name", "green"))
    with space.connect() as connection:
        oid = int.from_bytes(connection.root["room"]._p_oid)
    space.export(oid, tmp_path / "room.hubx", at=tid)
    space.import_(tmp_path / "room.hubx", "old")
    assert space.read(lambda root: root["old"].name) == "red"


def test_a_key_that_is_taken_is_refused_before_anything_is_stored(
    space: Space, tmp_path: Path
) -> None:
    space.export(0, tmp_path / "all.hubx")
    tid = space.tid
    with pytest.raises(ConfigurationError, match="the root has a 'room' already"):
        space.import_(tmp_path / "all.hubx", "room")
    assert space.tid == tid
    with pytest.raises(StoreError, match="is there: give another name"):
        space.export(0, tmp_path / "all.hubx")
    with pytest.raises(ConfigurationError, match="is not stored in a space"):
        space.export(Room("new"), tmp_path / "x.hubx")


@pytest.mark.rule("ST6")
def test_every_damaged_byte_of_an_export_is_told(tmp_path: Path) -> None:
    with hubbub.open("memory:") as space:
        space.run(furnish, 5)
        path = tmp_path / "room.hubx"
        space.export(0, path)
        data = bytearray(path.read_bytes())
        for offset in range(0, len(data), 11):
            data[offset] ^= 4
            path.write_bytes(data)
            with pytest.raises((CorruptRecordError, StoreError)):
                space.import_(path, "copy")
            data[offset] ^= 4
        path.write_bytes(data[:-1])
        with pytest.raises(CorruptRecordError, match="is cut off"):
            space.import_(path, "copy")
        assert space.read(lambda root: "copy" not in root)


def test_a_stopped_export_leaves_no_file(space: Space, tmp_path: Path) -> None:
    job = Job()
    job.stop()
    with pytest.raises(JobStoppedError):
        space.export(0, tmp_path / "all.hubx", job=job)
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_moved_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    store.write([commit(1, [5])])
    with (
        Space(LocalMount(store)) as space,
        pytest.raises(UnknownObjectError, match="there is no object 0x6"),
    ):
        space.export(5, tmp_path / "x.hubx")
    store = MemoryStore()
    pickled = commit(1, [5])
    pickled.records = [Record(5, pickled.tid, "zodb:app.Room", (), b"pickle")]
    store.write([pickled])
    with (
        Space(LocalMount(store)) as space,
        pytest.raises(UnstorableError, match="it is a pickle of ZODB's"),
    ):
        space.export(5, tmp_path / "x.hubx")
    assert list(tmp_path.iterdir()) == []


# --- copies -----------------------------------------------------------------------------------------------------------


def commits_of(space: Space) -> list[Any]:
    found = space._mount.upkeep.commits(0, space.tid, 1 << 40)
    return [(c.tid, c.label, c.records) for c in found]


def test_a_copy_with_history_has_every_commit_and_goes_on(space: Space, tmp_path: Path) -> None:
    with hubbub.open(tmp_path / "copy.hub") as copy:
        assert space.copy_to(copy).commits == 1
        space.run(lambda root: setattr(root["room"], "name", "green"))
        report = space.copy_to(copy)
        assert (report.commits, report.records) == (1, 1)
        assert commits_of(copy) == commits_of(space)
        # Nobody gets an oid that is taken.
        before = copy.read(seen, "room")
        copy.run(lambda root: root.__setitem__("new", Room("new")))
        assert copy.read(seen, "room") == before
        with pytest.raises(StoreError, match="that the other does not have"):
            space.copy_to(copy)


def test_a_copy_without_history_has_what_there_is(space: Space, tmp_path: Path) -> None:
    for name in ("green", "white"):
        space.run(lambda root, name=name: setattr(root["room"], "name", name))
    before = space.read(seen, "room")
    with hubbub.open(tmp_path / "copy.hub") as copy:
        report = space.copy_to(copy, history=False)
        assert copy.read(seen, "room") == before
        assert report.records == sum(len(records) for _, _, records in commits_of(copy))
        copy.run(lambda root: root.__setitem__("new", Room("new")))
        assert copy.read(seen, "room") == before
        with pytest.raises(StoreError, match="is not empty"):
            space.copy_to(copy, history=False)


def test_a_copy_into_a_store_brings_the_rows(tmp_path: Path) -> None:
    source, store = MemoryStore(), MemoryStore()
    source.write([commit(1, [1], [("session", b"a", b"b")]), commit(2, [2])])
    report = copy_to_store(LocalMount(source), store)
    assert (report.commits, report.rows, report.floor) == (2, 1, 0)
    assert store.all_rows() == source.all_rows()
    with pytest.raises(StoreError, match="is not empty"):
        copy_to_store(LocalMount(source), store)


class Guest(hubbub.Indexed, name="test.exports.Guest"):
    def __init__(self, name: str, age: int) -> None:
        self.name, self.age = name, age
        self.host: Any = None


@pytest.mark.rule("SP10")
def test_weak_references_come_along_with_what_they_refer_to_and_collections_go_on(
    space: Space, tmp_path: Path
) -> None:
    def invite(root: Any) -> None:
        guests = root["guests"] = hubbub.Collection[str, Guest](indexes=["age"])
        guests["ann"] = Guest("Ann", 31)
        guests["ann"].host = hubbub.WeakRef(root["room"])  # stays behind

    space.run(invite)
    oid = space.read(lambda root: int.from_bytes(root["guests"]._p_oid, "big"))
    space.export(oid, tmp_path / "guests.export")
    with hubbub.open("memory:") as other:
        report = other.import_(tmp_path / "guests.export", "guests")
        assert report.class_name == "hubbub.Collection"
        other.run(lambda root: setattr(root["guests"]["ann"], "age", 32))

        def look(root: Any) -> Any:
            guests = root["guests"]
            return (
                [g.name for g in guests.index("age").find(32)],
                guests.check(),
                guests["ann"].host(),
            )

        assert other.read(look) == (["Ann"], [], None)
