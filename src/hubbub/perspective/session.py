"""One user's logged-in conversation, whatever carries it (PE4, PE5, PE6; sans-I/O, lives in the loop's thread).

Theory of operation
===================

    DETACHED --attach--> ATTACHED   resumed: same epoch, everything after the cursor is sent again;
                                    or not: new epoch, watches and streams are closed, the client opens them again
    ATTACHED --attach--> ATTACHED   another carrier; the one before is told `Closing` 'replaced'
    ATTACHED --detach--> DETACHED   the grace time runs (`due`)
    any      --close---> ENDED      final; bye, the end of the grace time, replaced by another session

A carrier is told once with ``wake()`` that there is something to take; it calls `take` until there is no more, which
`has_more` tells, and only then is it woken again. Only the attached carrier may take.

What becomes of calls is in `hubbub.perspective.calls`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from msgspec import Raw

from hubbub.kernel import ClosedError, LimitError, Limits, LocalProtocolError, RemoteProtocolError
from hubbub.perspective.backlog import Backlog
from hubbub.perspective.calls import FLOOD, CallTable, StoredResult, Verdict
from hubbub.perspective.declarations import WhenFull
from hubbub.perspective.identity import Identity
from hubbub.perspective.new_answer import NewAnswer
from hubbub.perspective.offers import TOO_SLOW, Offered
from hubbub.perspective.sides import Carrier, Desk
from hubbub.wire import session as wire
from hubbub.wire.deliveries import Encoded, Run, encoded, encoded_result
from hubbub.wire.session import Answer, Closing, Delivery, End, Failure, Fault, Gap, Result

MAX_ID = (1 << 53) - 1
"""The largest id of a call or watch: the largest integer that JavaScript counts to."""

SILENCE = 2.5
"""After this many heartbeat times without a sign of life a carrier is taken for dead."""


class SessionState(Enum):
    """See the drawing at the head of `hubbub.perspective.session`."""

    DETACHED = auto()
    ATTACHED = auto()
    ENDED = auto()


_ENDED: Final = SessionState.ENDED  # in 3.11 a look at a member takes eight times as long


class Due(Enum):
    """What a session needs now: see `Session.due`."""

    NOTHING = auto()
    SILENT = auto()  # attached, and nothing was heard for too long: close the carrier and detach it
    EXPIRED = auto()  # detached for longer than the grace time: close the session


class _Watched:
    """A watch or stream: its newest answer offered, and its end if the client may not know that yet."""

    __slots__ = ("asked", "end", "given", "is_stream", "name", "tid", "value")

    def __init__(self, name: str) -> None:
        self.name, self.is_stream = name, False
        self.given = ""  # tid of the answer offered last in this epoch: what a patch must build on
        self.tid = ""
        self.value: bytes | None = None  # that answer, whole, if it is at hand
        self.asked = False  # the desk was asked for a whole answer
        self.end: End | None = None


class Session:
    """Keep one user's conversation: calls, watches, streams, calls of the mind.

    All values that are handed in are in ``form`` (``json``, ``msgpack``) already. ``epoch`` is unlike any that this
    session had before, so a host that starts again makes a fresh one; ``new_epoch`` makes the later ones. ``mind``
    says whether the client accepts calls from the host. ``now`` is in seconds, on the clock of `heard` and `due`.

    ``has_more`` tells whether the carrier was told that there is something, and has not taken all of it: it is not
    woken for that again.
    """

    __slots__ = (
        "__weakref__",
        "_asked",
        "_asked_to",
        "_backlog",
        "_begun",
        "_calls",
        "_carrier",
        "_desk",
        "_detached_at",
        "_gap_reason",
        "_pong",
        "_watched",
        "form",
        "has_more",
        "id",
        "identity",
        "last_heard",
        "limits",
        "mind",
        "secret",
        "state",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - the wire's word
        secret: str,
        identity: Identity,
        form: str,
        desk: Desk,
        limits: Limits,
        epoch: str,
        *,
        mind: bool = False,
        now: float = 0.0,
        new_epoch: Callable[[], str] = lambda: secrets.token_hex(6),
    ) -> None:
        self.id = id
        self.secret = secret
        self.identity = identity
        self.form = form
        self.limits = limits
        self.mind = mind
        self.state = SessionState.DETACHED
        self.last_heard = now
        self._desk = desk
        self._backlog = Backlog(form, limits.backlog_items, limits.backlog_bytes, epoch, new_epoch)
        self._carrier: Carrier | None = None
        self.has_more = False
        self._pong: bytes | None = None
        self._detached_at: float | None = now
        self._gap_reason = ""  # set when a first attachment already misses something
        self._begun = False

        self._calls = CallTable(limits)
        self._watched: dict[int, _Watched] = {}
        self._asked: dict[int, None] = {}  # calls of the mind without an answer
        self._asked_to = 0

    # --- the carrier's side ---

    @property
    def cursor(self) -> str:
        """What the next delivery comes after."""
        return self._backlog.cursor

    @property
    def pruned_to(self) -> int:
        """All calls up to this id are finished and acknowledged."""
        return self._calls.pruned_to

    @property
    def is_attached(self) -> bool:
        """Whether a carrier has it now."""
        return self.state is SessionState.ATTACHED

    def open_watches(self) -> list[int]:
        """Return the ids of watches and streams that have not ended."""
        return [watch_id for watch_id, watched in self._watched.items() if watched.end is None]

    def kept_calls(self) -> list[int]:
        """Return the ids of calls that run, or whose results are not acknowledged."""
        return self._calls.ids()

    def restore(self, results: Mapping[int, StoredResult], pruned_to: int) -> None:
        """Take in the stored results of a session whose host has started again, before anything else.

        Raises:
            LocalProtocolError: If the session has begun. Nothing has changed.
        """
        if self._begun or self._calls:
            raise LocalProtocolError(f"session {self.id} has begun; it can't be restored")
        self._calls.restore(results, pruned_to)
        self._gap_reason = "restart"

    def attach(self, carrier: Carrier, cursor: str = "") -> bool:
        """Let ``carrier`` have the deliveries after ``cursor``; the carrier before it is closed.

        Returns:
            True: it goes on where the client stood. False: it begins, or begins again under a new epoch, after which
            the client opens its watches again and repeats its unanswered calls. `cursor` holds what to tell it.

        Raises:
            ClosedError: If the session has ended.
            RemoteProtocolError: If ``cursor`` is none. In both cases nothing has changed.
        """
        if self.state is _ENDED:
            raise ClosedError(f"session {self.id} has ended")
        epoch, seq = wire.parse_cursor(cursor) if cursor else ("", 0)
        former, self._carrier = self._carrier, carrier
        self.state, self._detached_at, self.has_more = SessionState.ATTACHED, None, False
        if former is not None and former is not carrier:
            former.close(Closing("replaced"))
        fresh = not self._begun and not self._gap_reason and not cursor
        self._begun = True
        resumed = epoch == self._backlog.epoch and self._backlog.rewind(seq)
        if resumed:
            self._acknowledge(seq)
        elif not fresh:
            self._begin_again()
        self._wake()
        return resumed

    def detach(self, carrier: Carrier) -> None:
        """Say that ``carrier`` is gone. Does nothing if another has replaced it."""
        if self._carrier is carrier:
            self._carrier = None
            self.state = SessionState.DETACHED

    def take(self, limit_bytes: int) -> list[bytes]:
        """Return encoded messages to send now; at most ``limit_bytes`` unless the first alone is larger."""
        backlog = self._backlog
        passed = backlog.pass_on()
        if passed is not None and self._pong is None:
            self.has_more = False
            return passed
        taken = backlog.take(limit_bytes) if passed is None else passed
        if self._pong is not None:
            taken.insert(0, self._pong)
            self._pong = None
        self.has_more = bool(taken) and backlog.pending
        return taken

    def heard(self, now: float) -> None:
        """Note a sign of life from the client."""
        self.last_heard = now

    def due(self, now: float) -> Due:
        """Say what has to be done at time ``now``; ask about once a second."""
        if self.state is SessionState.ATTACHED:
            if now - self.last_heard > SILENCE * self.limits.heartbeat_s:
                return Due.SILENT
        elif self.state is SessionState.DETACHED:
            if self._detached_at is None:
                self._detached_at = now
            if now - self._detached_at >= self.limits.grace_s:
                return Due.EXPIRED
        return Due.NOTHING

    def close(self, message: Closing | Fault | None = None) -> None:
        """End the session; its carrier is told ``message``. Idempotent. Who waits for its mind is told."""
        if self.state is _ENDED:
            return
        self.state = SessionState.ENDED
        carrier, self._carrier = self._carrier, None
        self._lose_minds(sorted(self._asked), "session_ended")
        if carrier is not None:
            carrier.close(message or Closing("ended"))

    def receive(self, message: wire.ToHost) -> None:
        """Act on one message of the client.

        Raises:
            RemoteProtocolError: If it is not allowed here. Nothing has changed.
            ClosedError: If the session has ended.
        """
        if self.state is _ENDED:
            raise ClosedError(f"session {self.id} has ended")
        match message:
            case wire.Call():
                self._receive_call(message)
            case wire.Ack():
                epoch, seq = wire.parse_cursor(message.cursor)
                # An acknowledgement of an epoch that is over has crossed a `Lagged` on its way.
                if epoch == self._backlog.epoch:
                    self._acknowledge(seq)
                    if not self.has_more:
                        self._wake()
            case wire.Watch():
                self._receive_watch(message)
            case wire.Unwatch():
                _check_id(message.id)
                watched = self._watched.pop(message.id, None)
                self._backlog.forget(message.id)
                if watched is not None and watched.end is None:
                    self._desk.unwatch(self, message.id)
            case wire.Cancel():
                _check_id(message.id)
                if self._calls.is_running(message.id):
                    self._desk.cancel(self, message.id)
            case wire.Reply():
                _check_id(message.id)
                if message.id in self._asked:  # else nobody waits for it any more
                    del self._asked[message.id]
                    self._desk.reply(self, message.id, message.value, message.error)
            case wire.Ping():
                self._pong = wire.encode(wire.Pong(message.n), self.form)
                self._wake()
            case wire.Bye():
                self._desk.bye(self)
            case _:
                raise RemoteProtocolError(f"{type(message).__name__} inside a session")

    # --- the host's side ---

    def result(
        self, call_id: int, tid_text: str, value: bytes | None, failure: Failure | None = None
    ) -> None:
        """Hand in the outcome of a running call, once it is durable.

        Raises:
            LocalProtocolError: If no such call is running. Nothing has changed.
        """
        if self.state is _ENDED:
            return
        stored = StoredResult(tid_text, value, failure)
        self._calls.finish(call_id, stored)
        self._offer_result(call_id, stored)

    def is_open(self, watch_id: int) -> bool:
        """Tell whether this watch or stream is open."""
        watched = self._watched.get(watch_id)
        return watched is not None and watched.end is None and self.state is not _ENDED

    def answer(self, new: NewAnswer) -> None:
        """Hand in the newest answer of a watch; does nothing if that has ended.

        Its patch is used only if it builds on what this client gets right before.
        """
        watch_id = new.watch_id
        watched = self._watched.get(watch_id)
        if watched is None or watched.end is not None or self.state is _ENDED:
            return
        patch = new.patch
        if patch is not None and watched.given != new.base_tid:
            patch = None
        if patch is not None and not self._backlog.has_answer(watch_id):
            self._put(patch)
        elif (whole := new.whole()) is not None:
            watched.asked = False
            self._put(whole)
        else:
            self._ask_whole(watch_id, watched)
            return
        watched.given = watched.tid = new.tid
        watched.value = new.value

    def open_stream(
        self, stream_id: int, items: int, limit_bytes: int, when_full: WhenFull
    ) -> None:
        """Say that watch ``stream_id`` is a stream, with its bounds and policy (see `Backlog`)."""
        if self.is_open(stream_id):
            self._backlog.open_stream(stream_id, items, limit_bytes, when_full)
            self._watched[stream_id].is_stream = True

    def item(self, stream_id: int, value: bytes) -> bool:
        """Hand in the next item of a stream. Returns False when the stream has ended: stop its source."""
        return self.items(stream_id, Run([encoded(wire.Item(0, stream_id, Raw(value)), self.form)]))

    def items(self, stream_id: int, run: Run) -> bool:
        """Hand in the next items of a stream, with gaps where one is missing; see `item`."""
        watched = self._watched.get(stream_id)
        if watched is None or watched.end is not None or self.state is _ENDED:
            return False
        if run.is_whole:
            backlog, carrier = self._backlog, self._carrier
            if self.has_more or carrier is None:
                if backlog.put_items(stream_id, run.entries, run.cost):
                    return True
            elif backlog.pass_items(stream_id, run.entries, run.cost):
                self.has_more = True
                carrier.wake()
                return True
            elif backlog.put_items(stream_id, run.entries, run.cost):
                self._wake()
                return True
        for entry in run.entries:
            if self._put(entry) is Offered.ENDED:
                watched.end = End(0, stream_id, TOO_SLOW)
                return False
        return True

    def gap(self, stream_id: int, reason: str) -> None:
        """Say that a stream (0: the mind) misses something here."""
        if self.is_open(stream_id) or (not stream_id and self.state is not _ENDED):
            self._offer(Gap(0, stream_id, reason), kept=True)

    def end(self, watch_id: int, failure: Failure | None = None) -> None:
        """End a watch or stream. With a failure, an answer that waits is not sent any more (PE9)."""
        if not self.is_open(watch_id):
            return
        if failure is not None:
            self._backlog.drop_answer(watch_id)
        self._end(watch_id, self._watched[watch_id], failure)

    def mind_call(self, mind_id: int, method: str, args: bytes, kwargs: bytes) -> None:
        """Call the client's mind. ``mind_id`` 0 wants no reply; others grow, and end with `Desk.reply`.

        Raises:
            LimitError: If too many calls wait for a reply; code ``too_many_mind_calls``. Nothing has changed.
            LocalProtocolError: If ``mind_id`` does not grow. Nothing has changed.
        """
        if self.state is _ENDED:
            self._asked[mind_id] = None
            self._lose_minds([mind_id], "session_ended")
            return
        if mind_id:
            if mind_id <= self._asked_to:
                raise LocalProtocolError(f"mind call {mind_id} after {self._asked_to}")
            if len(self._asked) >= self.limits.max_mind_calls:
                raise LimitError(
                    f"{len(self._asked)} calls of this user's mind wait for an answer",
                    code="too_many_mind_calls",
                )
            self._asked[mind_id] = None
            self._asked_to = mind_id
        self._offer(wire.MindCall(0, mind_id, method, Raw(args), Raw(kwargs)))

    def mind_notice(self, entry: Encoded) -> None:
        """Call the client's mind without waiting for a reply, with what is encoded for many at once."""
        if self.state is not _ENDED:
            self._put(entry)

    # --- calls ---

    def _receive_call(self, message: wire.Call) -> None:
        call_id = message.id
        _check_id(call_id)
        verdict, gone = self._calls.arrive(call_id)
        if gone:
            self._tell_pruned(gone)
        if verdict is Verdict.RUN:
            self._desk.call(self, message)
        elif verdict is Verdict.REPEAT:
            if not self._backlog.has_result(call_id):
                self._offer_result(call_id, self._calls.stored(call_id))
        elif verdict is Verdict.TOO_MANY:
            self._fail(call_id, _TOO_MANY_CALLS)
        elif verdict is Verdict.EXPIRED:
            self._fail(call_id, _EXPIRED)

    def _tell_pruned(self, gone: list[int]) -> None:
        if gone:
            self._desk.pruned(self, gone, self._calls.pruned_to)

    def _offer_result(self, call_id: int, stored: StoredResult) -> None:
        self._put(encoded_result(call_id, stored.tid, stored.value, stored.failure, self.form))

    def _fail(self, call_id: int, failure: Failure) -> None:
        if not self._backlog.has_result(call_id):
            self._offer(Result(0, call_id, error=failure))

    # --- watches ---

    def _receive_watch(self, message: wire.Watch) -> None:
        _check_id(message.id)
        known = self._watched.get(message.id)
        if known is not None:
            # After a lost connection the client can't know whether it had arrived.
            if known.name != message.name:
                raise RemoteProtocolError(f"watch {message.id} is open, on {known.name}")
            return
        if len(self._watched) >= FLOOD * self.limits.max_watches:
            raise RemoteProtocolError("watches without end", code="flood")
        running = sum(1 for watched in self._watched.values() if watched.end is None)
        watched = self._watched[message.id] = _Watched(message.name)
        if running >= self.limits.max_watches:
            self._end(message.id, watched, _TOO_MANY_WATCHES)
        else:
            self._desk.watch(self, message)

    def _end(self, watch_id: int, watched: _Watched, failure: Failure | None) -> None:
        watched.end = End(0, watch_id, failure)
        # It is kept in the table until it is acknowledged, and offered again after a lag.
        self._offer(End(0, watch_id, failure), kept=True)

    def _ask_whole(self, watch_id: int, watched: _Watched) -> None:
        asked, watched.asked = watched.asked, True
        if not asked:
            self._desk.refresh(self, watch_id)

    # --- what is common ---

    def _offer(self, delivery: Delivery, *, kept: bool = False) -> Offered:
        return self._put(encoded(delivery, self.form, kept=kept))

    def _put(self, entry: Encoded) -> Offered:
        carrier = self._carrier
        if carrier is not None and not self.has_more and self._backlog.pass_one(entry):
            self.has_more = True
            carrier.wake()
            return Offered.KEPT
        offered = self._backlog.put(entry)
        if offered is Offered.LAGGED:
            self._offer_anew()
        if not self.has_more:
            self._wake()
        return offered

    def _offer_anew(self) -> None:
        """After a lag: offer again what is kept elsewhere, and show gaps where something is missing."""
        dropped = self._backlog.dropped
        self._calls.presume(dropped.results)
        if dropped.minds:
            self._backlog.offer(Gap(0, 0, "lag"))
        for watch_id, watched in self._watched.items():
            if watched.is_stream:
                self._backlog.offer(Gap(0, watch_id, "lag"))
            elif watched.value is not None and (watched.end is None or watched.end.error is None):
                whole = Answer(0, watch_id, watched.tid, value=Raw(watched.value))
                self._backlog.offer(whole, kept=True)
            elif watched.given and watched.end is None:
                watched.given = ""
                self._ask_whole(watch_id, watched)
            if watched.end is not None:
                self._backlog.offer(End(0, watch_id, watched.end.error), kept=True)
        self._lose_minds(dropped.mind_calls, "lagged")

    def _begin_again(self) -> None:
        """Begin a new epoch for a client that could not be given everything after its cursor."""
        dropped = self._backlog.reset()
        self._calls.begin_again()
        watched, self._watched = self._watched, {}
        if self.mind:
            self._backlog.offer(Gap(0, 0, self._gap_reason or "lag"))
        self._gap_reason = ""
        for watch_id, one in watched.items():
            if one.end is None:
                self._desk.unwatch(self, watch_id)
        self._lose_minds(dropped.mind_calls, "lagged")

    def _lose_minds(self, mind_ids: list[int], code: str) -> None:
        for mind_id in mind_ids:
            if mind_id and mind_id in self._asked:
                del self._asked[mind_id]
                message = "the call may or may not have reached the user"
                self._desk.reply(self, mind_id, Raw(b""), Failure("closed", code, message))

    def _acknowledge(self, seq: int) -> None:
        calls, ended = self._backlog.ack(seq)
        calls += self._calls.take_presumed()
        if calls:
            self._tell_pruned(self._calls.settle(calls))
        for watch_id in ended:
            self._watched.pop(watch_id, None)

    def _wake(self) -> None:
        if self._carrier is None or self.has_more:
            return
        self.has_more = self._pong is not None or self._backlog.pending
        if self.has_more:
            self._carrier.wake()


def _check_id(number: int) -> None:
    if not 1 <= number <= MAX_ID:
        raise RemoteProtocolError(f"{number} can't be an id")


_EXPIRED = Failure("outcome_unknown", "expired", "too old: it may have run, and does not run again")
_TOO_MANY_CALLS = Failure(
    "limit", "too_many_calls", "acknowledge results first; this one did not run"
)
_TOO_MANY_WATCHES = Failure("limit", "too_many_watches", "too many watches and streams are open")
