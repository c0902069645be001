"""A server for one connection at a time, with boxes of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from typing import Any

from hubbub.flow.box import Box
from hubbub.flow.component import Outlets
from hubbub.flow.net.carried import Carried, Carrier
from hubbub.flow.net.framing import Framing
from hubbub.flow.net.places import Place
from hubbub.flow.net.speech import Speech

log = logging.getLogger("hubbub.flow.net")

KNOCKING = 16
"""So many connections may be there that have not said yet who they are; of more the oldest gives way."""


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
        acked: Whether items are numbered, and sent again until they are handled. The client has to say so, too. What
            comes has a token then, whose `Position` a sink can store. A client that connects again takes the place of
            its own old connection.
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
        acked: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(Speech(framing, acked=acked))
        self._place = Place(port, host, path, tls)
        self._connection: _Single | None = None
        self._all: set[_Single] = (
            set()
        )  # with those that were refused, or have not said who they are
        self._knocking: dict[_Single, None] = {}
        self._targets: Outlets = ()
        self.accepted = 0
        self.refused = 0
        self._refused_at = float("-inf")

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

    def withdraw(self) -> None:
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
            for connection in list(self._all):
                connection.abort()

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

    def boxes(self) -> tuple[Box[Any] | None, Outlets]:
        """Return what a connection sends, and where what comes goes."""
        return self._source, self._targets

    def changed(self) -> None:
        """A connection has heard or said all, or is over."""
        self._changed.set()

    def refuses(self, connection: _Single) -> None:
        """Count a connection that is refused, and log it, but not more than once a second."""
        self.refused += 1
        now = asyncio.get_running_loop().time()
        if not self._finishing and now - self._refused_at >= 1.0:
            self._refused_at = now
            log.warning(
                "the server at %s refused %s, and %d in all: it takes one connection at a time",
                self.address,
                connection.peer,
                self.refused,
            )

    def came(self, connection: _Single) -> None:
        """A connection is there; whether it is taken is another question."""
        self._all.add(connection)

    def went(self, connection: _Single) -> None:
        """It is gone."""
        self._all.discard(connection)
        self.knocks_no_more(connection)

    def knocks(self, connection: _Single) -> None:
        """``connection`` has not said yet who it is."""
        self._knocking[connection] = None
        if len(self._knocking) > KNOCKING or self._finishing:
            oldest = next(iter(self._knocking))
            self.knocks_no_more(oldest)
            self.refuses(oldest)
            oldest.refuse(_BUSY)

    def is_knocking(self, connection: _Single) -> bool:
        """Whether ``connection`` has not said yet who it is."""
        return connection in self._knocking

    def knocks_no_more(self, connection: _Single) -> None:
        """``connection`` has said who it is, or is gone."""
        self._knocking.pop(connection, None)

    def entered(self, connection: _Single) -> bool:
        """Take ``connection`` if there is none, or if it takes the place of its own old one. Return whether it did."""
        old = self._connection
        if self._finishing or (
            old is not None and not (connection.origin and connection.origin == old.origin)
        ):
            self.refuses(connection)
            return False
        if old is not None:
            log.info("%s has connected again from %s", old.peer, connection.peer)
            old.cut()
        self.accepted += 1
        self.leave_inbox()
        self._connection = connection
        self.changed()
        return True


class _Single(Carried):
    """A connection of a `SingleServer`."""

    __slots__ = ("_server",)

    def __init__(self, server: SingleServer) -> None:
        self._server = server
        super().__init__(
            server.speech.wire(tracked=True, met=self._met), *server.boxes(), server.changed
        )

    @property
    def origin(self) -> str:
        """Who is at the other end, as it says itself; nothing where nobody says that."""
        return getattr(self.wire, "origin", "")

    def opened(self) -> None:
        self._server.came(self)
        if self._server.speech.acked:
            self._server.knocks(self)
        else:
            self._enter()

    def heard(self) -> None:
        super().heard()
        if self._server.is_knocking(self):
            self.close()  # it has ended without a word

    def over(self) -> None:
        self._server.went(self)
        super().over()

    def _met(self) -> None:
        self._server.knocks_no_more(self)
        self._enter()

    def _enter(self) -> None:
        if self._server.entered(self):
            self.begin()
        else:
            self.refuse(_BUSY)


_BUSY = "somebody else is connected, and there is one connection at a time"
