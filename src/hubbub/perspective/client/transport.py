"""How the client's messages reach the host: over TCP, TLS or a Unix socket; tests bring a way of their own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import unquote, urlsplit

from hubbub.kernel import BrokenError, ConfigurationError, RemoteProtocolError
from hubbub.wire import session as wire
from hubbub.wire.frames import PREFACE_USER, FrameReader, frame

DEFAULT_PORT = 1975

MAX_ANSWER_BYTES = 256 << 20
"""The largest message that the client takes from a host: what it watches is its own choice."""

_READ_BYTES = 256 << 10
_FORM = "msgpack"


class Transport(Protocol):
    """One connection to a host."""

    def send(self, messages: Sequence[wire.ToHost]) -> None:
        """Send ``messages`` in order, without waiting. What can't be sent any more is dropped."""
        ...

    async def receive(self) -> Sequence[wire.ToClient]:
        """Return what has come in since the last time, at least one message; nothing if the connection has ended.

        Raises:
            RemoteProtocolError: If what came is not a host's.
        """
        ...

    def close(self) -> None:
        """Send what is under way, then close. Idempotent."""
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


class StreamTransport:
    """A connection over a byte stream (a `Transport`)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader(MAX_ANSWER_BYTES)
        self._heard = False
        writer.write(PREFACE_USER)

    def send(self, messages: Sequence[wire.ToHost]) -> None:
        if not self._writer.is_closing():
            self._writer.write(
                b"".join([frame(wire.encode(message, _FORM)) for message in messages])
            )

    async def receive(self) -> Sequence[wire.ToClient]:
        while True:
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError:
                data = b""
            if not data:
                return ()
            if not self._heard and data.startswith(b"HTTP/"):
                raise RemoteProtocolError(
                    "a web server answers there: users connect to the host's own port "
                    "(hubbub serve --listen, 1975 if nothing is said), not to its page",
                    code="not_hubbub",
                )
            self._heard = True
            frames = self._frames.feed(data)
            if frames:
                return [wire.decode_to_client(payload, _FORM) for payload in frames]

    def close(self) -> None:
        self._writer.close()


class StreamConnector:
    """Connects to ``hub://host:port``, ``hubs://host:port`` (TLS) or ``hub+unix:///path`` (a `Connector`).

    Raises:
        ConfigurationError: If ``url`` is none of these.
    """

    heartbeats = True

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.where = url
        self._path = ""
        self._host, self._port = "", DEFAULT_PORT
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "hub+unix":
            self._path = unquote(parts.netloc + parts.path)
        elif parts.scheme in ("hub", "hubs"):
            self._host = parts.hostname or ""
            try:
                self._port = parts.port or DEFAULT_PORT
            except ValueError:
                self._host = ""
            if parts.scheme == "hubs":
                self._tls = ssl.create_default_context()
        if not (self._path or self._host):
            raise ConfigurationError(
                f"{url!r} is not a hub's address such as hub://127.0.0.1:{DEFAULT_PORT} or hub+unix:///run/hub.sock"
            )

    async def connect(self) -> StreamTransport:
        try:
            if self._path:
                return StreamTransport(*await asyncio.open_unix_connection(self._path))
            return StreamTransport(
                *await asyncio.open_connection(self._host, self._port, ssl=self._tls)
            )
        except OSError as error:
            raise BrokenError(
                f"nobody answers at {self.where}: {_reason(error)}; {self._check}"
            ) from error

    @property
    def _check(self) -> str:
        if self._path:
            return "is `hubbub serve` running, with this socket, and may you open it?"
        return "is `hubbub serve` running there, with --listen on this port?"


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
