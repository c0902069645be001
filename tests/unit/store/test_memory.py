from __future__ import annotations

import pytest

from hubbub.kernel import ClosedError
from hubbub.store import MemoryStore
from tests.conformance.store.building import commit, tid


@pytest.mark.rule("ST2")
def test_reopen_finds_all_that_was_written_and_closes_the_store_before_it() -> None:
    store = MemoryStore()
    store.write([commit(1, [1])])
    again = store.reopen()
    with pytest.raises(ClosedError):
        store.write([commit(2, [1])])
    assert (again.last_tid, again.load(1).tid) == (tid(1), tid(1))


def test_what_a_reader_decoded_is_not_handed_to_the_next_one() -> None:
    store = MemoryStore()
    store.write([commit(1, [1])])
    store.load(1).memo = "decoded"
    assert store.load(1).memo is None
