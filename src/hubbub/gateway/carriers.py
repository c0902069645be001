"""What the transports have in common: waiting for deliveries, signs of life, and the count of connections (GW1).

A transport is only a carrier of a `hubbub.perspective.session.Session`: it is woken when there is something to take,
takes it, and writes it. What is taken stays in the session's backlog until the client has acknowledged it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from weakref import WeakKeyDictionary

import msgspec

from hubbub.kernel import HubbubError, LimitError
from hubbub.perspective.failures import failure_of
from hubbub.perspective.portal import Portal
from hubbub.perspective.session import Session
from hubbub.wire import session as wire

log = logging.getLogger("hubbub.gateway")

TAKE_BYTES = 256 << 10
"""Bytes of deliveries that are taken out of a session for one write."""

HELLO_S = 10.0
"""Seconds within which a new connection has to say who it is."""

BATCH = 200
"""So many messages that came together are acted on before others have their turn (PE7)."""

SILENCE = 2.5
"""So many heartbeats may be missed before a connection counts as broken."""


class WaitingCarrier:
    """A carrier for a coroutine that waits until there is something to do.

    Attributes:
        closing: What the session says last, or None.
    """

    def __init__(self) -> None:
        self.closing: wire.Closing | wire.Fault | None = None
        self._due = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the session has let go of it: nothing may be taken any more."""
        return self.closing is not None

    def wake(self) -> None:
        """There is something to take."""
        self._due = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def close(self, message: wire.Closing | wire.Fault) -> None:
        """The session has no use for this carrier any more; ``message`` is the last that its client gets."""
        if self.closing is None:
            self.closing = message
        self.wake()

    def taken_from(self, session: Session) -> list[bytes]:
        """Return what ``session`` has for its client now; nothing once it has let go of this carrier."""
        return [] if self.is_closed else session.take(TAKE_BYTES)

    async def wait(self) -> None:
        """Return when `wake` or `close` was called since the last time."""
        if not self._due:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._due = False

    async def wait_for(self, timeout_s: float) -> bool:
        """The same, for ``timeout_s`` seconds at most. Returns whether there is something to do."""
        handle = asyncio.get_running_loop().call_later(max(0.0, timeout_s), self._time_out)
        self._timed_out = False
        try:
            await self.wait()
        finally:
            handle.cancel()
        return not self._timed_out

    def _time_out(self) -> None:
        if not self._due:
            self._timed_out = True
            self.wake()


class Heartbeat:
    """Signs of life of one connection, both ways (PE8). Belongs to the loop; bodies can't hold it up.

    Args:
        period_s: Something is sent at least this often.
        beat: Called when nothing else has been sent for that long.
        silent: Called once when nothing has been heard for `SILENCE` periods; None where nothing can be heard.

    Attributes:
        sent_at: When something has gone out last, in `time.monotonic`; `sent` sets it to now.
    """

    __slots__ = ("_beat", "_heard_at", "_hearts", "_silent", "sent_at")

    def __init__(
        self, period_s: float, beat: Callable[[], object], silent: Callable[[], object] | None
    ) -> None:
        self._hearts = _Hearts.of_running_loop(period_s)
        self._beat = beat
        self._silent = silent
        self.sent_at = self._heard_at = monotonic()
        self._hearts.add(self)

    def heard(self) -> None:
        """Something has come in."""
        self._heard_at = monotonic()

    def sent(self) -> None:
        """Something has gone out."""
        self.sent_at = monotonic()

    def stop(self) -> None:
        """Look no more. Idempotent."""
        self._hearts.remove(self)

    def check(self, now: float, period_s: float) -> None:
        """Look whether something is due."""
        if self._silent is not None and now - self._heard_at > SILENCE * period_s:
            self.stop()
            self._silent()
        elif now - self.sent_at >= 0.7 * period_s:
            self.sent_at = now
            self._beat()


class _Hearts:
    """All heartbeats of one loop with one period: one timer looks at them."""

    _of: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, _Hearts]] = WeakKeyDictionary()

    __slots__ = ("_all", "_period_s", "_timer")

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._all: dict[Heartbeat, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of_running_loop(cls, period_s: float) -> _Hearts:
        loop = asyncio.get_running_loop()
        by_period = cls._of.setdefault(loop, {})
        hearts = by_period.get(period_s)
        if hearts is None:
            hearts = by_period[period_s] = _Hearts(period_s)
        return hearts

    def add(self, heartbeat: Heartbeat) -> None:
        self._all[heartbeat] = None
        if self._timer is None:
            self._look_again()

    def remove(self, heartbeat: Heartbeat) -> None:
        self._all.pop(heartbeat, None)
        if not self._all and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._period_s / 4, self._check)

    def _check(self) -> None:
        self._look_again()
        now = monotonic()
        for heartbeat in list(self._all):
            if heartbeat in self._all:
                try:
                    heartbeat.check(now, self._period_s)
                except Exception:
                    log.exception("a sign of life failed")


class Connections:
    """Counts connections to one host, altogether and by address (PE7)."""

    _of: WeakKeyDictionary[Portal, Connections] = WeakKeyDictionary()

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._open = 0
        self._by_address: dict[str, int] = {}

    @classmethod
    def of(cls, portal: Portal) -> Connections:
        """Return the one that all listeners of ``portal`` share."""
        found = cls._of.get(portal)
        if found is None:
            limits = portal.limits
            found = cls(limits.max_connections, limits.max_connections_per_address)
            cls._of[portal] = found
        return found

    def __len__(self) -> int:
        return self._open

    def enter(self, address: str) -> None:
        """Count one more from ``address``; the empty address is not limited by itself.

        Raises:
            LimitError: If that is one too many. Nothing is counted.
        """
        if self._open >= self._total:
            raise LimitError(
                f"this host takes {self._total} connections and has them; try later",
                code="host_full",
            )
        here = self._by_address.get(address, 0)
        if address and here >= self._per_address:
            raise LimitError(
                f"this host takes {self._per_address} connections from one address and has them from {address}",
                code="address_full",
            )
        self._open += 1
        self._by_address[address] = here + 1

    def leave(self, address: str) -> None:
        """One from ``address`` has gone."""
        self._open -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    @contextmanager
    def hold(self, address: str) -> Iterator[None]:
        """`enter` now and `leave` at the end."""
        self.enter(address)
        try:
            yield
        finally:
            self.leave(address)


def fault_of(error: BaseException, doing: str) -> wire.Fault:
    """Return what the client of a connection that can't go on is told of ``error``."""
    if isinstance(error, HubbubError) and error.code in (
        "garbled",
        "too_large",
        "wrong_version",
        "wrong_form",
    ):
        return wire.Fault("protocol", error.code, str(error))
    failure = failure_of(error, doing)
    message = failure.message
    if failure.incident:
        message += f" (incident {failure.incident})"
    return wire.Fault(failure.kind, failure.code, message)


_list = msgspec.json.Decoder(list[msgspec.Raw])


def split_messages(data: bytes) -> list[bytes]:
    """Return the texts of the messages in ``data``: one object, or an array of them. They may still be garbled."""
    if data[:1] == b"{" or data.lstrip()[:1] != b"[":
        return [data]
    try:
        return [bytes(raw) for raw in _list.decode(data)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [data]


def joined(messages: list[bytes]) -> bytes:
    """Return ``messages`` as one JSON array."""
    return b"[" + b",".join(messages) + b"]"
