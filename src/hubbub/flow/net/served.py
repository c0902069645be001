"""A server's connection and the graph that runs for it.

accepted --> graph runs --peer ends--> its inbox finishes --> graph over --> all written --> end is said --> gone
|------ connection lost --> its inbox finishes, its outbox stops, it is asked to finish
'------ graph fails, bytes that are no item --> a word in the log, closed
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from hubbub.flow.box import Box
from hubbub.flow.component import Outlets
from hubbub.flow.graph import flat_of
from hubbub.flow.net.connection import LINGER_S, WRITE_BYTES, Connection
from hubbub.flow.net.wires import Wire
from hubbub.flow.running import Running
from hubbub.kernel import ComponentFailedError, HubbubError

if TYPE_CHECKING:
    from hubbub.flow.component import Component
    from hubbub.flow.net.servers import Server

log = logging.getLogger("hubbub.flow.net")


class Served(Connection):
    """A connection of a `Server`.

    Args:
        server: Whose.
        wire: What is spoken.
    """

    __slots__ = ("_graph", "_in", "_is_in", "_out", "_patience", "_server")

    def __init__(self, server: Server, wire: Wire) -> None:
        super().__init__(wire)
        self._server = server
        self._graph: Running | None = None
        self._in: Box[Any] | None = None
        self._out: Box[Any] | None = None
        self._is_in = False
        self._patience: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------- hooks

    def opened(self) -> None:
        self._is_in = self._server.entered(self)
        if not self._is_in:
            self.refuse("this server has all the connections that it may have")
            return
        self.begin()

    def begin(self) -> None:
        """Start the graph."""
        try:
            self._launch(self._server.graph_for(self.peer))
        except Exception as error:
            # The application's own code: it costs this connection, and no other.
            log.exception("no graph for the connection of %s", self.peer)
            self.fail(error)

    def heard(self) -> None:
        if self._in is not None:
            self._in.finish()
        elif self._graph is not None:
            self._graph.finish()

    def said(self) -> None:
        if self._graph is None or self._graph.is_over:
            self.say_end()

    def fail(self, error: Exception) -> None:
        if self.error is None and not self.lost and not isinstance(error, ComponentFailedError):
            self._server.tell("the connection of %s ends: %s", self.peer, error)
        super().fail(error)

    def over(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        if self._out is not None:
            self._out.stop()
        if self._graph is None or self._graph.is_over:
            self._gone()
        else:
            self._graph.finish()

    # --------------------------------------------------------------- from the server

    def finish(self) -> None:
        """Read nothing more, and come to a good end."""
        self.end_reading()
        if self._graph is not None:
            self._graph.finish()
        self._be_patient(self._transport.get_write_buffer_size())

    def stop(self) -> Running | None:
        """Cut it off, and stop its graph. Return what runs it, or None."""
        self.abort()
        if self._graph is not None:
            self._graph.stop()
        return self._graph

    # ------------------------------------------------------------------------- parts

    def _launch(self, graph: Component) -> None:
        inboxes: dict[str, Box[Any]] = {}
        outlets: dict[str, Outlets] = {}
        if "inbox" in graph.inboxes:
            flat = flat_of(graph)
            entry = flat.declared(flat.inboxes["inbox"][0])
            self._in = inboxes["inbox"] = Box(
                f"from {self.peer}",
                items=entry.items,
                limit_bytes=entry.limit_bytes or WRITE_BYTES,
                when_full=entry.when_full,
            )
            self._in.producers = 1
        if "outbox" in graph.outboxes:
            self._out = Box(
                f"to {self.peer}", items=self._server.items, limit_bytes=self._server.limit_bytes
            )
            outlets["outbox"] = (self._out,)
        (self._graph,) = self._server.running.runner.launch(
            [graph], inboxes=inboxes, outlets=outlets
        )
        self._graph.when_over(self._graph_over)
        self.join(self._out, None if self._in is None else (self._in,))

    def _graph_over(self, graph: Running) -> None:
        if self._in is not None:
            self._in.stop()
        self.wire.abandon()
        if graph.failure is not None:
            self._tell(graph.failure)
            self.fail(graph.failure)
        if self.lost:
            self._gone()
        elif self._out is None:
            self.say_end()
        else:
            self._out.finish()
            if self._said:
                self.say_end()

    def _gone(self) -> None:
        if self._is_in:
            self._is_in = False
            self._server.left(self)

    def _tell(self, failure: ComponentFailedError) -> None:
        cause = failure.__cause__
        self._server.tell(
            "the connection of %s ends: %s of its graph failed: %s: %s",
            self.peer,
            failure.component,
            type(cause).__name__,
            cause,
            exc_info=None if isinstance(cause, HubbubError) else cause,
        )

    def _be_patient(self, waiting: int) -> None:
        """Cut the connection off if nothing of what waits to be written has gone for a while."""
        if self.lost:
            return
        left = self._transport.get_write_buffer_size()
        if self._patience is not None and self._paused and left >= waiting:
            log.warning("%s takes nothing any more and is cut off", self.peer)
            self.abort()
            return
        self._patience = asyncio.get_running_loop().call_later(LINGER_S, self._be_patient, left)
