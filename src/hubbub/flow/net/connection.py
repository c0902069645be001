"""One connection: an `asyncio.Protocol` between a transport and boxes.

Theory of operation
===================

    box --take--> wire.pack --> transport.write       a whole batch at a time; not while the transport is full (FL1)
    boxes <--offer-- wire.feed <-- data_received      what finds no room waits, and the transport is not read (FL1)

There is no task for any of this: an item in the box, room in the transport and bytes that come are calls. Only while
the boxes have no room a task waits for it. So thousands of connections cost little.

    open --peer's end, all given--> heard      --all written and settled--> said      --transport gone--> over

`heard` and `said` come in any order, each once at most; the hooks of these names say what happens then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

from hubbub.flow.box import Box, BoxState, Feed
from hubbub.flow.component import Outlets, is_stopped
from hubbub.flow.net.peer import Peer, peer_of
from hubbub.flow.net.wires import Wire
from hubbub.flow.tracking import Tracked
from hubbub.kernel import BoxFullError, FramingError, HubbubError, ProtocolError, Stopped

log = logging.getLogger("hubbub.flow.net")

WRITE_BYTES = 1 << 16
"""So much may wait in the transport to be written before nothing more is taken out of the box."""

LINGER_S = 5.0
"""How long a connection that ends may take to carry off what is written and to hear the other end."""


class Connection(asyncio.Protocol):
    """Carry items between boxes and a transport. Its hooks say what its beginning and its ends mean.

    Attributes:
        peer: Who is at the other end, once it is there.
        wire: What is spoken.
        received: Bytes that have come.
        error: Why it ended, if it did not end well.
        ours: Whether that was because of what this side sent or could not take.
        lost: Whether the transport is gone.
    """

    __slots__ = (
        "_at_end",
        "_blocked",
        "_deaf",
        "_giving",
        "_half",
        "_heard",
        "_no_more",
        "_paused",
        "_pending",
        "_said",
        "_source",
        "_targets",
        "_timer",
        "_transport",
        "_waiter",
        "error",
        "lost",
        "ours",
        "peer",
        "received",
        "wire",
    )

    _transport: asyncio.Transport

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.peer = Peer()
        self.received = 0
        self.error: Exception | None = None
        self.ours = False
        self.lost = False
        self._source: Box[Any] | None = None
        self._targets: Outlets = ()
        self._deaf = False
        self._waiter: asyncio.Future[None] | None = None
        self._pending: list[Any] = []
        self._giving: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._blocked = False
        self._at_end = False
        self._no_more = False
        self._heard = False
        self._said = False
        self._half = False

    # ------------------------------------------------------------------------ hooks

    def opened(self) -> None:
        """The transport is there."""

    def heard(self) -> None:
        """Everything that came has been given, and nothing more will come."""

    def said(self) -> None:
        """The source has finished, everything is written and settled."""

    def over(self) -> None:
        """The transport is gone."""

    # ---------------------------------------------------------------- from the outside

    def join(self, source: Box[Any] | None, targets: Outlets | None) -> None:
        """Begin to carry.

        Args:
            source: What to send; None if nothing will ever be.
            targets: Where what comes goes; None if it is only counted.
        """
        self._source = source
        self._deaf = targets is None
        self._targets = targets or ()
        self._pump()

    def end_reading(self) -> None:
        """Give what has come, but nothing that still comes. `heard` follows."""
        self._deaf = True
        self._no_more = True
        self._look_heard()

    def fail(self, error: Exception) -> None:
        """End it because of ``error``; what is written may still go out."""
        if self.error is None and not self.lost:
            self.error = error
            self.say_end()
            self.end_reading()

    def close(self) -> None:
        """Close behind what is written, within a few seconds. Idempotent."""
        self._stop_writing()
        self._deaf = True
        if not self.lost:
            self._transport.close()
            self._linger()

    def say_end(self) -> None:
        """Say that nothing more will be sent, and hear the other end out, for a few seconds."""
        if self.lost:
            return
        if self._at_end or not self._transport.can_write_eof():
            self.close()
            return
        self.half_close()
        self._linger()

    def half_close(self) -> None:
        """Say that nothing more will be sent, where the transport can; else close it."""
        self._stop_writing()
        if self.lost:
            return
        if self._transport.can_write_eof():
            if not self._half and not self._transport.is_closing():
                self._half = True
                self._transport.write_eof()
            if self._giving is None:
                self._transport.resume_reading()
        else:
            self.close()

    def abort(self) -> None:
        """Cut it off. Idempotent."""
        self._stop_writing()
        if self._giving is not None:
            self._giving.cancel()
        if not self.lost:
            self._transport.abort()

    # ---------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)
        self.peer = peer_of(transport)
        first = self.wire.opened()
        if first:
            self._transport.write(first)
        self.opened()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._deaf:
            return
        fault: ProtocolError | None = None
        try:
            items = self.wire.feed(data)
        except ProtocolError as error:
            fault = error
            items = error.items if isinstance(error, FramingError) else []
        if items:
            self._give(items)
        answer = self.wire.reply()
        if answer and not self.lost:
            self._transport.write(answer)
        if fault is not None:
            self.fail(fault)
        elif self._blocked:
            self._blocked = False
            self._pump()

    def eof_received(self) -> bool:
        if not self._at_end:
            self._at_end = self._no_more = True
            self._end_of_stream()
        # True keeps the other direction open; TLS has no such thing.
        return not self._half and not self._transport.get_extra_info("sslcontext")

    def _end_of_stream(self) -> None:
        if not self._deaf:
            try:
                items = self.wire.end()
            except FramingError as error:
                items = error.items
                self.fail(error)
            if items:
                self._give(items)
        self._look_heard()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._stop_writing()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if exc is not None and self.error is None:
            self.error = exc
        self._at_end = self._no_more = True
        self._look_heard()
        self.over()

    # ------------------------------------------------------------------------ writing

    def _pump(self, _waiter: asyncio.Future[None] | None = None) -> None:
        """Write what waits in the source, as far as there is room; then be called again when there is more."""
        self._waiter = None
        source, wire = self._source, self.wire
        if source is None or self._paused or self._said or self.lost:
            return
        while not self._paused:
            if not len(source):
                if source.state is BoxState.OPEN:
                    self._waiter = waiter = asyncio.get_running_loop().create_future()
                    waiter.add_done_callback(self._pump)
                    source.watch(waiter)
                elif wire.settled():
                    self._said = True
                    self.said()
                else:
                    self._blocked = True
                return
            if not wire.room():
                self._blocked = True
                return
            items = source.take_nowait()
            try:
                data, count = wire.pack(items, WRITE_BYTES)
            except FramingError as error:
                self.ours = True
                self.fail(error)
                return
            if count < len(items):
                source.put_back(items[count:])
                del items[count:]
            self._transport.write(data)
            wire.wrote(items)

    def _stop_writing(self) -> None:
        """Take nothing more out of the source: it may be somebody else's soon."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.remove_done_callback(self._pump)
            if self._source is not None:
                unwatch(self._source, waiter)
        self._source = None

    # ------------------------------------------------------------------------ reading

    def _give(self, items: list[Any]) -> None:
        if self._giving is not None:
            self._pending += items
            return
        targets = self._targets
        if not targets:
            for item in items:
                if type(item) is Tracked:
                    item.release()
            return
        if len(targets) == 1:
            target = targets[0]
            box = target.box if isinstance(target, Feed) else target
            try:
                done = box.offer_all(items)
            except (BoxFullError, Stopped) as error:
                self._not_given(error)
                return
            if isinstance(target, Feed):
                target.passed += done
            if done == len(items):
                return
            items = items[done:]
        self._pending = items
        if not self.lost:
            self._transport.pause_reading()
        self._giving = asyncio.get_running_loop().create_task(self._give_slowly())

    async def _give_slowly(self) -> None:
        try:
            while self._pending:
                items, self._pending = self._pending, []
                await _put_all(self._targets, items)
        except (BoxFullError, Stopped) as error:
            self._pending = []
            self._not_given(error)
        finally:
            self._giving = None
            if not self.lost and not self._transport.is_closing():
                self._transport.resume_reading()
            self._look_heard()

    def _not_given(self, error: HubbubError) -> None:
        """Nobody takes it any more: read on, so that the end is seen; or it was refused, which is a failure."""
        self._deaf = True
        if isinstance(error, BoxFullError):
            self.ours = True
            self.fail(error)

    def _look_heard(self) -> None:
        if self._no_more and self._giving is None and not self._heard:
            self._heard = True
            self.heard()

    def _linger(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)


def unwatch(source: Box[Any], waiter: asyncio.Future[None]) -> None:
    """Let ``source`` wake ``waiter`` no more, if it is the one that waits there."""
    if source._reader is waiter:
        source._reader = None


async def _put_all(targets: Outlets, items: Sequence[Any]) -> None:
    """Put ``items`` into all of ``targets``; that one has stopped matters only where none is left."""
    for position, target in enumerate(targets):
        if position and Tracked in map(type, items):
            items = [
                Tracked(item.item, item.tokens) if type(item) is Tracked else item for item in items
            ]
        try:
            await target.put_all(items)
        except Stopped:
            if all(is_stopped(other) for other in targets):
                raise
