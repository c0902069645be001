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
from typing import Any, cast

from hubbub.flow.box import Box, BoxState, Feed
from hubbub.flow.component import Outlets
from hubbub.flow.net.frames import BOTH_SIDES
from hubbub.flow.net.giving import give
from hubbub.flow.net.peer import Peer, peer_of
from hubbub.flow.net.wires import Wire
from hubbub.flow.tracking import let_go
from hubbub.kernel import (
    BoxFullError,
    BrokenError,
    FramingError,
    HubbubError,
    RemoteProtocolError,
    Stopped,
)

log = logging.getLogger("hubbub.flow.net")

WRITE_BYTES = 1 << 16
"""So much may wait in the transport to be written before nothing more is taken out of the box."""

LINGER_S = 5.0
"""How long a connection that ends may take to carry off what is written and to hear the other end."""

SILENT = 3
"""After so many signs of life that did not come the other side is taken for gone."""


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
        "_beat",
        "_blocked",
        "_eof",
        "_giving",
        "_half",
        "_heard",
        "_heard_bytes",
        "_hello",
        "_no_more",
        "_paused",
        "_pending",
        "_replying",
        "_said",
        "_silent",
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
        self._waiter: asyncio.Future[None] | None = None
        self._pending: list[Any] = []
        self._giving: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._hello: asyncio.TimerHandle | None = None
        self._heard_bytes = 0
        self._silent = 0
        self._replying = False
        self._paused = False
        self._blocked = False
        self._at_end = False
        self._no_more = False
        self._heard = False
        self._said = False
        self._half = False
        self._eof = False

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
        if targets is None:
            self.wire.deafen()
        self._targets = targets or ()
        self._pump()

    def end_reading(self) -> None:
        """Give what has come, but nothing that still comes. `heard` follows."""
        self.wire.deafen()
        self._no_more = True
        self._look_heard()

    def fail(self, error: Exception) -> None:
        """End it because of ``error``; what is written may still go out."""
        if self.error is None and not self.lost:
            self.error = error
            self._say_end(b"")
            self.end_reading()

    def refuse(self, reason: str) -> None:
        """End it before it has begun."""
        self.wire.deafen()
        self._write(self.wire.refusal(reason))
        self.close()

    def say_end(self) -> None:
        """Say that nothing more will be sent, and hear the other end out, for a few seconds."""
        self._say_end(self.wire.farewell())

    def half_close(self) -> None:
        """Say that nothing more will be sent, where that can be said; else close it."""
        self._half_close(self.wire.farewell())

    def close(self) -> None:
        """Close behind what is written, within a few seconds. Idempotent."""
        self._stop_writing()
        if not self.lost:
            self._write(self.wire.reply())
            self.wire.deafen()
            self._transport.close()
            self._linger()

    def abort(self) -> None:
        """Cut it off, and give nothing more of what has come. Idempotent."""
        if self._giving is not None:
            self._giving.cancel()
        self.cut()

    def cut(self) -> None:
        """Cut it off; what has come is still given. Idempotent."""
        self._stop_writing()
        if not self.lost:
            self._transport.abort()

    # ---------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)
        self.peer = peer_of(transport)
        self._write(self.wire.opened(self._reply_soon))
        self._beat_later()
        if self.wire.hello_s is not None:
            self._hello = asyncio.get_running_loop().call_later(
                self.wire.hello_s, self._look_met, self.wire.hello_s
            )
        self.opened()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.error is not None:
            return
        fault: FramingError | None = None
        try:
            items = self.wire.feed(data)
        except FramingError as error:
            fault = error
            items = error.items
        if items:
            self._give(items)
        if (
            not self._paused
        ):  # else it is said when there is room: who does not read must not fill the memory
            self._write(self.wire.reply())
        if fault is not None:
            self.fail(fault)
            return
        if self._blocked:
            self._blocked = False
            self._pump()
        if self.wire.at_end and not self._at_end:
            self.eof_received()

    def eof_received(self) -> bool:
        if not self._at_end:
            self._at_end = self._no_more = True
            try:
                items = self.wire.end()
            except FramingError as error:
                items = error.items
                self.fail(error)
            if items:
                self._give(items)
            self._look_heard()
        if self._transport.is_closing():
            return (
                False  # and an SSL transport that was closed twice knows nothing of itself any more
            )
        # True keeps the other direction open; TLS has no such thing.
        return not self._half and not self._transport.get_extra_info("sslcontext")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._write(self.wire.reply())
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._stop_writing()
        for timer in (self._timer, self._beat, self._hello):
            if timer is not None:
                timer.cancel()
        if exc is not None and self.error is None:
            self.error = exc
        self.wire.lost()
        self._at_end = self._no_more = True
        self._look_heard()
        self.over()

    # ------------------------------------------------------------------------ writing

    def _pump(self, _waiter: asyncio.Future[None] | None = None) -> None:
        """Write what waits in the source, as far as there is room; then be called again when there is more."""
        self._waiter = None
        source, wire = self._source, self.wire
        if source is None or self._said or self.lost:
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
                self._source.unwatch(waiter)
        self._source = None

    def _write(self, data: bytes) -> None:
        if data and not (self.lost or self._eof or self._transport.is_closing()):
            self._transport.write(data)

    def _reply_soon(self) -> None:
        """The wire has something to say: say it in the next turn, with what comes until then."""
        if not self._replying and not self.lost:
            self._replying = True
            asyncio.get_running_loop().call_soon(self._reply)

    def _reply(self) -> None:
        self._replying = False
        if not self._paused and not self.lost:
            self._write(self.wire.reply())

    def _say_end(self, farewell: bytes) -> None:
        if self.lost:
            return
        if self._at_end or not (farewell or self._transport.can_write_eof()):
            self._write(farewell)
            self.close()
            return
        self._half_close(farewell)
        self._linger()

    def _half_close(self, farewell: bytes) -> None:
        self._stop_writing()
        if self.lost or self._half:
            return
        if not farewell and not self._transport.can_write_eof():
            self.close()
            return
        self._half = True
        self._write(farewell)
        if not farewell and not self._transport.is_closing():
            self._eof = True
            self._transport.write_eof()
        if self._giving is None:
            self._transport.resume_reading()

    def _linger(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)

    def _beat_later(self) -> None:
        every = self.wire.heartbeat_s
        if every is not None:
            self._beat = asyncio.get_running_loop().call_later(every, self._send_beat, every)

    def _send_beat(self, every: float) -> None:
        """Give a sign of life; if nothing came for several of them, the other side is gone."""
        self._silent += 1
        if self._giving is not None or self._heard_bytes != self.received or self._half:
            self._silent = 0
        if self._silent == SILENT:
            self.error = self.error or BrokenError(
                f"nothing was heard of {self.peer} for {every * SILENT:g} s"
            )
            self.cut()
            return
        self._heard_bytes = self.received
        if not self._paused and not self._half:
            self._write(self.wire.alive())
        self._beat_later()

    def _look_met(self, within_s: float) -> None:
        """Cut it off if the other side has not said who it is."""
        if not self.wire.is_met:
            self.error = self.error or RemoteProtocolError(
                f"{self.peer} has not said within {within_s:g} s who it is: {BOTH_SIDES}"
            )
            self.cut()

    # ------------------------------------------------------------------------ reading

    def _give(self, items: list[Any]) -> None:
        if self._giving is not None:
            self._pending += items
            return
        targets = self._targets
        if not targets:
            let_go(items)
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
                await give(self._targets, items)
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
        self.wire.deafen()
        if isinstance(error, BoxFullError):
            self.ours = True
            self.fail(error)

    def _look_heard(self) -> None:
        if self._no_more and self._giving is None and not self._heard:
            self._heard = True
            self.heard()
