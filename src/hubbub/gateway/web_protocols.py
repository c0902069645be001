"""uvicorn's protocols, with bounds on what a stranger can do before any endpoint has a say (PE5, PE7).

uvicorn leaves to a proxy in front of it: how long a request may take and how large its head may be, how many sockets
one address may hold, clients that never read, and WebSocket pings whose pongs nobody fetches. `hubbub serve` stands
alone. What is here holds for sockets; connections of sessions are counted by `hubbub.gateway.carriers.Connections`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from hubbub.gateway.carriers import HELLO_S, Connections
from hubbub.gateway.direct_polls import BODY_BYTES, PATH, DirectPolls, Reply
from hubbub.gateway.direct_websocket import DirectWebSocket
from hubbub.gateway.known_requests import KnownRequest, learned
from hubbub.gateway.polls import Poll
from hubbub.gateway.user_connection import LINGER_S
from hubbub.kernel import LimitError
from hubbub.kernel.limits import Limits

HEAD_BYTES = 64 << 10
"""Bytes of one request's line and headers, and of all else in it that is not its body."""

HEADERS = 200
"""Headers, and trailers, of one request."""

PIPELINED = 16
"""Requests that may wait behind one that is being answered."""

BODY_S = 60.0
"""Seconds within which a request's body has to arrive."""

STUCK_S = 30.0
"""A client that takes in nothing of what waits for it for so many seconds is cut off."""

FRAGMENTS = 10_000
"""Frames that one WebSocket message may be cut into."""

CHECK_S = 1.0
"""How often all sockets are looked at."""


