"""What a durable commit sends: notices to minds and streams, timers, presence (PE3).

Timers belong to sessions. A timer fires by calling its method as a command of its own; the next time is counted from
when that is durable, so a slow host gets fewer calls, never a queue of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from hubbub.flow import Backplane
from hubbub.kernel import Commit, HubbubError, Label
from hubbub.perspective.alarms import Alarms
from hubbub.perspective.encoding import encode
from hubbub.perspective.host import Host, Outcome
from hubbub.perspective.notices import EndSessionNotice, MindNotice, PublishNotice, TimerNotice
from hubbub.perspective.seat import Seat
from hubbub.space.connection import Connection
from hubbub.space.presence import PresenceNotice

log = logging.getLogger("hubbub.portal")


class Releases:
    """Send the notices of durable commits. Belongs to the loop.

    Args:
        host: Runs what timers call.
        backplane: Where published items go.
        seats: Session id -> seat.
        alarms: For timers.
        end: Ends a session, with a reason.
    """

    def __init__(
        self,
        host: Host,
        backplane: Backplane,
        seats: dict[str, Seat],
        alarms: Alarms,
        end: Callable[[Seat, str], None],
    ) -> None:
        self._host = host
        self._backplane = backplane
        self._seats = seats
        self._alarms = alarms
        self._end = end

    def release(self, commit: Commit) -> None:
        """Send the notices of a commit that is durable."""
        for notice in commit.notices:
            try:
                self._release(notice)
            except Exception:
                log.exception("%s could not be released", type(notice).__name__)

    def _release(self, notice: Any) -> None:
        if isinstance(notice, PublishNotice):
            self._backplane.publish(notice.topic, notice.item)
        elif isinstance(notice, MindNotice):
            self._send_minds(notice)
        elif isinstance(notice, TimerNotice):
            self._set_timer(notice)
        elif isinstance(notice, PresenceNotice):
            seat = self._seats.get(notice.session)
            if seat is not None:
                seat.presences.add(notice.oid)
            else:
                self._forget_presence(notice)
        elif isinstance(notice, EndSessionNotice):
            seat = self._seats.get(notice.session_id)
            if seat is not None:
                self._end(seat, notice.reason)

    def _forget_presence(self, notice: PresenceNotice) -> None:
        """The session had ended before it was known that it has an entry."""
        self._host.run(
            lambda connection: connection.get(notice.oid).forget_session(notice.session),
            None,
            Label(command="presence"),
        )

    def _send_minds(self, notice: MindNotice) -> None:
        encoded: dict[str, tuple[bytes, bytes] | None] = {}
        for session_id in notice.session_ids:
            seat = self._seats.get(session_id)
            if seat is None:
                continue
            form = seat.session.form
            if form not in encoded:
                try:
                    encoded[form] = (encode(list(notice.args), form), encode(notice.kwargs, form))
                except HubbubError:
                    log.exception("minds.%s: its arguments can't be sent", notice.method)
                    encoded[form] = None
            data = encoded[form]
            if data is None:
                seat.session.gap(0, "unsendable")  # never a silent hole (PE5)
            else:
                seat.session.mind_call(0, notice.method, *data)

    def _set_timer(self, notice: TimerNotice) -> None:
        seat = self._seats.get(notice.session_id)
        if seat is None:
            return
        old = seat.timers.pop(notice.oid, None)
        if old is not None:
            old.cancel()
        if notice.period is not None:
            self._arm(seat, notice.oid, notice.period)

    def _arm(self, seat: Seat, oid: int, period: float) -> None:
        seat.timers[oid] = self._alarms.call_later(period, lambda: self._fire(seat, oid, period))

    def _fire(self, seat: Seat, oid: int, period: float) -> None:
        if seat.ended:
            return
        marker = seat.timers[oid] = None

        def body(connection: Connection) -> None:
            timer = connection.get(oid)
            if timer.active:
                getattr(timer.owner, timer.method)()

        def done(outcome: Outcome) -> None:
            if outcome.error is not None:
                log.error("a timer of %s failed", seat.identity.id, exc_info=outcome.error)
            if not seat.ended and seat.timers.get(oid, 0) is marker:
                self._arm(seat, oid, period)

        label = Label(seat.identity.id, seat.avatar_class.__qualname__, "timer")
        self._host.run(body, done, label, session=seat.face)
