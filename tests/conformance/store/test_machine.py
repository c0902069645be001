"""Any sequence of writes, reads and reopens against a dict of lists."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hubbub.kernel import Commit, Label, Record, UnknownObjectError
from hubbub.store import MemoryStore, SQLiteStore, Store
from tests.conformance.store.building import tid

pytestmark = pytest.mark.rule("ST1", "ST2")

OIDS = st.integers(0, 6)
COMMITS = st.lists(
    st.tuples(
        st.integers(1, 3),  # how far the tid moves on
        st.dictionaries(
            OIDS, st.tuples(st.binary(max_size=30), st.lists(OIDS, max_size=3)), max_size=4
        ),
        st.lists(
            st.tuples(
                st.sampled_from(["job", "call"]),
                st.binary(max_size=2),
                st.none() | st.binary(max_size=5),
            ),
            max_size=3,
        ),
    ),
    min_size=1,
    max_size=4,
)


PREFIXES = st.binary(max_size=2) | st.sampled_from([b"\xff", b"\xff\xff", b"a\xff"])


class StoreMachine(RuleBasedStateMachine):
    def open(self) -> Store:
        raise NotImplementedError

    def reopened(self) -> Store:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.store = self.open()
        self.revisions: dict[int, list[Record]] = {}
        self.entries: list[tuple[int, tuple[int, ...], int]] = []
        self.stored_rows: dict[tuple[str, bytes], bytes] = {}
        self.number = 0

    @rule(group=COMMITS)
    def write(self, group: list) -> None:
        commits = []
        for step, objects, rows in group:
            self.number += step
            at = tid(self.number)
            records = [
                Record(oid, at, "app:Ünï", tuple(refs), payload)
                for oid, (payload, refs) in objects.items()
            ]
            commits.append(Commit(at, Label(note=str(self.number)), records, rows))
            for record in records:
                self.revisions.setdefault(record.oid, []).append(record)
            if records:
                self.entries.append((at, tuple(objects), self.number))
            for kind, key, value in rows:
                if value is None:
                    self.stored_rows.pop((kind, key), None)
                else:
                    self.stored_rows[kind, key] = value
        self.store.write(commits)

    @rule()
    def reopen(self) -> None:
        self.store = self.reopened()

    @rule(oid=OIDS, back=st.integers(-1, 30))
    def load(self, oid: int, back: int) -> None:
        at = None if back < 0 else tid(max(self.number - back, 0))
        expected = [r for r in self.revisions.get(oid, []) if at is None or r.tid <= at]
        if expected:
            assert self.store.load(oid, at) == expected[-1]
        else:
            with pytest.raises(UnknownObjectError):
                self.store.load(oid, at)

    @precondition(lambda self: self.entries)
    @rule(back=st.integers(0, 30))
    def feed(self, back: int) -> None:
        after = tid(max(self.number - back, 0))
        got = [(e.tid, e.oids, int(e.label.note)) for e in self.store.feed(after)]
        assert got == [entry for entry in self.entries if entry[0] > after]

    @rule(oid=OIDS)
    def history(self, oid: int) -> None:
        assert list(self.store.history(oid)) == [
            r.tid for r in reversed(self.revisions.get(oid, []))
        ]

    @rule(kind=st.sampled_from(["job", "call", "none"]), prefix=PREFIXES)
    def rows(self, kind: str, prefix: bytes) -> None:
        expected = sorted((key, value) for (k, key), value in self.stored_rows.items() if k == kind)
        assert self.store.rows(kind) == expected
        assert self.store.rows(kind, prefix) == [r for r in expected if r[0].startswith(prefix)]

    @invariant()
    def ends_agree(self) -> None:
        if hasattr(self, "store"):
            assert self.store.last_tid == (self.entries[-1][0] if self.entries else 0)
            assert self.store.max_oid == max(self.revisions, default=0)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


class MemoryMachine(StoreMachine):
    def open(self) -> Store:
        return MemoryStore()

    def reopened(self) -> Store:
        assert isinstance(self.store, MemoryStore)
        return self.store.reopen()


class SQLiteMachine(StoreMachine):
    def open(self) -> Store:
        self.folder = Path(tempfile.mkdtemp(prefix="hubbub-machine-"))
        return SQLiteStore(self.folder / "space.hub")

    def reopened(self) -> Store:
        self.store.close()
        return SQLiteStore(self.folder / "space.hub", create=False)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


SLOW = [HealthCheck.too_slow]
TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=SLOW
)
TestSQLite = SQLiteMachine.TestCase
TestSQLite.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=SLOW
)
