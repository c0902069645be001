from __future__ import annotations

import sys
import types
from pathlib import Path

import persistent
import pytest
import transaction
import ZODB
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree, OOTreeSet
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef
from ZODB.blob import Blob
from ZODB.MappingStorage import MappingStorage

import hubbub
from hubbub.kernel import ConfigurationError, Job, JobStoppedError
from hubbub.zodb.importing import open_source
from hubbub.zodb.native import NotAllBroughtError, import_native


class Room(persistent.Persistent):
    def __init__(self, name: str) -> None:
        self.name = name
        self.notes = [1, {"a": (2, 3)}]


class NoValue:
    pass


def source_with(fill) -> MappingStorage:
    source = MappingStorage()
    database = ZODB.DB(source)
    manager = transaction.TransactionManager()
    connection = database.open(manager)
    fill(connection.root())
    manager.commit()
    connection.close()
    source.close = lambda: None  # a storage in memory is gone once it is closed
    return source


def fill_all(root) -> None:
    room = Room("hall")
    room.itself = room
    root["room"] = room
    root["map"] = PersistentMapping({"room": room, 2: None})
    root["list"] = PersistentList([room, "text", b"bytes"])
    root["tree"] = OOBTree({f"k{number:03}": number for number in range(200)})
    root["set"] = OOTreeSet(range(100))
    root["length"] = Length(7)
    root["weak"] = WeakRef(room)
    room.tree = root["tree"]


def test_objects_become_hubbubs_own(tmp_path: Path) -> None:
    report = import_native(source_with(fill_all), tmp_path / "own.hub")
    assert (report.objects, list(report.problems)) == (6, [])
    with hubbub.open(tmp_path / "own.hub") as space, space.connect() as connection:
        root = connection.root
        room = root["room"]
        assert type(room) is Room
        assert (room.name, room.notes, room.itself) == ("hall", [1, {"a": (2, 3)}], room)
        assert type(root["map"]) is hubbub.Map
        assert dict(root["map"].items()) == {"room": room, 2: None}
        assert list(root["list"]) == [room, "text", b"bytes"]
        assert type(root["list"]) is hubbub.List
        assert dict(root["tree"]) == {f"k{number:03}": number for number in range(200)}
        assert list(root["set"]) == list(range(100))
        assert int(root["length"]) == 7
        assert root["weak"]() is room
        assert room.tree is root["tree"]
        room.name = "attic"
        connection.commit()


def test_blobs_become_hubbubs_own(tmp_path: Path) -> None:
    database = ZODB.DB(str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "blobs"))
    with database.transaction() as connection:
        connection.root()["blob"] = Blob(b"some data")
        connection.root()["empty"] = Blob()
    database.close()
    with pytest.raises(
        NotAllBroughtError, match=r"say where this storage has its blobs \(--blob-dir"
    ):
        import_native(open_source(tmp_path / "Data.fs"), tmp_path / "own.hub")
    source = open_source(tmp_path / "Data.fs", tmp_path / "blobs")
    assert import_native(source, tmp_path / "own.hub").objects == 2
    with hubbub.open(tmp_path / "own.hub") as space:
        read = space.read(lambda root: (root["blob"].read(), root["empty"].size))
    assert read == (b"some data", 0)


def fill_badly(root) -> None:
    module = types.ModuleType("gone_module")
    sys.modules["gone_module"] = module
    gone = type("Gone", (persistent.Persistent,), {"__module__": "gone_module"})
    vars(module)["Gone"] = gone
    root["gone"] = gone()
    root["fine"] = room = Room("hall")
    room.value = NoValue()
    room.list = PersistentList([1, NoValue(), 3])


def test_what_can_t_be_brought_is_listed_and_nothing_is_written(tmp_path: Path) -> None:
    source = source_with(fill_badly)
    del sys.modules["gone_module"]
    with pytest.raises(NotAllBroughtError) as caught:
        import_native(source, tmp_path / "own.hub")
    assert [problem.where for problem in caught.value.problems] == [
        "PersistentMapping['gone']",
        "Room.value",
        "PersistentList[1]",
    ]
    assert "gone_module.Gone can't be imported" in str(caught.value)
    assert "--partial" in str(caught.value)
    with hubbub.open(tmp_path / "own.hub") as space:
        assert space.read(len) == 0
        assert space.stats.commits == 0


def test_partial_leaves_out_what_can_t_be_brought(tmp_path: Path) -> None:
    source = source_with(fill_badly)
    del sys.modules["gone_module"]
    report = import_native(source, tmp_path / "own.hub", partial=True)
    assert len(report.problems) == 3
    with hubbub.open(tmp_path / "own.hub") as space, space.connect() as connection:
        assert list(connection.root) == ["fine"]
        room = connection.root["fine"]
        assert not hasattr(room, "value")
        assert list(room.list) == [1, 3]


def test_a_root_that_holds_something_takes_nothing(tmp_path: Path) -> None:
    with hubbub.open(tmp_path / "own.hub") as space:
        space.run(lambda root: root.update(a=1))
    with pytest.raises(ConfigurationError, match="not empty"):
        import_native(source_with(fill_all), tmp_path / "own.hub")


def test_it_can_be_stopped_and_then_nothing_is_there(tmp_path: Path) -> None:
    job = Job(lambda *_: job.stop())
    with pytest.raises(JobStoppedError):
        import_native(source_with(fill_all), tmp_path / "own.hub", job=job)
    with hubbub.open(tmp_path / "own.hub") as space:
        assert space.read(len) == 0
