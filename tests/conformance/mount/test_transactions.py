"""Kinds of transactions over every mount: serializable ones, and savepoints in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub.kernel import (
    ConflictError,
    FeedGapError,
    NoTransactionError,
    PackedError,
    StoreError,
    UndoError,
)
from hubbub.mount import Mount, Space
from hubbub.space.containers import Log, SortedMap
from hubbub.space.persistent import Persistent


class Doctor(Persistent, name="tests.transactions.Doctor"):
    def __init__(self) -> None:
        self.on_call = True
        self.notes: list[str] = []


@pytest.fixture
def space(open_mount: Callable[..., Mount]) -> Space:
    space = Space(open_mount())
    space.run(fill)
    return space


def fill(root: Any) -> None:
    root["ann"], root["bob"], root["map"], root["log"] = Doctor(), Doctor(), SortedMap(), Log()


def on_call(root: Any) -> list[bool]:
    return [root[name].on_call for name in ("ann", "bob")]


def leave(root: Any, name: str) -> None:
    if all(on_call(root)):
        root[name].on_call = False


@pytest.mark.rule("SP6")
def test_a_serializable_transaction_relies_on_all_that_it_reads(space: Space) -> None:
    with space.transaction() as root:
        leave(root, "ann")
        space.run(leave, "bob")
    assert space.read(on_call) == [False, False]  # what snapshots allow
    for serializable in (True, None):
        strict = Space(space._mount, serializable=serializable is None)
        space.run(fill)
        with (
            pytest.raises(ConflictError),
            strict.transaction(serializable=serializable) as root,
        ):
            leave(root, "ann")
            space.run(leave, "bob")
        assert space.read(on_call) == [True, False]
        strict.run(leave, "ann", serializable=serializable)
        assert space.read(on_call) == [True, False]


@pytest.mark.rule("SP6")
def test_ranges_and_what_is_written_count_as_read(space: Space) -> None:
    def count(root: Any) -> None:
        root["map"][f"count {len(list(root['map'].keys('a', 'b')))}"] = 1

    with pytest.raises(ConflictError), space.transaction(serializable=True) as root:
        count(root)
        space.run(lambda root: root["map"].update(a1=1))
    with space.transaction() as root:
        count(root)
        space.run(lambda root: root["map"].update(a2=1))
    assert space.read(lambda root: sorted(root["map"])) == ["a1", "a2", "count 1"]
    with pytest.raises(ConflictError), space.transaction(serializable=True) as root:
        root["log"].append("mine")  # a log merges, but its length was seen
        space.run(lambda root: root["log"].append("theirs"))
    with space.transaction() as root:
        root["log"].append("mine")
        space.run(lambda root: root["log"].append("theirs again"))
    assert space.read(lambda root: list(root["log"])) == ["theirs", "theirs again", "mine"]


@pytest.mark.rule("SP6")
def test_a_split_is_no_way_round_it(space: Space) -> None:
    space.run(lambda root: root["map"].update({f"k{n:02}": n for n in range(40)}))
    with pytest.raises(ConflictError), space.transaction(serializable=True) as root:
        root["map"]["k500"] = 1
        space.run(lambda root: root["map"].update({f"k1{n:02}": n for n in range(40)}))
    with space.transaction() as root:
        root["map"]["k500"] = 1
        space.run(lambda root: root["map"].update({f"k2{n:02}": n for n in range(40)}))
    assert space.read(lambda root: len(root["map"])) == 121


def test_a_serializable_transaction_that_only_reads_needs_no_commit(space: Space) -> None:
    commits = space.stats.commits
    with space.transaction(serializable=True) as root:
        assert on_call(root) == [True, True]
    assert space.stats.commits == commits
    space.run(leave, "ann")
    with space.transaction(serializable=True) as root:
        assert on_call(root) == [False, True]  # nothing is left awake from before


def test_new_objects_are_fresh_in_the_next_serializable_transaction(space: Space) -> None:
    def make(root: Any) -> None:
        root["eve"] = Doctor()
        point = hubbub.savepoint()
        root["eve"].on_call = False
        root["dan"] = Doctor()
        point.rollback()

    space.run(make, serializable=True)
    space.run(lambda root: root["eve"].notes.append("x"))
    with space.transaction(serializable=True) as root:
        assert (root["eve"].notes, root["eve"].on_call, "dan" in root) == (["x"], True, False)
        root["eve"].on_call = False
    assert space.read(lambda root: root["eve"].on_call) is False


@pytest.mark.rule("SP5")
def test_savepoints_in_a_block_a_body_and_a_connection(space: Space) -> None:
    with space.transaction() as root:
        root["ann"].on_call = False
        with pytest.raises(KeyError), hubbub.savepoint():
            root["bob"].on_call = False
            root["ann"].notes.append("gone")
            root["nobody"]
    assert space.read(on_call) == [False, True]

    def body(root: Any) -> None:
        point = hubbub.savepoint()
        root["new"] = Doctor()
        hubbub.note("gone")
        point.rollback()
        root["ann"].notes.append("kept")

    space.run(body, note="kept")
    assert space.read(lambda root: (root["ann"].notes, "new" in root)) == (["kept"], False)
    assert next(space.transactions(newest_first=True)).label.note == "kept"

    with space.connect() as connection:
        bob = connection.root["bob"]
        bob.notes.append("1")
        first = connection.savepoint()
        bob.notes.append("2")
        with pytest.raises(ValueError, match="no"), connection.savepoint():
            bob.notes.append("3")
            raise ValueError("no")
        assert bob.notes == ["1", "2"]
        first.rollback()
        first.rollback()
        connection.commit()
        with pytest.raises(NoTransactionError, match="gone"):
            first.rollback()
    assert space.read(lambda root: root["bob"].notes) == ["1"]


# --- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("ST7")
def test_a_file_is_opened_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "space.hub"
    with hubbub.open(path) as space:
        space.run(lambda root: root.update(a=1))
        first = space.tid
        space.run(lambda root: root.update(a=2))
    with hubbub.open(path, at=first) as space:
        assert space.read(lambda root: root["a"]) == 1
    with pytest.raises(StoreError, match="in the future"):
        hubbub.open(path, at="2500-01-01")
    with hubbub.open(path, serializable=True) as space:  # so it was closed
        assert space.read(lambda root: root["a"]) == 2


@pytest.mark.rule("ST7")
def test_a_pack_keeps_what_is_looked_at_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "space.hub"
    with hubbub.open(path) as space:
        tids = []
        for number in range(5):
            space.run(lambda root, number=number: root.update(a=number))
            tids.append(space.tid)
        past = space.at(tids[1])
        space.pack(tids[4])
        assert past.read(lambda root: root["a"]) == 1
        with space.at(tids[2]) as other:
            assert other.read(lambda root: root["a"]) == 2
        undone = space.undo([tids[3], tids[4]])
        assert space.read(lambda root: root["a"]) == 2
        past.close()
        space.pack(undone)
        with pytest.raises(PackedError, match="is not kept any more"):
            space.at(tids[1])
        with pytest.raises(UndoError, match="the space is packed beyond it"):
            space.undo(tids[4])
        assert space.at(undone).read(lambda root: root["a"]) == 2
    with pytest.raises(PackedError, match="is not kept any more"):
        hubbub.open(path, at=tids[1])


def test_a_past_that_is_packed_is_told(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    def gap(after: int, most: int = 0) -> Any:
        raise FeedGapError("packed")

    first = next(space.transactions()).tid
    monkeypatch.setattr(space._mount, "feed", gap)
    with pytest.raises(PackedError, match="it is packed up to a later one"):
        space.at(first)
    with pytest.raises(UndoError, match="the space is packed beyond it"):
        space.undo(first)
