"""The timer, in a time that is made up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.flow import Component, Pipeline, Runner, Timer
from hubbub.kernel import GraphError
from tests.unit.flow.fake_time import hold_up, in_fake_time, now


class Moments(Component):
    """Notes what came when; ends the graph after so many."""

    outboxes = {}

    def __init__(self, wanted: int, *, takes: dict[int, float] | None = None) -> None:
        self.seen: list[tuple[float, Any]] = []
        self._wanted = wanted
        self._takes = takes or {}

    async def main(self) -> None:
        async for item in self.inbox:
            self.seen.append((round(now(), 6), item))
            if len(self.seen) == self._wanted:
                return
            if item in self._takes:
                hold_up(self._takes[item])


def run(timer: Timer, seen: Moments) -> list[tuple[float, Any]]:
    async def main() -> None:
        await Pipeline(timer, seen)

    in_fake_time(main())
    return seen.seen


def test_it_counts_and_does_not_drift() -> None:
    seen = run(Timer(0.1), Moments(1000))
    assert seen == [(round((number + 1) * 0.1, 6), number) for number in range(1000)]


def test_it_can_begin_at_once() -> None:
    assert run(Timer(2, immediately=True), Moments(3)) == [(0, 0), (2, 1), (4, 2)]


@pytest.mark.rule("FL2")
def test_it_ends_with_its_items() -> None:
    assert run(Timer(1, "abc"), Moments(9)) == [(1, "a"), (2, "b"), (3, "c")]


def test_a_function_is_called_at_each_moment() -> None:
    assert run(Timer(1, now), Moments(2)) == [(1, 1), (2, 2)]


def test_after_a_stall_it_goes_on_in_step_and_without_a_burst() -> None:
    timer = Timer(1)
    seen = run(timer, Moments(4, takes={1: 3.5}))
    # 1 was sent at 2 and held everything up until 5.5; 2 was due at 3
    assert seen == [(1, 0), (2, 1), (5.5, 2), (6, 3)]
    assert timer.missed == 2  # the moments 4 and 5


@pytest.mark.rule("FL1")
def test_moments_without_room_at_the_receiver_are_left_out() -> None:
    class Slow(Component):
        outboxes = {}
        seen: list[tuple[float, int]] = []

        async def main(self) -> None:
            while len(self.seen) < 200:
                item = await self.inbox.get()
                self.seen.append((now(), item))
                await asyncio.sleep(10)

    timer = Timer(1)

    async def main() -> None:
        await Pipeline(timer, Slow())

    in_fake_time(main())
    assert [item for _, item in Slow.seen] == list(range(200))
    assert timer.missed > 800


@pytest.mark.rule("FL2")
def test_it_ends_when_its_graph_is_asked_to_finish() -> None:
    async def main() -> None:
        async with Runner() as runner:
            running = runner.start(Pipeline(Timer(3600), Moments(1)))
            running.finish()
            await running

    in_fake_time(main())


def test_a_time_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(GraphError, match="more than 0 seconds"):
        Timer(0)
