"""The hub's own port: users and peers on TCP or a Unix socket.

Theory of operation
===================

    PREFACE --"hubbub/1 user"--> UserConnection
       |    --"hubbub/1 peer"--> PeerConnection
       '--anything else, silence--> one line that a person can read, and closed
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from hubbub.gateway.binding import bind, is_unix, name_of, refuse_open_door, unix_path
from hubbub.gateway.carriers import HELLO_S, Connections, fault_of
from hubbub.gateway.peers import PeerConnection, PeerOptions
from hubbub.gateway.user_connection import UserConnection, close_gently
from hubbub.kernel import ConfigurationError, HubbubError, LimitError
from hubbub.perspective.host import Host
from hubbub.perspective.portal import Portal
from hubbub.wire import session as wire
from hubbub.wire.frames import PREFACE_PEER, PREFACE_USER, frame

log = logging.getLogger("hubbub.gateway")

_PREFACE_BYTES = max(len(PREFACE_USER), len(PREFACE_PEER))
_LINGERING = 100
"""So many connections over the limit are told why at the same time; the others are just cut off."""

_HTTP = re.compile(rb"[A-Z]{3,10} ")


class Listener:
    """Listen for users and peers at one address.

    Args:
        portal: Where users log in.
        host: Whose space peers mount; None turns peers away.
        peer_options: What peers may do.
        ssl_context: For ``hubs://``.
    """

    def __init__(
        self,
        portal: Portal,
        *,
        host: Host | None = None,
        peer_options: PeerOptions | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.portal = portal
        self.host = host
        self.peer_options = peer_options or PeerOptions()
        self.connections = Connections.of(portal)
        self.address = ""
        self._ssl = ssl_context
        self._servers: list[asyncio.Server] = []
        self._streams: set[_Stream] = set()
        self.lingering = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._path = ""

    async def start(
        self, address: str, *, authenticated: bool, public: bool = False, option: str = "--listen"
    ) -> None:
        """Begin to accept connections.

        Args:
            address: ``host:port`` (port 0: a free one), or a path. `address` tells where it listens then.
            authenticated: Whether users have to prove who they are.
            public: Whether anybody may come who can reach this machine.
            option: The option that chose the address, for messages.

        Raises:
            AddressInUseError: If somebody listens there.
            ConfigurationError: If the address can't be had, or is open to the network without a password (GW2).
        """
        refuse_open_door(address, authenticated=authenticated, public=public, option=option)
        if self.host is not None:
            self._refuse_open_space(address, public=public, option=option)
        loop = asyncio.get_running_loop()
        sockets = bind(address, option)
        self.address = name_of(sockets[0])
        for sock in sockets:
            if is_unix(address):
                self._path = str(unix_path(address))
                server = await loop.create_unix_server(self._stream, sock=sock, ssl=self._ssl)
            else:
                server = await loop.create_server(self._stream, sock=sock, ssl=self._ssl)
            self._servers.append(server)

    def _refuse_open_space(self, address: str, *, public: bool, option: str) -> None:
        """Refuse to hand out the whole space to the network; that it is public for users says nothing of that."""
        options = self.peer_options
        try:
            meant = public and options.read_only
            refuse_open_door(
                address, authenticated=bool(options.token), public=meant, option=option
            )
        except ConfigurationError:
            raise ConfigurationError(
                f"{option} {address} would hand the whole space to whoever can reach this machine: "
                "listen on 127.0.0.1, or give peers a token"
            ) from None

    def __len__(self) -> int:
        return len(self._streams)

    def stop_accepting(self) -> None:
        """Take no new connections; those that are there go on. Idempotent."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._path:
            with suppress(FileNotFoundError):
                unix_path(self._path).unlink()
            self._path = ""

    async def close(self, reason: str = "drain", timeout_s: float = 5.0) -> None:
        """Tell everybody that the host goes away, and wait until they are gone, ``timeout_s`` at most. Idempotent."""
        self.stop_accepting()
        for stream in list(self._streams):
            stream.closing(reason)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        for stream in list(self._streams):
            stream.abort()

    def _stream(self) -> asyncio.Protocol:
        return _Stream(self)

    def advice(self) -> str:
        """Return the line for who knocks here by mistake."""
        where = f"hub+unix://{self.address}" if "/" in self.address else f"hub://{self.address}"
        return (
            f"This is a Hubbub port: use hubbub.login({where!r}) or hubbub.open({where!r}). "
            "The web page has a port of its own.\n"
        )

    def entered(self, stream: _Stream) -> None:
        self._streams.add(stream)
        self._empty.clear()

    def left(self, stream: _Stream) -> None:
        self._streams.discard(stream)
        if not self._streams:
            self._empty.set()


