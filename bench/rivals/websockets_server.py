"""A bare server on `websockets`: no session, no resume, nothing stored. As a module: the server.

fanout    a text frame asks for so many messages to all
push      what comes is sent to all as it is
"""

from __future__ import annotations

import sys
import time

from websockets.asyncio.server import ServerConnection, broadcast, serve

from bench.rivals import loops
from bench.server import resident_bytes, rival
from bench.users import fanout as fanning
from bench.users import push as pushing
from bench.users.web import Socket

MODULE = "bench.rivals.websockets_server"
WARM, CONNECTIONS = 50, 1000

_all: set[ServerConnection] = set()
_keep: list[ServerConnection] = []


def fanout(seconds: float) -> dict[str, float]:
    """100 bytes to 500 clients."""
    return loops.best_of(MODULE, "fanout", work=lambda url: fanning.bare(url, seconds / 2))


def push(seconds: float) -> dict[str, float]:
    """The bytes of one client to 200."""
    return loops.best_of(
        MODULE, "push", work=lambda url: pushing.bare(url, seconds / 2), less_is_better=True
    )


def memory(_seconds: float) -> dict[str, float]:
    """Resident memory of one more connection, which is all that there is: no session."""
    found = {}
    for loop in loops.LOOPS:
        with rival(MODULE, "fanout", loop) as server:
            url = loops.url_of(server.told)
            keep = [Socket(url) for _ in range(WARM)]
            time.sleep(0.3)
            before = resident_bytes(server.pid)
            keep += [Socket(url) for _ in range(CONNECTIONS)]
            time.sleep(0.3)
            found[loop] = (resident_bytes(server.pid) - before) / CONNECTIONS / 1024
            for client in keep:
                client.close()
    return {"memory-session": min(found.values())}


async def _fanout(connection: ServerConnection) -> None:
    _all.add(connection)
    try:
        async for message in connection:
            for _ in range(int(message)):
                broadcast(_all, fanning.MESSAGE)
    finally:
        _all.discard(connection)


async def _push(connection: ServerConnection) -> None:
    _all.add(connection)
    try:
        async for message in connection:
            broadcast(_all, message)
    finally:
        _all.discard(connection)


async def _serve() -> int:
    handler = _fanout if sys.argv[1] == "fanout" else _push
    server = await serve(
        handler, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=loops.BACKLOG
    )
    _keep.append(server)  # type: ignore[arg-type]
    return int(next(iter(server.sockets)).getsockname()[1])


if __name__ == "__main__":
    loops.run(_serve, sys.argv[2])
