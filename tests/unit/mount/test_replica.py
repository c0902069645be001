from __future__ import annotations

import pytest

from hubbub.kernel import Record, RemoteProtocolError
from hubbub.mount.replica import Replica
from hubbub.wire import peer


def mounted(tid: int, epoch: str = "a", changed: list[int] | None = None) -> peer.Mounted:
    return peer.Mounted(tid, epoch, changed, 100, 2, 15.0, 1 << 20)


def replica(tid: int = 10) -> Replica:
    made = Replica(1 << 20)
    made.mounted(mounted(tid))
    return made


def record(oid: int, tid: int) -> Record:
    return Record(oid, tid, "test:Thing", (), b"")


def tid_at(made: Replica, oid: int, at: int) -> int | None:
    found = made.cache.get(oid, at)
    return found.tid if found else None


@pytest.mark.rule("SP1")
def test_an_answer_that_crossed_an_invalidation_is_not_taken_for_new() -> None:
    made = replica()
    made.invalidated(20, [1], ())
    made.loaded(10, [record(1, 5)])
    assert [tid_at(made, 1, at) for at in (10, 11, 20)] == [5, None, None]
    made.loaded(20, [record(1, 18)])
    made.invalidated(30, [2], ())
    assert tid_at(made, 1, 30) == 18


@pytest.mark.rule("SP1")
def test_own_writes_are_not_served_old_between_invalidation_and_answer() -> None:
    made = replica()
    made.loaded(10, [record(1, 5)])
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


@pytest.mark.rule("SP1")
def test_what_another_own_commit_may_have_changed_since_is_not_taken_for_new() -> None:
    made = replica()
    made.invalidated(12, [], in_flight=[1])
    made.committed(11, [Record(1, 5, "test:Thing", (), b"first")], [], in_flight=[1])
    assert [tid_at(made, 1, at) for at in (11, 12)] == [11, None]
    made.committed(12, [Record(1, 11, "test:Thing", (), b"second")], [])
    assert [tid_at(made, 1, at) for at in (11, 12)] == [11, 12]


def test_merged_writes_are_not_kept() -> None:
    made = replica()
    made.invalidated(20, [], in_flight=[1])
    made.committed(20, [Record(1, 5, "test:Thing", (), b"mine")], [1])
    assert tid_at(made, 1, 20) is None


def test_what_a_commit_has_not_written_after_all_is_as_it_was() -> None:
    made = replica()
    made.loaded(10, [record(1, 5), record(2, 5)])
    made.invalidated(20, [], in_flight=[1, 2])
    assert [tid_at(made, oid, 20) for oid in (1, 2)] == [None, None]
    made.committed(20, [record(1, 5), record(2, 5)], [1, 2], kept=[1])
    assert [tid_at(made, 1, at) for at in (10, 20)] == [5, 5]
    assert [tid_at(made, 2, at) for at in (10, 20)] == [5, None]
    made.invalidated(30, [1], ())
    assert [tid_at(made, 1, at) for at in (20, 30)] == [5, None]


@pytest.mark.rule("SP1")
def test_what_others_have_changed_meanwhile_is_not_as_it_was() -> None:
    made = replica()
    made.loaded(10, [record(1, 5)])
    made.invalidated(20, [], in_flight=[1])
    made.invalidated(25, [1], in_flight=[1])
    made.committed(20, [record(1, 5)], [1], kept=[1])
    assert [tid_at(made, 1, at) for at in (10, 20, 25)] == [5, None, None]


@pytest.mark.rule("SP1")
def test_what_another_commit_of_ours_has_changed_is_not_as_it_was() -> None:
    made = replica()
    made.loaded(10, [record(1, 5)])
    made.invalidated(20, [], in_flight=[1])
    made.committed(20, [record(1, 5)], [1])  # merged, and not sent
    made.committed(21, [record(1, 5)], [1], kept=[1])
    assert [tid_at(made, 1, at) for at in (10, 21)] == [5, None]