class _Stream(asyncio.Protocol):
    """One connection, from its first byte to its last."""

    _transport: asyncio.Transport

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._preface = b""
        self._speaker: Any = None
        self._take: Callable[[bytes], None] | None = None  # gives it what comes
        self._address = ""
        self._counted = False
        self._lingers = False
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        transport = self._transport
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._listener.entered(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HELLO_S, self._turn_away)
        try:
            self._listener.connections.enter(self._address)
        except LimitError as error:
            if self._listener.lingering >= _LINGERING:
                self._is_over = True
                transport.abort()
                return
            self._listener.lingering += 1
            self._lingers = True
            # It is most likely a user's client: it gets an answer that such a one understands.
            last = fault_of(error, "connection")
            transport.write(frame(wire.encode(last, "msgpack")))
            self._close()
            return
        self._counted = True

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._take is not None:
            self._take(data)
            return
        self._preface += data
        line, newline, rest = self._preface.partition(b"\n")
        if newline and line + newline in (PREFACE_USER, PREFACE_PEER):
            self._hand_over(line + newline, rest)
        elif newline or len(self._preface) >= _PREFACE_BYTES:
            self._turn_away()

    def _hand_over(self, preface: bytes, rest: bytes) -> None:
        self._preface = b""
        self._cancel_timer()
        transport = self._transport
        if preface == PREFACE_USER:
            user = UserConnection(self._listener.portal, transport, self._address)
            self._speaker, self._take = user, user.data_received
        elif self._listener.host is None:
            self._say("This hub takes no peers.\n")
            return
        else:
            self._speaker = PeerConnection(
                self._listener.host,
                transport.write,
                self._close,
                transport.get_write_buffer_size,
                self._listener.peer_options,
            )
            self._take = self._speaker.received
        if rest and self._take is not None:
            self._take(rest)

    def _close(self) -> None:
        """Close behind what is written."""
        self._is_over = True
        self._cancel_timer()
        self._timer = close_gently(self._transport)

    def _turn_away(self) -> None:
        self._say(self._listener.advice())

    def _say(self, line: str) -> None:
        self._cancel_timer()
        if self._is_over:
            return
        text = line.encode()
        if _HTTP.match(self._preface):
            # So that a browser and curl show it.
            head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
            text = f"{head}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text
        self._transport.write(text)
        self._close()

    def pause_writing(self) -> None:
        if isinstance(self._speaker, UserConnection):
            self._speaker.pause_writing()

    def resume_writing(self) -> None:
        if isinstance(self._speaker, UserConnection):
            self._speaker.resume_writing()

    def eof_received(self) -> None:
        """Half-closed is closed: a session has two directions."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        self._listener.left(self)
        if self._lingers:
            self._lingers = False
            self._listener.lingering -= 1
        if self._counted:
            self._counted = False
            self._listener.connections.leave(self._address)
        speaker, self._speaker, self._take = self._speaker, None, None
        if speaker is not None:
            try:
                speaker.lost()
            except HubbubError:
                log.exception("a connection of %s ended badly", self._address)

    def closing(self, reason: str) -> None:
        """Tell whoever is there that the host goes away."""
        if self._speaker is not None:
            self._speaker.closing(reason)
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close without waiting for what is written."""
        self._transport.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
