"""Components with a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hubbub.flow import (
    Graphline,
    Pipeline,
    Restart,
    Runner,
    Sequence,
    Threaded,
    ThreadedComponent,
    box,
)
from hubbub.flow import threaded as threaded_module
from hubbub.kernel import ComponentFailedError, Finished, GraphError, Stopped
from tests.unit.flow.stand_ins import AT_ONCE, Forever, Gate, Pass, Seen, Tracking, turns


class Main(ThreadedComponent):
    """Runs a function as its main."""

    inboxes = {"inbox": box("anything", loose=True), "other": box("anything", loose=True)}
    outboxes = {"outbox": box("anything", loose=True), "side": box("anything", loose=True)}

    def __init__(self, body: Callable[[Main], None], restart: Restart | None = None) -> None:
        self._body = body
        self.restart = restart

    def main(self) -> None:
        self._body(self)


def copy(me: Main) -> None:
    for item in me.inbox:
        me.send(item)


@pytest.mark.rule("FL4")
async def test_a_thread_that_blocks_holds_up_nobody_else() -> None:
    blocked, seen = threading.Event(), Seen()

    def block(item: int) -> int:
        blocked.wait()
        return item

    async with Runner() as runner:
        slow = runner.start(Pipeline([1], Threaded(block), Seen()))
        await runner.start(Pipeline(range(1000), Pass(), seen))  # others go on meanwhile
        assert not slow.is_over
        blocked.set()
        await slow
    assert len(seen.items) == 1000


@pytest.mark.rule("FL1")
async def test_back_pressure_reaches_a_thread() -> None:
    sent: list[int] = []

    def produce(me: Main) -> None:
        while True:
            me.send(len(sent))
            sent.append(len(sent))

    gate = Gate()
    async with Runner() as runner:
        running = runner.start(Pipeline(Main(produce), gate, Seen()))
        while len(sent) < 300:  # two lists of items, a box, a hand
            await asyncio.sleep(0)
        for _ in range(2000):
            await asyncio.sleep(0)
        assert len(sent) <= 302
        running.stop()


@pytest.mark.rule("FL2")
async def test_what_a_thread_has_sent_arrives_when_it_is_asked_to_finish() -> None:
    sent: list[int] = []
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def produce(me: Main) -> None:
        while True:
            me.send(len(sent))
            sent.append(len(sent))
            if len(sent) == 150:
                loop.call_soon_threadsafe(enough.set)

    gate, seen = Gate(), Seen()
    async with Runner() as runner:
        running = runner.start(Pipeline(Main(produce), gate, seen))
        await enough.wait()
        running.finish()
        gate.open.set()
        await running
    assert seen.items == sent


@pytest.mark.rule("FL2")
async def test_a_thread_reads_to_the_end() -> None:
    seen = Seen()
    await Pipeline(range(500), Main(copy), Threaded(lambda x: x + 1), seen)
    assert seen.items == list(range(1, 501))


@pytest.mark.rule("FL3")
async def test_what_a_thread_raises_fails_the_graph() -> None:
    def fail(item: int) -> int:
        raise ValueError(f"at {item}")

    with pytest.raises(ComponentFailedError, match="component fail failed: ValueError: at 0"):
        await Pipeline(Forever(), Threaded(fail), Seen())


@pytest.mark.parametrize("item, expected", [("skip", [1, 3, 4]), ("again", [1, 2, 3, 4])])
async def test_a_thread_restarts_and_loses_nothing_of_its_batch(
    item: Any, expected: list[int]
) -> None:
    failed: list[int] = []

    def sometimes(me: Main) -> None:
        for number in me.inbox:
            if number == 2 and not failed:
                failed.append(number)
                raise ValueError("once")
            me.send(number)

    seen, source = Seen(), Tracking([1, 2, 3, 4])
    await Pipeline(source, Main(sometimes, Restart(backoff=AT_ONCE, item=item)), seen)
    assert seen.items == expected
    assert sorted(source.handled) == [1, 2, 3, 4]


async def test_what_a_thread_has_taken_and_not_read_is_there_for_the_next() -> None:
    def take_one(me: Main) -> None:
        me.send(("first", me.inbox.get()))

    seen = Seen()
    await Pipeline(range(5), Sequence(Main(take_one), Pass()), seen)
    assert seen.items == [("first", 0), 1, 2, 3, 4]


async def test_a_consumer_that_ends_ends_a_thread() -> None:
    raised: list[BaseException] = []

    def produce(me: Main) -> None:
        try:
            while True:
                me.send(1)
        except Stopped as stopped:
            raised.append(stopped)
            raise

    await Pipeline(Main(produce), Seen(wanted=1))
    assert list(map(type, raised)) == [Stopped]


@pytest.mark.parametrize("where", ["read", "receive", "send", "sleep"])
async def test_stopping_raises_stopped_in_the_thread(where: str) -> None:
    raised: list[BaseException] = []
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def main(me: Main) -> None:
        loop.call_soon_threadsafe(begun.set)
        try:
            if where == "read":
                me.inbox.get()
            elif where == "receive":
                me.receive("inbox", "other", timeout_s=1000)
            elif where == "sleep":
                me.sleep(1000)
            else:
                while True:
                    me.send(1)
        except Stopped as stopped:
            raised.append(stopped)
            raise

    gate = Gate()
    async with Runner() as runner:
        running = runner.start(
            Graphline(
                never=Gated(), main=Main(main), gate=gate, seen=Seen(),
                linkages=["never -> main", "main -> gate -> seen"],
            )
        )  # fmt: skip
        await begun.wait()
        running.stop()
        await running
    assert list(map(type, raised)) == [Stopped]


class Gated(Forever):
    """A source that sends nothing."""

    async def main(self) -> None:
        await asyncio.Event().wait()


async def test_a_thread_that_ignores_its_stop_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threaded_module, "PATIENCE_S", 0.01)
    blocked, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    ended = threading.Event()

    def block(me: Main) -> None:
        loop.call_soon_threadsafe(begun.set)
        blocked.wait()
        ended.set()

    async with Runner() as runner:
        running = runner.start(Main(block))
        await begun.wait()
        running.stop()
        await running
    assert "the thread of Main still runs; it is left behind" in caplog.text
    blocked.set()
    await asyncio.to_thread(ended.wait)


@pytest.mark.parametrize("tracked", [True, False])
async def test_items_keep_their_order_over_outboxes(tracked: bool) -> None:
    def sort(me: Main) -> None:
        for number in me.inbox:
            me.send(number, "side" if number % 2 else "outbox")

    even, odd = Seen(), Seen()
    source: Any = Tracking(range(50)) if tracked else Pipeline(range(50))
    await Graphline(
        source=source, main=Main(sort), even=even, odd=odd,
        linkages=["source -> main -> even", "main.side -> odd"],
    )  # fmt: skip
    assert (even.items, odd.items) == (list(range(0, 50, 2)), list(range(1, 50, 2)))
    if tracked:
        assert sorted(source.handled) == list(range(50))


async def test_what_a_thread_has_not_handled_is_not() -> None:
    def some(me: Main) -> None:
        for number in me.inbox:
            if number == 5:
                raise ValueError("five")

    source = Tracking(range(10))
    with pytest.raises(ComponentFailedError):
        await Pipeline(source, Main(some))
    assert set(source.handled) <= set(range(5))


async def test_keep_and_resume_in_a_thread() -> None:
    def pairs(me: Main) -> None:
        kept: list[Any] = []
        tokens: tuple[Any, ...] = ()
        for number in me.inbox:
            kept.append(number)
            tokens += me.keep()
            if len(kept) == 2:
                me.resume(tokens)
                me.send(tuple(kept))
                kept, tokens = [], ()

    source, seen = Tracking(range(5)), Seen()
    await Pipeline(source, Main(pairs), seen)
    assert seen.items == [(0, 1), (2, 3)]
    assert sorted(source.handled) == [0, 1, 2, 3]  # the last one was kept


async def test_receive_gives_earlier_inboxes_first_and_times_out() -> None:
    got: list[Any] = []

    def main(me: Main) -> None:
        with pytest.raises(TimeoutError):
            me.receive("other", timeout_s=0)
        got.append(me.receive("inbox"))
        got.append(me.receive("other", "inbox"))
        got.append(me.receive("other", "inbox"))
        with pytest.raises(Finished):
            me.receive()

    async with Runner() as runner:
        gate = Gate()
        running = runner.start(
            Graphline(
                one=Pipeline([1, 2]), two=Pipeline(["a"]), gate=gate, main=Main(main),
                linkages=["one -> main", "two -> gate -> main.other"],
            )
        )  # fmt: skip
        while not got:
            await turns()
        gate.open.set()
        await running
    assert got[0] == ("inbox", 1)
    assert sorted(got[1:], key=str) == [("inbox", 2), ("other", "a")]


async def test_an_unlinked_inbox_is_at_its_end() -> None:
    def main(me: Main) -> None:
        assert list(me.inbox) == []
        with pytest.raises(GraphError, match="no outbox 'wrong'"):
            me.send(1, "wrong")
        with pytest.raises(GraphError, match="no inbox 'wrong'"):
            me.box("wrong")
        me.send_all([1, 2], "side")  # loose, and linked to nothing

    await Main(main)


def test_a_main_has_to_be_plain() -> None:
    with pytest.raises(GraphError) as caught:

        class Wrong(ThreadedComponent):
            async def main(self) -> None:  # type: ignore[override]
                pass

    assert str(caught.value) == (
        "Wrong.main has to be a plain 'def': it runs in a thread; "
        "for 'async def main' derive from Component"
    )


async def test_a_component_without_main_says_so() -> None:
    class Without(ThreadedComponent):
        inboxes = {}
        outboxes = {}

    with pytest.raises(ComponentFailedError, match="Without has no main"):
        await Without()
