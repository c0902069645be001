"""What every store tells of the past, and of objects that are gone."""

from __future__ import annotations

import pytest

from hubbub.kernel import Commit, Label, Record, UnknownObjectError
from hubbub.store import Store
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
