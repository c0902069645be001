"""Calling a function again where it fails."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hubbub.flow import Backoff, Failed, Graphline, Pipeline, Retry, Runner
from hubbub.kernel import ComponentFailedError, GraphError
from tests.unit.flow.fake_time import in_fake_time, now
from tests.unit.flow.neighbours import Held, Seen, Tracking

AT_ONCE = Backoff(first_s=0)


def fails(times: int, error: type[Exception] = OSError) -> Callable[[Any], Any]:
    """A function that fails so many times for each item."""
    tried: dict[Any, int] = {}

    async def work(item: Any) -> Any:
        tried[item] = tried.get(item, 0) + 1
        if tried[item] <= times:
            raise error(f"try {tried[item]}")
        return f"{item} after {tried[item]}"

    return work


async def test_it_calls_again_and_keeps_the_order() -> None:
    seen = Seen()
    retry = Retry(fails(2), backoff=AT_ONCE)
    await Pipeline(["a", "b"], retry, seen)
    assert seen.items == ["a after 3", "b after 3"]
    assert retry.failures == 4


async def test_what_it_gives_up_leaves_with_the_error_and_the_next_has_its_turn() -> None:
    good, bad = Seen(), Seen()
    work = fails(1)

    async def only_b(item: str) -> Any:
        return await work(item) if item == "b" else await fails(9)(item)

    await Graphline(
        source=["a", "b"],
        call=Retry(only_b, limit=3, backoff=AT_ONCE),
        good=good,
        bad=bad,
        linkages=["source -> call -> good", "call.failed -> bad"],
    )
    assert good.items == ["b after 2"]
    ((item, error, tries),) = bad.items
    assert (item, str(error), tries) == ("a", "try 1", 3)
    assert isinstance(bad.items[0], Failed)


@pytest.mark.rule("FL3")
async def test_where_nobody_takes_what_it_gives_up_the_graph_fails() -> None:
    with pytest.raises(ComponentFailedError, match="work failed: OSError: try 2"):
        await Pipeline(["a"], Retry(fails(9), limit=2, backoff=AT_ONCE), Seen())


@pytest.mark.rule("FL3")
async def test_other_errors_take_the_graph_down_at_once() -> None:
    retry = Retry(fails(1, KeyError), backoff=AT_ONCE, on=(OSError, ValueError))
    with pytest.raises(ComponentFailedError, match="KeyError"):
        await Pipeline(["a"], retry, Seen())
    assert retry.failures == 0


def test_it_waits_longer_each_time_and_begins_afresh_for_each_item() -> None:
    moments: list[float] = []

    async def work(item: int) -> int:
        moments.append(round(now(), 6))
        if len(moments) % 4:
            raise OSError
        return item

    async def main() -> None:
        await Pipeline([1, 2], Retry(work, backoff=Backoff(1, 2, 30, jitter=0)), Seen())

    in_fake_time(main())
    assert moments == [0, 1, 3, 7, 7, 8, 10, 14]


@pytest.mark.rule("FL4")
async def test_a_plain_function_may_block() -> None:
    go_on = threading.Event()
    seen = Seen()

    def work(item: int) -> int | None:
        assert threading.current_thread() is not threading.main_thread()
        go_on.wait(20)
        return item if item else None

    async with Runner() as runner:
        running = runner.start(Pipeline([1, 0, 2], Retry(work), seen))
        for _ in range(10):
            await asyncio.sleep(0)  # others run
        assert seen.items == []
        go_on.set()
        await running
    assert seen.items == [1, 2]


async def test_each_failure_is_in_the_log(caplog) -> None:
    with caplog.at_level(logging.INFO, "hubbub.flow"):
        await Pipeline(["a"], Retry(fails(1), backoff=AT_ONCE), Seen())
    assert "work: try 1 failed, the next one in 0.00 s: OSError('try 1')" in caplog.text


async def test_an_item_is_handled_when_what_came_of_it_is() -> None:
    source, held = Tracking(["a", "b"], stay=True), Held()
    async with Runner() as runner:
        runner.start(Pipeline(source, Retry(fails(1), backoff=AT_ONCE), held))
        await held.takes("a after 2")
        assert source.handled == []
        held.go_on.release()
        await source.until_handled("a")


def test_a_limit_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(GraphError, match="at least once, not 0 times"):
        Retry(fails(0), limit=0)
