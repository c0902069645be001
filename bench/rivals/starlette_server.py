"""Long-poll on Starlette and uvicorn: no session, nothing stored. As a module: the server."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from bench.rivals import loops
from bench.users import longpoll as polling

MODULE = "bench.rivals.starlette_server"

_parked: list[asyncio.Future[str]] = []


def longpoll(seconds: float) -> dict[str, float]:
    """500 parked polls."""
    return loops.best_of(MODULE, work=lambda url: polling.bare(url, seconds / 2))


async def _pull(_request: Request) -> PlainTextResponse:
    """Wait until 500 wait: the last one's request is what publishes."""
    waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    _parked.append(waiting)
    if len(_parked) == polling.CLIENTS:
        for one in _parked:
            one.set_result("m" * 100)
        _parked.clear()
    return PlainTextResponse(await waiting)


def _main(loop: str) -> None:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(loops.BACKLOG)

    @asynccontextmanager
    async def said(_: Starlette) -> AsyncIterator[None]:
        print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
        yield

    config = uvicorn.Config(
        Starlette(routes=[Route("/pull", _pull)], lifespan=said),
        log_level="error",
        access_log=False,
        http="httptools",
        loop="uvloop" if loop == "uvloop" else "asyncio",
        backlog=loops.BACKLOG,
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    _main(sys.argv[1])
