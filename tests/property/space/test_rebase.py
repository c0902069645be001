"""Many add to one map at snapshots that grow old: all that is committed is there, and the quick ways give what the slow ones do."""

from __future__ import annotations

import importlib
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.kernel import Changeset, Commit, ConflictError, FakeClock, Label, Record
from hubbub.space.connection import Connection
from hubbub.space.containers import SortedMap, SortedSet, merge_records, rebase
from hubbub.space.context import Transaction, running
from hubbub.space.persistent import Persistent
from hubbub.space.reading import note_references
from hubbub.space.trees import split_parts
from hubbub.store.ledger import Ledger
from hubbub.store.memory import MemoryStore

merging = importlib.import_module("hubbub.space.containers.merge")
rebasing = importlib.import_module("hubbub.space.containers.rebase")


class Thing(Persistent):
    pass


class Space:
    """A ledger whose rebases are done once more without the quick way."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ledger = Ledger(self.store, FakeClock(), merge_twice, self.rebase)

    def rebase(self, changeset: Changeset, latest: Any, at: Any) -> Any:
        found = rebase(changeset, latest, at)
        with mock.patch.object(rebasing, "items_behind", return_value=None):
            assert found == rebase(changeset, latest, at)
        return found

    def commit(self, changeset: Changeset) -> tuple[Commit, list[int]]:
        commit, merged = self.ledger.commit_changeset(changeset)
        self.store.write([commit])
        self.ledger.settle([commit])
        self.ledger.absorb()
        for record in commit.records:
            if record.class_name.endswith("Bucket"):
                items, *following = split_parts(record.payload)
                refs = dict.fromkeys(map(msgspec.msgpack.decode, following))
                for value in split_parts(items):
                    note_references(value, refs)
                assert set(record.refs) == set(refs)
        return commit, merged


def merge_twice(old: Record, committed: Record, new: Record) -> Any:
    found = merge_records(old, committed, new)
    with mock.patch.object(merging, "merge_appended", return_value=None):
        slow = merge_records(old, committed, new)
    assert found == slow
    return found


class Adder:
    """One who adds at a snapshot of its own."""

    def __init__(self, space: Any) -> None:
        self.space = space
        self.tid = 0
        self.connection = Connection(self)
        self.begin()

    def load(self, oid: int) -> Record:
        return self.space.ledger.load(oid, self.tid)

    def new_oid(self) -> int:
        return self.space.ledger.new_oid()

    def begin(self) -> None:
        self.tid = self.space.ledger.settled_tid
        self.connection.invalidate_all()
        self.transaction = Transaction(self.connection, 0.0)
        self.added: list[Any] = []

    def add(self, key: Any, value: Any) -> None:
        with running(self.transaction):
            held = self.connection.root["held"]
            if isinstance(held, SortedSet):
                held.add(key)
            else:
                held[key] = Thing() if value is Thing else value
        self.added.append(key)

    def changeset(self) -> Changeset:
        with running(self.transaction):
            prepared = self.connection.prepare()
        return Changeset(self.tid, prepared.records, prepared.current, label=Label())

    def commit(self) -> bool:
        changeset = self.changeset()
        if not changeset.writes:
            self.connection.abort()
            return True
        try:
            commit, merged = self.space.commit(changeset)
        except ConflictError:
            self.connection.abort()
            return False
        self.connection.committed(commit.tid, merged)
        return True


KEYS = st.one_of(st.integers(0, 999).map("{:04}".format), st.none())
VALUES = st.sampled_from([1, "text", ("a", 2, "b"), b"x", [1], Thing])
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(["add", "add", "add", "many", "end"]), KEYS, VALUES
    ),
    min_size=20,
    max_size=120,
)


@pytest.mark.rule("ST4", "SP6")
@pytest.mark.parametrize("cls", [SortedMap, SortedSet])
@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_what_many_add_at_old_snapshots_is_all_there(cls: Any, steps: Any) -> None:
    space = Space()
    first = Adder(space)
    with running(first.transaction):
        first.connection.root["held"] = cls()
    there = {f"{number:04}" for number in range(0, 1000, 10)}
    for key in there:
        first.add(key, "first")
    assert first.commit()
    adders = [Adder(space) for _ in range(4)]
    newest = 1000
    for who, step, key, value in steps:
        adder = adders[who]
        if step == "end":
            if adder.commit():
                there.update(adder.added)
            adder.begin()
            continue
        for _ in range(12 if step == "many" else 1):
            newest += 1
            # None: behind all that anybody has added.
            adder.add(f"{newest:04}" if key is None or step == "many" else key, value)
    for adder in adders:
        if adder.commit():
            there.update(adder.added)
    last = Adder(space)
    held = last.connection.root["held"]
    assert list(held) == sorted(there)
    held._check()
