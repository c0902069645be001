from __future__ import annotations

import pytest

from hubbub.kernel import Record
from hubbub.mount.replica import Replica
from hubbub.wire import peer


def mounted(tid: int, epoch: str = "a", changed: list[int] | None = None) -> peer.Mounted:
    return peer.Mounted(tid, epoch, changed, 100, 2, 15.0, 1 << 20)


def replica(tid: int = 10) -> Replica:
    made = Replica(1 << 20)
    made.mounted(mounted(tid))
    return made


def fields(oid: int, tid: int) -> tuple[int, int, str, tuple[int, ...], bytes]:
    return (oid, tid, "test:Thing", (), b"")


def tid_at(made: Replica, oid: int, at: int) -> int | None:
    found = made.cache.get(oid, at)
    return found.tid if found else None


@pytest.mark.rule("SP1")
def test_an_answer_that_crossed_an_invalidation_is_not_taken_for_new() -> None:
    made = replica()
    made.invalidated(20, [1], ())
    made.loaded(10, fields(1, 5))
    assert [tid_at(made, 1, at) for at in (10, 11, 20)] == [5, None, None]
    made.loaded(20, fields(1, 18))
    made.invalidated(30, [2], ())
    assert tid_at(made, 1, 30) == 18


@pytest.mark.rule("SP1")
def test_own_writes_are_not_served_old_between_invalidation_and_answer() -> None:
    made = replica()
    made.loaded(10, fields(1, 5))
    made.invalidated(21, [2], in_flight=[1])
    assert tid_at(made, 1, 21) is None
    assert made.log.since(10) == frozenset({1, 2})
    made.committed(20, [Record(1, 5, "test:Thing", (), b"new")], [])
    assert [tid_at(made, 1, at) for at in (10, 20, 21)] == [5, 20, 20]
    made.invalidated(30, [3], ())
    assert tid_at(made, 1, 30) == 20


@pytest.mark.rule("SP1")
def test_own_writes_that_others_wrote_over_are_not_taken_for_new() -> None:
    made = replica()
    made.invalidated(21, [1], in_flight=[1])
    made.committed(20, [Record(1, 5, "test:Thing", (), b"mine")], [])
    assert tid_at(made, 1, 21) is None


def test_merged_writes_are_not_kept() -> None:
    made = replica()
    made.invalidated(20, [], in_flight=[1])
    made.committed(20, [Record(1, 5, "test:Thing", (), b"mine")], [1])
    assert tid_at(made, 1, 20) is None


def test_a_commit_that_fails_costs_a_look() -> None:
    made = replica()
    made.loaded(10, fields(1, 5))
    made.invalidated(20, [], in_flight=[1])
    made.loaded(20, fields(1, 5))
    assert [tid_at(made, 1, at) for at in (10, 20, 25)] == [5, 5, 5]


def test_another_host_means_another_past() -> None:
    made = replica()
    made.loaded(10, fields(1, 5))
    made.mounted(mounted(15, "a", [2]))
    assert tid_at(made, 1, 15) == 5
    assert made.log.since(10) == frozenset({2})
    assert list(made.oids) == [100, 101, 100, 101]
    made.mounted(mounted(15, "b", None))
    assert tid_at(made, 1, 15) is None
    assert made.log.since(10) is None
    assert list(made.oids) == [100, 101]
    made.loaded(15, fields(1, 5))
    made.mounted(mounted(12, "b", []))
    assert made.newest == 12
    assert tid_at(made, 1, 12) is None


def test_an_answer_from_before_a_drop_is_right_only_where_it_was_asked() -> None:
    made = replica()
    made.dropped(20)
    made.loaded(10, fields(1, 5))
    assert [tid_at(made, 1, at) for at in (10, 11, 20)] == [5, None, None]
