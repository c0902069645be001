"""A rate limit, in a time that is made up."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.flow import Pipeline, RateLimit, Runner
from hubbub.kernel import GraphError
from tests.unit.flow.fake_time import in_fake_time, now
from tests.unit.flow.neighbours import Seen, Tracking


def moments(count: int, limit: RateLimit) -> list[float]:
    seen: list[float] = []

    async def main() -> None:
        await Pipeline(range(count), limit, lambda item: seen.append(round(now(), 6)))

    in_fake_time(main())
    return seen


def test_so_many_pass_in_a_second() -> None:
    assert moments(4, RateLimit(2)) == [0, 0.5, 1, 1.5]
    assert moments(5, RateLimit(1, burst=3)) == [0, 0, 0, 1, 2]


@pytest.mark.rule("FL1")
def test_nothing_is_dropped_and_who_sends_more_waits() -> None:
    async def main() -> tuple[list[int], float]:
        seen = Seen()
        source = Tracking(range(1000))
        async with Runner() as runner:
            running = runner.start(Pipeline(source, RateLimit(100), seen))
            await seen.until(1)
            await asyncio.sleep(1)
            assert not source.all_sent.is_set()
            await running
        assert source.handled == list(range(1000))
        return seen.items, now()

    items, end = in_fake_time(main())
    assert items == list(range(1000))
    assert end == pytest.approx(9.99)


def test_a_rate_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(GraphError, match="more than 0 in a second"):
        RateLimit(0)
