"""A connection to a server, made again whenever it breaks."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from typing import Any

from hubbub.flow.net.carried import Carried, Carrier
from hubbub.flow.net.frames import BOTH_SIDES
from hubbub.flow.net.framing import Framing
from hubbub.flow.net.listening import keep_alive
from hubbub.flow.net.numbering import WINDOW
from hubbub.flow.net.peer import address_text
from hubbub.flow.net.places import HANDSHAKE_S
from hubbub.flow.net.speech import Speech
from hubbub.flow.restarting import Backoff
from hubbub.kernel import BrokenError, ConfigurationError, ProtocolError, RemoteProtocolError

log = logging.getLogger("hubbub.flow.net")

CONNECT_S = 10.0
"""How long connecting may take, unless told otherwise."""


class TCPClient(Carrier):
    """Connect to a server: what comes to the inbox is sent, what arrives leaves by the outbox. Both are loose.

    >>> Pipeline(TCPClient("127.0.0.1", 1600), ConsoleEchoer())

    When the connection breaks, or can't be made, it is tried again, less and less often. What waits in the inbox
    meanwhile is kept, and whoever sends waits as soon as it is full (FL1). What was written to a connection that then
    broke may be lost, and nobody knows how much.

    It ends when its inbox was linked, has finished, and all is written: it says so to the other side (TCP's half-close)
    and reads until that ends, too. TLS has no half-close: there the connection is closed as soon as all is written.
    Asked to finish, it does not wait for the other side to end for more than a few seconds; without a linked inbox it
    ends at once. What it still has to send keeps it, also while nobody answers.

    With ``acked=True`` nothing is lost: each item has a number, and is sent again after each new connection until the
    graph on the other side has handled it. It ends when all is handled. See `Position` for what a sink can do with the
    numbers.

    Args:
        host: The server's address or name.
        port: Its port.
        path: A Unix socket's path, instead of both.
        framing: How bytes are cut into items: see `hubbub.flow.net.framing`.
        acked: Whether items are numbered, and sent again until they are handled. The server has to say so, too.
        origin: For ``acked``, by what name this numbers; a random one if it is left out. Give one only where the same
            items get the same numbers again when this program is started again.
        first_number: For ``acked``, the number of the first item.
        window: For ``acked``, so many items may be on their way without being handled.
        tls: An `ssl.SSLContext`, such as `client_tls` returns.
        server_name: The name that the server's certificate must have, if it is not ``host``.
        reconnect: How long to wait before the next try. None: it fails where it can't connect or the connection breaks,
            and ends when the other side does; with ``acked``, if all that was sent is handled.
        connect_timeout_s: How long connecting may take.

    Attributes:
        connected: How often a connection was made.

    Raises:
        ConfigurationError: If an argument makes no sense.
    """

    def __init__(
        self,
        host: str = "",
        port: int | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        framing: str | Framing = "lines",
        acked: bool = False,
        origin: str | None = None,
        first_number: int = 1,
        window: int = WINDOW,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        reconnect: Backoff | None = Backoff(),  # noqa: B008 - frozen
        connect_timeout_s: float = CONNECT_S,
    ) -> None:
        super().__init__(
            Speech(framing, acked=acked, origin=origin, first_number=first_number, window=window)
        )
        if (path is None) == (port is None) or (path is not None and host):
            raise ConfigurationError(
                "TCPClient connects to a host and a port, or to a path=: say one of them"
            )
        if tls is not None and path is not None and server_name is None:
            raise ConfigurationError(
                "TLS over a path needs server_name=: the name that the server's certificate must have"
            )
        self._host = host or "127.0.0.1"
        self._port = port
        self._path = None if path is None else os.fspath(path)
        self._tls = tls
        self._server_name = server_name
        self._reconnect = reconnect
        self._connect_timeout_s = connect_timeout_s
        self._connection: Carried | None = None
        self.connected = 0

    @property
    def address(self) -> str:
        """What it connects to."""
        return self._path or address_text((self._host, self._port))

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None and not self._connection.lost

    async def main(self) -> None:
        targets = self._take_boxes()
        policy = self._reconnect
        waits = policy.waits() if policy is not None else None
        failing = False
        try:
            while not self._all_sent():
                try:
                    connection = await self._connect(targets)
                except OSError as error:
                    why = str(error) or f"no answer in {self._connect_timeout_s} s"
                    if waits is None:
                        raise BrokenError(f"can't connect to {self.address}: {why}") from error
                    log.log(
                        logging.INFO if failing else logging.WARNING,
                        "can't connect to %s: %s; it is tried again",
                        self.address,
                        why,
                    )
                    failing = True
                else:
                    await self._carry(connection)
                    if connection.is_said or policy is None or waits is None:
                        return
                    if self._finishing and self._feeds_itself and not len(self.inbox):
                        return
                    if connection.received and not isinstance(connection.error, ProtocolError):
                        failing = False
                        waits = policy.waits()
                await self._pause(next(waits))
        finally:
            if self._connection is not None:
                self._connection.abort()

    def finish(self) -> None:
        self._finishing = True
        if not self.running.is_fed(self):
            self.running.cancel(self)
        self._changed.set()

    # ------------------------------------------------------------------------- parts

    async def _connect(self, targets: Any) -> Carried:
        loop = asyncio.get_running_loop()

        def make() -> Carried:
            wire = self.speech.wire(tracked=self._feeds_itself)
            return Carried(wire, self._source, targets, self._changed.set)

        options: dict[str, Any] = {}
        if self._tls is not None:
            options = {
                "ssl": self._tls,
                "server_hostname": self._server_name or self._host,
                "ssl_handshake_timeout": HANDSHAKE_S,
            }
        async with asyncio.timeout(self._connect_timeout_s):
            if self._port is None:
                _, connection = await loop.create_unix_connection(make, self._path, **options)
            else:
                transport, connection = await loop.create_connection(
                    make, self._host, self._port, **options
                )
                sock = transport.get_extra_info("socket")
                if sock is not None:
                    keep_alive(sock)
        self._connection = connection
        self.connected += 1
        log.info("connected to %s", self.address)
        return connection

    async def _carry(self, connection: Carried) -> None:
        """Serve ``connection`` until it is over.

        Raises:
            FramingError: If an item could not be framed.
            BoxFullError: If a box refused an item.
            BrokenError: If it broke, and is not to be made again.
        """
        while not connection.is_over:
            if self._finishing:
                self._come_to_end(connection)
            elif connection.is_heard:
                connection.close()
            elif connection.is_said:
                connection.half_close()
            await self._wait()
        self._connection = None
        error = connection.error or self._unheard(connection)
        if error is None:
            log.info("the connection to %s has ended", self.address)
            return
        if connection.ours:
            raise error
        if self._reconnect is None and not (
            connection.is_said and (connection.wire.at_end or self._is_unread_answer(error))
        ):
            raise BrokenError(f"the connection to {self.address} broke: {error}") from error
        log.warning("the connection to %s broke: %s", self.address, error)

    def _is_unread_answer(self, error: Exception) -> bool:
        """Whether ``error`` says no more than that the other side, over TLS, still sent what nobody here reads."""
        return (
            isinstance(error, ssl.SSLError)
            and error.reason == "APPLICATION_DATA_AFTER_CLOSE_NOTIFY"
            and not self.outlets()
        )

    def _unheard(self, connection: Carried) -> Exception | None:
        """Return what is wrong with the other side's orderly end of ``connection``, if anything is."""
        if not self.speech.acked:
            return None
        if not connection.wire.is_met and not self._finishing:
            return RemoteProtocolError(
                f"the other side has ended it without having said who it is: {BOTH_SIDES}"
            )
        if self._reconnect is None and not self.speech.settled:
            return RemoteProtocolError("the other side has ended it, and not handled all")
        return None

    async def _pause(self, seconds: float) -> None:
        """Wait so long, unless everything is sent, or this can end, before that."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while not self._all_sent() and (left := until - clock()) > 0:
            await self._wait(left)
