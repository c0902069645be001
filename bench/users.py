"""Users: durable commands per second, latency to a browser's socket, fan-out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import websockets

import hubbub
from bench.server import Server


def _rate(count: int, seconds: float) -> float:
    return count / seconds


async def commands_one(server: Server, seconds: float) -> float:
    """Durable commands/s of one user, one at a time."""
    async with hubbub.login(server.hub, name="solo") as me:
        for _ in range(50):
            await me.add("warm")
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            await me.add("x" * 40)
            count += 1
        return _rate(count, time.perf_counter() - began)


async def commands_many(
    server: Server, seconds: float, users: int = 64, in_flight: int = 16
) -> float:
    """Durable commands/s of many users, each with several in flight; all add to one shared log."""
    people = [await hubbub.login(server.hub, name=f"u{n}") for n in range(users)]
    counts = [0]
    end = time.perf_counter() + seconds

    async def work(me: Any) -> None:
        while time.perf_counter() < end:
            await me.add("x" * 40)
            counts[0] += 1

    began = time.perf_counter()
    await asyncio.gather(*(work(me) for me in people for _ in range(in_flight)))
    rate = _rate(counts[0], time.perf_counter() - began)
    for me in people:
        await me.close()
    return rate


class Page:
    """A browser's socket: the JSON wire over WebSocket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    @classmethod
    async def open(cls, server: Server, name: str) -> Page:
        """Log in as a page does."""
        socket = await websockets.connect(
            server.web.replace("http", "ws") + "_hub/ws", max_queue=None
        )
        page = cls(socket)
        await page.send({"t": "hello", "protocol": 1, "credentials": {"name": name}})
        await page.until("welcome")
        return page

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        await self.socket.send(json.dumps(message))

    async def messages(self) -> list[dict[str, Any]]:
        """Return the messages of the next frame."""
        data = json.loads(await self.socket.recv())
        return data if isinstance(data, list) else [data]

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next message of ``kind``."""
        while True:
            for message in await self.messages():
                if message["t"] == kind:
                    return message
                if message["t"] == "fault":
                    raise RuntimeError(message)

    async def watch(self) -> None:
        """Watch the shared log and wait for its first answer."""
        await self.send(
            {
                "t": "watch",
                "id": 1,
                "name": "recent",
                "target": [{"name": "board"}],
                "kwargs": {"limit": 5},
            }
        )
        await self.until("answer")


async def push(server: Server, rounds: int, pages: int) -> Iterator[float]:
    """Seconds from sending a durable command to the new answer in the last of ``pages`` WebSocket clients."""
    readers = [await Page.open(server, f"p{n}") for n in range(pages)]
    await asyncio.gather(*(page.watch() for page in readers))
    took: list[float] = []
    async with hubbub.login(server.hub, name="pusher") as me:
        for number in range(rounds):
            began = time.perf_counter()
            waiting = [asyncio.ensure_future(page.until("answer")) for page in readers]
            await me.add(f"push {number}")
            await asyncio.gather(*waiting)
            took.append(time.perf_counter() - began)
    for page in readers:
        await page.socket.close()
    return iter(took)
