"""Batches, in a time that is made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hubbub.flow import Batch, Pipeline, Runner
from hubbub.kernel import GraphError
from tests.unit.flow.fake_time import in_fake_time, now
from tests.unit.flow.neighbours import Held, Seen, Tracking


def at(*moments: float) -> Callable[[], AsyncIterator[float]]:
    """A source that sends the moments when they come."""

    async def source() -> AsyncIterator[float]:
        for moment in moments:
            await asyncio.sleep(moment - now())
            yield moment

    return source


def batches(source: Any, batch: Batch) -> list[tuple[float, list[Any]]]:
    seen: list[tuple[float, list[Any]]] = []

    async def main() -> None:
        await Pipeline(source, batch, lambda items: seen.append((round(now(), 6), items)))

    in_fake_time(main())
    return seen


@pytest.mark.rule("FL2")
def test_so_many_make_a_batch_and_the_rest_comes_at_the_end() -> None:
    assert batches(range(7), Batch(3)) == [(0, [0, 1, 2]), (0, [3, 4, 5]), (0, [6])]


def test_nothing_makes_no_batch() -> None:
    assert batches([], Batch(3)) == []
    assert batches(range(4), Batch(2)) == [(0, [0, 1]), (0, [2, 3])]


def test_the_first_of_a_batch_waits_so_long_and_no_longer() -> None:
    seen = batches(at(1, 1.5, 2.5, 6, 6.1, 6.2), Batch(3, seconds=1))
    assert seen == [(2, [1, 1.5]), (3.5, [2.5]), (6.2, [6, 6.1, 6.2])]


def test_without_a_time_it_waits_for_the_rest() -> None:
    assert batches(at(1, 100, 1000), Batch(2)) == [(100, [1, 100]), (1000, [1000])]


def test_where_there_are_always_more_the_time_counts_too() -> None:
    async def source() -> AsyncIterator[int]:
        for number in range(1000):
            yield number
            if number % 10 == 9:  # ten at a time wait in the box
                await asyncio.sleep(0.1)

    seen = batches(source, Batch(10_000, seconds=1))
    assert all(len(items) <= 120 for _, items in seen)
    assert [number for _, items in seen for number in items] == list(range(1000))


def test_a_number_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(GraphError, match="at least 1 item"):
        Batch(0)
    with pytest.raises(GraphError, match="more than 0 seconds"):
        Batch(1, seconds=0)


async def test_an_item_is_handled_when_its_batch_is() -> None:
    source, held = Tracking([1, 2, 3, 4, 5], stay=True), Held()
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Batch(2), held))
        await source.all_sent.wait()
        await held.takes([1, 2])
        assert source.handled == []
        await held.takes([3, 4])
        assert sorted(source.handled) == [1, 2]
        held.go_on.release()
        await source.until_handled(1, 2, 3, 4)
        running.finish()  # the unfinished batch is sent
        held.go_on.release()
        await running
    assert held.items == [[1, 2], [3, 4], [5]]
    assert sorted(source.handled) == [1, 2, 3, 4, 5]


@pytest.mark.rule("FL1")
async def test_it_waits_for_room() -> None:
    source, held = Tracking(range(5000), stay=True), Held()
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Batch(10), held))
        for _ in range(3000):
            await asyncio.sleep(0)
        assert not source.all_sent.is_set()
        running.stop()


async def test_a_stopped_one_sends_nothing_more() -> None:
    seen = Seen()
    source = Tracking([1], stay=True)
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Batch(2), seen))
        await source.all_sent.wait()
        running.stop()
        await running
    assert seen.items == []
    assert source.handled == []
