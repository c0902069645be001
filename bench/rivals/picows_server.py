"""A bare WebSocket server on picows: no session, no resume. As a module: the server."""

from __future__ import annotations

import sys
from typing import Any

from picows import WSListener, WSMsgType, WSTransport, ws_create_server

from bench.rivals import loops
from bench.users import fanout as fanning

MODULE = "bench.rivals.picows_server"

_all: set[Any] = set()


def fanout(seconds: float) -> dict[str, float]:
    """100 bytes to 500 clients."""
    return loops.best_of(MODULE, work=lambda url: fanning.bare(url, seconds / 2))


class Listener(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        _all.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        _all.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: Any) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            for _ in range(int(frame.get_payload_as_ascii_text())):
                for one in _all:
                    one.send(WSMsgType.BINARY, fanning.MESSAGE)


async def _serve() -> int:
    server = await ws_create_server(lambda _: Listener(), "127.0.0.1", 0, backlog=loops.BACKLOG)
    return int(server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    loops.run(_serve, sys.argv[1])
