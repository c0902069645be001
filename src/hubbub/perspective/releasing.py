"""What a durable commit sends: notices to minds and streams, timers, presence (PE3).

Timers belong to sessions. A timer fires by calling its method as a command of its own; the next time is counted from
when that is durable, so a slow host gets fewer calls, never a queue of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Raw

from hubbub.flow import Backplane
from hubbub.kernel import Commit, HubbubError, Label
from hubbub.perspective.alarms import Alarms
from hubbub.perspective.encoding import encode
from hubbub.perspective.host import Host, Outcome
from hubbub.perspective.notices import EndSessionNotice, MindNotice, PublishNotice, TimerNotice
from hubbub.perspective.seat import Seat
from hubbub.space.connection import Connection
from hubbub.space.presence import PresenceNotice
from hubbub.wire import session as wire
from hubbub.wire.deliveries import Encoded, encoded

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
        notices = commit.notices
        if len(notices) > 1:
            notices = _together(notices)
        for notice in notices:
            try:
                self._release(notice)
            except Exception:
                log.exception("%s could not be released", type(notice).__name__)

    def _release(self, notice: Any) -> None:
        if isinstance(notice, PublishNotice):
            self._backplane.publish(notice.topic, notice.item)
        elif isinstance(notice, _Published):
            self._backplane.publish_all(notice.topic, notice.items)
        elif isinstance(notice, MindNotice):
            self._send_minds(notice)
        elif isinstance(notice, TimerNotice):
            self._set_timer(notice)
        elif isinstance(notice, PresenceNotice):
            seat = self._seats.get(notice.session)
            if seat is not None:
                seat.presences[notice.oid] = None
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
        calls: dict[str, Encoded] = {}
        for session_id in notice.session_ids:
            seat = self._seats.get(session_id)
            if seat is None:
                continue
            form = seat.session.form
            call = calls.get(form)
            if call is None:
                call = calls[form] = _mind_call(notice, form)
            seat.session.mind_notice(call)

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


class _Published:
    """Notices of items that were published on one topic, one right after the other."""

    __slots__ = ("items", "topic")

    def __init__(self, topic: str, items: list[Any]) -> None:
        self.topic = topic
        self.items = items


def _together(notices: Iterable[Any]) -> list[Any]:
    """Return ``notices`` with those joined that publish on the same topic, one right after the other."""
    joined: list[Any] = []
    last: _Published | None = None
    for notice in notices:
        if not isinstance(notice, PublishNotice):
            joined.append(notice)
            last = None
        elif last is not None and last.topic == notice.topic:
            last.items.append(notice.item)
        else:
            last = _Published(notice.topic, [notice.item])
            joined.append(last)
    return joined


def _mind_call(notice: MindNotice, form: str) -> Encoded:
    """Return the call of the mind; or a gap, never a silent hole (PE5), if its arguments can't be sent."""
    try:
        args, kwargs = encode(list(notice.args), form), encode(notice.kwargs, form)
    except HubbubError:
        log.exception("minds.%s: its arguments can't be sent", notice.method)
        return encoded(wire.Gap(0, 0, "unsendable"), form, kept=True)
    return encoded(wire.MindCall(0, 0, notice.method, Raw(args), Raw(kwargs)), form)
