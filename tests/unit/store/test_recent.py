"""What is durable and not in the tables yet, as readers see it."""

from __future__ import annotations

import pytest

from hubbub.store.group import Group
from hubbub.store.recent import Recent
from tests.conformance.store.building import commit, tid


@pytest.fixture
def recent() -> Recent:
    made = Recent()
    for number in (2, 4, 6):
        rows = [("job", b"n", b"%d" % number), ("job", b"old", None)]
        made.add(number, Group([commit(number, [1, number], rows)], tid(number - 2), number))
    return made


@pytest.mark.rule("ST7")
def test_each_revision_is_found_at_its_tid(recent: Recent) -> None:
    found = [recent.find(1, tid(n)) for n in range(1, 8)]
    assert [record and record.tid - tid(0) for record in found] == [None, 2, 2, 4, 4, 6, 6]
    assert recent.find(9, tid(9)) is None
    assert recent.history(1, tid(5)) == [tid(4), tid(2)]
    assert recent.history(9, tid(5)) == []


def test_the_feed_is_cut_at_both_ends(recent: Recent) -> None:
    assert [e.tid for e in recent.feed(0, tid(9))] == [tid(2), tid(4), tid(6)]
    assert [(e.tid, e.oids) for e in recent.feed(tid(2), tid(5))] == [(tid(4), (1, 4))]


def test_the_last_change_of_a_row_counts(recent: Recent) -> None:
    assert recent.rows == {("job", b"n"): b"6", ("job", b"old"): None}
    assert recent.number == 6
