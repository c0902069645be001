"""Putting numbered items back in order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.flow import Map, Parallel, Pipeline, RecoverOrder, Runner, TagWithSequenceNumber
from hubbub.kernel import ComponentFailedError, GraphError
from tests.unit.flow.neighbours import Held, Seen, Tracking


async def ordered(numbers: list[int], **options: Any) -> list[str]:
    seen = Seen()
    await Pipeline(
        [(number, f"item {number}") for number in numbers], RecoverOrder(**options), seen
    )
    return seen.items


async def test_items_come_in_the_order_of_their_numbers() -> None:
    assert await ordered([2, 0, 1, 4, 3]) == [f"item {number}" for number in range(5)]
    assert await ordered([6, 5], first=5) == ["item 5", "item 6"]


async def test_workers_that_overtake_each_other() -> None:
    def worker(turns: int) -> Map:
        async def work(pair: tuple[int, int]) -> tuple[int, int]:
            for _ in range(turns * (pair[1] % 3)):
                await asyncio.sleep(0)
            return pair[0], pair[1] * 10

        return Map(work)

    seen = Seen()
    await Pipeline(
        range(300),
        TagWithSequenceNumber(),
        Parallel(worker(1), worker(4), worker(9)),
        RecoverOrder(),
        seen,
    )
    assert seen.items == [number * 10 for number in range(300)]


async def test_an_item_is_handled_when_it_has_been_sent_on_and_handled_there() -> None:
    source, held = Tracking([(1, "b"), (0, "a")], stay=True), Held()
    async with Runner() as runner:
        runner.start(Pipeline(source, RecoverOrder(), held))
        await held.takes("a")
        assert source.handled == []
        await held.takes("b")
        assert source.handled == [(0, "a")]
        held.go_on.release()
        await source.until_handled((0, "a"), (1, "b"))


@pytest.mark.rule("FL3")
async def test_a_number_that_is_missing_is_a_failure() -> None:
    with pytest.raises(ComponentFailedError, match="number 1 did not come; 2 items waited"):
        await ordered([0, 2, 3])
    with pytest.raises(ComponentFailedError, match="number 0 did not come, and 3 items wait"):
        await ordered([1, 2, 3, 4, 0], items=2)


@pytest.mark.rule("FL3")
async def test_a_number_that_comes_twice_is_a_failure() -> None:
    with pytest.raises(ComponentFailedError, match="number 0 came twice"):
        await ordered([0, 0])
    with pytest.raises(ComponentFailedError, match="number 2 came twice"):
        await ordered([2, 2])


def test_a_number_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(GraphError, match="at least 1"):
        RecoverOrder(items=0)
