"""The hub's own port: users and peers on TCP, TLS or a Unix socket, of one space or several.

Theory of operation
===================

    PREFACE --"hubbub/1 user"--> UserConnection            both find their space by what they say first
       |    --"hubbub/1 peer"--> PeerDoor --> PeerConnection
       '--anything else, silence--> one line that a person can read, and closed

Who comes to a port for TLS without it is told so in the protocol that it speaks.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from hubbub.flow.net.peer import peer_of
from hubbub.flow.net.sparingly import Sparingly
from hubbub.gateway.binding import bind, is_unix, name_of, refuse_open_door, unix_path
from hubbub.gateway.carriers import HELLO_S, Connections, fault_of
from hubbub.gateway.doorkeeper import Doorkeeper, OpenSpace
from hubbub.gateway.peer_door import PeerDoor
from hubbub.gateway.peers import PeerConnection, PeerOptions
from hubbub.gateway.tls_port import TLSPort
from hubbub.gateway.user_connection import UserConnection, close_gently
from hubbub.kernel import ConfigurationError, HubbubError, LimitError, Limits
from hubbub.perspective.host import Host
from hubbub.perspective.portal import Portal
from hubbub.perspective.tokens import subject_of
from hubbub.wire import peer
from hubbub.wire import session as wire
from hubbub.wire.frames import PREFACE_PEER, PREFACE_USER, frame

log = logging.getLogger("hubbub.gateway")
_warnings = Sparingly(log)

_PREFACE_BYTES = max(len(PREFACE_USER), len(PREFACE_PEER))
_LINGERING = 100
"""So many connections over the limit are told why at the same time; the others are just cut off."""

_OTHER_VERSION = re.compile(rb"hubbub/(\d{1,3}) (user|peer)")

_TLS_HELLO = b"\x16\x03"

_HTTP = re.compile(rb"[A-Z]{3,10} ")


class Listener:
    """Listen for users and peers at one address.

    Args:
        portal: Where users log in, if there is one space.
        host: Whose space peers mount; None turns peers away.
        peer_options: What peers may do.
        ssl_context: For ``hubs://``.
        doorkeeper: Knows the spaces, instead of all that; its admission judges peers.
        wants_certificate: Turn away who shows no certificate that ``ssl_context`` believes.
        limits: Of connections, and of what users may say before they have named their space; else the portal's.
    """

    def __init__(
        self,
        portal: Portal | None = None,
        *,
        host: Host | None = None,
        peer_options: PeerOptions | None = None,
        ssl_context: ssl.SSLContext | None = None,
        doorkeeper: Doorkeeper | None = None,
        wants_certificate: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.wants_certificate = wants_certificate
        self.doorkeeper = doorkeeper or Doorkeeper(
            [OpenSpace(portal=portal, host=host, peer_options=peer_options or PeerOptions())]
        )
        self.limits = limits or (portal.limits if portal is not None else Limits())
        self.connections = (
            Connections.of(portal)
            if portal is not None
            else Connections(self.limits.max_connections, self.limits.max_connections_per_address)
        )
        self.address = ""
        self._ssl = ssl_context
        self._servers: list[asyncio.Server | TLSPort] = []
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
        self._refuse_open_spaces(address, option=option)
        loop = asyncio.get_running_loop()
        sockets = bind(address, option)
        self.address = name_of(sockets[0])
        if is_unix(address):
            self._path = str(unix_path(address))
        for sock in sockets:
            if self._ssl is not None:
                self._servers.append(TLSPort(sock, self._ssl, self._stream, self._plain_stream))
            elif is_unix(address):
                self._servers.append(await loop.create_unix_server(self._stream, sock=sock))
            else:
                self._servers.append(await loop.create_server(self._stream, sock=sock))

    def _refuse_open_spaces(self, address: str, *, option: str) -> None:
        """Refuse to hand out a whole space to the network; that it is public for users says nothing of that."""
        if not self.doorkeeper.takes_peers or self.doorkeeper.admission.asks:
            return
        for space in self.doorkeeper.spaces:
            try:
                refuse_open_door(
                    address,
                    authenticated=space.host is None,
                    public=space.is_public,
                    option=option,
                )
            except ConfigurationError:
                named = f" {space.name}" if space.name else ""
                raise ConfigurationError(
                    f"{option} {address} would hand the whole space{named} to whoever can reach this machine: "
                    "listen on 127.0.0.1, give peers a token (hubbub token add), or say --public read-only"
                ) from None

    @property
    def url(self) -> str:
        """The address as clients write it."""
        if "/" in self.address:
            return f"hub+unix://{self.address}"
        return f"{'hubs' if self._ssl is not None else 'hub'}://{self.address}"

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

    def _plain_stream(self) -> asyncio.Protocol:
        return _Stream(self, wants_tls=True)

    def advice(self) -> str:
        """Return the line for who knocks here by mistake."""
        return (
            f"This is a Hubbub port: use hubbub.login({self.url!r}) or hubbub.open({self.url!r}). "
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

    def __init__(self, listener: Listener, *, wants_tls: bool = False) -> None:
        self._listener = listener
        self._wants_tls = wants_tls  # and does not get it: what is said here is said to be told so
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
        place = transport.get_extra_info("peername")
        self._address = str(place[0]) if isinstance(place, tuple) and place else ""
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
            if self._wants_tls:
                self._tell(line + newline, "tls", f"this port speaks TLS: use {self._listener.url}")
            else:
                self._hand_over(line + newline, rest)
        elif newline and (other := _OTHER_VERSION.fullmatch(line)) is not None:
            version = int(other[1])
            older = "this host" if version > 1 else "the client"
            self._tell(
                PREFACE_PEER if other[2] == b"peer" else PREFACE_USER,
                "protocol",
                f"this host speaks hubbub/1, not hubbub/{version}: {older} needs a newer Hubbub",
            )
        elif newline or len(self._preface) >= _PREFACE_BYTES:
            self._turn_away()

    def _hand_over(self, preface: bytes, rest: bytes) -> None:
        self._preface = b""
        self._cancel_timer()
        transport, listener = self._transport, self._listener
        certificate = transport.get_extra_info("peercert")
        if listener.wants_certificate and not certificate:
            self._tell(preface, "login_failed", "this host asks for a certificate: cert=, key=")
            return
        if preface == PREFACE_USER:
            user = UserConnection(
                listener.doorkeeper.portal_of,
                transport,
                self._address,
                listener.limits,
                peer_of(transport) if certificate else None,
            )
            self._speaker, self._take = user, user.data_received
        elif not listener.doorkeeper.takes_peers:
            self._say("This hub takes no peers.\n")
            return
        else:
            door = PeerDoor(
                listener.doorkeeper,
                transport.write,
                self._close,
                transport.get_write_buffer_size,
                self._let_in,
                self._address,
                subject_of(certificate),
            )
            self._speaker, self._take = door, door.received
        if rest and self._take is not None:
            self._take(rest)

    def _let_in(self, connection: PeerConnection) -> None:
        self._speaker, self._take = connection, connection.received

    def _tell(self, preface: bytes, kind: str, message: str) -> None:
        """Say in the protocol that ``preface`` begins why it does not go on."""
        where = self._address or "a Unix socket"
        _warnings.warning("a client from %s was turned away: %s", where, message)
        if preface == PREFACE_PEER:
            data = peer.encode(peer.Fault(kind, message))
        else:
            wide = "protocol" if kind == "tls" else kind
            data = wire.encode(wire.Fault(wide, kind, message), "msgpack")
        self._transport.write(frame(data))
        self._close()

    def _close(self) -> None:
        """Close behind what is written."""
        self._is_over = True
        self._cancel_timer()
        self._timer = close_gently(self._transport)

    def _turn_away(self) -> None:
        if self._preface.startswith(_TLS_HELLO):
            where = self._address or "a Unix socket"
            _warnings.warning("a TLS client came to a port without TLS, from %s", where)
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
        if isinstance(speaker, PeerConnection):
            self._listener.doorkeeper.left(speaker)
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
