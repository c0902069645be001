"""Small components for the tests of connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hubbub.flow import Component, Pipeline, Runner, Running


class Collect(Component):
    """Keep what comes; `count(n)` waits until that is so many."""

    outboxes = {}

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._grown = asyncio.Event()
        self.done = False

    async def main(self) -> None:
        async for item in self.inbox:
            self.items.append(item)
            self._grown.set()
        self.done = True

    async def count(self, number: int) -> list[Any]:
        while len(self.items) < number:
            self._grown.clear()
            await self._grown.wait()
        return self.items


class Feed(Component):
    """Send what is put in from outside, until `end`."""

    inboxes = {}

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, *items: Any) -> None:
        for item in items:
            self._queue.put_nowait(item)

    def end(self) -> None:
        self._queue.put_nowait(Feed)

    async def main(self) -> None:
        while (item := await self._queue.get()) is not Feed:
            await self.send(item)


class Gate(Component):
    """Pass on what comes, one item whenever it is let."""

    def __init__(self) -> None:
        self.open = asyncio.Semaphore(0)
        self.taken = 0

    async def main(self) -> None:
        async for item in self.inbox:
            self.taken += 1
            await self.open.acquire()
            await self.send(item)


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def grown(items: list[Any], number: int) -> None:
    """Let the loop turn until there are so many."""
    await until(lambda: len(items) >= number)


def start(runner: Runner, *parts: Any) -> Running:
    return runner.start(Pipeline(*parts))


async def within(seconds: float, waiting: Awaitable[Any]) -> Any:
    async with asyncio.timeout(seconds):
        return await waiting