def test_a_newer_state_that_came_before_the_answer_stays() -> None:
    made = replica()
    made.loaded(10, [record(1, 5)])
    made.invalidated(20, [1], [1], [record(1, 15)])
    made.committed(20, [record(1, 5)], [1], kept=[1])
    assert [tid_at(made, 1, at) for at in (10, 20)] == [5, 15]
    made.invalidated(30, [], in_flight=[1])
    made.committed(30, [record(1, 15)], [1], kept=[1])
    assert tid_at(made, 1, 30) == 15


def test_a_commit_that_fails_costs_a_look() -> None:
    made = replica()
    made.loaded(10, [record(1, 5)])
    made.invalidated(20, [], in_flight=[1])
    made.loaded(20, [record(1, 5)])
    assert [tid_at(made, 1, at) for at in (10, 20, 25)] == [5, 5, 5]


def test_another_host_means_another_past() -> None:
    made = replica()
    made.loaded(10, [record(1, 5)])
    made.mounted(mounted(15, "a", [2]))
    assert tid_at(made, 1, 15) == 5
    assert made.log.since(10) == frozenset({2})
    assert list(made.oids) == [100, 101, 100, 101]
    made.mounted(mounted(15, "b", None))
    assert tid_at(made, 1, 15) is None
    assert made.log.since(10) is None
    assert list(made.oids) == [100, 101]
    made.loaded(15, [record(1, 5)])
    made.mounted(mounted(12, "b", []))
    assert made.newest == 12
    assert tid_at(made, 1, 12) is None


def test_an_answer_from_before_a_drop_is_right_only_where_it_was_asked() -> None:
    made = replica()
    made.dropped(20)
    made.loaded(10, [record(1, 5)])
    assert [tid_at(made, 1, at) for at in (10, 11, 20)] == [5, None, None]


def piece(oids: range, goes_on: bool = True) -> peer.Loaded:
    return peer.Loaded(1, [record(oid, 5) for oid in oids], goes_on)


def test_a_piece_is_marked_and_more_is_asked_for_once() -> None:
    made = replica()
    asked = peer.Load(1, 0, 10, made.ahead.missed())
    made.loaded_piece(asked, piece(range(9)))
    mark = made.ahead.mark
    assert mark is not None
    assert set(made.cache.recent) == set(range(9)) - {mark}
    room = made.ahead.room
    assert made.ahead.reached()
    assert made.ahead.room > room
    made.ahead.asked = 7
    assert made.ahead.missed() == 0  # it is on its way
    made.loaded_piece(peer.More(7, 10, room), piece(range(10, 20), goes_on=False))
    assert made.ahead.asked == 0
    assert not made.ahead.reached()


def test_guesses_that_nobody_uses_become_fewer() -> None:
    made = replica()
    rooms = []
    for number in range(20):
        rooms.append(made.ahead.missed())
        first = 10 * number
        made.loaded_piece(peer.Load(1, first, 10, rooms[-1]), piece(range(first, first + 9)))
    assert rooms == sorted(rooms, reverse=True)
    assert 0 < rooms[-1] < rooms[0] // 10


def test_an_answer_without_room_leaves_the_mark() -> None:
    made = replica()
    made.loaded_piece(peer.Load(1, 0, 10, 1000), piece(range(9)))
    mark = made.ahead.mark
    made.loaded_piece(peer.Load(2, 50, 10, 0), piece(range(50, 51), goes_on=False))
    assert made.ahead.mark == mark
    made.ahead.asked = 9
    made.ahead.broken()
    assert not made.ahead.reached()
    assert made.ahead.missed() > 0


def test_own_writes_are_kept_without_a_copy_where_nobody_came_later() -> None:
    made = replica()
    made.invalidated(20, [], in_flight=[1, 2, 3])
    writes = [record(oid, 0) for oid in (1, 2, 3)]
    made.committed(20, writes, [2])
    assert [tid_at(made, oid, 20) for oid in (1, 2, 3)] == [20, None, 20]
    assert made.log.since(10, {1: 20, 2: 10}) == frozenset({2, 3})


