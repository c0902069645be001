"""Datagrams: quick, small, and nobody promises that they arrive."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Any, NamedTuple, Protocol, cast

from hubbub.flow.box import Box
from hubbub.flow.component import Component, Outlets, box_of
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.net.framing import Framing, framing_of, fresh
from hubbub.flow.net.peer import address_text
from hubbub.flow.running import ENDED
from hubbub.kernel import AddressInUseError, BoxFullError, ConfigurationError, FramingError, Stopped

log = logging.getLogger("hubbub.flow.net")

DATAGRAM_BYTES = 1400
"""The largest datagram that is sent, unless told otherwise: what most networks carry in one piece."""

Address = tuple[str, int]


class Datagram(NamedTuple):
    """An item, and whom it is from or for."""

    item: Any
    address: Address


class _Sending(Protocol):
    """What is used of a datagram transport: asyncio documents both, but its class declares only one."""

    def sendto(self, data: bytes, addr: Address | None = None) -> None: ...

    def get_write_buffer_size(self) -> int: ...


class UDPPeer(Component):
    """Send and receive datagrams. Both boxes are loose.

    >>> Pipeline(readings, UDPPeer(to=("127.0.0.1", 9000)))            # to one peer; hears only that one
    >>> Pipeline(UDPPeer(9000), lambda datagram: print(datagram.item))   # from everybody

    With ``to`` items go in and out as they are. Without it they go in and out as `Datagram`, which says for whom and
    from whom.

    Datagrams can get lost, come twice or out of order. What this side itself drops is counted: when the graph does not
    keep up, or the system takes no more, so that nobody waits for the network.

    It ends when its inbox was linked and has finished, or when it is asked to finish.

    Args:
        port: The port to receive at; 0 takes a free one, see `address`.
        host: The interface. Only this machine can send to it unless it is told otherwise.
        to: The one peer that it talks to.
        framing: ``raw``, a datagram is an item of bytes; or another one, then a datagram holds whole items.
        limit_bytes: The largest datagram that is sent.

    Attributes:
        dropped: How many items found no room in the graph or in the system.
        unreadable: How many datagrams held something else than items.
        received: How many datagrams have come.
        sent: How many were sent.

    Raises:
        ConfigurationError: If an argument makes no sense.
    """

    inboxes: Boxes = {"inbox": box("what to send", loose=True)}
    outboxes: Boxes = {"outbox": box("what arrives", loose=True)}
    independent = True

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        to: Address | None = None,
        framing: str | Framing = "raw",
        limit_bytes: int = DATAGRAM_BYTES,
    ) -> None:
        if not 1 <= limit_bytes <= 65_507:
            raise ConfigurationError(f"a datagram holds 1 to 65507 bytes, not {limit_bytes}")
        self._port = port
        self._host = host
        self._to = to
        self._framing = framing_of(framing)
        self._limit_bytes = limit_bytes
        self._sock: socket.socket | None = None
        self._address: Address = (host, port)
        self._targets: Outlets = ()
        self.dropped = 0
        self.unreadable = 0
        self.received = 0
        self.sent = 0

    @property
    def address(self) -> str:
        """Where it receives, once it is started: ``127.0.0.1:9000``."""
        return address_text(self._address)

    @property
    def port(self) -> int:
        """The port where it receives, once it is started."""
        return int(self._address[1])

    def prepare(self) -> None:
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
            )[0]
            self._sock = socket.socket(family, kind, protocol)
            self._sock.setblocking(False)
            self._sock.bind(place)
            if self._to is not None:
                self._sock.connect(self._to)
        except (OSError, OverflowError) as error:
            self.withdraw()
            kind_of_error = (
                AddressInUseError
                if isinstance(error, OSError) and error.errno == errno.EADDRINUSE
                else ConfigurationError
            )
            raise kind_of_error(
                f"can't receive at {address_text((self._host, self._port))}: {error}; "
                "choose another port, or 0 for any"
            ) from error
        self._address = self._sock.getsockname()[:2]

    def withdraw(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    async def main(self) -> None:
        inbox = self._inbox
        self._targets = self.outlets()
        assert self._sock is not None
        sock, self._sock = self._sock, None  # the transport closes it
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Datagrams(self), sock=sock
            )
        except BaseException:
            sock.close()
            raise
        try:
            if inbox is ENDED:
                await asyncio.Event().wait()  # until it is asked to finish
            async for item in inbox:
                self._send(cast(_Sending, transport), item)
        finally:
            transport.close()

    # ------------------------------------------------------------------------- parts

    def _send(self, transport: _Sending, item: Any) -> None:
        address: Address | None = None
        if self._to is None:
            if not isinstance(item, Datagram):
                raise FramingError(
                    f"UDPPeer has no to=, so it sends Datagram(item, (host, port)), not {type(item).__name__}"
                )
            item, address = item
        data = self._framing.encode(item)
        if len(data) > self._limit_bytes:
            raise FramingError(
                f"a datagram of {len(data)} bytes is longer than limit_bytes={self._limit_bytes}"
            )
        if transport.get_write_buffer_size() > _WAITING_BYTES:
            self.dropped += 1
            return
        self.sent += 1
        transport.sendto(data, address)

    def arrived(self, data: bytes, address: Any) -> None:
        """A datagram has come."""
        self.received += 1
        framing = fresh(self._framing)
        try:
            items = framing.feed(data) + framing.end()
        except FramingError as error:
            self.unreadable += 1
            log.debug("a datagram of %s is none: %s", address_text(address), error)
            return
        if self._to is None:
            items = [Datagram(item, tuple(address[:2])) for item in items]
        for target in self._targets:
            self._offer(box_of(target), items)

    def _offer(self, target: Box[Any], items: list[Any]) -> None:
        try:
            self.dropped += len(items) - target.offer_all(items)
        except (BoxFullError, Stopped):
            self.dropped += len(items)


_WAITING_BYTES = 1 << 18
"""More than that does not wait to be sent."""


class _Datagrams(asyncio.DatagramProtocol):
    """Hands on what arrives."""

    def __init__(self, peer: UDPPeer) -> None:
        self._peer = peer

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._peer.arrived(data, addr)

    def error_received(self, exc: Exception) -> None:
        log.debug("the network says of a datagram: %s", exc)
