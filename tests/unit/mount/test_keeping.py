"""What an embedded space keeps of its past: packs, open snapshots, declared retention."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubbub.kernel import (
    ConfigurationError,
    FakeClock,
    Job,
    JobStoppedError,
    PackedError,
    ReadOnlyError,
    UnknownObjectError,
    tid_at,
)
from hubbub.mount import LocalMount, Space
from hubbub.space.containers import SortedMap
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore, SQLiteStore, Store


class Cell(Persistent, name="tests.keeping.Cell"):
    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.next: Any = None


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "space.hub")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def space(store: Store, clock: FakeClock) -> Iterator[Space]:
    with Space(LocalMount(store, clock=clock)) as made:
        yield made


def put(root: Any, value: int) -> None:
    root["cell"] = Cell(value)


def get(root: Any) -> int:
    value: int = root["cell"].value
    return value


def filled(space: Space, count: int) -> list[int]:
    """Replace the one object of a space by a new one again and again; return the tids."""
    tids: list[int] = []
    for value in range(count):
        space.run(put, value)
        tids.append(space.tid)
    return tids


@pytest.mark.rule("ST7")
def test_a_pack_collects_what_the_root_can_t_reach(space: Space) -> None:
    tids = filled(space, 5)
    report = space.pack()
    assert (report.tid, report.objects) == (tids[-1], 4)
    assert (space.count().objects, space.count().records) == (2, 2)
    assert space.read(get) == 4
    assert list(space.verify()) == []
    space.run(put, 9)
    assert space.read(get) == 9


@pytest.mark.rule("ST7")
def test_an_open_connection_keeps_what_it_may_read_until_it_is_closed(space: Space) -> None:
    filled(space, 2)
    looking = space.connect()
    at = looking.tid
    old = space.connect(at=at)
    filled(space, 3)
    assert space.pack().tid == at
    assert (get(looking.root), get(old.root)) == (1, 1)
    looking.sync()
    assert space.pack().tid == at
    assert get(old.root) == 1
    old.close()
    assert space.pack().tid == space.tid
    with pytest.raises(PackedError, match="not kept any more"):
        space.connect(at=at)
    assert space.count().packed_tid == space.tid
    looking.close()


@pytest.mark.rule("ST7")
def test_a_transaction_that_runs_keeps_its_snapshot_and_idle_ones_keep_nothing(
    space: Space,
) -> None:
    filled(space, 2)
    at = space.tid
    with space.transaction() as root:
        other = threading.Thread(target=filled, args=(space, 3))
        other.start()
        other.join()
        assert space.read(get) == 2
        assert space.pack().tid == at
        assert get(root) == 1
    watching = space.watch(get)
    assert next(watching) == 2
    filled(space, 1)
    assert space.pack().tid == space.tid


@pytest.mark.rule("ST7")
def test_a_walk_keeps_the_place_where_it_stands(space: Space) -> None:
    tids = filled(space, 5)
    entries = space.feed()
    walk = space.walk()
    assert space.pack(tids[1]).tid == tids[1]
    walk.go(entries[2])
    assert space.pack().tid == tids[2]
    assert walk.read(get) == 2
    other = space.walk()
    with pytest.raises(PackedError):
        other.go(entries[0])
    walk.close()
    walk.close()
    assert space.pack().tid == tids[4]


@pytest.mark.rule("ST7")
def test_a_pack_stays_within_the_declared_retention(space: Space, clock: FakeClock) -> None:
    assert space.retention is None
    space.declare_retention("30d")
    assert space.retention == 30 * 86_400
    first = filled(space, 2)
    clock.advance(20 * 86_400)
    second = filled(space, 2)
    assert space.pack().records == 0
    clock.advance(20 * 86_400)
    with pytest.raises(ConfigurationError, match=r"keep its past for 4w 2d.* Say force"):
        space.pack(second[1])
    assert space.pack(first[0]).tid == first[0]
    report = space.pack()
    assert first[1] < report.tid < second[0]
    assert report.tid == tid_at(clock.now() - 30 * 86_400)
    with space.connect(at=second[0]) as old:
        assert get(old.root) == 0
    assert space.pack(second[1], force=True).tid == second[1]
    space.declare_retention(None)
    assert space.retention is None


def test_the_declared_retention_is_kept_with_the_space(tmp_path: Path) -> None:
    for expected in (None, 3600.0):
        with Space(LocalMount(SQLiteStore(tmp_path / "a.hub"))) as space:
            assert space.retention == expected
            space.declare_retention("1h")
            space.run(put, 1)


def test_what_makes_no_sense_is_refused(store: Store) -> None:
    with Space(LocalMount(store)) as space:
        with pytest.raises(ConfigurationError, match="not both"):
            space.pack(5, keep="1d")
        with pytest.raises(ConfigurationError, match="such as 30d"):
            space.pack(keep="thirty days")


def test_a_read_only_space_is_not_packed(store: Store) -> None:
    with Space(LocalMount(store, read_only=True)) as space:
        for use in (space.pack, lambda: space.declare_retention("1d")):
            with pytest.raises(ReadOnlyError):
                use()
        assert space.count().objects == 0


def test_a_stopped_pack_gives_the_floor_back_where_nothing_was_dropped(space: Space) -> None:
    tids = filled(space, 3)
    job = Job()
    job.stop()
    with pytest.raises(JobStoppedError):
        space.pack(job=job)
    assert space.count().packed_tid == 0
    assert get(space.connect(at=tids[0]).root) == 0


@pytest.mark.rule("ST7", "SP1")
def test_packs_beside_transactions_of_many_threads_lose_nothing(space: Space) -> None:
    """Chains of objects are rebuilt all the time; whoever reads sees whole ones, at the newest and at old snapshots."""
    space.run(lambda root: root.update(chains=SortedMap()))
    failures: list[BaseException] = []
    ended = threading.Event()

    def chain(root: Any, name: str, value: int) -> None:
        last = None
        for _ in range(4):
            cell = Cell(value)
            cell.next = last
            last = cell
        root["chains"][name] = last

    def walked(root: Any) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for name, cell in root["chains"].items():
            values = []
            while cell is not None:
                values.append(cell.value)
                cell = cell.next
            found[name] = values
        return found

    def write(name: str) -> None:
        try:
            for value in range(60):
                space.run(chain, name, value)
        except BaseException as error:
            failures.append(error)

    def read() -> None:
        try:
            while not ended.is_set():
                with space.connect() as looking:
                    for _ in range(3):
                        assert all(
                            len(values) == 4 and len(set(values)) == 1
                            for values in walked(looking.root).values()
                        )
                    try:
                        old = space.connect(at=looking.tid)
                    except PackedError:
                        raise AssertionError("it is held by the other one") from None
                    assert walked(old.root) == walked(looking.root)
                    old.close()
        except BaseException as error:
            failures.append(error)

    def pack() -> None:
        try:
            while not ended.is_set():
                space.pack()
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    others = [threading.Thread(target=target) for target in (read, pack)]
    for thread in writers + others:
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    for thread in others:
        thread.join()
    assert failures == []
    space.pack()
    assert {name: values[0] for name, values in space.read(walked).items()} == {"a": 59, "b": 59}
    assert list(space.verify()) == []
    assert space.count().objects < 20


def test_an_object_that_was_collected_is_unknown(space: Space) -> None:
    space.run(put, 1)
    oid = space.read(lambda root: root["cell"]._p_oid)
    space.run(put, 2)
    space.pack()
    with pytest.raises(UnknownObjectError):
        space._mount.load(int.from_bytes(oid, "big"), space.tid)
