"""Answers to commits and news that arrive in one piece, and what becomes of them where the piece is not taken in whole."""

from __future__ import annotations

import threading

import pytest

from hubbub.kernel import Label, Record, RemoteProtocolError
from hubbub.mount.base import MountStats
from hubbub.mount.calls import Call, Calls
from hubbub.mount.replica import Replica
from hubbub.mount.turn import Turn
from hubbub.wire import peer

A, B = 1, 2


def record(oid: int, tid: int) -> Record:
    return Record(oid, tid, "test:Thing", (), b"")


def mounted(tid: int, changed: list[int] | None = None) -> peer.Mounted:
    return peer.Mounted(tid, "a", changed, 100, 2, 15.0, 1 << 20)


class Peer:
    def __init__(self) -> None:
        self.replica = Replica(1 << 20)
        turn = Turn(threading.Lock(), lambda _: None, lambda: None)
        self.calls = Calls(lambda: "host", self.replica, turn, MountStats(), lambda _: None)
        self.replica.mounted(mounted(10))
        self.replica.loaded(10, [record(A, 5), record(B, 5)])

    def commit(self, *oids: int, tid: int = 5) -> Call:
        message = peer.Commit(0, b"", 10, [], [], {}, Label())
        return self.calls.add(message, [record(oid, tid) for oid in oids], 1 << 20)

    def tids(self, oid: int, *at: int) -> list[int | None]:
        found = [self.replica.cache.get(oid, tid) for tid in at]
        return [None if record is None else record.tid for record in found]


@pytest.mark.rule("SP1")
@pytest.mark.parametrize("with_record", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_what_a_commit_was_merged_with_in_its_own_group_is_not_overlooked(
    together: bool, with_record: bool
) -> None:
    one = Peer()
    call = one.commit(A)
    # Somebody else wrote A as 11, and the last of the group to write it was this peer.
    records = [record(A, 12)] if with_record else []
    told: list[peer.ToPeer] = [
        peer.Invalidate(12, []),
        peer.Committed(call.message.id, 12, [A], records),
    ]
    if together:
        one.calls.apply(told)
    else:
        for message in told:
            one.calls.apply([message])
    assert one.tids(A, 10, 11, 12) == [5, None, 12 if with_record else None]


@pytest.mark.rule("SP1")
def test_what_came_between_two_commits_of_a_peer_is_not_overlooked_where_all_is_told_at_once() -> (
    None
):
    one = Peer()
    first, second = one.commit(A), one.commit(A, B)
    # Somebody else wrote A as 13, between this peer's 11 and 14.
    one.calls.apply(
        [
            peer.Invalidate(11, []),
            peer.Committed(first.message.id, 11, []),
            peer.Invalidate(15, [B]),
            peer.Committed(second.message.id, 14, [A], [record(A, 14)]),
        ]
    )
    assert one.tids(A, 10, 11, 12, 13, 14, 15) == [5, 11, None, None, 14, 14]


@pytest.mark.rule("SP1")
@pytest.mark.parametrize("end", [mounted(1), peer.Fault("closed", "bye")])
def test_of_two_commits_to_one_object_the_first_is_not_the_newest_where_the_second_answer_is_lost(
    end: peer.ToPeer,
) -> None:
    one = Peer()
    first, second = one.commit(A), one.commit(A)
    told: list[peer.ToPeer] = [
        peer.Invalidate(11, []),
        peer.Committed(first.message.id, 11, []),
        peer.Invalidate(12, []),
        end,
        peer.Committed(second.message.id, 12, [A], [record(A, 12)]),
    ]
    with pytest.raises((RemoteProtocolError, ConnectionAbortedError)):
        one.calls.apply(told)
    one.calls.leave(second)
    one.replica.mounted(mounted(12, []))
    assert one.tids(A, 10, 11, 12) == [5, 11, None]


@pytest.mark.rule("SP1")
def test_a_doubt_does_not_outlive_its_connection() -> None:
    one = Peer()
    call = one.commit(A)
    one.calls.apply([peer.Invalidate(11, [])])  # it is stored as 11, and its answer is lost
    one.calls.leave(call)
    one.replica.mounted(mounted(11, []))
    assert one.calls.again() == []
    one.replica.cache.clear()
    call = one.commit(A, B, tid=11)
    one.calls.apply([peer.Invalidate(12, [])])
    one.calls.apply([peer.Committed(call.message.id, 12, [A], [], [A])])
    assert one.tids(A, 12) == [None]


def test_an_answer_that_makes_no_sense_is_asked_for_again() -> None:
    one = Peer()
    call = one.commit(A)
    bad = peer.Committed(call.message.id, 11, [], [record(B, 11)])
    with pytest.raises(RemoteProtocolError, match="not merged"):
        one.calls.apply([peer.Invalidate(11, []), bad])
    assert not call.is_over
    one.replica.mounted(mounted(11, []))
    assert one.calls.again() == [call]
    one.calls.apply([peer.Committed(call.message.id, 11, [])])
    assert call.answer == (11, [A])
