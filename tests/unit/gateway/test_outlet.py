"""When what a peer is told goes out."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.gateway.neighbours import Neighbours
from hubbub.gateway.outlet import Outlet
from hubbub.kernel import FakeClock, Record
from hubbub.store import MemoryStore
from hubbub.store.ledger import Ledger
from hubbub.wire import peer
from hubbub.wire.frames import FrameReader

pytestmark = pytest.mark.rule("ST2", "PE5")


class Out:
    """An outlet, and what went out of it: a list of the messages' classes for each write."""

    def __init__(self, limit_bytes: int = 1 << 20) -> None:
        self.writes: list[list[type]] = []
        self.told: list[peer.Invalidate] = []
        ledger = Ledger(MemoryStore(), FakeClock(), lambda *_: "no merge", cache_records=4)
        self.outlet = Outlet(
            self.write,
            lambda: 0,
            limit_bytes,
            Neighbours(ledger),
            lambda: 1,
            lambda: None,
            self.fail,
        )

    def write(self, data: bytes) -> None:
        messages = list(map(peer.decode_to_peer, FrameReader(1 << 20).feed(data)))
        self.writes.append([type(message) for message in messages])
        self.told += [message for message in messages if isinstance(message, peer.Invalidate)]

    def fail(self, why: str) -> None:
        raise AssertionError(why)

    def tell(self, tid: int, oid: int = 7) -> None:
        """Tell of somebody's commit."""
        record = Record(oid, tid, "Text", (), b"x")
        self.outlet.tell(tid, {oid: record}, [{oid: record}])
        self.outlet.flush_told()

    def tell_with_own(self, tid: int, own: int) -> None:
        """Tell of a group in which only this peer has written."""
        record = Record(own, tid, "Text", (), b"x")
        self.outlet.tell(tid, {}, [{own: record}], own={own: record})

    def answer(self, tid: int) -> None:
        """Answer a commit of this peer's."""
        self.outlet.awaited -= 1
        self.outlet.expect(1)
        self.outlet.answer(peer.Committed(1, tid, [], []))
        self.outlet.answered()


async def test_who_only_reads_is_told_at_once() -> None:
    out = Out()
    out.tell(2)
    assert out.writes == [[peer.Invalidate]]


async def test_who_waits_for_an_answer_is_told_with_it() -> None:
    out = Out()
    out.outlet.awaited = 1
    out.tell(2)
    await asyncio.sleep(0)
    assert out.writes == []
    out.answer(3)
    assert out.writes == [[peer.Invalidate, peer.Committed]]


async def test_whose_next_commit_has_arrived_meanwhile_is_told_with_its_answer() -> None:
    out = Out()
    out.outlet.awaited = 1
    out.answer(2)
    del out.writes[:]
    out.tell(3)
    out.outlet.awaited = 1  # read from the socket before the loop comes round
    await asyncio.sleep(0)
    assert out.writes == []
    out.answer(4)
    assert out.writes == [[peer.Invalidate, peer.Committed]]


async def test_who_has_committed_and_commits_no_more_is_told_when_the_loop_comes_round() -> None:
    out = Out()
    out.outlet.awaited = 1
    out.answer(2)
    del out.writes[:]
    out.tell(3)
    await asyncio.sleep(0)
    assert out.writes == [[peer.Invalidate]]


async def test_news_stay_behind_when_a_commit_has_been_read_and_leave_with_any_answer() -> None:
    out = Out()
    out.outlet.awaited = 1
    out.answer(2)
    del out.writes[:]
    out.tell(3)
    out.outlet.awaited = 1
    out.outlet.flush_read()
    assert out.writes == []
    out.outlet.is_busy = True
    out.outlet.answer(peer.Pong(2, 3))
    out.outlet.flush_read()
    assert out.writes == [[peer.Invalidate, peer.Pong]]


async def test_news_of_several_groups_are_said_in_one() -> None:
    out = Out()
    out.outlet.awaited = 1
    for tid in (2, 3, 4):
        out.tell(tid, oid=tid + tid % 2)
    out.tell_with_own(5, own=9)
    out.answer(5)
    assert out.writes == [[peer.Invalidate, peer.Committed]]
    assert out.told == [peer.Invalidate(5, [2, 4])]


async def test_what_others_changed_before_the_peer_did_is_told_apart() -> None:
    out = Out()
    out.outlet.awaited = 1
    out.tell(2, oid=9)
    out.tell_with_own(3, own=9)
    out.answer(3)
    assert out.told == [peer.Invalidate(2, [9]), peer.Invalidate(3, [])]


async def test_news_wait_behind_nothing_that_is_said_later() -> None:
    out = Out()
    out.outlet.awaited = 1
    out.tell(2)
    out.outlet.answer(peer.Pong(1, 2))
    await asyncio.sleep(0)
    assert out.writes == [[peer.Invalidate, peer.Pong]]


async def test_more_news_than_a_peer_may_have_waiting_drop_its_cache() -> None:
    out = Out(limit_bytes=100)
    out.outlet.awaited = 1
    for tid in range(2, 20):
        out.tell(tid, oid=tid)
    out.answer(20)
    assert out.writes[-1][-2:] == [peer.DropCache, peer.Committed]
    assert not out.outlet.has_more


async def test_who_waits_long_for_an_answer_is_told_before_it() -> None:
    out = Out()
    out.outlet.awaited = 1
    out.tell(2)
    while not out.writes:
        await asyncio.sleep(0.001)
    assert out.writes == [[peer.Invalidate]]
