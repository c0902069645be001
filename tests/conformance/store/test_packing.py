"""What every store keeps and drops when it is packed, against a plain model (ST7)."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hubbub.kernel import (
    ClosedError,
    Commit,
    Job,
    JobStoppedError,
    Label,
    Record,
    StoreError,
    UnknownObjectError,
)
from hubbub.store import MemoryStore, SQLiteStore, Store
from tests.conformance.store.building import tid
from tests.conformance.store.test_contract import Reopen, kind, reopen, store

__all__ = ["kind", "reopen", "store"]


def made(number: int, objects: Mapping[int, Iterable[int] | None]) -> Commit:
    """Commit ``number``: objects that refer to others; None says that one is gone."""
    records = [
        Record(oid, tid(number), "", (), b"")
        if refs is None
        else Record(oid, tid(number), "app:Thing", tuple(refs), b"%d@%d" % (oid, number))
        for oid, refs in objects.items()
    ]
    return Commit(tid(number), Label(note=str(number)), records)


def tids(store: Store, oid: int) -> list[int]:
    return [at - tid(0) for at in store.history(oid)]


@pytest.mark.rule("ST7")
def test_what_has_a_successor_goes_and_what_the_root_reaches_stays(
    store: Store, reopen: Reopen
) -> None:
    store.write([made(1, {0: [1, 2], 1: [3], 2: [], 3: []})])
    store.write([made(2, {1: [3]}), made(3, {0: [1]}), made(4, {1: []}), made(5, {0: [1]})])
    report = store.pack(tid(4))
    assert (report.tid, report.objects, report.records) == (tid(4), 2, 5)
    assert report.transactions == 2
    assert report.freed_bytes == 5 * 3
    for again in (False, True):
        found = reopen(store) if again else store
        assert [tids(found, oid) for oid in range(4)] == [[5, 3], [4], [], []]
        assert [e.tid for e in found.feed()] == [tid(3), tid(4), tid(5)]
        assert (found.feed_floor, found.last_tid, found.max_oid) == (tid(4), tid(5), 3)
        assert list(found.verify()) == []


@pytest.mark.rule("ST7")
@pytest.mark.parametrize("number", [1, 3], ids=["old", "new"])
def test_nothing_is_collected_where_what_a_record_refers_to_is_not_known(
    store: Store, number: int
) -> None:
    store.write([made(1, {0: [1], 1: [], 2: []}), made(2, {1: []})])
    opaque = Record(1, tid(3), "other:?", (), b"who knows")
    store.write([Commit(tid(3), Label(), [opaque]), made(4, {3: []})])
    with pytest.raises(StoreError, match=r"object 0x1 .* is not known.*pack without collecting"):
        store.pack(tid(number))
    assert [tids(store, oid) for oid in (0, 1, 2)] == [[1], [3, 2, 1], [1]]
    assert store.feed_floor == 0
    assert store.pack(tid(3), collect=False).records == 2
    assert store.load(2).tid == tid(1)


@pytest.mark.rule("ST7")
def test_without_collecting_only_old_revisions_go(store: Store) -> None:
    store.write([made(1, {0: [], 1: []}), made(2, {1: []}), made(3, {7: []}), made(4, {7: None})])
    report = store.pack(tid(9), collect=False)
    assert (report.tid, report.objects, report.records) == (tid(4), 0, 3)
    assert [tids(store, oid) for oid in (0, 1, 7)] == [[1], [2], []]


@pytest.mark.rule("ST7")
def test_what_something_newer_refers_to_stays(store: Store) -> None:
    store.write([made(1, {0: [1], 1: [2], 2: [], 3: [], 4: [3]}), made(2, {0: []})])
    store.write([made(3, {5: [1]}), made(4, {4: []})])
    store.pack(tid(2))
    assert [tids(store, oid) for oid in range(6)] == [[2], [1], [1], [1], [4, 1], [3]]
    store.pack(tid(4))
    assert [tids(store, oid) for oid in range(6)] == [[2], [], [], [], [], []]
    assert store.max_oid == 5


@pytest.mark.rule("ST7")
def test_what_is_named_stays_with_what_it_refers_to(store: Store) -> None:
    store.write([made(1, {0: [], 1: [2], 2: [], 3: []})])
    store.pack(tid(1), keep=[1, 99])
    assert [tids(store, oid) for oid in range(4)] == [[1], [1], [1], []]


def test_oids_and_tids_are_not_given_again_when_the_highest_went(
    store: Store, reopen: Reopen
) -> None:
    store.write([made(1, {0: []}), made(2, {50: []})])
    store.pack(tid(2))
    store = reopen(store)
    assert (store.max_oid, store.last_tid) == (50, tid(2))
    assert [(e.tid, e.oids) for e in store.feed()] == [(tid(1), (0,)), (tid(2), ())]
    store.write([made(3, {0: [1], 1: []})])
    store = reopen(store)
    assert [(e.tid, e.oids) for e in store.feed(tid(2))] == [(tid(3), (0, 1))]
    assert store.records_of(tid(2)) == []
    assert list(store.verify()) == []


@pytest.mark.rule("ST1", "ST7")
def test_the_feed_above_the_floor_is_whole_and_below_it_tells_what_is_left(store: Store) -> None:
    for number in range(1, 11):
        store.write([made(number, {0: [], number: []})])
    store.pack(tid(6), keep=[2])
    assert [(e.tid - tid(0), e.oids) for e in store.feed()] == [
        (2, (2,)), (6, (0,)), *((n, (0, n)) for n in range(7, 11)),
    ]  # fmt: skip
    assert [e.tid for e in store.feed(tid(6))] == [tid(n) for n in range(7, 11)]
    assert [r.oid for r in store.records_of(tid(2))] == [2]


def test_a_pack_of_nothing_and_a_lower_one_change_nothing(store: Store) -> None:
    assert store.pack(tid(5)).records == 0
    store.write([made(n, {0: []}) for n in range(1, 5)])
    store.pack(tid(3))
    assert store.pack(tid(1)).records == 0
    assert (store.feed_floor, tids(store, 0)) == (tid(3), [4, 3])


@pytest.mark.rule("ST7")
def test_blobs_go_with_their_records(store: Store) -> None:
    for number in (1, 2, 3):
        written = made(number, {0: [5], 5: [], 6: []})
        for oid in (5, 6):
            path = store.stage()
            path.write_bytes(b"%d@%d" % (oid, number))
            written.blobs = {**written.blobs, oid: path.name}
        store.write([written])
    paths = [store.blob(oid, tid(number)) for oid in (5, 6) for number in (1, 2, 3)]
    report = store.pack(tid(2))
    assert (report.blobs, report.records) == (2, 3)
    assert [path.exists() for path in paths] == [False, True, True] * 2
    written = made(4, {6: [], 0: [5]})
    store.write([written])
    assert store.pack(tid(4)).blobs == 3
    assert [path.exists() for path in paths] == [False, False, True, False, False, False]
    assert store.blob(5, tid(3)).read_bytes() == b"5@3"
    with pytest.raises(UnknownObjectError):
        store.blob(6, tid(3))
    assert list(store.verify()) == []


def test_the_counts_are_right(store: Store) -> None:
    assert store.stats().objects == store.stats().records == store.stats().last_tid == 0
    written = made(1, {0: [1], 1: [], 2: []})
    path = store.stage()
    path.write_bytes(b"12345")
    written.blobs = {2: path.name}
    store.write([written, made(2, {2: None}), made(4, {1: []})])
    found = store.stats()
    assert (found.objects, found.records, found.transactions) == (2, 5, 3)
    assert (found.payload_bytes, found.blobs, found.blob_bytes) == (12, 1, 5)
    assert (found.first_tid, found.last_tid, found.packed_tid) == (tid(1), tid(4), 0)
    store.pack(tid(4))
    found = store.stats()
    assert (found.objects, found.records, found.transactions) == (2, 2, 2)
    assert (found.blobs, found.packed_tid) == (0, tid(4))


class Stopping(Job):
    """Stops at the ``number``-th step."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    def step(self, what: str, done: int, total: int = 0) -> None:
        self.left -= 1
        if not self.left:
            self.stop()
        super().step(what, done, total)


