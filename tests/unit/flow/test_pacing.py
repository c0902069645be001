"""How fast things may go, in a time that is made up."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.flow.pacing import Pace
from hubbub.kernel import GraphError
from tests.unit.flow.fake_time import in_fake_time, now


async def passes(pace: Pace, count: int) -> list[float]:
    moments = []
    for _ in range(count):
        await pace.wait()
        moments.append(round(now(), 6))
    return moments


def test_without_a_burst_they_pass_at_equal_distances() -> None:
    assert in_fake_time(passes(Pace(4), 4)) == [0, 0.25, 0.5, 0.75]


def test_after_a_pause_so_many_pass_at_once_and_no_more() -> None:
    async def main() -> list[list[float]]:
        pace = Pace(2, burst=3)
        first = await passes(pace, 5)
        await asyncio.sleep(9)
        return [first, await passes(pace, 5)]

    assert in_fake_time(main()) == [[0, 0, 0, 0.5, 1.0], [10, 10, 10, 10.5, 11.0]]


def test_a_short_pause_gives_back_a_part_of_the_burst() -> None:
    async def main() -> list[float]:
        pace = Pace(1, burst=3)
        await passes(pace, 3)
        await asyncio.sleep(2)
        return await passes(pace, 3)

    assert in_fake_time(main()) == [2, 2, 3]


@pytest.mark.parametrize("per_second, burst", [(0, 1), (-1, 1), (float("nan"), 1), (1, 0)])
def test_a_rate_that_makes_no_sense_is_refused(per_second: float, burst: int) -> None:
    with pytest.raises(GraphError, match="a rate is more than 0"):
        Pace(per_second, burst)
