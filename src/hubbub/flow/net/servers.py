"""Servers that run a graph for each connection."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import ssl
from collections.abc import Callable
from typing import Any

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes
from hubbub.flow.functions import as_component
from hubbub.flow.net.descriptors import make_room_for
from hubbub.flow.net.framing import Framing
from hubbub.flow.net.peer import Peer
from hubbub.flow.net.places import Place
from hubbub.flow.net.served import Served
from hubbub.flow.net.sparingly import Sparingly
from hubbub.flow.net.speech import Speech
from hubbub.flow.net.wires import EncodeOnce
from hubbub.kernel import ConfigurationError

log = logging.getLogger("hubbub.flow.net")

CONNECTIONS = 10_000
"""How many connections a server takes at the same time, unless told otherwise."""

OUT_BYTES = 1 << 20
"""How many bytes wait for a connection to be written before its graph waits, unless told otherwise."""


class Server(Component):
    """Run a graph for each connection: what the peer sends comes to its inbox, what it sends goes to the peer.

    >>> Server(lambda peer: Pipeline(TagWith(str(peer)), PublishTo("chat")), 1601)

    The peer's end finishes the graph's inbox; when the graph has ended and all is written, the connection ends. A graph
    that fails, bytes that are no item, a line that is too long: that connection ends, with a word in the log, and the
    server goes on. A graph without an inbox hears nothing of what its peer sends; the peer's end ends it.

    Asked to finish, it accepts nobody any more, and lets each connection come to a good end: nothing more is read, what
    came is worked off, what comes of it is written. A peer that takes nothing for seconds is cut off then.

    Args:
        protocol: Called for each connection, with its `Peer` if it takes an argument that has no default; returns a
            component, or anything that is accepted for one. Each call has to make a new one.
        port: The port; 0 takes a free one, see `address`.
        host: The interface. Only this machine can connect unless it is told otherwise; "" means all interfaces.
        path: A Unix socket's path, instead of a port.
        framing: How bytes are cut into items: see `hubbub.flow.net.framing`.
        acked: Whether items are numbered, and sent again until they are handled. The client has to say so, too. What
            comes has a token then, whose `Position` a sink can store. What a graph sends is sent again on the same
            connection only: it has no other.
        tls: An `ssl.SSLContext`, such as `server_tls` returns.
        max_connections: More are refused, with a word in the log. The limit of open files is raised for them, as far as
            the system permits.
        items: How many items wait for a connection to be written before its graph waits.
        limit_bytes: How many bytes of them. While fewer wait one item more is taken, however large. Text counts by its
            length, what is neither text nor bytes by what Python says it takes, without what it refers to.

    Attributes:
        accepted: How many connections there have been.
        refused: How many were refused.
        failed: How many did not end well.

    Raises:
        ConfigurationError: If an argument makes no sense.
    """

    inboxes: Boxes = {}
    outboxes: Boxes = {}

    def __init__(
        self,
        protocol: Callable[..., Any],
        port: int | None = None,
        host: str = "127.0.0.1",
        *,
        path: str | os.PathLike[str] | None = None,
        framing: str | Framing = "lines",
        acked: bool = False,
        tls: ssl.SSLContext | None = None,
        max_connections: int = CONNECTIONS,
        items: int = 100,
        limit_bytes: int = OUT_BYTES,
    ) -> None:
        if not callable(protocol):
            raise ConfigurationError(
                f"a server needs a function that makes a graph for each connection, not {protocol!r}: "
                "write 'lambda: ...' before it"
            )
        if max_connections < 1 or items < 1 or limit_bytes < 1:
            raise ConfigurationError("max_connections, items and limit_bytes have to be at least 1")
        self._protocol = protocol
        self._tells_peer = self._takes_peer(protocol)
        self._place = Place(port, host, path, tls)
        self._speech = Speech(framing, acked=acked, encode=EncodeOnce)
        self.max_connections = max_connections
        self.items = items
        self.limit_bytes = limit_bytes
        self.accepted = 0
        self.refused = 0
        self.failed = 0
        self._connections: set[Served] = set()
        self._finishing = False
        self._empty = asyncio.Event()
        self._refused_at = float("-inf")
        self._tell = Sparingly(log)

    def _takes_peer(self, protocol: Callable[..., Any]) -> bool:
        return _required(protocol) > 0

    @property
    def address(self) -> str:
        """Where it listens, once it is started: ``127.0.0.1:1600``, or a path."""
        return self._place.address

    @property
    def port(self) -> int:
        """The port where it listens, once it is started."""
        return self._place.port

    @property
    def connections(self) -> int:
        """How many connections there are; one whose graph still works counts, too."""
        return len(self._connections)

    def prepare(self) -> None:
        self._place.bind()
        make_room_for(self.max_connections, f"the server at {self.address}")

    def withdraw(self) -> None:
        self._place.close()

    async def main(self) -> None:
        try:
            if not self._finishing:
                await self._place.serve(self._accept)
                log.info("listening on %s", self.address)
                await self._empty.wait()
        finally:
            self._place.close()
            graphs = [child for served in list(self._connections) if (child := served.stop())]
            for graph in graphs:
                if not graph.is_over:
                    await asyncio.wait([asyncio.ensure_future(_end_of(graph))])

    def finish(self) -> None:
        self._finishing = True
        self._place.close()
        for served in list(self._connections):
            served.finish()
        self._look()

    # -------------------------------------------------------------- for its connections

    def graph_for(self, peer: Peer) -> Component:
        """Return a new graph for a connection."""
        return as_component(self._protocol(peer) if self._tells_peer else self._protocol())

    def entered(self, served: Served) -> bool:
        """Count a connection in. Return whether there is room for it."""
        if self._finishing or len(self._connections) >= self.max_connections:
            self.refused += 1
            now = asyncio.get_running_loop().time()
            if not self._finishing and now - self._refused_at >= 1.0:
                self._refused_at = now
                log.warning(
                    "the server at %s refused %s, and %d in all: it has all the connections that it may "
                    "(max_connections=%d)",
                    self.address,
                    served.peer,
                    self.refused,
                    self.max_connections,
                )
            return False
        self.accepted += 1
        self._connections.add(served)
        return True

    def left(self, served: Served) -> None:
        """A connection is gone, and its graph is over."""
        self._connections.discard(served)
        if served.error is not None:
            self.failed += 1
        self._look()

    def tell(self, text: str, *words: object, exc_info: BaseException | None = None) -> None:
        """Log what happened to a connection, as often as is of use."""
        self._tell.warning(text, *words, exc_info=exc_info)

    def _accept(self) -> Served:
        return Served(self, self._speech.wire_of_its_own())

    def _look(self) -> None:
        if self._finishing and not self._connections:
            self._empty.set()


class SimpleServer(Server):
    """Like `Server`; its protocol is called with nothing.

    >>> SimpleServer(lambda: SubscribeTo("chat"), 1600)
    """

    def _takes_peer(self, protocol: Callable[..., Any]) -> bool:
        if _required(protocol):
            raise ConfigurationError(
                f"the protocol of a SimpleServer is called with nothing, and {protocol!r} needs an argument; "
                "a Server gives it the peer"
            )
        return False


async def _end_of(graph: Any) -> None:
    try:
        await graph.wait()
    except Exception as error:  # noqa: BLE001 - it was stopped: how it took that is for the log
        log.info("a connection's graph ended with %r", error)


def _required(protocol: Callable[..., Any]) -> int:
    """Return how many arguments ``protocol`` needs."""
    try:
        parameters = inspect.signature(protocol).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in parameters
    )
