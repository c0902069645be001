"""An answer of server-sent events: as long as somebody reads, and not a moment longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

BEAT = b":\n\n"
"""A comment: a sign of life that no client takes for an event."""

Write = Callable[[Send], Coroutine[Any, Any, None]]


class EventStream(Response):
    """Let ``write`` send the body until it returns or the client has gone.

    Args:
        write: Gets `send`; writes ``http.response.body`` messages, each of which waits for a slow reader.
        done: Called once at the end, however it comes.
    """

    def __init__(self, write: Write, done: Callable[[], None]) -> None:
        # No length, no buffering on the way: the first byte has to arrive at once.
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(None, 200, headers, "text/event-stream")
        del self.headers["content-length"]
        self._write = write
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            writing = asyncio.create_task(self._write(send))
            gone = asyncio.create_task(until_gone(receive))
            try:
                await asyncio.wait((writing, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                writing.cancel()
                gone.cancel()
                results = await asyncio.gather(writing, gone, return_exceptions=True)
            for result in results:
                if isinstance(result, Exception) and not isinstance(result, OSError):
                    raise result
            await send({"type": "http.response.body", "body": b""})
        except OSError:
            pass  # the client has gone
        finally:
            self._done()


async def until_gone(receive: Receive) -> None:
    """Return when the client of a request has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def event(data: bytes, *, name: str = "", id_text: str = "") -> bytes:
    """Return one event. ``data`` is JSON: it has no line ends of its own."""
    head = f"event: {name}\n" if name else ""
    if id_text:
        head += f"id: {id_text}\n"
    return head.encode() + b"data: " + data + b"\n\n"
