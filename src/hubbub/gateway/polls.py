"""Long-polls: carriers that wait for the first deliveries, answer with them, and are gone (GW1).

Theory of operation
===================

    attached --there is something--> answered at once
        '--nothing yet--> PARKED --woken, closed, time over--> answered in the next turn of the loop
                             '--client gone: left----------------------------------------------> gone

A parked poll is no task and has no timer of its own: those that are woken in one turn of the loop are answered
together in the next, with all that has come by then, and their times are kept together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from hubbub.gateway.carriers import TAKE_BYTES, Connections
from hubbub.gateway.door import Door
from hubbub.kernel import RemoteProtocolError
from hubbub.perspective.deadlines import Deadlines
from hubbub.perspective.portal import Portal
from hubbub.perspective.session import Session
from hubbub.wire import session as wire

log = logging.getLogger("hubbub.gateway")

Answer = Callable[[list[bytes]], None]


class ResumeError(Exception):
    """The client has to open again."""


class Polls:
    """The polls of one hub. Belongs to the loop."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._portal: Portal | None = None
        self._connections: Connections
        self._due: list[Poll] = []
        self._deadlines: Deadlines[Poll] = Deadlines(Poll.wake)

    def attached(self, session: Session, cursor: str, address: str) -> Poll:
        """Let a new poll from ``address`` carry ``session`` from ``cursor`` on, until it is answered or left.

        Raises:
            ResumeError: If the session can't go on there.
            HubbubError: If there are too many connections, ``cursor`` is none, or the session has ended.
        """
        if not cursor:
            raise RemoteProtocolError("a request for deliveries needs a cursor", code="garbled")
        portal = self._door.portal
        if portal is not self._portal:
            self._portal, self._connections = portal, Connections.of(portal)
        connections = self._connections
        connections.enter(address)
        poll = Poll(self, session, connections, address)
        try:
            goes_on = portal.attach(session, poll, cursor)
        except BaseException:
            poll.leave()
            raise
        if not goes_on:
            poll.leave()
            raise ResumeError
        return poll

    def limited(self, wait_s: float) -> float:
        """Return for how long a poll may wait that asks for ``wait_s``."""
        return min(wait_s, self._door.options.poll_s)

    def wait(self, poll: Poll, wait_s: float) -> int:
        """Wake ``poll`` after ``wait_s`` seconds; returns what `forget` wants."""
        return self._deadlines.add(poll, wait_s)

    def forget(self, poll: Poll, deadline: int) -> None:
        """Undo `wait`."""
        self._deadlines.remove(poll, deadline)

    def answer_soon(self, poll: Poll) -> None:
        """Answer ``poll`` in the next turn of the loop."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._answer_due)
        self._due.append(poll)

    def _answer_due(self) -> None:
        due, self._due = self._due, []
        for poll in due:
            try:
                poll.answer()
            except Exception:
                log.exception("a poll could not be answered")


class Poll:
    """One poll (a `Carrier`)."""

    __slots__ = (
        "_address",
        "_answer",
        "_closing",
        "_connections",
        "_deadline",
        "_polls",
        "_session",
        "_woken",
    )

    def __init__(
        self, polls: Polls, session: Session, connections: Connections, address: str
    ) -> None:
        self._polls = polls
        self._session = session
        self._connections: Connections | None = connections
        self._address = address
        self._answer: Answer | None = None
        self._closing: wire.Closing | wire.Fault | None = None
        self._deadline = 0
        self._woken = False

    def begin(self, wait_s: float, answer: Answer) -> list[bytes] | None:
        """Return what there is to say now; None if nothing: ``answer`` is called with it, once, unless it is left."""
        texts = self._texts()
        wait_s = self._polls.limited(wait_s)
        if texts or not wait_s > 0:
            self.leave()
            return texts
        self._answer = answer
        self._deadline = self._polls.wait(self, wait_s)
        return None

    def wake(self) -> None:
        """There is something to take, or the time is over."""
        if self._answer is not None and not self._woken:
            self._woken = True
            self._polls.answer_soon(self)

    def close(self, message: wire.Closing | wire.Fault) -> None:
        """The session has no use for it any more; ``message`` is the last that its client gets."""
        if self._closing is None:
            self._closing = message
        self.wake()

    def answer(self) -> None:
        """Answer with what there is. Does nothing once it was left."""
        answer = self._answer
        if answer is not None:
            texts = self._texts()
            self.leave()
            answer(texts)

    def leave(self) -> None:
        """Let go of the session. Idempotent."""
        connections, self._connections = self._connections, None
        if connections is None:
            return
        connections.leave(self._address)
        self._session.detach(self)
        if self._deadline:
            self._polls.forget(self, self._deadline)
        self._answer = None

    def _texts(self) -> list[bytes]:
        if self._closing is not None:
            return [wire.encode(self._closing, "json")]
        return self._session.take(TAKE_BYTES)
