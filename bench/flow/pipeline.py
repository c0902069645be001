"""A pipeline of three parts: a source, one that changes each message, one that counts."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.server import resident_bytes
from hubbub.flow import Component, Pipeline, Runner, run
from hubbub.flow.runner import in_own_loop

MESSAGES = 100_000
IDLE = 20_000


def functions(seconds: float) -> dict[str, float]:
    """Plain functions."""
    return {
        "pipeline-3": rate(lambda count: Pipeline(numbers(count), changed, Counting()), seconds)
    }


def components(seconds: float) -> dict[str, float]:
    """The same work by components that read and send one message at a time."""
    return {
        "pipeline-3": rate(lambda count: Pipeline(Numbers(count), Changed(), Counted()), seconds)
    }


def rate(make: Callable[[int], Pipeline], seconds: float) -> float:
    """Return messages/s of whole runs, from making the pipeline to its end."""
    run(make(1000))
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        pipeline = make(MESSAGES)
        run(pipeline)
        assert pipeline.describe().linkages[-1].passed == MESSAGES
        count += MESSAGES
    return count / (time.perf_counter() - began)


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def changed(number: int) -> int:
    return number + 1


class Counting:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _number: int) -> None:
        self.count += 1


class Numbers(Component):
    inboxes = {}

    def __init__(self, count: int) -> None:
        self.count = count

    async def main(self) -> None:
        for number in range(self.count):
            await self.send(number)


class Changed(Component):
    async def main(self) -> None:
        async for number in self.inbox:
            await self.send(number + 1)


class Counted(Component):
    outboxes = {}
    count = 0

    async def main(self) -> None:
        async for _ in self.inbox:
            self.count += 1


def idle(_seconds: float) -> dict[str, float]:
    """Bytes of resident memory for each component that runs and waits for its first message."""
    found: list[float] = []

    async def main() -> None:
        async with Runner() as runner:
            runner.start(Pipeline(Waiting(), Changed(), Counted()))
            gc.collect()
            before = resident_bytes()
            graph = Pipeline(Waiting(), *[Changed() for _ in range(IDLE)], Counted())
            runner.start(graph)
            await until_all_wait(graph)
            gc.collect()
            found.append((resident_bytes() - before) / (IDLE + 2))
            runner.finish()
            await runner.wait()

    in_own_loop(main())
    return {"memory-component": found[0]}


class Waiting(Component):
    """A source that sends nothing until it is told to finish."""

    inboxes = {}

    async def main(self) -> None:
        await asyncio.get_running_loop().create_future()


async def until_all_wait(graph: Any) -> None:
    """Let every component come to the point where it waits for a message."""
    last = list(graph.parts.values())[-1]
    while not last.inbox.is_read:
        await asyncio.sleep(0)
