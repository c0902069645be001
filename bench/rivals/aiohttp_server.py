"""A bare server on aiohttp: WebSocket fan-out and long-poll; no session, nothing stored. As a module: the server."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from bench.rivals import loops
from bench.users import fanout as fanning
from bench.users import longpoll as polling

MODULE = "bench.rivals.aiohttp_server"

_all: set[web.WebSocketResponse] = set()
_parked: list[asyncio.Future[str]] = []


def fanout(seconds: float) -> dict[str, float]:
    """100 bytes to 500 clients."""
    return loops.best_of(MODULE, work=lambda url: fanning.bare(url, seconds / 2))


def longpoll(seconds: float) -> dict[str, float]:
    """500 parked polls."""
    return loops.best_of(MODULE, work=lambda url: polling.bare(url, seconds / 2))


async def _socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False, autoping=False)
    await socket.prepare(request)
    _all.add(socket)
    try:
        async for message in socket:
            for _ in range(int(message.data)):
                for one in _all:
                    await one.send_bytes(fanning.MESSAGE)
    finally:
        _all.discard(socket)
    return socket


async def _pull(_request: web.Request) -> web.Response:
    """Wait until 500 wait: the last one's request is what publishes."""
    waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    _parked.append(waiting)
    if len(_parked) == polling.CLIENTS:
        for one in _parked:
            one.set_result("m" * 100)
        _parked.clear()
    return web.Response(text=await waiting)


async def _serve() -> int:
    application = web.Application()
    application.router.add_get("/", _socket)
    application.router.add_get("/pull", _pull)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=loops.BACKLOG)
    await site.start()
    return int(runner.addresses[0][1])


if __name__ == "__main__":
    loops.run(_serve, sys.argv[1])
