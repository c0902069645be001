"""A carrier that is one socket: plain calls, and no task (GW1).

Theory of operation
===================

    WAITING --begin--> CARRYING --closing, fault--> CLOSING
       '--------------------'--lost: CLOSING; the session's grace time runs

Deliveries are taken only while the transport's buffer is below its high-water mark: a slow reader holds that much
here, and the rest stays in the session's bounded backlog (PE5). All carriers that were woken in one turn of the loop
write in one callback, each what has come for it by then in one write. One write right behind the other: who reads them
all is woken once, and not for each.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from time import monotonic
from typing import ClassVar, Final
from weakref import WeakKeyDictionary

from hubbub.gateway.carriers import BATCH, TAKE_BYTES, Heartbeat, fault_of
from hubbub.kernel import HubbubError
from hubbub.perspective.session import Session
from hubbub.wire import session as wire

log = logging.getLogger("hubbub.gateway")


class State(Enum):
    """See the drawing at the head of this module; what WAITING waits for is the carrier's own affair."""

    WAITING = auto()
    CARRYING = auto()
    CLOSING = auto()


_CARRYING: Final = State.CARRYING  # in 3.11 a look at a member takes eight times as long
_CLOSING: Final = State.CLOSING


class Turn:
    """The carriers that have something to write in this turn of a loop."""

    _of: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Turn]] = WeakKeyDictionary()

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: list[SocketCarrier] = []

    @classmethod
    def of_running_loop(cls) -> Turn:
        """Return the one that all carriers of the running loop share."""
        loop = asyncio.get_running_loop()
        turn = cls._of.get(loop)
        if turn is None:
            turn = cls._of[loop] = Turn()
        return turn

    def add(self, carrier: SocketCarrier) -> None:
        """Let ``carrier`` write with the others."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._write)
        self._due.append(carrier)

    def _write(self) -> None:
        due, self._due = self._due, []
        now = monotonic()
        for carrier in due:
            carrier.flush(now)


class SocketCarrier:
    """Carry a session over a socket. Belongs to the loop.

    Args:
        transport: The socket.
    """

    __slots__ = (
        "_due",
        "_heartbeat",
        "_paused",
        "_resting",
        "_session",
        "_transport",
        "_turn",
        "_waiting",
        "state",
    )

    form: ClassVar[str]

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._turn = Turn.of_running_loop()
        self._session: Session | None = None
        self._heartbeat: Heartbeat | None = None
        self._waiting: deque[bytes] | None = None  # what came and could not be acted on yet
        self._paused = False
        self._due = False
        self._resting = False
        self.state = State.WAITING

    # --- what a way of its own has ----------------------------------------------------------------

    def pack(self, messages: Sequence[bytes]) -> bytes:
        """Return encoded messages as they are written."""
        raise NotImplementedError

    def say_last(self, message: wire.Closing | wire.Fault) -> None:
        """Write ``message`` and close behind it."""
        raise NotImplementedError

    def where(self) -> str:
        """Return what this connection is called in the log."""
        raise NotImplementedError

    # --- the socket's side ------------------------------------------------------------------------

    def begin(self, session: Session, welcome: wire.Welcome) -> None:
        """Carry ``session``, and let the client know."""
        self._session = session
        self.state = State.CARRYING
        self._transport.write(self.pack([wire.encode(welcome, self.form)]))
        self._heartbeat = Heartbeat(session.limits.heartbeat_s, self._beat, self._transport.abort)
        self.wake()
        if self._waiting:
            self._go_on()

    def received(self, messages: Sequence[bytes]) -> None:
        """Act on messages that came together; not on so many that others have to wait (PE7)."""
        if self._heartbeat is not None:
            self._heartbeat.heard()
        if self._waiting is not None:
            self._waiting += messages
        elif self.state is State.WAITING:
            self._waiting = deque(messages)
        elif len(messages) <= BATCH:
            self._act_on(messages)
        else:
            self._waiting = deque(messages)
            self._go_on()

    def pause_writing(self) -> None:
        """The client reads more slowly than it gets."""
        self._paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self.wake()

    def lost(self) -> None:
        """The socket is gone. Idempotent."""
        self._stop()
        self.state = State.CLOSING
        self._leave()

    # --- the session's side -----------------------------------------------------------------------

    def wake(self) -> None:
        """There is something to take: it goes out with everything else of this turn of the loop."""
        if not (self._due or self._paused):
            self._due = True
            self._turn.add(self)

    def close(self, message: wire.Closing | wire.Fault) -> None:
        """Send ``message`` behind what was written, and close."""
        if self.state is _CLOSING:
            return
        self._stop()
        self.state = State.CLOSING
        self.say_last(message)

    # --- within -----------------------------------------------------------------------------------

    def flush(self, now: float) -> None:
        """Write what the session has. Does not raise: whoever offers a delivery is not to blame for its carrier."""
        self._due = False
        session = self._session
        if session is None or self._paused or self.state is not _CARRYING:
            return
        try:
            messages = session.take(TAKE_BYTES)
            if messages:
                self._transport.write(self.pack(messages))
                heartbeat = self._heartbeat
                if heartbeat is not None:
                    heartbeat.sent_at = now
                if session.has_more:
                    self.wake()
        except Exception:
            log.exception("writing to %s failed", self.where())

    def fail(self, error: BaseException) -> None:
        """The connection can't go on: tell the client, and let the session wait for another one."""
        self.close(fault_of(error, self.where()))
        self._leave()

    def _act_on(self, messages: Sequence[bytes]) -> None:
        form = self.form
        try:
            for data in messages:
                session = self._session
                if session is None or self.state is not _CARRYING:
                    return
                session.receive(wire.decode_to_host(data, form))
        except HubbubError as error:
            self.fail(error)

    def _go_on(self) -> None:
        """Act on some of what waits; then let others have their turn. Meanwhile nothing more is read."""
        waiting = self._waiting
        if waiting is None or self.state is not _CARRYING:
            return
        self._act_on([waiting.popleft() for _ in range(min(BATCH, len(waiting)))])
        if waiting:
            self._rest(True)
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._waiting = None
            self._rest(False)

    def _rest(self, resting: bool) -> None:
        if resting is not self._resting and self.state is _CARRYING:
            self._resting = resting
            if resting:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _beat(self) -> None:
        if not self._paused:
            self._transport.write(self.pack([_PONGS[self.form]]))

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.detach(self)

    def _stop(self) -> None:
        self._waiting = None
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None:
            heartbeat.stop()


_PONGS = {form: wire.encode(wire.Pong(), form) for form in ("json", "msgpack")}
