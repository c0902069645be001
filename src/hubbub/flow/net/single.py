"""A server for one connection at a time, with boxes of its own."""

from __future__ import annotations

import logging
import os
import ssl
from typing import Any

from hubbub.flow.box import Box
from hubbub.flow.component import Outlets
from hubbub.flow.net.carried import Carried, Carrier
from hubbub.flow.net.framing import Framing, framing_of, fresh
from hubbub.flow.net.places import Place
from hubbub.flow.net.wires import TrackedPlain, Wire

log = logging.getLogger("hubbub.flow.net")


class SingleServer(Carrier):
    """Listen for one connection at a time: what the peer sends leaves by the outbox, the inbox is sent to it.

    >>> Graphline(events=SingleServer(1500), filter=EventFilter(), ..., linkages=["events -> filter", ...])

    Both boxes are loose. While somebody is connected, others are refused, with a word in the log. What waits in the
    inbox waits for the next one. When the peer has said its end, the connection is closed as soon as all that it sent
    has been handled, and what came of it by the inbox is written.

    It ends when its inbox was linked, has finished, and all is written; or when it is asked to finish.

    Args:
        port: The port; 0 takes a free one, see `address`.
        host: The interface. Only this machine can connect unless it is told otherwise; "" means all interfaces.
        path: A Unix socket's path, instead of a port.
        framing: How bytes are cut into items: see `hubbub.flow.net.framing`.
        tls: An `ssl.SSLContext`, such as `server_tls` returns.

    Attributes:
        accepted: How many connections there have been.
        refused: How many were refused.

    Raises:
        ConfigurationError: If an argument makes no sense.
    """

    def __init__(
        self,
        port: int | None = None,
        host: str = "127.0.0.1",
        *,
        path: str | os.PathLike[str] | None = None,
        framing: str | Framing = "lines",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__()
        self._place = Place(port, host, path, tls)
        self._framing = framing_of(framing)
        self._connection: Carried | None = None
        self._targets: Outlets = ()
        self.accepted = 0
        self.refused = 0

    @property
    def address(self) -> str:
        """Where it listens, once it is started: ``127.0.0.1:1500``, or a path."""
        return self._place.address

    @property
    def port(self) -> int:
        """The port where it listens, once it is started."""
        return self._place.port

    @property
    def is_connected(self) -> bool:
        """Whether somebody is connected."""
        return self._connection is not None and not self._connection.lost

    def prepare(self) -> None:
        self._place.bind()

    def ended(self) -> None:
        self._place.close()

    async def main(self) -> None:
        self._targets = self._take_boxes()
        try:
            await self._place.serve(self._accept)
            log.info("listening on %s", self.address)
            while not self._is_done():
                await self._wait()
        finally:
            self._place.close()
            if self._connection is not None:
                self._connection.abort()

    def finish(self) -> None:
        self._finishing = True
        self._place.close()
        self._changed.set()

    # ------------------------------------------------------------------------- parts

    def _is_done(self) -> bool:
        self._look_after_connection()
        return self._connection is None and (self._finishing or self._all_sent())

    def _look_after_connection(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if connection.is_over:
            self._connection = None
            if connection.error is not None:
                if connection.ours:
                    raise connection.error
                log.warning("the connection of %s broke: %s", connection.peer, connection.error)
        elif self._finishing:
            self._come_to_end(connection)
        elif connection.is_handled:
            connection.close()
        elif connection.is_said:
            connection.half_close()

    def _accept(self) -> Carried:
        return _Single(self)

    def wire(self) -> Wire:
        """Return what a new connection speaks."""
        return TrackedPlain(self._framing.encode, fresh(self._framing))

    def boxes(self) -> tuple[Box[Any] | None, Outlets]:
        """Return what a connection sends, and where what comes goes."""
        return self._source, self._targets

    def changed(self) -> None:
        """A connection has heard or said all, or is over."""
        self._changed.set()

    def entered(self, connection: Carried) -> bool:
        """Take ``connection`` if there is none. Return whether it was taken."""
        if self._finishing or self._connection is not None:
            self.refused += 1
            log.warning(
                "the server at %s refused %s: it takes one connection at a time",
                self.address,
                connection.peer,
            )
            return False
        self.accepted += 1
        self.leave_inbox()
        self._connection = connection
        return True


class _Single(Carried):
    """A connection of a `SingleServer`."""

    __slots__ = ("_server",)

    def __init__(self, server: SingleServer) -> None:
        self._server = server
        super().__init__(server.wire(), *server.boxes(), server.changed)

    def opened(self) -> None:
        if self._server.entered(self):
            self.begin()
        else:
            self.end_reading()
            self.close()