@pytest.mark.rule("ST7")
def test_stopped_at_any_step_all_that_can_be_read_is_there(store: Store) -> None:
    for number in range(1, 41):
        store.write([made(number, {0: [1, number], number: []})])
    for number in range(1, 1000):
        job = Stopping(number)
        with suppress(JobStoppedError):
            store.pack(tid(20), job=job)
        if not job.is_stopped:
            break
        assert [store.load(0, tid(n)).tid for n in range(20, 41)] == [tid(n) for n in range(20, 41)]
        assert list(store.verify()) == []
    assert number > 2
    assert tids(store, 0) == list(range(40, 19, -1))


def test_progress_is_told(store: Store) -> None:
    store.write([made(1, {0: [1], 1: []}), made(2, {1: []})])
    told: list[tuple[str, int, int]] = []
    store.pack(tid(2), job=Job(lambda *step: told.append(step)))
    assert {"marking", "sweeping"} <= {what for what, _, _ in told}
    list(store.verify(Job(lambda *step: told.append(step))))
    assert any(what.startswith("verifying") for what, _, _ in told)
    with pytest.raises(JobStoppedError):
        list(store.verify(Stopping(1)))


def test_one_at_a_time(store: Store) -> None:
    store.write([made(1, {0: [8, 9]})])
    checking = store.verify()
    assert next(checking).oid == 0
    with pytest.raises(StoreError, match="is running already"):
        store.pack(tid(1))
    with pytest.raises(StoreError, match="is running already"):
        list(store.verify())
    checking.close()  # type: ignore[attr-defined]
    store.pack(tid(1))


