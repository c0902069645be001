"""Cycles come to their ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.flow import (
    Component,
    Graphline,
    Pipeline,
    Runner,
    Sequence,
    ThreadedComponent,
    background,
    box,
)
from hubbub.kernel import GraphError
from tests.unit.flow.stand_ins import Gate, Pass, Seen, turns

BOUND = {"work.again": box(items=100, when_full="fail")}


class Countdown(Component):
    """Send each number back, one less, until it is nought."""

    inboxes = {"inbox": "numbers", "again": box("what comes back", items=1000, when_full="fail")}
    outboxes = {"outbox": "what is done", "back": "what is not"}

    async def main(self) -> None:
        while True:
            _, number = await self.receive("again", "inbox")
            await self.send(number - 1, "back" if number > 1 else "outbox")


class ThreadedCountdown(ThreadedComponent):
    """The same, in a thread."""

    inboxes = Countdown.inboxes
    outboxes = Countdown.outboxes

    def main(self) -> None:
        while True:
            _, number = self.receive("again", "inbox")
            self.send(number - 1, "back" if number > 1 else "outbox")


def ring(source: Any, work: Any, seen: Any, *way: Any) -> Graphline:
    parts = {f"way{n}": part for n, part in enumerate(way)}
    return Graphline(
        source=source, work=work, seen=seen, **parts,
        linkages=["source -> work -> seen", " -> ".join(["work.back", *parts, "work.again"])],
    )  # fmt: skip


@pytest.mark.rule("FL2")
@pytest.mark.parametrize("work", [Countdown, ThreadedCountdown])
@pytest.mark.parametrize("way", [0, 1, 3])
async def test_a_ring_ends_when_nothing_goes_round_any_more(work: Any, way: int) -> None:
    seen = Seen()
    await ring(Pipeline([5, 1, 7] * 5), work(), seen, *[Pass() for _ in range(way)])
    assert seen.items == [0] * 15


async def test_a_ring_through_a_function_and_a_sequence_ends() -> None:
    seen = Seen()
    inner = Sequence(Pipeline(Pass(), Pass()))
    await ring(Pipeline([5, 3]), Countdown(), seen, lambda x: x, inner)
    assert seen.items == [0, 0]


async def test_a_ring_waits_for_what_may_still_come_into_any_of_its_members() -> None:
    gate, seen = Gate(), Seen()
    async with Runner() as runner:
        running = runner.start(ring(Pipeline([2], gate), Countdown(), seen, Pass()))
        await turns(50)
        assert not running.is_over
        gate.open.set()
        await running
    assert seen.items == [0]


async def test_a_ring_waits_for_a_member_that_is_at_work() -> None:
    gate, seen = Gate(), Seen()
    async with Runner() as runner:
        running = runner.start(ring(Pipeline([2]), Countdown(), seen, gate))
        await turns(50)
        assert not running.is_over
        gate.open.set()
        await running
    assert seen.items == [0]


@pytest.mark.parametrize("count", [0, 5])
def test_a_ring_that_is_fed_from_outside_ends_with_that(count: int) -> None:
    graph = Graphline(
        work=Countdown(),
        linkages=["self -> work", "work.back -> work.again", "work -> self"],
    )
    with background(graph) as running:
        for _ in range(count):
            running.put(3)
        running.finish()
        assert list(running) == [0] * count


def test_an_inbox_can_be_fed_from_inside_and_outside() -> None:
    class Twice(Component):
        outboxes = {"outbox": "all", "again": "odd ones, plus one"}
        inboxes = {"inbox": box("numbers", when_full="fail")}

        async def main(self) -> None:
            async for number in self.inbox:
                await self.send(number)
                if number % 2:
                    await self.send(number + 1, "again")

    graph = Graphline(
        work=Twice(), way=Pass(),
        linkages=["self -> work", "work.again -> way -> work", "work -> self"],
    )  # fmt: skip
    with background(graph) as running:
        for number in (1, 2, 3):
            running.put(number)
        running.finish()
        assert sorted(running) == [1, 2, 2, 3, 4]


@pytest.mark.rule("FL1")
def test_a_ring_in_which_everybody_waits_is_refused() -> None:
    with pytest.raises(GraphError) as caught:
        Graphline(a=Pass(), b=Pass(), linkages=["a -> b -> a"])
    assert str(caught.value) == (
        "the cycle a -> b -> a in Graphline can fill up and stand still: give one of its inboxes a policy "
        "for when it is full, with boxes={'part.inbox': box(when_full='drop-oldest')} or in the class"
    )


async def test_a_ring_in_which_items_go_round_for_ever_can_be_stopped() -> None:
    graph = Graphline(
        source=Pipeline([1]), a=Pass(), b=Pass(),
        linkages=["source -> a -> b -> a"],
        boxes={"a": box(when_full="drop-oldest")},
    )  # fmt: skip
    async with Runner() as runner:
        running = runner.start(graph)
        await turns(20)
        running.finish()
        await asyncio.sleep(0)
        assert not running.is_over
