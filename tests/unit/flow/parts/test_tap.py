"""Looking at what passes without touching it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from hubbub.flow import Component, Pipeline, Runner, Tap
from hubbub.kernel import ComponentFailedError, GraphError
from tests.unit.flow.neighbours import Held, Seen, Tracking


@pytest.mark.rule("FL2")
async def test_a_function_sees_all_that_passes() -> None:
    looked: list[Any] = []
    seen = Seen()
    tap = Tap(looked.append)
    await Pipeline(range(1000), tap, seen)
    assert seen.items == list(range(1000))
    assert len(looked) + tap.missed == 1000
    assert looked == sorted(looked)
    assert looked[-1] == 999


async def test_a_graph_sees_it_and_what_it_makes_goes_nowhere() -> None:
    looked, seen = [], Seen()

    def note(item: int) -> int:
        looked.append(item)
        return item

    await Pipeline(range(50), Tap(Pipeline(lambda item: item + 1, note, Strict())), seen)
    assert looked == list(range(1, 51))
    assert seen.items == list(range(50))


class Strict(Component):
    """Its outbox has to be linked."""

    async def main(self) -> None:
        async for item in self.inbox:
            await self.send(item)


async def test_async_functions_and_generators_look_too() -> None:
    looked: list[Any] = []

    async def look(item: Any) -> None:
        looked.append(item)

    async def look_at_all(items: Any) -> Any:
        async for item in items:
            looked.append(item)
            yield item

    await Pipeline([1, 2], Tap(look), Seen())
    await Pipeline([3, 4], Tap(look_at_all), Seen())
    assert looked == [1, 2, 3, 4]


@pytest.mark.rule("FL4")
async def test_a_slow_look_delays_nothing_and_misses_the_oldest() -> None:
    go_on = threading.Event()
    looked: list[int] = []

    def look(item: int) -> None:
        go_on.wait(20)
        looked.append(item)

    seen = Seen()
    tap = Tap(look, items=10)
    async with Runner() as runner:
        running = runner.start(Pipeline(range(1000), tap, seen))
        await seen.until(1000)  # all has passed, though nothing has been looked at
        assert looked == []
        go_on.set()
        await running
    assert looked[-10:] == list(range(990, 1000))
    assert len(looked) + tap.missed == 1000
    assert tap.missed >= 880


async def test_a_look_without_end_ends_when_patience_does(caplog) -> None:
    async def look(items: Any) -> Any:
        async for item in items:
            await asyncio.Event().wait()
            yield item

    seen = Seen()
    await Pipeline([1, 2], Tap(look, patience_s=0.01), seen)
    assert seen.items == [1, 2]
    assert "too slow, and is stopped" in caplog.text


@pytest.mark.rule("FL3")
async def test_a_look_that_fails_is_logged_and_harms_nobody(caplog) -> None:
    def look(item: int) -> None:
        raise LookupError("no eyes")

    source = Gated()
    seen = Seen()
    tap = Tap(look)
    async with Runner() as runner:
        running = runner.start(Pipeline(source, tap, seen))
        await seen.until(1)
        while tap.failure is None:
            await asyncio.sleep(0)
        source.go_on.set()
        await running
    assert seen.items == [0, 1, 2, 3]
    assert isinstance(tap.failure, ComponentFailedError)
    assert "no eyes" in str(tap.failure)
    assert "looks at nothing more" in caplog.text
    assert tap.missed == 3


class Gated(Component):
    """Sends one item, and three more when it may."""

    inboxes = {}

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def main(self) -> None:
        await self.send(0)
        await self.go_on.wait()
        await self.send_all([1, 2, 3])


async def test_looking_is_no_handling() -> None:
    never = threading.Event()
    source = Tracking([1, 2], stay=True)
    held = Held()

    def look(item: int) -> None:
        assert isinstance(item, int)
        never.wait(20)

    async with Runner() as runner:
        running = runner.start(Pipeline(source, Tap(look), held))
        await held.takes(1)
        assert source.handled == []
        await held.takes(2)
        assert source.handled == [1]
        held.go_on.release()
        await source.until_handled(1, 2)  # though the one who looks is not done with the first
        never.set()
        running.stop()


@pytest.mark.rule("FL1")
async def test_it_waits_for_room_where_it_sends_to() -> None:
    source, held = Tracking(range(1000), stay=True), Held()
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Tap(lambda item: None), held))
        for _ in range(300):
            await asyncio.sleep(0)
        assert not source.all_sent.is_set()
        running.stop()
        await running


def test_what_cannot_look_is_refused() -> None:
    with pytest.raises(GraphError, match="has no inbox"):
        Tap([1, 2])
    with pytest.raises(GraphError, match="can't be a component"):
        Tap("word")
