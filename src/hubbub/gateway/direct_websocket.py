"""WebSockets that our own web server carries without an ASGI message (GW1).

Theory of operation
===================

    HANDSHAKE --> ASGI: the endpoint accepts, reads the hello, opens the session
                    '--adopt--> DIRECT: the carrier writes frames, and gets the texts that come; the app has returned

Under other servers, and until then, everything goes the long way, through the ASGI app. Both ways are the same session.
In either way the library sees whole frames only; it does the handshake, control frames, fragments and closing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.protocol import CONNECTING

from hubbub.gateway.carriers import joined, split_messages
from hubbub.gateway.socket_carrier import SocketCarrier, State
from hubbub.gateway.web_frames import FrameCutter, text_frame, text_of
from hubbub.kernel import RemoteProtocolError
from hubbub.wire import session as wire

EXTENSION = "hubbub.direct"
"""Where the scope of a connection names its `DirectWebSocket`; other servers have none."""


class WebSocketCarrier(SocketCarrier):
    """Carry a session over a `DirectWebSocket`.

    Args:
        socket: Tells what comes once it has adopted this.
        limit_bytes: Of one message.
        left: Called once when the socket is gone.
    """

    __slots__ = ("_last", "_left", "_limit_bytes", "_socket")

    form = "json"

    def __init__(self, socket: DirectWebSocket, limit_bytes: int, left: Callable[[], None]) -> None:
        super().__init__(socket.transport)
        self._socket = socket
        self._limit_bytes = limit_bytes
        self._left: Callable[[], None] | None = left
        self._last: wire.Closing | wire.Fault | None = None

    def pack(self, messages: Sequence[bytes]) -> bytes:
        """Return encoded messages as one frame."""
        return text_frame(messages[0] if len(messages) == 1 else joined(list(messages)))

    def say_last(self, message: wire.Closing | wire.Fault) -> None:
        """Write ``message`` and begin the closing handshake."""
        if self._socket.carrier is not self:
            self._last = message  # the welcome comes first
            return
        self._transport.write(text_frame(wire.encode(message, "json")))
        self._socket.say_close(1000 if isinstance(message, wire.Closing) else 1008)

    def where(self) -> str:
        """Return what this connection is called in the log."""
        return f"session {self._session.id if self._session is not None else '?'}"

    def take_over(self, session: Any, welcome: wire.Welcome) -> None:
        """Carry ``session`` from now on; the socket belongs to this carrier."""
        socket = self._socket
        early = socket.adopt(self)
        if socket.disconnected or socket.transport.is_closing():
            self._session = session
            self.lost()
            return
        closing, self.state = self.state is State.CLOSING, State.WAITING
        self.begin(session, welcome)
        if closing and self._last is not None:
            self.close(self._last)
        for text in early:
            if text is None:
                self.binary_received()
            else:
                self.text_received(text)

    def text_received(self, text: bytes) -> None:
        """Act on what one frame says: a message or an array of them."""
        if self.state is State.CLOSING:
            return
        if len(text) > self._limit_bytes:
            why = f"a message of {len(text)} bytes is over the limit of {self._limit_bytes}"
            self.fail(RemoteProtocolError(why, code="too_large"))
            return
        self.received(split_messages(text))

    def binary_received(self) -> None:
        """Refuse what is not text."""
        self.fail(RemoteProtocolError("messages are text, not binary", code="garbled"))

    def lost(self) -> None:
        """The socket is gone. Idempotent."""
        super().lost()
        left, self._left = self._left, None
        if left is not None:
            left()


class _Nowhere:
    """Stands for the queue of ASGI events once nobody reads it."""

    def put_nowait(self, event: object) -> None:
        pass


class DirectWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, of which a carrier can take over the socket."""

    _NOWHERE: ClassVar[Any] = _Nowhere()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.carrier: WebSocketCarrier | None = None
        self._cutter = FrameCutter(self.config.ws_max_size)

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = {"socket": self}

    def data_received(self, data: bytes) -> None:
        if self.conn.state is CONNECTING and not self.handshake_initiated:
            super().data_received(data)
            return
        carrier = self.carrier
        others: list[bytes] = []
        for start, frame in self._cutter.feed(data):
            if start and carrier is not None:
                if others:
                    super().data_received(b"".join(others))
                    others.clear()
                if not self.close_sent and self.conn.current_size is None:
                    text = text_of(frame, start)
                    if text.isascii() or _is_utf8(text):
                        carrier.text_received(text)
                    else:
                        self._refuse_text()
                    continue
            others.append(frame)
        if others:
            super().data_received(b"".join(others))

    def send_receive_event_to_app(self) -> None:
        carrier = self.carrier
        if carrier is None:
            super().send_receive_event_to_app()
            return
        data, self.frames = b"".join(self.frames), []
        if self.close_sent:
            return
        if self.curr_msg_data_type != "text":
            carrier.binary_received()
        elif _is_utf8(data):
            carrier.text_received(data)
        else:
            self._refuse_text()

    def adopt(self, carrier: WebSocketCarrier) -> list[bytes | None]:
        """Let ``carrier`` write and get what comes. Returns the texts that came since the hello; None: not text."""
        self.carrier = carrier
        early: list[bytes | None] = []
        while not self.queue.empty():
            event: Any = self.queue.get_nowait()
            if event["type"] == "websocket.receive":
                text = event.get("text")
                early.append(None if text is None else text.encode())
        self.queue = self._NOWHERE
        if not self.writable.is_set():
            carrier.pause_writing()
        # What can't be sent at once is not taken out of the backlog; and uvloop sends at once only what is over this.
        self.transport.set_write_buffer_limits(high=0)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        return early

    def say_close(self, code: int) -> None:
        """Begin the closing handshake, if the client has not."""
        if self.close_sent or self.transport.is_closing():
            return
        try:
            self.conn.send_close(code)
        except InvalidState:
            self.transport.close()
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.carrier is not None:
            self.carrier.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.carrier is not None:
            self.carrier.resume_writing()

    def handle_close(self, event: Any) -> None:
        super().handle_close(event)
        self._leave()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._leave()

    def _leave(self) -> None:
        if self.carrier is not None:
            self.carrier.lost()

    def _refuse_text(self) -> None:
        self.conn.send_close(1007)
        self.handle_parser_exception()

    async def run_asgi(self) -> None:
        """Run the app, as uvicorn does; a socket that was adopted outlives it."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
            self.send_500_response()
        else:
            if not self.handshake_complete:
                self.logger.error("ASGI callable returned without completing handshake.")
                self.send_500_response()
        if self.carrier is not None:
            # What the handshake left behind is not held for as long as the session lasts.
            del self.scope, self.request, self.response
        elif self.close_timer is None:
            self.transport.close()


def socket_of(scope: Mapping[str, Any]) -> DirectWebSocket | None:
    """Return the socket of a connection to our own server; None under another one."""
    extension = (scope.get("extensions") or {}).get(EXTENSION)
    socket: DirectWebSocket | None = extension["socket"] if extension else None
    return socket


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
