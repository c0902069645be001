"""Plain tasks joined by `asyncio.Queue`: what one would write without a library."""

from __future__ import annotations

import asyncio
import time

MESSAGES = 60_000
SUBSCRIBERS = 100
ITEMS = 100


def pipeline(seconds: float) -> dict[str, float]:
    """Three tasks, two queues of 100 messages."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        assert asyncio.run(_pipeline(MESSAGES)) == MESSAGES
        count += MESSAGES
    return {"pipeline-3": count / (time.perf_counter() - began)}


async def _pipeline(count: int) -> int:
    first: asyncio.Queue[int | None] = asyncio.Queue(ITEMS)
    second: asyncio.Queue[int | None] = asyncio.Queue(ITEMS)

    async def source() -> None:
        for number in range(count):
            await first.put(number)
        await first.put(None)

    async def changed() -> None:
        while (number := await first.get()) is not None:
            await second.put(number + 1)
        await second.put(None)

    async def counted() -> int:
        seen = 0
        while await second.get() is not None:
            seen += 1
        return seen

    _, _, seen = await asyncio.gather(source(), changed(), counted())
    return seen


def backplane(seconds: float) -> dict[str, float]:
    """A task that puts each message into 100 queues, and 100 tasks that read one each."""
    messages = 2000
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        asyncio.run(_fan_out(messages))
        count += messages * SUBSCRIBERS
    return {"backplane-100": count / (time.perf_counter() - began)}


async def _fan_out(messages: int) -> None:
    queues: list[asyncio.Queue[int]] = [asyncio.Queue(ITEMS) for _ in range(SUBSCRIBERS)]

    async def subscriber(queue: asyncio.Queue[int]) -> None:
        for _ in range(messages):
            await queue.get()

    async def publisher() -> None:
        for number in range(messages):
            for queue in queues:
                await queue.put(number)

    await asyncio.gather(publisher(), *map(subscriber, queues))