@pytest.mark.rule("ST6")
def test_a_reference_to_nothing_is_found(store: Store) -> None:
    store.write([made(1, {0: [1, 5], 1: [], 2: [1]}), made(2, {1: None})])
    assert [(d.oid, d.tid, d.what) for d in sorted(store.verify(), key=lambda d: (d.oid, d.what))] == [
        (0, tid(1), "object 0x0 refers to object 0x1, which does not exist"),
        (0, tid(1), "object 0x0 refers to object 0x5, which does not exist"),
        (2, tid(1), "object 0x2 refers to object 0x1, which does not exist"),
    ]  # fmt: skip


@pytest.mark.rule("ST6")
def test_a_missing_blob_is_found(store: Store) -> None:
    written = made(1, {0: []})
    written.blobs = {0: store.stage().name}
    store.write([written])
    store.blob(0, tid(1)).unlink()
    assert [(d.oid, d.tid) for d in store.verify()] == [(0, tid(1))]


def test_a_closed_store_has_no_upkeep(store: Store) -> None:
    store.close()
    for use in (store.stats, lambda: store.pack(1), lambda: list(store.verify())):
        with pytest.raises(ClosedError):
            use()


# --- against a model ---------------------------------------------------------------------------------------------------

OIDS = st.integers(0, 7) | st.sampled_from([65_536, 1 << 40])
REFS = st.none() | st.lists(OIDS, max_size=3, unique=True)
OBJECTS = st.dictionaries(OIDS, REFS, min_size=1, max_size=4)

Graph = dict[int, tuple[int, bytes, tuple[int, ...]]]


