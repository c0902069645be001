"""The TCP carrier: one user's frames on one stream (GW1).

Theory of operation
===================

    WAITING, for the hello --in time--> WAITING, for the portal --> CARRYING (see `hubbub.gateway.socket_carrier`)
       '--anything else, silence--> CLOSING

While the portal opens a session nothing is read, so that what a client sends behind its hello waits in its own socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from hubbub.gateway.carriers import HELLO_S
from hubbub.gateway.socket_carrier import SocketCarrier, State
from hubbub.kernel import HubbubError, Limits, RemoteProtocolError
from hubbub.perspective.portal import Portal
from hubbub.wire import session as wire
from hubbub.wire.frames import FrameReader, frame

HIGH_WATER_BYTES = 256 << 10
LINGER_S = 5.0
"""Seconds in which a client may read what was written before its connection was closed."""


def close_gently(transport: asyncio.Transport) -> asyncio.TimerHandle:
    """Close behind what is written, so that it arrives.

    What still comes in is read and thrown away: a socket that is closed over unread bytes is reset, and the client
    would never see why. Returns what cuts the connection after `LINGER_S`: who does not read does not keep it.
    """
    if not transport.is_closing():
        try:
            if transport.can_write_eof():
                transport.write_eof()
                transport.resume_reading()
            else:
                transport.close()
        except OSError:
            transport.abort()  # reset by the client, and the loop has not told yet
    return asyncio.get_running_loop().call_later(LINGER_S, transport.abort)


class UserConnection(SocketCarrier):
    """Carry a session over a stream. Belongs to the loop.

    Args:
        portal_of: Returns where to log in, for the name of a space; raises if there is no such.
        transport: The stream, of which the preface was read.
        address: Where it comes from.
        limits: For what it may say.
        request: What it showed beside its credentials, for the application's own checkers: its certificate.
    """

    __slots__ = ("_address", "_opening", "_portal_of", "_reader", "_request", "_timer")

    form = "msgpack"

    def __init__(
        self,
        portal_of: Callable[[str], Portal],
        transport: asyncio.Transport,
        address: str,
        limits: Limits,
        request: object = None,
    ) -> None:
        super().__init__(transport)
        self._portal_of = portal_of
        self._address = address
        self._request = request
        self._reader = FrameReader(limits.max_message_bytes)
        self._opening: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = loop.call_later(HELLO_S, self._no_hello)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def pack(self, messages: Sequence[bytes]) -> bytes:
        """Return encoded messages in frames."""
        return frame(messages[0]) if len(messages) == 1 else b"".join(map(frame, messages))

    def say_last(self, message: wire.Closing | wire.Fault) -> None:
        """Write ``message`` and close behind it."""
        self._transport.write(frame(wire.encode(message, "msgpack")))
        self._timer = close_gently(self._transport)

    def where(self) -> str:
        """Return what this connection is called in the log."""
        return f"connection from {self._address or 'a Unix socket'}"

    def data_received(self, data: bytes) -> None:
        """Take in what has come."""
        if self.state is State.CLOSING:
            return
        try:
            messages = self._reader.feed(data)
            if messages and self.state is State.WAITING and self._opening is None:
                self._greet(wire.decode_to_host(messages.pop(0), "msgpack"))
        except HubbubError as error:
            self.fail(error)
            return
        if messages:
            self.received(messages)
        elif self._heartbeat is not None:
            self._heartbeat.heard()  # a part of something large

    def closing(self, reason: str, retry_s: float = 0.5) -> None:
        """Tell the client that the host goes away, and close."""
        self.close(wire.Closing(reason, retry_s))

    def _greet(self, message: wire.ToHost) -> None:
        if not isinstance(message, wire.Hello):
            raise RemoteProtocolError("the first message has to be hello", code="garbled")
        portal = self._portal_of(message.space)
        self._reader.limit_bytes = portal.limits.max_message_bytes
        self._stop_timer()
        self._transport.pause_reading()
        self._opening = asyncio.get_running_loop().create_task(self._open(portal, message))

    async def _open(self, portal: Portal, hello: wire.Hello) -> None:
        try:
            session, welcome = await portal.open(
                hello, "msgpack", self._address, self, request=self._request
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told, and the log
            self.fail(error)
            return
        if self.state is not State.WAITING:
            session.detach(self)
            return
        self._opening = None
        self._transport.resume_reading()
        self.begin(session, welcome)

    def _no_hello(self) -> None:
        self.fail(RemoteProtocolError(f"no hello within {HELLO_S:g} s", code="garbled"))

    def _stop(self) -> None:
        super()._stop()
        self._stop_timer()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
