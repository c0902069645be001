"""What a store's upkeep answers that no mount shows alone: keyed rows, piece by piece."""

from __future__ import annotations

import pytest

from hubbub.kernel import Commit, Label, SnapshotGoneError, Tid
from hubbub.store import MemoryStore
from hubbub.store.upkeep import RowsPiece, StoreUpkeep

ROWS = [("session", b"%04d" % number, b"x" * 50) for number in range(300)]


def put(store: MemoryStore, tid: int, value: bytes) -> None:
    store.write([Commit(Tid(tid), Label(), rows=[(kind, key, value) for kind, key, _ in ROWS])])


def rest(upkeep: StoreUpkeep, first: RowsPiece) -> list[tuple[str, bytes, bytes]]:
    rows = list(first.rows)
    while len(rows) < first.count:
        rows += upkeep.rows_from(first.number, len(rows), 1000).rows
    return rows


def test_rows_are_of_the_moment_when_the_first_piece_was_asked_for() -> None:
    store = MemoryStore()
    upkeep = StoreUpkeep(store, lambda: store.last_tid)
    put(store, 1, b"x" * 50)
    first = upkeep.rows_from(0, 0, 1000)
    assert first.count == len(ROWS)
    assert 0 < len(first.rows) < 20
    put(store, 2, b"new")
    assert rest(upkeep, first) == ROWS
    # They are not kept when all of them were given.
    with pytest.raises(SnapshotGoneError, match="ask anew"):
        upkeep.rows_from(first.number, 0, 1000)


def test_rows_are_kept_for_few_at_a_time() -> None:
    store = MemoryStore()
    upkeep = StoreUpkeep(store, lambda: store.last_tid)
    put(store, 1, b"x" * 50)
    begun = [upkeep.rows_from(0, 0, 1000) for _ in range(3)]
    with pytest.raises(SnapshotGoneError):
        rest(upkeep, begun[0])
    for first in begun[1:]:
        assert rest(upkeep, first) == ROWS


def test_a_row_that_is_larger_than_a_piece_comes_alone_and_none_is_an_answer() -> None:
    store = MemoryStore()
    upkeep = StoreUpkeep(store, lambda: store.last_tid)
    assert upkeep.rows_from(0, 0, 10).rows == []
    rows = [("a", b"1", b"x" * 1000), ("a", b"2", b"y" * 1000)]
    store.write([Commit(Tid(1), Label(), rows=list(rows))])
    first = upkeep.rows_from(0, 0, 10)
    assert first.rows == rows[:1]
    assert upkeep.rows_from(first.number, 1, 10).rows == rows[1:]
