"""What every store tells of the past, and of objects that are gone."""

from __future__ import annotations

import pytest

from hubbub.kernel import Commit, Label, Record, UnknownObjectError
from hubbub.store import MemoryStore, Store
from tests.conformance.store.building import commit, tid
from tests.conformance.store.test_contract import kind, store

__all__ = ["kind", "store"]


def gone(number: int, oid: int) -> Commit:
    return Commit(tid(number), Label(), [Record(oid, tid(number), "", (), b"")])


@pytest.mark.rule("ST7")
def test_each_revision_is_found_by_its_tid(store: Store) -> None:
    store.write([commit(1, [1, 2]), commit(2, [1]), commit(4, [2, 3])])
    assert store.revision(1, tid(1)).payload.startswith(b"1@1")
    assert store.revision(2, tid(4)).payload.startswith(b"2@4")
    with pytest.raises(UnknownObjectError):
        store.revision(1, tid(4))
    assert [store.successor(1, tid(n)) for n in (0, 1, 2)] == [tid(1), tid(2), None]


def test_the_records_of_a_transaction_come_in_order(store: Store) -> None:
    store.write([commit(1, [5, 3, 4]), commit(3, [4])])
    assert [record.oid for record in store.records_of(tid(1))] == [5, 3, 4]
    assert [record.oid for record in store.records_of(tid(3))] == [4]
    assert store.records_of(tid(2)) == store.records_of(tid(9)) == []


def test_all_objects_are_walked_in_pieces(store: Store) -> None:
    store.write([commit(1, range(1, 8)), commit(2, [3, 9])])
    walked, last = [], -1
    while piece := store.current(last, tid(2), 2):
        walked += piece
        last = piece[-1].oid
    assert [record.oid for record in walked] == [1, 2, 3, 4, 5, 6, 7, 9]
    assert walked[2].tid == tid(2)
    assert [record.tid for record in store.current(2, tid(1), 2)] == [tid(1)] * 2


def test_an_object_that_is_gone_is_unknown_from_then_on(store: Store) -> None:
    store.write([commit(1, [1, 2]), gone(2, 1)])
    with pytest.raises(UnknownObjectError):
        store.load(1)
    assert store.load(1, tid(1)).tid == tid(1)
    assert [record.oid for record in store.load_many((1, 2))] == [2]
    assert [record.oid for record in store.current(-1, tid(2), 9)] == [2]
    assert store.revision(1, tid(2)).is_gone
    assert list(store.history(1)) == [tid(2), tid(1)]
    store.write([commit(3, [1])])
    assert store.load(1).tid == tid(3)


@pytest.mark.rule("ST1")
def test_commits_come_with_their_records_in_pieces_none_left_out(store: Store) -> None:
    numbers = range(1, 700)
    for first in range(1, 700, 50):
        store.write([commit(n, [n, 7_000, n + 5]) for n in numbers if first <= n < first + 50])
    end, position, seen = tid(650), 0, []
    while piece := store.commits(position, end, 4_000):
        seen += piece
        position = piece[-1].tid
        assert len(piece) < 100
    assert [found.tid for found in seen] == [tid(n) for n in range(1, 651)]
    assert [r.oid for r in seen[9].records] == [10, 7_000, 15]
    assert seen[9].label.command == "c10"
    assert all(found.records == store.records_of(found.tid) for found in seen)
    assert len(store.commits(tid(3), end, 0)) == 1


def test_all_rows_come_with_the_tid_that_they_belong_to(store: Store) -> None:
    assert store.all_rows() == (0, [])
    store.write([commit(1, [1], [("b", b"1", b"x"), ("a", b"2", b"y"), ("a", b"1", b"z")])])
    store.write([commit(2, [], [("a", b"1", None)]), commit(3, [2], [("b", b"1", b"new")])])
    assert store.all_rows() == (tid(3), [("a", b"2", b"y"), ("b", b"1", b"new")])


def test_every_space_has_an_id_of_its_own_and_keeps_it(store: Store) -> None:
    assert len(store.space_id) == 32
    assert store.space_id == store.space_id != MemoryStore().space_id
