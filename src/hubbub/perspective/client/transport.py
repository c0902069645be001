"""How the client's messages reach the host: over TCP, TLS or a Unix socket; tests bring a way of their own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from hubbub.kernel import BrokenError, RemoteProtocolError
from hubbub.mount.address import URL, Address, usable_addresses
from hubbub.mount.secured import Certificates, explained
from hubbub.wire import session as wire
from hubbub.wire.frames import PREFACE_USER, FrameReader, frame

MAX_ANSWER_BYTES = 256 << 20
"""The largest message that the client takes from a host: what it watches is its own choice."""

_FORM = "msgpack"
_GOODBYE_S = 1.0
"""So long TLS may wait for the host's goodbye. A loop that ends before that would leave the connection open."""


Take = Callable[[Sequence[wire.ToClient]], bool]
"""Takes what has come in, at least one message; returns whether it wants more."""


class Transport(Protocol):
    """One connection to a host."""

    def send(self, messages: Sequence[wire.ToHost]) -> None:
        """Send ``messages`` in order, without waiting. What can't be sent any more is dropped."""
        ...

    async def carry(self, take: Take) -> None:
        """Give what comes in to ``take``, until that wants no more or the connection ends.

        Raises:
            RemoteProtocolError: If what came is not a host's.
            Exception: What ``take`` raises.
        """
        ...

    def close(self) -> None:
        """Send what is under way, then close. Idempotent."""
        ...

    async def closed(self) -> None:
        """Wait until nothing of it is left to be closed behind `close`; a second at most."""
        ...


class Connector(Protocol):
    """Makes connections to one host.

    Attributes:
        where: Its address, for messages.
        heartbeats: Whether a connection can die without a sign, so that signs of life are needed.
    """

    where: str
    heartbeats: bool

    async def connect(self) -> Transport:
        """Return a new connection.

        Raises:
            BrokenError: If nobody answers; says what to check.
        """
        ...


class StreamTransport(asyncio.Protocol):
    """A connection over a byte stream (a `Transport`).

    What comes in is taken where it arrives, without a task that would have to be woken.
    """

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._frames = FrameReader(MAX_ANSWER_BYTES)
        self._heard = False
        self._early: list[bytes] = []
        self._take: Take | None = None
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost = asyncio.Event()
        self._is_tls = False

    # --- the stream's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._is_tls = transport.get_extra_info("ssl_object") is not None
        self._transport.write(PREFACE_USER)

    def data_received(self, data: bytes) -> None:
        take = self._take
        if take is None:
            if not self._end.done():
                self._early.append(data)
            return
        try:
            if not self._heard:
                self._check_first(data)
            frames = self._frames.feed(data)
            if frames and not take([wire.decode_to_client(payload, _FORM) for payload in frames]):
                self._stop(None)
        except Exception as error:  # noqa: BLE001 - raised by `carry`
            self._stop(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        self._stop(None)

    # --- the client's side ---

    def send(self, messages: Sequence[wire.ToHost]) -> None:
        if not self._transport.is_closing():
            self._transport.write(
                b"".join([frame(wire.encode(message, _FORM)) for message in messages])
            )

    async def carry(self, take: Take) -> None:
        self._take = take
        early, self._early = self._early, []
        for data in early:
            if not self._end.done():
                self.data_received(data)
        try:
            await self._end
        finally:
            self._take = None

    def close(self) -> None:
        self._transport.close()

    async def closed(self) -> None:
        if not self._is_tls:
            return
        try:
            await asyncio.wait_for(self._lost.wait(), _GOODBYE_S)
        except TimeoutError:
            self._transport.abort()
        await asyncio.sleep(0)  # its socket goes in the turn behind that

    # --- within ---

    def _check_first(self, data: bytes) -> None:
        if data.startswith(b"HTTP/"):
            raise RemoteProtocolError(
                "a web server answers there: users connect to the host's own port "
                "(hubbub serve --listen, 1975 if nothing is said), not to its page",
                code="not_hubbub",
            )
        self._heard = True

    def _stop(self, error: Exception | None) -> None:
        self._take = None
        if self._end.done():
            return
        if error is None:
            self._end.set_result(None)
        else:
            self._end.set_exception(error)


class StreamConnector:
    """Connects to ``hub://host:port/space``, ``hubs://`` (TLS) or ``hub+unix:///path`` (a `Connector`).

    With several addresses, ``hub://a:1975,b:1975``, the first that answers.

    Attributes:
        space: Which space of the host is meant; empty for the one that it serves to who names none.

    Raises:
        ConfigurationError: If ``url`` is none of these, or a certificate can't be loaded.
    """

    heartbeats = True

    def __init__(
        self, url: URL | Sequence[URL], certificates: Certificates | None = None
    ) -> None:
        self._addresses, self._certificates = usable_addresses(url, certificates)
        self.space = self._addresses[0].space
        self.where = url if isinstance(url, str) else ", ".join(map(str, self._addresses))

    async def connect(self) -> StreamTransport:
        failed: BrokenError | None = None
        for address in self._addresses:
            try:
                return await self._connect(address)
            except ssl.SSLError as error:
                await asyncio.sleep(0)  # the loop closes the socket in its next turn, and may end behind this
                why = explained(error, str(address))
                failed = BrokenError(str(why), code=why.code)
                failed.__cause__ = error
            except OSError as error:
                if address.tls:
                    await asyncio.sleep(0)  # the same, where the host has cut the handshake short
                where = self.where if len(self._addresses) == 1 else address
                failed = BrokenError(
                    f"nobody answers at {where}: {_reason(error)}; {_check(address)}"
                )
                failed.__cause__ = error
        assert failed is not None
        raise failed

    async def _connect(self, address: Address) -> StreamTransport:
        loop = asyncio.get_running_loop()
        if address.path:
            _, made = await loop.create_unix_connection(StreamTransport, address.path)
            return made
        _, made = await loop.create_connection(
            StreamTransport,
            address.host,
            address.port,
            ssl=self._certificates.context() if address.tls else None,
        )
        return made


def _check(address: Address) -> str:
    if address.path:
        return "is `hubbub serve` running, with this socket, and may you open it?"
    return "is `hubbub serve` running there, with --listen on this port?"


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
