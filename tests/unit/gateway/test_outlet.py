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

    def __init__(self) -> None:
        self.writes: list[list[type]] = []
        ledger = Ledger(MemoryStore(), FakeClock(), lambda *_: "no merge", cache_records=4)
        self.outlet = Outlet(
            self.write, lambda: 0, 1 << 20, Neighbours(ledger), lambda: 1, lambda: None, self.fail
        )

    def write(self, data: bytes) -> None:
        payloads = FrameReader(1 << 20).feed(data)
        self.writes.append([type(peer.decode_to_peer(payload)) for payload in payloads])

    def fail(self) -> None:
        raise AssertionError("given up")

    def tell(self, tid: int) -> None:
        """Tell of somebody's commit."""
        record = Record(7, tid, "Text", (), b"x")
        self.outlet.tell(tid, {7: record}, [{7: record}])
        self.outlet.flush_told()

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


async def test_who_waits_long_for_an_answer_is_told_before_it() -> None:
    out = Out()
    out.outlet.awaited = 1
    out.tell(2)
    while not out.writes:
        await asyncio.sleep(0.001)
    assert out.writes == [[peer.Invalidate]]