class Model:
    """All that was ever written, and the floor."""

    def __init__(self) -> None:
        self.revisions: dict[int, list[Record]] = {}
        self.blobs: dict[tuple[int, int], bytes] = {}
        self.floor = 0

    def as_of(self, oid: int, at: int) -> Record | None:
        found = [r for r in self.revisions.get(oid, ()) if r.tid <= at]
        return found[-1] if found and found[-1].class_name else None

    def reached(self, roots: set[int], at: int) -> Graph:
        graph: Graph = {}
        todo = sorted(roots)
        while todo:
            oid = todo.pop()
            record = self.as_of(oid, at)
            if record is not None and oid not in graph:
                graph[oid] = (record.tid, record.payload, record.refs)
                todo += record.refs
        return graph

    def pack(self, at: int, keep: set[int], *, collect: bool) -> None:
        self.floor = at
        newer = [r for some in self.revisions.values() for r in some if r.tid > at]
        roots = {0, *keep, *(r.oid for r in newer), *(ref for r in newer for ref in r.refs)}
        reached = self.reached(roots, at)
        for oid, some in self.revisions.items():
            state = self.as_of(oid, at)
            stays = state is not None and (oid in reached or not collect)
            self.revisions[oid] = [r for r in some if r.tid > at or (stays and r is state)]
        kept = {(oid, r.tid) for oid, some in self.revisions.items() for r in some}
        self.blobs = {key: content for key, content in self.blobs.items() if key in kept}


class PackMachine(RuleBasedStateMachine):
    def open(self) -> Store:
        raise NotImplementedError

    def reopened(self) -> Store:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.store = self.open()
        self.model = Model()
        self.number = 0
        self.oids: set[int] = set()

    def put(self, objects: dict[int, Iterable[int] | None], blobs: Iterable[int] = ()) -> None:
        self.number += 1
        written = made(self.number, objects)
        names: dict[int, str] = {}
        for record in written.records:
            self.oids.add(record.oid)
            self.model.revisions.setdefault(record.oid, []).append(record)
            if record.oid in blobs and record.class_name:
                path = self.store.stage()
                path.write_bytes(record.payload)
                names[record.oid] = path.name
                self.model.blobs[record.oid, record.tid] = record.payload
        written.blobs = names
        self.store.write([written])

    @rule(objects=OBJECTS, blobs=st.sets(OIDS, max_size=2))
    def write(self, objects: dict[int, list[int] | None], blobs: set[int]) -> None:
        self.put({**objects}, blobs)

    @rule(refs=st.lists(OIDS, max_size=3, unique=True))
    def write_root(self, refs: list[int]) -> None:
        self.put({0: refs})

    @precondition(lambda self: self.number > 0)
    @rule(back=st.integers(0, 8))
    def undo(self, back: int) -> None:
        """Bring the states of before a transaction back, where it is not packed."""
        at = tid(max(self.number - back, 1))
        if at <= self.model.floor:
            return
        before: dict[int, Iterable[int] | None] = {}
        for oid, some in self.model.revisions.items():
            if any(r.tid == at for r in some):
                record = self.model.as_of(oid, at - 1)
                before[oid] = None if record is None else record.refs
        if before:
            self.put(before)

    @rule(back=st.integers(0, 8), keep=st.sets(OIDS, max_size=1), collect=st.booleans())
    def pack(self, back: int, keep: set[int], collect: bool) -> None:
        at = max(tid(max(self.number - back, 0)) if self.number else 0, self.model.floor)
        # What a snapshot at or above `at` sees, by the root, before and after: the same.
        numbers = range(max(at - tid(0), 0), self.number + 1)
        before = [self.model.reached({0, *keep}, tid(n)) for n in numbers]
        report = self.store.pack(at, collect=collect, keep=sorted(keep))
        assert report.tid == self.store.feed_floor
        self.model.pack(at, keep, collect=collect)
        for number, graph in zip(numbers, before, strict=True):
            for oid, (when, payload, refs) in graph.items():
                record = self.store.load(oid, tid(number))
                assert (record.tid, record.payload, record.refs) == (when, payload, refs)

    @rule()
    def reopen(self) -> None:
        self.store = self.reopened()

    @invariant()
    def the_same_is_kept(self) -> None:
        if not hasattr(self, "store"):
            return
        store, model = self.store, self.model
        kept = {oid: [r.tid for r in some] for oid, some in model.revisions.items()}
        assert {oid: sorted(store.history(oid)) for oid in self.oids} == kept
        for oid, some in model.revisions.items():
            for record in some:
                assert store.revision(oid, record.tid) == record
        for key, content in model.blobs.items():
            assert store.blob(*key).read_bytes() == content
        written: dict[int, set[int]] = {}
        for oid, when in kept.items():
            for at in when:
                written.setdefault(at, set()).add(oid)
        told = {e.tid: set(e.oids) for e in store.feed() if e.oids}
        assert told == written
        assert [e.tid for e in store.feed(model.floor)] == [
            tid(n) for n in range(1, self.number + 1) if tid(n) > model.floor
        ]
        assert store.last_tid == (tid(self.number) if self.number else 0)

    @rule()
    def count(self) -> None:
        found, model = self.store.stats(), self.model
        assert found.records == sum(len(some) for some in model.revisions.values())
        assert found.objects == sum(
            model.as_of(oid, 1 << 62) is not None for oid in model.revisions
        )
        assert (found.blobs, found.blob_bytes) == (
            len(model.blobs),
            sum(len(content) for content in model.blobs.values()),
        )

    @rule()
    def verify(self) -> None:
        there = {o for o in self.oids if self.model.as_of(o, 1 << 62) is not None}
        expected = {
            (oid, ref)
            for oid in there
            for ref in self.model.as_of(oid, 1 << 62).refs  # type: ignore[union-attr]
            if ref not in there
        }
        found = list(self.store.verify())
        assert len(found) == len(expected)
        assert all("which does not exist" in damage.what for damage in found)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