class Sockets:
    """The sockets of one web server (PE7).

    Args:
        limits: Bounds their number; one address may have twice as many sockets as connections of sessions.
        is_trusted: Tells whether an address is that of a proxy, behind which many users are.
    """

    def __init__(self, limits: Limits, is_trusted: Callable[[str], bool]) -> None:
        self._count = Connections(
            limits.max_connections + limits.max_connections_per_address,
            2 * limits.max_connections_per_address,
        )
        self._is_trusted = is_trusted

    def __len__(self) -> int:
        return len(self._count)

    def enter(self, transport: asyncio.BaseTransport) -> str:
        """Count one more, and return what `leave` wants.

        Raises:
            LimitError: If that is one too many.
        """
        address = self.address_of(transport)
        self._count.enter(address)
        return address

    def address_of(self, transport: asyncio.BaseTransport) -> str:
        """Return the address that ``transport`` counts for; empty where there is none, or a proxy's."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        return "" if self._is_trusted(address) else address

    def leave(self, address: str) -> None:
        """One has gone."""
        self._count.leave(address)


class _Stuck:
    """Tells when a client has taken in nothing for too long, or a closed socket does not go away."""

    def __init__(self, transport: asyncio.Transport, now: float) -> None:
        self._transport = transport
        self._unsent = 0
        self._moved_at = now
        self._closing_at = 0.0

    def check(self, now: float) -> bool:
        """Cut the socket off if it is stuck; tells whether it is closing."""
        if self._transport.is_closing():
            self._closing_at = self._closing_at or now
            if now - self._closing_at > LINGER_S:
                self._transport.abort()
            return True
        unsent = self._transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._moved_at = now
        elif now - self._moved_at > STUCK_S:
            self._transport.abort()
        self._unsent = unsent
        return False


class BoundedHttp(HttpToolsProtocol):
    """One HTTP connection.

    HEAD --headers complete--> BODY --message complete--> nothing is due
      '------- too large, too slow: told so, and closed ------'

    Polls are offered to `DirectPolls`, which spares them the ASGI app and its task; and the next poll on the
    connection, if it has the same head, is spared the parser (`hubbub.gateway.known_requests`).
    """

    _default_lines: ClassVar[tuple[Any, bytes]] = (None, b"")  # of which headers, as bytes

    def __init__(
        self, *args: Any, sockets: Sockets, polls: DirectPolls | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._sockets = sockets
        self._polls = polls
        self._held: Any = None  # a poll whose body has not come, and the app
        self._parked: Poll | None = None
        self._answering: Any = None  # what the parked poll is the answer to
        self._known: KnownRequest | None = None
        self._is_between = True  # where the parser stands: between two messages
        self._chunk = b""  # what is being read now, if a message begins with it
        self._address = ""
        self._counted: str | None = None
        self._deadline = 0.0  # 0: nothing is due
        self._beside_body = 0
        self._fields = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        now = self.loop.time()
        self._stuck = _Stuck(transport, now)
        self._address = str(self.client[0]) if self.client else ""
        try:
            self._counted = self._sockets.enter(transport)
        except LimitError:
            self._refuse("503 Service Unavailable", "too many connections; try later")
            return
        self._deadline = now + HELLO_S

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._held = None
        parked, self._parked = self._parked, None
        if parked is not None:
            parked.leave()
        self._leave()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() or (self._known is not None and self._take_known(data)):
            return
        if not self._deadline:
            self._deadline = self.loop.time() + HELLO_S
        self._beside_body += len(data)
        self._chunk = data if self._is_between else b""
        super().data_received(data)
        self._chunk = b""
        if self._beside_body > HEAD_BYTES and self._deadline and not self.transport.is_closing():
            self._refuse(
                "431 Request Header Fields Too Large", "the head of a request is too large"
            )

    def handle_websocket_upgrade(self) -> None:
        self._deadline = 0.0
        super().handle_websocket_upgrade()
        successor = self.transport.get_protocol()
        assert isinstance(successor, BoundedWebSocket)
        # It gives the socket back.
        self._counted = None
        if not successor.handshake_initiated:
            # Its own parser could not read the head that ours could; it would wait for a better one for ever.
            self.send_400_response("Invalid WebSocket request.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_between = False
        self._fields = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > HEAD_BYTES:
            raise ValueError("the URL is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > HEADERS:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise ValueError("too many requests at once")
        self._deadline = self.loop.time() + BODY_S
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._beside_body = max(0, self._beside_body - len(body))
        super().on_body(body)
        if self._held is not None and len(self.cycle.body) > BODY_BYTES:
            held, self._held = self._held, None
            super()._start_asgi_task(*held)

    def on_message_complete(self) -> None:
        self._is_between = True
        self._beside_body = 0
        self._deadline = 0.0
        super().on_message_complete()
        if self._held is not None:
            held, self._held = self._held, None
            self._start_poll(*held)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        scope = cycle.scope
        if (
            self._polls is None
            or scope["raw_path"] != PATH
            or scope["method"] != "POST"
            or cycle.waiting_for_100_continue
        ):
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body:
            self._held = cycle, app
        else:
            self._start_poll(cycle, app)

    def _start_poll(self, cycle: Any, app: Any) -> None:
        polls = self._polls
        assert polls is not None
        chunk, self._chunk = self._chunk, b""
        headers = polls.headers_for(cycle.scope, self._address)
        body = bytes(cycle.body)
        # Behind a client that does not read the app waits.
        if (
            headers is None
            or self.flow.write_paused
            or not self._take_poll(cycle, headers, body, polls)
        ):
            super()._start_asgi_task(cycle, app)
        elif cycle.keep_alive:
            self._known = learned(chunk, body, headers)

    def _take_known(self, data: bytes) -> bool:
        """Take ``data`` as a poll, if it is one that is known and nothing else is to be done before it."""
        known, cycle, polls = self._known, self.cycle, self._polls
        assert known is not None
        assert polls is not None
        if (
            not self._is_between
            or not cycle.response_complete
            or self.pipeline
            or self.flow.write_paused
        ):
            return False
        body = known.body_of(data)
        if body is None:
            return False
        self._unset_keepalive_if_required()
        # For uvicorn it is the last request once more.
        return self._take_poll(cycle, known.headers, body, polls)

    def _take_poll(self, cycle: Any, headers: bytes, body: bytes, polls: DirectPolls) -> bool:
        taken = polls.take(headers, self._address, body, self._answer_parked)
        if taken is None:
            return False
        cycle.response_started = cycle.response_complete = False
        if isinstance(taken, Poll):
            self._parked, self._answering = taken, cycle
        else:
            self._answer(cycle, taken)
        return True

    def _answer_parked(self, reply: Reply) -> None:
        cycle = self._answering
        self._parked = self._answering = None
        self._answer(cycle, reply)

    def _answer(self, cycle: Any, reply: Reply) -> None:
        """Write the whole answer to one request."""
        cycle.response_started = cycle.response_complete = True
        defaults = self.server_state.default_headers
        of, lines = BoundedHttp._default_lines
        if of is not defaults:
            lines = b"".join(b"%b: %b\r\n" % header for header in defaults)
            BoundedHttp._default_lines = defaults, lines
        status, headers, body = reply
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        self.transport.write(
            b"%b%b%b%bcontent-length: %d\r\n\r\n%b"
            % (STATUS_LINE[status], lines, headers, close, len(body), body)
        )
        if close:
            self.transport.close()
        cycle.on_response()

    def on_response_complete(self) -> None:
        if self._deadline:
            # It was answered before all of it had come. What still comes is thrown away, and not for long.
            self._deadline = min(self._deadline, self.loop.time() + LINGER_S)
        super().on_response_complete()

    def check(self, now: float) -> None:
        """Look whether this connection has had its time."""
        if not self._stuck.check(now) and self._deadline and now > self._deadline:
            cycle: Any = self.cycle
            if cycle is None or cycle.response_complete:
                self._refuse("408 Request Timeout", "the request did not arrive in time")
            else:
                self.transport.close()

    def _refuse(self, status: str, why: str) -> None:
        self._deadline = 0.0
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        self.transport.write(
            f"{head}Content-Length: {len(why)}\r\nConnection: close\r\n\r\n{why}".encode()
        )
        self.transport.close()

    def _leave(self) -> None:
        counted, self._counted = self._counted, None
        if counted is not None:
            self._sockets.leave(counted)


class BoundedWebSocket(DirectWebSocket):
    """One WebSocket connection; made out of a `BoundedHttp`, whose place among the sockets it takes over."""

    def __init__(self, *args: Any, sockets: Sockets, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sockets = sockets

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._stuck = _Stuck(self.transport, self.loop.time())
        self._counted = self._sockets.address_of(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._sockets.leave(self._counted)

    def handle_ping(self) -> None:
        # Whoever does not fetch pongs gets none: they would pile up outside of every bound.
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)

    def handle_cont(self, event: Any) -> None:
        if len(self.frames) >= FRAGMENTS:
            self.transport.abort()
            return
        super().handle_cont(event)

    def check(self, now: float) -> None:
        """Look whether this connection has had its time."""
        self._stuck.check(now)


def protocols(sockets: Sockets, polls: DirectPolls | None = None) -> tuple[Any, Any]:
    """Return what makes HTTP and WebSocket connections, for uvicorn's ``http`` and ``ws``."""
    return (
        functools.partial(BoundedHttp, sockets=sockets, polls=polls),
        functools.partial(BoundedWebSocket, sockets=sockets),
    )


def check_all(server: uvicorn.Server) -> None:
    """Look at all connections of ``server``."""
    now = asyncio.get_running_loop().time()
    for connection in list(server.server_state.connections):
        if isinstance(connection, BoundedHttp | BoundedWebSocket):
            connection.check(now)
