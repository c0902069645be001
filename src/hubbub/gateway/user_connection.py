"""The TCP carrier: one user's frames on one stream (GW1).

Theory of operation
===================

    GREETING --Hello in time--> OPENING --portal--> CARRYING --closing, fault--> CLOSING --written--> gone
       '--anything else, silence--> CLOSING             '--lost, silent--> gone; the grace time runs

While OPENING nothing is read, so that what a client sends behind its hello waits in its own socket. Deliveries are
taken only while the transport's buffer is below its high-water mark, in one write for each turn of the loop: a slow
reader holds that much here, and the rest stays in the session's bounded backlog (PE5).
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto

from hubbub.gateway.carriers import BATCH, HELLO_S, TAKE_BYTES, Heartbeat, fault_of
from hubbub.kernel import HubbubError, RemoteProtocolError
from hubbub.perspective.portal import Portal
from hubbub.perspective.session import Session
from hubbub.wire import session as wire
from hubbub.wire.frames import FrameReader, frame

HIGH_WATER_BYTES = 256 << 10
LINGER_S = 5.0
"""Seconds in which a client may read what was written before its connection was closed."""

_PONG = frame(wire.encode(wire.Pong(), "msgpack"))


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


class State(Enum):
    """See the drawing at the head of this module."""

    GREETING = auto()
    OPENING = auto()
    CARRYING = auto()
    CLOSING = auto()


class UserConnection:
    """Carry a session over a stream. Belongs to the loop.

    Args:
        portal: Where to log in.
        transport: The stream, of which the preface was read.
        address: Where it comes from.
    """

    def __init__(self, portal: Portal, transport: asyncio.Transport, address: str) -> None:
        self._portal = portal
        self._transport = transport
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(portal.limits.max_message_bytes)
        self._waiting: deque[bytes] = deque()
        self._session: Session | None = None
        self._opening: asyncio.Task[None] | None = None
        self._heartbeat: Heartbeat | None = None
        self._paused = False
        self._flushing = False
        self._resting = False
        self._timer = self._loop.call_later(HELLO_S, self._no_hello)
        self.state = State.GREETING
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    # --- the stream's side ---

    def received(self, data: bytes) -> None:
        """Take in what has come."""
        if self.state is State.CLOSING:
            return
        if self._heartbeat is not None:
            self._heartbeat.heard()
        try:
            self._waiting += self._reader.feed(data)
            self._work()
        except HubbubError as error:
            self._fail(error)

    def pause_writing(self) -> None:
        """The client reads more slowly than it gets."""
        self._paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self.wake()

    def lost(self) -> None:
        """The stream is gone."""
        self._stop()
        self.state = State.CLOSING
        session, self._session = self._session, None
        if session is not None:
            session.detach(self)

    def closing(self, reason: str, retry_s: float = 0.5) -> None:
        """Tell the client that the host goes away, and close."""
        self.close(wire.Closing(reason, retry_s))

    # --- the session's side ---

    def wake(self) -> None:
        """There is something to take: it goes out with everything else of this turn of the loop."""
        if not self._flushing and not self._paused:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def close(self, message: wire.Closing | wire.Fault) -> None:
        """Send ``message`` behind what was written, and close."""
        if self.state is State.CLOSING:
            return
        self._stop()
        self.state = State.CLOSING
        self._transport.write(frame(wire.encode(message, "msgpack")))
        self._timer = close_gently(self._transport)

    # --- within ---

    def _work(self) -> None:
        waiting = self._waiting
        left = BATCH
        while waiting and self.state is not State.OPENING and self.state is not State.CLOSING:
            if not left:
                self._rest()
                return
            left -= 1
            message = wire.decode_to_host(waiting.popleft(), "msgpack")
            if self.state is State.GREETING:
                self._greet(message)
            elif self._session is not None:
                self._session.receive(message)

    def _rest(self) -> None:
        """Let others have their turn first. Meanwhile nothing more is read."""
        if not self._resting:
            self._resting = True
            self._transport.pause_reading()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        if self.state is not State.CARRYING:
            return
        try:
            self._work()
        except HubbubError as error:
            self._fail(error)
            return
        if not self._resting and self.state is State.CARRYING:
            self._transport.resume_reading()

    def _greet(self, message: wire.ToHost) -> None:
        if not isinstance(message, wire.Hello):
            raise RemoteProtocolError("the first message has to be hello", code="garbled")
        self._timer.cancel()
        self.state = State.OPENING
        self._transport.pause_reading()
        self._opening = self._loop.create_task(self._open(message))

    async def _open(self, hello: wire.Hello) -> None:
        try:
            session, welcome = await self._portal.open(hello, "msgpack", self._address, self)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told, and the log
            self._fail(error)
            return
        if self.state is not State.OPENING:
            session.detach(self)
            return
        self._session = session
        self.state = State.CARRYING
        self._transport.write(frame(wire.encode(welcome, "msgpack")))
        self._heartbeat = Heartbeat(
            self._portal.limits.heartbeat_s, self._beat, self._transport.abort
        )
        self._transport.resume_reading()
        self.wake()
        try:
            self._work()
        except HubbubError as error:
            self._fail(error)

    def _flush(self) -> None:
        self._flushing = False
        session = self._session
        if self.state is not State.CARRYING or self._paused or session is None:
            return
        messages = session.take(TAKE_BYTES)
        if messages:
            self._transport.write(b"".join(map(frame, messages)))
            if self._heartbeat is not None:
                self._heartbeat.sent()
            # The session wakes again only when it was found empty.
            self.wake()

    def _beat(self) -> None:
        if not self._paused:
            self._transport.write(_PONG)

    def _no_hello(self) -> None:
        self._fail(RemoteProtocolError(f"no hello within {HELLO_S:g} s", code="garbled"))

    def _fail(self, error: BaseException) -> None:
        self.close(fault_of(error, f"connection from {self._address or 'a Unix socket'}"))
        session, self._session = self._session, None
        if session is not None:
            session.detach(self)

    def _stop(self) -> None:
        self._timer.cancel()
        if self._heartbeat is not None:
            self._heartbeat.stop()