class MemoryPacking(PackMachine):
    def open(self) -> Store:
        return MemoryStore()

    def reopened(self) -> Store:
        assert isinstance(self.store, MemoryStore)
        return self.store.reopen()


class SQLitePacking(PackMachine):
    def open(self) -> Store:
        self.folder = Path(tempfile.mkdtemp(prefix="hubbub-packing-"))
        return SQLiteStore(self.folder / "space.hub")

    def reopened(self) -> Store:
        self.store.close()
        return SQLiteStore(self.folder / "space.hub", create=False)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


TestMemoryPacking = pytest.mark.rule("ST7")(MemoryPacking.TestCase)
TestMemoryPacking.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestSQLitePacking = pytest.mark.rule("ST7")(SQLitePacking.TestCase)
TestSQLitePacking.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


@pytest.mark.rule("ST7", "ST2")
def test_while_others_write_and_read_nothing_that_can_be_reached_goes(store: Store) -> None:
    """Two threads write a tree of objects that are made and dropped, a third walks it at a snapshot; packs all the while."""
    width = 6
    store.write([made(1, {0: range(1, width + 1), **{n: [] for n in range(1, width + 1)}})])
    lock, failures = threading.Lock(), []
    state = {"number": 1, "oid": width}
    snapshots: list[int] = []
    ended = threading.Event()

    def write(mine: range) -> None:
        try:
            for step in range(120):
                with lock:
                    state["number"] += 1
                    number = state["number"]
                    first = state["oid"] + 1
                    state["oid"] += 2
                    # A branch is replaced by a new one of two objects: the old one is garbage from then on.
                    branch = mine[step % len(mine)]
                    objects = {branch: [first], first: [first + 1], first + 1: []}
                    store.write([made(number, objects)])
        except Exception as error:
            failures.append(error)

    def walk() -> None:
        try:
            while not ended.is_set():
                with lock:
                    at = store.last_tid
                    snapshots.append(at)
                todo, seen = [0], 0
                while todo:
                    record = store.load(todo.pop(), at)
                    todo += record.refs
                    seen += 1
                assert seen >= 1 + width
                snapshots.remove(at)
        except Exception as error:
            failures.append(error)

    def pack() -> None:
        try:
            while not ended.is_set():
                with lock:
                    at = min(snapshots, default=store.last_tid)
                store.pack(at)
        except Exception as error:
            failures.append(error)

    writers = [
        threading.Thread(target=write, args=(range(1, 4),)),
        threading.Thread(target=write, args=(range(4, 7),)),
    ]
    others = [threading.Thread(target=walk), threading.Thread(target=pack)]
    for thread in writers + others:
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    for thread in others:
        thread.join()
    assert failures == []
    store.pack(store.last_tid)
    assert store.stats().objects == 1 + width * 3
    assert list(store.verify()) == []
