"""What every store guarantees, run on each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubbub.kernel import ClosedError, LocalProtocolError, UnknownObjectError
from hubbub.store import MemoryStore, SQLiteStore, Store
from tests.conformance.store.building import commit, tid

Reopen = Callable[[Store], Store]


def reopen_memory(store: Store) -> Store:
    assert isinstance(store, MemoryStore)
    return store.reopen()


def reopen_sqlite(store: Store) -> Store:
    assert isinstance(store, SQLiteStore)
    store.close()
    return SQLiteStore(store.path)


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "chat.hub")
    yield made
    made.close()


@pytest.fixture
def reopen(kind: str) -> Iterator[Reopen]:
    opened: list[Store] = []

    def again(store: Store) -> Store:
        opened.append(reopen_memory(store) if kind == "memory" else reopen_sqlite(store))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


def test_an_empty_store_has_no_tid_and_no_oid(store: Store) -> None:
    assert (store.last_tid, store.max_oid, list(store.feed())) == (0, 0, [])
    assert (store.rows("job"), store.row("job", b"x"), list(store.history(1))) == ([], None, [])
    with pytest.raises(UnknownObjectError):
        store.load(1)


def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    written = commit(1, [5])
    store.write([written])
    assert store.load(5) == written.records[0]
    assert store.load(5).memo is None


def test_a_large_oid_and_an_empty_payload_come_back(store: Store) -> None:
    big = (1 << 61) - 1
    one = commit(1, [big], size=0)
    one.records[0].payload = b""
    one.records[0].refs = ()
    store.write([one])
    assert store.load(big) == one.records[0]
    assert store.max_oid == big


@pytest.mark.rule("ST7")
def test_every_revision_stays_readable_at_its_tid(store: Store) -> None:
    for number in (2, 4, 6):
        store.write([commit(number, [1])])
    assert [store.load(1, tid(n)).tid for n in (2, 3, 4, 5, 6, 99)] == [
        tid(n) for n in (2, 2, 4, 4, 6, 6)
    ]
    with pytest.raises(UnknownObjectError) as caught:
        store.load(1, tid(1))
    assert caught.value.at == tid(1)
    assert list(store.history(1)) == [tid(6), tid(4), tid(2)]


def test_load_many_leaves_out_what_is_unknown(store: Store) -> None:
    store.write([commit(1, [1, 2]), commit(2, [3])])
    assert [r.oid for r in store.load_many([3, 9, 1])] == [3, 1]
    assert [r.oid for r in store.load_many([3, 9, 1], tid(1))] == [1]


@pytest.mark.rule("ST1")
def test_the_feed_yields_every_commit_in_order_from_any_tid(store: Store) -> None:
    numbers = list(range(2, 1400, 2))  # more than one batch
    for start in range(0, len(numbers), 50):
        store.write([commit(n, [n, n + 1]) for n in numbers[start : start + 50]])
    for after in (0, 1, 2, 3, 700, 1397, 1398, 5000):
        entries = list(store.feed(tid(after) if after else 0))
        assert [e.tid for e in entries] == [tid(n) for n in numbers if n > after]
    entry = next(iter(store.feed()))
    assert (entry.oids, entry.label.command, entry.byte_count) == ((2, 3), "c2", 2 * 23)


@pytest.mark.rule("ST1")
def test_a_feed_ends_at_what_was_newest_when_it_began(store: Store) -> None:
    store.write([commit(1, [1])])
    feed = store.feed()
    store.write([commit(2, [1])])
    assert [e.tid for e in feed] == [tid(1)]


@pytest.mark.rule("ST1")
def test_a_commit_that_is_not_newer_is_refused_and_nothing_changes(store: Store) -> None:
    store.write([commit(3, [1])])
    for wrong in ([commit(3, [1])], [commit(2, [1])], [commit(5, [1]), commit(4, [1])]):
        with pytest.raises(LocalProtocolError):
            store.write(wrong)
    twice = commit(6, [1, 1])
    foreign = commit(7, [1])
    foreign.records[0].tid = 1
    for wrong in ([twice], [foreign]):
        with pytest.raises(LocalProtocolError):
            store.write(wrong)
    assert (store.last_tid, list(store.history(1))) == (tid(3), [tid(3)])
    store.write([commit(8, [1])])


def test_a_commit_of_rows_alone_is_kept_but_not_in_the_feed(store: Store, reopen: Reopen) -> None:
    store.write([commit(1, [1])])
    store.write([commit(2, rows=[("job", b"b", b"2"), ("job", b"a", b""), ("call", b"a", b"x")])])
    assert (store.last_tid, len(list(store.feed()))) == (tid(1), 1)
    assert store.rows("job") == [(b"a", b""), (b"b", b"2")]
    store.write(
        [commit(3, rows=[("job", b"b", None), ("job", b"zz", None), ("job", b"a", b"new")])]
    )
    again = reopen(store)
    assert again.rows("job") == [(b"a", b"new")]
    assert (again.row("call", b"a"), again.row("job", b"b")) == (b"x", None)


def test_the_last_change_of_a_row_in_a_group_wins(store: Store) -> None:
    store.write([commit(1, rows=[("job", b"a", b"1")]), commit(2, rows=[("job", b"a", None)])])
    assert store.row("job", b"a") is None
    store.write([commit(3, rows=[("job", b"a", None), ("job", b"a", b"2")])])
    assert store.row("job", b"a") == b"2"


@pytest.mark.rule("ST2")
def test_what_was_written_is_there_after_a_reopen(store: Store, reopen: Reopen) -> None:
    store.write([commit(1, [1, 2]), commit(2, [2], rows=[("job", b"a", b"1")])])
    again = reopen(store)
    assert (again.last_tid, again.max_oid) == (tid(2), 2)
    assert again.load(2) == commit(2, [2]).records[0]
    assert [e.oids for e in again.feed()] == [(1, 2), (2,)]
    again.write([commit(3, [9])])
    assert again.max_oid == 9


def test_a_closed_store_says_so(store: Store) -> None:
    store.write([commit(1, [1])])
    store.close()
    store.close()
    for use in (
        lambda: store.load(1),
        lambda: store.load_many([1]),
        lambda: store.write([commit(2, [1])]),
        lambda: list(store.feed()),
        lambda: list(store.history(1)),
        lambda: store.rows("job"),
        lambda: store.row("job", b""),
        lambda: store.last_tid,
        lambda: store.max_oid,
    ):
        with pytest.raises(ClosedError):
            use()


@pytest.mark.rule("ST2")
def test_a_reader_sees_all_of_a_commit_or_nothing_while_another_thread_writes(store: Store) -> None:
    store.write([commit(1, [1, 2, 3])])
    wrong: list[object] = []
    ended = threading.Event()

    def read() -> None:
        seen = 0
        while not ended.is_set():
            at = store.last_tid
            records = store.load_many([1, 2, 3], at)
            if {r.tid for r in records} != {at} or at < seen:
                wrong.append((at, records))
            seen = at

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(2, 150):
            store.write([commit(number, [1, 2, 3])])
    finally:
        ended.set()
        for reader in readers:
            reader.join()
    assert wrong == []