@pytest.mark.rule("SP1")
def test_a_record_that_came_along_is_not_seen_by_older_snapshots() -> None:
    made = replica()
    made.loaded(10, [record(1, 5)])
    made.invalidated(20, [1, 2], (), [record(1, 15)])
    assert [tid_at(made, 1, at) for at in (10, 20, 25)] == [5, 15, 15]
    assert tid_at(made, 2, 20) is None
    assert made.log.since(10) == frozenset({1, 2})
    made.invalidated(30, [1], ())
    assert [tid_at(made, 1, at) for at in (10, 20, 30)] == [5, 15, None]


@pytest.mark.rule("SP1")
def test_a_record_that_came_along_stays_right_behind_an_older_own_write() -> None:
    for merged in ([], [1]):
        made = replica()
        made.invalidated(21, [1], [1], [record(1, 21)])
        own = [record(1, 20)] if merged else []
        made.committed(20, [record(1, 5)], merged, own)
        assert [tid_at(made, 1, at) for at in (20, 21, 30)] == [20, 21, 21]


def test_what_a_commit_says_is_gone_is_no_record_to_be_loaded() -> None:
    made = replica()
    made.invalidated(15, [1], (), [record(1, 15)])
    made.invalidated(20, [], in_flight=[1, 2])
    made.committed(20, [Record(1, 15, "", (), b""), record(2, 5)], [])
    assert [tid_at(made, 1, at) for at in (15, 20)] == [15, None]
    assert tid_at(made, 2, 20) == 20
    made.invalidated(30, [2], (), [Record(2, 30, "", (), b"")])
    assert [tid_at(made, 2, at) for at in (20, 30)] == [20, None]


def test_a_merged_write_that_comes_with_the_answer_is_kept() -> None:
    made = replica()
    made.invalidated(20, [], in_flight=[1])
    made.committed(20, [Record(1, 5, "test:Thing", (), b"mine")], [1], [record(1, 20)])
    found = made.cache.get(1, 20)
    assert found is not None
    assert found.payload == b""


@pytest.mark.parametrize("oid, tid", [(1, 21), (1, 10), (2, 15)])
def test_records_that_nobody_told_of_are_refused(oid: int, tid: int) -> None:
    made = replica()
    with pytest.raises(RemoteProtocolError):
        made.invalidated(20, [1], (), [record(oid, tid)])
    with pytest.raises(RemoteProtocolError):
        made.committed(20, [record(1, 5)], [1], [record(oid, tid)])
    assert made.newest == 10


def test_a_reconnection_keeps_only_what_did_not_change() -> None:
    made = replica()
    made.invalidated(20, [1, 2], (), [record(1, 20), record(2, 20)])
    made.mounted(mounted(30, "a", [1]))
    assert [tid_at(made, oid, 30) for oid in (1, 2)] == [None, 20]


@pytest.mark.rule("SP1")
def test_who_has_written_an_object_in_a_shared_group_need_not_look_again() -> None:
    made = replica()
    made.invalidated(21, [2], in_flight=[1])
    made.committed(20, [record(1, 5)], [])
    assert made.log.since(10, {1: 20}) == frozenset({2})
    assert made.log.since(10) == frozenset({1, 2})
    made.invalidated(30, [1], ())
    assert made.log.since(21, {1: 20}) == frozenset({1})


@pytest.mark.rule("SP1")
def test_a_doubt_stays_while_another_commit_may_have_written_the_object() -> None:
    made = replica()
    made.invalidated(21, [2], in_flight=[1, 1])
    made.committed(20, [record(1, 5)], [], in_flight=[1])
    assert made.log.since(10, {1: 20}) == frozenset({1, 2})
    made.committed(21, [record(1, 20)], [])
    assert made.log.since(10, {1: 20}) == frozenset({1, 2})
    assert made.log.since(10, {1: 21}) == frozenset({2})


@pytest.mark.rule("SP1")
def test_what_others_wrote_in_the_same_group_is_looked_at_again() -> None:
    made = replica()
    made.invalidated(21, [1], in_flight=[1])
    made.committed(20, [record(1, 5)], [])
    assert made.log.since(10, {1: 20}) == frozenset({1})
