"""Graphs that run: how they end, fail and are stopped."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import tracemalloc
import weakref
from typing import Any

import pytest

from hubbub.flow import (
    Backoff,
    Component,
    Declared,
    Graphline,
    Pipeline,
    Restart,
    Runner,
    Token,
    box,
)
from hubbub.kernel import ComponentFailedError, GraphError, Stopped
from tests.unit.flow.stand_ins import (
    AT_ONCE,
    Fails,
    Forever,
    Gate,
    Idle,
    Pass,
    Seen,
    Tracking,
    turns,
)

SMALL = box(items=1)


def tight(**parts: Any) -> Graphline:
    """Join ``parts`` in a line, with boxes of one item."""
    names = list(parts)
    return Graphline(
        **parts,
        linkages=[" -> ".join(names)],
        boxes=dict.fromkeys(names[1:], SMALL),
    )


# ---------------------------------------------------------------------------- FL1


@pytest.mark.rule("FL1")
async def test_a_slow_consumer_holds_up_the_source() -> None:
    source, gate, seen = Forever(), Gate(), Seen()
    async with Runner() as runner:
        runner.start(tight(source=source, middle=Pass(), gate=gate, seen=seen))
        await turns(50)
        held = source.sent
        await turns(50)
        assert source.sent == held <= 4  # two boxes and two hands
        gate.open.set()
        await turns(50)
        assert source.sent > held
    assert seen.items == list(range(len(seen.items)))


@pytest.mark.rule("FL1")
async def test_several_linkages_from_one_outbox_go_at_the_pace_of_the_slowest() -> None:
    source, gate, seen, slow = Forever(), Gate(), Seen(), Seen()
    graph = Graphline(
        source=source,
        quick=seen,
        gate=gate,
        slow=slow,
        linkages=["source -> quick", "source -> gate", "gate -> slow"],
        boxes={"quick": SMALL, "gate": SMALL},
    )
    async with Runner() as runner:
        runner.start(graph)
        await turns(50)
        assert len(seen.items) <= 4
        gate.open.set()


# ---------------------------------------------------------------------------- FL2


@pytest.mark.rule("FL2")
async def test_what_is_in_full_boxes_comes_out_after_its_producer_has_ended() -> None:
    seen = Seen()
    await tight(source=Pipeline(range(100)), a=Pass(), b=lambda x: x + 1, c=Pass(), seen=seen)
    assert seen.items == list(range(1, 101))


@pytest.mark.rule("FL2")
async def test_a_box_with_two_producers_ends_with_the_last() -> None:
    seen, gate = Seen(), Gate()
    graph = Graphline(
        quick=Pipeline([1, 2]),
        source=Pipeline([3]),
        gate=gate,
        seen=seen,
        linkages=["quick -> seen", "source -> gate -> seen"],
    )
    async with Runner() as runner:
        running = runner.start(graph)
        await turns(20)
        assert (seen.items, running.is_over) == ([1, 2], False)
        gate.open.set()
        await running
    assert sorted(seen.items) == [1, 2, 3]


@pytest.mark.rule("FL2")
async def test_a_graph_that_is_asked_to_finish_drains() -> None:
    source, gate, seen = Forever(), Gate(), Seen()
    async with Runner() as runner:
        running = runner.start(tight(source=source, a=Pass(), gate=gate, b=Pass(), seen=seen))
        await turns(50)
        running.finish()
        running.finish()
        gate.open.set()
        await running
    assert seen.items == list(range(source.sent + 1))  # what it was just sending, too


@pytest.mark.rule("FL2")
async def test_finishing_loses_nothing_that_a_source_has_begun_to_send() -> None:
    drawn: list[int] = []

    def draw() -> Any:
        for number in itertools.count():
            drawn.append(number)
            yield number

    gate, seen = Gate(), Seen()
    async with Runner() as runner:
        running = runner.start(tight(source=Pipeline(draw), gate=gate, seen=seen))
        await turns(50)
        running.finish()
        gate.open.set()
        await running
    assert seen.items == drawn


@pytest.mark.rule("FL2")
async def test_finishing_waits_for_a_reader_whose_producers_have_ended_already() -> None:
    gate, seen = Gate(), Seen()
    async with Runner() as runner:
        running = runner.start(Pipeline(range(10), gate, seen))
        await turns(20)
        running.finish()
        await turns(20)
        gate.open.set()
        await running
    assert seen.items == list(range(10))


@pytest.mark.rule("FL2")
async def test_a_consumer_that_ends_ends_its_producers() -> None:
    seen, source = Seen(wanted=3), Forever()
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Pass(), seen))
        await running
    assert seen.items == [0, 1, 2]
    assert running.left > 0


@pytest.mark.parametrize("together", [True, False])
async def test_a_receiver_that_has_ended_does_not_count_while_there_are_others(
    together: bool,
) -> None:
    first, all_ = Seen(wanted=1), Seen()
    middle: Any = (lambda x: x) if together else Pass()
    graph = Graphline(
        source=Pipeline(range(1000)),
        middle=middle,
        first=first,
        all=all_,
        linkages=["source -> middle", "middle -> first", "middle -> all"],
    )
    await graph
    assert first.items == [0]
    assert all_.items == list(range(1000))


@pytest.mark.rule("FL2")
async def test_finishing_lets_a_component_send_what_it_kept_to_the_end() -> None:
    go_on = asyncio.Event()

    class Keeps(Component):
        async def main(self) -> None:
            kept = [item async for item in self.inbox]
            await go_on.wait()
            await self.send(kept)

    seen = Seen()
    async with Runner() as runner:
        running = runner.start(Pipeline([1, 2], Keeps(), seen))
        await turns(20)
        running.finish()
        await turns(20)
        go_on.set()
        await running
    assert seen.items == [[1, 2]]


# ---------------------------------------------------------------------------- FL3


@pytest.mark.rule("FL3")
async def test_a_failure_takes_the_graph_down_with_its_whole_cause() -> None:
    idle, source = Idle(), Forever()
    graph = Graphline(
        source=source,
        inner=Pipeline(Pass(), Fails([5]), name="inner"),
        seen=Seen(),
        idle=idle,
        linkages=["source -> inner -> seen"],
    )
    with pytest.raises(ComponentFailedError) as caught:
        await graph
    assert str(caught.value) == "component inner.Fails failed: ValueError: at 5"
    assert caught.value.component == "inner.Fails"
    assert isinstance(caught.value.__cause__, ValueError)
    assert idle.cancelled


@pytest.mark.rule("FL3")
async def test_what_others_raise_while_they_are_stopped_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Bad(Component):
        inboxes = {}
        outboxes = {}

        async def main(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise KeyError("in its cleaning up")

    graph = Graphline(
        bad=Bad(), source=Pipeline([1]), fails=Fails([1]), seen=Seen(),
        linkages=["source -> fails -> seen"],
    )  # fmt: skip
    with pytest.raises(ComponentFailedError) as caught:
        await graph
    assert list(map(str, caught.value.others.values())) == ["'in its cleaning up'"]
    assert "component bad failed while it was stopped" in caplog.text


@pytest.mark.rule("FL3")
async def test_a_function_that_fails_is_not_hidden_by_a_consumer_that_has_ended() -> None:
    seen = Seen(wanted=1)

    def late(item: int) -> int:
        if item == 50:
            raise ValueError("late")
        return item

    with pytest.raises(ComponentFailedError, match="ValueError: late"):
        await Pipeline(list(range(60)), late, seen)


@pytest.mark.rule("FL3")
async def test_a_component_that_is_cancelled_by_nobody_has_failed() -> None:
    class Cancelled(Component):
        inboxes = {}
        outboxes = {}

        async def main(self) -> None:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

    with pytest.raises(ComponentFailedError) as caught:
        await Cancelled()
    assert str(caught.value) == (
        "component Cancelled failed: CancelledError: cancelled, though nobody asked it to end"
    )


@pytest.mark.rule("FL3")
@pytest.mark.parametrize("where", ["ended", "token", "finish"])
async def test_what_a_call_back_raises_fails_the_graph_and_never_hangs_it(where: str) -> None:
    class Raises(Pass):
        def withdraw(self) -> None:
            if where == "ended":
                raise RuntimeError("in ended")

        def finish(self) -> None:
            if where == "finish":
                raise RuntimeError("in finish")
            super().finish()

        async def main(self) -> None:
            if where == "token":
                self.resume((Token(self._raise),))
            if where != "finish":
                return
            await super().main()

        def _raise(self, _: Token) -> None:
            raise RuntimeError("in token")

    source = Forever()
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Raises(), Seen()))
        await turns(1)
        if where == "finish":
            running.finish()
        with pytest.raises(ComponentFailedError, match=f"RuntimeError: in {where}"):
            await running
        with pytest.raises(ComponentFailedError):
            await runner.wait()


# ----------------------------------------------------------------------- restarts


@pytest.mark.rule("FL3")
@pytest.mark.parametrize("item, expected", [("skip", [0, 2, 4]), ("again", [0, 1, 2, 3, 4])])
async def test_a_restartable_component_runs_again(item: Any, expected: list[int]) -> None:
    seen = Seen()
    fails = Fails([1, 3], restart=Restart(backoff=AT_ONCE, item=item))
    running = None
    async with Runner() as runner:
        running = runner.start(tight(source=Pipeline(range(5)), fails=fails, seen=seen))
        await running
    assert seen.items == expected
    assert running.failures_of(fails) == 2


@pytest.mark.rule("FL3")
async def test_a_component_that_fails_too_often_takes_the_graph_down_after_all() -> None:
    fails = Fails([1], always=True, restart=Restart(limit=3, backoff=AT_ONCE, item="again"))
    async with Runner() as runner:
        running = runner.start(Pipeline(range(5), fails, Seen()))
        with pytest.raises(ComponentFailedError, match="at 1"):
            await running
        assert running.failures_of(fails) == 4
        with pytest.raises(ComponentFailedError):
            await runner.wait()


async def test_with_several_inboxes_only_the_item_in_hand_is_given_again() -> None:
    class Two(Component):
        inboxes = {"inbox": "one", "other": "another"}
        restart = Restart(backoff=AT_ONCE, item="again")
        failed = False

        async def main(self) -> None:
            while True:
                name, item = await self.receive("other", "inbox")
                if name == "inbox" and not self.failed:
                    self.failed = True
                    raise ValueError("once")
                await self.send((name, item))

    seen = Seen()
    graph = Graphline(
        one=Pipeline([1]), other=Pipeline([2]), two=Two(), seen=seen,
        linkages=["one -> two", "other -> two.other", "two -> seen"],
    )  # fmt: skip
    await graph
    assert seen.items == [("other", 2), ("inbox", 1)]


@pytest.mark.parametrize("when", ["while it waits to run again", "before it fails"])
async def test_a_source_that_restarts_ends_when_the_graph_is_asked_to_finish(when: str) -> None:
    class Unsteady(Component):
        inboxes = {}
        restart = Restart(backoff=AT_ONCE)
        runs = 0
        go_on = asyncio.Event()

        async def main(self) -> None:
            self.runs += 1
            await self.send(self.runs)
            if when == "before it fails":
                try:
                    await asyncio.Event().wait()
                finally:
                    raise ValueError("when it was cancelled")
            raise ValueError("again")

    seen = Seen()
    async with Runner() as runner:
        running = runner.start(Pipeline(Unsteady(), seen))
        await turns(2)
        running.finish()
        await running
    assert seen.items[:1] == [1]


async def test_stopping_does_not_wait_for_a_restart() -> None:
    fails = Fails([1], restart=Restart(backoff=Backoff(first_s=1000)))
    async with Runner() as runner:
        running = runner.start(Pipeline([1], fails, Seen()))
        await turns(20)
        assert running.failures_of(fails) == 1
    assert running.is_over


# --------------------------------------------------------------------------- stop


async def test_stopping_ends_everything_and_counts_what_is_left() -> None:
    gate, idle = Gate(), Idle()
    async with Runner() as runner:
        running = runner.start(
            Graphline(source=Forever(), gate=gate, seen=Seen(), idle=idle,
                      linkages=["source -> gate -> seen"], boxes={"gate": box(items=7)})
        )  # fmt: skip
        await turns(50)
        running.stop()
        running.stop()
        await running
    assert idle.cancelled
    assert running.left == 7


async def test_a_component_runs_once() -> None:
    seen = Seen()
    await Pipeline([1], seen)
    with pytest.raises(GraphError) as caught:
        await Pipeline([1], seen)
    assert (
        str(caught.value) == "<Seen> runs already, or has run: a component runs once, make another"
    )


async def test_names_and_paths() -> None:
    inner = Pass()
    async with Runner() as runner:
        running = runner.start(
            Pipeline(Forever(), Pipeline(inner, Idle2(), name="inner"), Seen(), name="outer")
        )
        assert running.path_of(inner) == "inner.Pass"
        assert running.box_of(inner, "inbox").name == "inner.Pass.inbox"
        with pytest.raises(GraphError) as caught:
            running.box_of(inner, "wrong")
        assert str(caught.value) == "<Pass> has no inbox 'wrong'; it has 'inbox'"
        assert [leaf.label for leaf in running.leaves()] == ["Forever", "Pass", "Idle2", "Seen"]


class Idle2(Pass):
    """Another name."""


# ------------------------------------------------------------------------- tokens


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(lambda: [Pass()], id="component"),
        pytest.param(lambda: [lambda x: x], id="function"),
        pytest.param(lambda: [lambda x: None], id="function that drops"),
        pytest.param(lambda: [lambda x: x, Pass(), lambda x: x], id="mixed"),
    ],
)
@pytest.mark.parametrize("small", [True, False])
async def test_each_tracked_item_is_handled_once(parts: Any, small: bool) -> None:
    source = Tracking(range(20))
    made = {f"part{n}": part for n, part in enumerate(parts())}
    join = tight if small else lambda **p: Pipeline(*p.values())
    await join(source=source, **made, seen=Seen())
    assert source.handled == list(range(20))


@pytest.mark.parametrize("part", [Pass, lambda: lambda x: x])
async def test_an_item_that_goes_to_several_is_handled_when_all_have(part: Any) -> None:
    source, gate, seen = Tracking(range(3)), Gate(), Seen()
    graph = Graphline(
        source=source, part=part(), gate=gate, slow=Seen(), seen=seen,
        linkages=["source -> part", "part -> gate", "gate -> slow", "part -> seen"],
    )  # fmt: skip
    async with Runner() as runner:
        running = runner.start(graph)
        await turns(50)
        assert (seen.items, source.handled) == ([0, 1, 2], [])
        gate.open.set()
        await running
    assert source.handled == [0, 1, 2]


@pytest.mark.parametrize("part", [Pass, lambda: lambda x: x])
async def test_a_receiver_that_has_ended_keeps_no_token(part: Any) -> None:
    source, seen = Tracking(range(300)), Seen()
    graph = Graphline(
        source=source, part=part(), first=Seen(wanted=1), seen=seen,
        linkages=["source -> part", "part -> first", "part -> seen"],
    )  # fmt: skip
    await graph
    assert sorted(source.handled) == list(range(300))


async def test_what_was_in_a_failed_graph_is_not_handled() -> None:
    source = Tracking(range(10))
    with pytest.raises(ComponentFailedError):
        await Pipeline(source, Fails([4]), lambda x: x, Seen())
    assert set(source.handled) <= {0, 1, 2, 3}


async def test_what_nobody_reads_to_its_end_is_not_handled() -> None:
    source = Tracking(range(1000))
    await Pipeline(source, Pass(), Seen(wanted=5))
    assert source.handled == list(range(5))


@pytest.mark.parametrize("item", ["skip", "again"])
async def test_tokens_over_a_restart(item: Any) -> None:
    source, seen = Tracking(range(6)), Seen()
    fails = Fails([1, 4], restart=Restart(backoff=AT_ONCE, item=item))
    await Pipeline(source, fails, seen)
    assert sorted(source.handled) == list(range(6))


# ------------------------------------------------------------------------- memory


async def test_a_graph_that_has_ended_is_let_go() -> None:
    seen = Seen()
    graph = Pipeline(range(10), Pass(), seen)
    await graph
    gone = weakref.ref(graph)
    del graph, seen
    gc.collect()
    assert gone() is None


async def test_an_idle_component_takes_less_than_2_kb() -> None:
    count = 1000
    gc.collect()
    tracemalloc.start(1)
    try:
        before, _ = tracemalloc.get_traced_memory()
        async with Runner() as runner:
            runner.start(Pipeline(Quiet(), *[Pass() for _ in range(count)], Seen()))
            await turns()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / count < 2048


class Quiet(Forever):
    """A source that sends nothing."""

    async def main(self) -> None:
        await asyncio.Event().wait()


async def test_a_box_is_bounded_as_the_graph_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    source, gate = Forever(), Gate()
    bound: Declared = box(items=2, when_full="drop-newest")
    graph = Graphline(
        source=source, gate=gate, seen=Seen(),
        linkages=["source -> gate -> seen"], boxes={"gate.inbox": bound},
    )  # fmt: skip
    async with Runner() as runner:
        running = runner.start(graph)
        await turns(300)
        dropped = running.box_of(gate, "inbox").dropped
        assert dropped > 0
        assert source.sent >= dropped


def test_stopped_is_what_a_component_gets_whose_receiver_has_ended() -> None:
    assert Stopped("x").code == "stopped"
