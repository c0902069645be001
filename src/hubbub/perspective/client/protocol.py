"""The user's side of the session wire (sans-I/O; PE4, PE5, PE6).

Theory of operation
===================

    IDLE --connected--> GREETING --Welcome--> OPEN --lost--> IDLE     the session lives on; hello resumes it
                           '--Fault, lost--> IDLE
    any  --close------------------------------------------> CLOSED   final: every call and watch is told why

What has to outlive a connection is kept: calls without a result, watches and streams, the newest replies of the mind.
After a `Welcome`

    same epoch   the deliveries after the cursor follow; calls without a result, watches that never showed a sign of
                 life and replies are sent again, since nobody knows whether they had arrived
    new epoch    (host restarted, or too much was missed) calls are repeated with their ids, all watches and streams
                 are opened again, streams report what they miss; replies belong to the past and are dropped

Repeats go out in the order of their ids and ahead of every new call: the host takes a call as the acknowledgement of
the done ones below it. A call gets its id when it is sent first; so ids have no holes, and what was never sent is
known never to have run.

Deliveries are numbered. One that was seen already is ignored; a hole is the host's fault and ends the session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

import msgspec

from hubbub.kernel import (
    ClosedError,
    CorruptRecordError,
    HubbubError,
    LocalProtocolError,
    NotAllowedError,
    OutcomeUnknownError,
    RemoteProtocolError,
)
from hubbub.perspective.client.events import (
    Answered,
    Ended,
    Event,
    Finished,
    MindCalled,
    Missed,
    Opened,
    Parting,
    Pending,
    Streamed,
    Subscription,
)
from hubbub.perspective.failures import error_of
from hubbub.wire import patch as patches
from hubbub.wire import session as wire

ACK_EVERY = 32
"""So many deliveries are acknowledged at once, if no timer asks before."""

SILENCE = 2.5
"""After this many heartbeat times without a sign of life the connection is taken for dead."""

GREETING_S = 30.0
"""Seconds within which the host has to answer a hello."""

KEPT_REPLIES = 100
"""Replies of the mind that are kept in case their connection was lost under them."""

# Those that come most often first.
_DELIVERIES: Final = (wire.Result, wire.MindCall, wire.Item, wire.Answer, wire.Gap, wire.End)
_NO_KWARGS = msgspec.msgpack.encode({})

_FINAL = frozenset({"ended", "replaced", "grace", "bye"})
"""Reasons of `Closing` after which there is no session to come back to."""

_HOPELESS = frozenset(
    {"login_failed", "not_allowed", "refused", "invalid", "protocol", "outcome_unknown"}
)
"""Kinds of `Fault` that another attempt would meet again."""


class ProtocolState(Enum):
    """See the drawing at the head of `hubbub.perspective.client.protocol`."""

    IDLE = auto()
    GREETING = auto()
    OPEN = auto()
    CLOSED = auto()


class ClientProtocol:
    """Keep one user's session over any number of connections.

    Attributes:
        state: See `ProtocolState`.
        welcome: What the host said at the last login or resumption; None before.
        resumable: Whether there is a session to come back to.

    Args:
        hello: What to log in with.
        decode: Turns the bytes of a value into the value.
        ack_every: See `ACK_EVERY`.
    """

    def __init__(
        self,
        hello: wire.Hello,
        decode: Callable[[bytes], Any],
        *,
        ack_every: int = ACK_EVERY,
    ) -> None:
        self.state = ProtocolState.IDLE
        self.welcome: wire.Welcome | None = None
        self._hello = hello
        self._decode = decode
        self._ack_every = ack_every
        self._epoch = ""
        self._seen = 0
        self._acknowledged = 0
        self._heard_at = self._sent_at = 0.0
        self._pings = 0
        self._next_call = 1
        self._next_watch = 1
        self._unsent: deque[Pending] = deque()
        self._calls: dict[int, Pending] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._replies: deque[wire.Reply] = deque(maxlen=KEPT_REPLIES)
        self._left: set[int] = set()
        self._out: list[wire.ToHost] = []

    # --- the connection -------------------------------------------------------------------------

    @property
    def resumable(self) -> bool:
        """Whether there is a session to come back to."""
        return self.welcome is not None and self.state is not ProtocolState.CLOSED

    @property
    def cursor(self) -> str:
        """The newest delivery that was taken in, as a cursor; empty before the first login."""
        return wire.cursor_text(self._epoch, self._seen) if self._epoch else ""

    @property
    def unacknowledged(self) -> int:
        """How many deliveries the host does not know to have arrived."""
        return self._seen - self._acknowledged

    @property
    def unanswered(self) -> int:
        """How many calls have no result yet."""
        return len(self._calls) + len(self._unsent)

    @property
    def has_messages(self) -> bool:
        """Whether `take` would return something, but for an acknowledgement that is due."""
        return bool(self._out) or (bool(self._unsent) and self.state is ProtocolState.OPEN)

    @property
    def is_ack_due(self) -> bool:
        """Whether so much was taken in that `take` would acknowledge it."""
        return self._seen - self._acknowledged >= self._ack_every

    def connected(self, now: float = 0.0) -> None:
        """A connection is up: say who we are, or which session we come back to.

        Raises:
            LocalProtocolError: If there is one already, or the session is closed. Nothing has changed.
        """
        if self.state is not ProtocolState.IDLE:
            raise LocalProtocolError(f"connected while {self.state.name}")
        hello = self._hello
        if self.welcome is not None:
            hello = msgspec.structs.replace(
                hello,
                session=self.welcome.session,
                secret=self.welcome.secret,
                cursor=self.cursor,
                credentials={},
            )
        self.state = ProtocolState.GREETING
        self._heard_at = self._sent_at = now
        self._out = [hello]

    def lost(self) -> None:
        """The connection is gone. What was not answered is kept for the next one."""
        if self.state is not ProtocolState.CLOSED:
            self.state = ProtocolState.IDLE
            self._out = []

    def take(self, now: float = 0.0) -> list[wire.ToHost]:
        """Return what to send now, in order."""
        if self.state is ProtocolState.OPEN:
            while self._unsent:
                call = self._unsent.popleft()
                call.message.id = self._next_call
                self._next_call += 1
                self._calls[call.message.id] = call
                self._out.append(call.message)
            if self.is_ack_due:
                self.acknowledge()
        taken, self._out = self._out, []
        if taken:
            self._sent_at = now
        return taken

    def tick(self, now: float) -> bool:
        """Take note of the time: send a heartbeat when nothing else was sent for long.

        Returns:
            False if the host was silent for so long that the connection has to be given up.
        """
        if self.state is ProtocolState.GREETING:
            return now - self._heard_at <= GREETING_S
        if self.state is not ProtocolState.OPEN or self.welcome is None:
            return True
        period = self.welcome.heartbeat_s
        if now - self._heard_at > SILENCE * period:
            return False
        if now - self._sent_at >= 0.6 * period:
            self._pings += 1
            self._send(wire.Ping(self._pings))
        return True

    def acknowledge(self) -> None:
        """Tell the host what has been taken in, if it does not know yet."""
        if self.state is ProtocolState.OPEN and self.unacknowledged:
            self._acknowledged = self._seen
            self._send(wire.Ack(self.cursor))

    def close(self, error: HubbubError | None = None) -> list[Event]:
        """End for good. Every call and watch is told: calls that may have run, that their outcome is unknown."""
        if self.state is ProtocolState.CLOSED:
            return []
        self.state = ProtocolState.CLOSED
        events: list[Event] = []
        why = error or ClosedError("the session was closed on this side")
        for call in self._calls.values():
            name = call.message.name
            unknown = OutcomeUnknownError(
                f"{name}: it may have run or not; the session ended first: {why}"
            )
            events.append(Finished(call, error=unknown))
        events += [Finished(call, error=why) for call in self._unsent]
        events += [Ended(subscription, why) for subscription in self._subscriptions.values()]
        self._calls.clear()
        self._unsent.clear()
        self._subscriptions.clear()
        self._out = []
        return events

    def bye(self) -> None:
        """Log out, if there is a connection to say it on."""
        if self.state is ProtocolState.OPEN:
            self._send(wire.Bye())

    # --- what the user wants --------------------------------------------------------------------

    def call(self, message: wire.Call, tag: Any = None) -> Pending:
        """Have ``message`` run once; its `Finished` event comes once.

        Raises:
            ClosedError: If the session is closed.
        """
        self._check_open()
        call = Pending(message, tag)
        self._unsent.append(call)
        return call

    def cancel(self, call: Pending) -> None:
        """Give up waiting for ``call``: no `Finished` comes. It may run, or have run, all the same."""
        if not call.was_sent:
            if call in self._unsent:
                self._unsent.remove(call)
        elif call.message.id in self._calls:
            call.cancelled = True
            self._send(wire.Cancel(call.message.id))

    def watch(
        self, message: wire.Watch, tag: Any = None, *, is_stream: bool = False
    ) -> Subscription:
        """Watch a query or view, or open a stream, until `unwatch` or its `Ended`.

        Raises:
            ClosedError: If the session is closed.
        """
        self._check_open()
        message.id = self._next_watch
        self._next_watch += 1
        subscription = Subscription(message, tag, is_stream=is_stream)
        self._subscriptions[message.id] = subscription
        self._send(message)
        return subscription

    def unwatch(self, subscription: Subscription) -> None:
        """End a watch or stream on this side; nothing more is told of it. Idempotent."""
        if self._subscriptions.pop(subscription.id, None) is not None:
            self._send(wire.Unwatch(subscription.id))

    def reply(self, called: MindCalled, value: bytes, failure: wire.Failure | None = None) -> None:
        """Give the mind's answer. One that belongs to an epoch gone by is dropped: nobody waits for it."""
        if called.id and called.epoch == self._epoch:
            if failure is not None:
                reply = wire.Reply(called.id, error=failure)
            else:
                reply = wire.Reply(called.id, msgspec.Raw(value))
            self._replies.append(reply)
            self._send(reply)

    def _check_open(self) -> None:
        if self.state is ProtocolState.CLOSED:
            raise ClosedError("the session is closed; log in again")

    def _send(self, message: wire.ToHost) -> None:
        # Without an open connection nothing is lost: what matters is sent again at the next `Welcome`.
        if self.state is ProtocolState.OPEN:
            self._out.append(message)

    # --- what the host says ---------------------------------------------------------------------

    def receive(self, message: wire.ToClient, now: float = 0.0) -> list[Event]:
        """Act on one message of the host.

        Raises:
            RemoteProtocolError: If it is not allowed here: end the connection and `close`.
        """
        self._heard_at = now
        if self.state is not ProtocolState.OPEN or not isinstance(message, _DELIVERIES):
            return self._told(message)
        number = message.n
        if number != self._seen + 1:
            if number <= self._seen:
                return []
            raise RemoteProtocolError(f"delivery {number} came after {self._seen}", code="hole")
        self._seen = number
        return self._delivered(message)

    def _told(self, message: wire.ToClient) -> list[Event]:
        """Act on what is no delivery, or comes at the wrong time."""
        if self.state is ProtocolState.GREETING and isinstance(message, wire.Welcome):
            return self._open(message)
        if isinstance(message, wire.Fault):
            return [_fault(message)]
        if isinstance(message, wire.Closing):
            error = ClosedError(
                f"the host ended the session ({message.reason})", code=message.reason
            )
            return [Parting(message.reason, message.retry_s, error, message.reason in _FINAL)]
        if self.state is ProtocolState.OPEN:
            if isinstance(message, wire.Pong):
                return []
            if isinstance(message, wire.Lagged):
                return self._lagged(message)
        raise RemoteProtocolError(f"{type(message).__name__} while {self.state.name}")

    def _open(self, welcome: wire.Welcome) -> list[Event]:
        was, self.welcome = self.welcome, welcome
        epoch, seq = wire.parse_cursor(welcome.cursor)
        fresh = epoch != self._epoch
        if was is not None and welcome.session != was.session:
            raise RemoteProtocolError("the host resumed another session")
        self.state = ProtocolState.OPEN
        self._left.clear()
        events: list[Event] = [Opened(welcome, was is not None, was is not None and fresh)]
        if fresh:
            events += self._renumber(epoch, seq, reopened=True)
        self._repeat_calls()
        for subscription in self._subscriptions.values():
            if not subscription.is_open:
                self._send(subscription.message)
        self._out += self._replies
        return events

    def _lagged(self, message: wire.Lagged) -> list[Event]:
        epoch, seq = wire.parse_cursor(message.cursor)
        events = self._renumber(epoch, seq, reopened=False)
        self._repeat_calls()
        # What came before is known to be here only when the new epoch is acknowledged.
        self._send(wire.Ack(self.cursor))
        return events

    def _renumber(self, epoch: str, seq: int, *, reopened: bool) -> list[Event]:
        """Begin a new epoch. Watches get whole answers again; streams that are opened again miss something."""
        self._epoch = epoch
        self._seen = self._acknowledged = seq
        self._replies.clear()
        events: list[Event] = []
        for subscription in self._subscriptions.values():
            subscription.has_value = False
            if reopened:
                subscription.is_open = False
                if subscription.is_stream and subscription.was_open:
                    events.append(Missed(subscription, "restart"))
        return events

    def _repeat_calls(self) -> None:
        for call in self._calls.values():  # in the order of their ids: dicts keep it
            self._send(call.message)
            if call.cancelled:
                self._send(wire.Cancel(call.message.id))

    def _delivered(self, message: wire.Delivery) -> list[Event]:
        if isinstance(message, wire.Result):
            call = self._calls.pop(message.id, None)
            if call is None or call.cancelled:
                return []
            return [self._finished(call, message)]
        if isinstance(message, wire.MindCall):
            return [self._mind_called(message)]
        if isinstance(message, wire.Gap) and message.id == 0:
            return [Missed(None, message.reason)]
        subscription = self._subscriptions.get(message.id)
        if subscription is None:
            # Left by the user; the host may not have heard of it.
            if message.id not in self._left and not isinstance(message, wire.End):
                self._left.add(message.id)
                self._send(wire.Unwatch(message.id))
            return []
        subscription.is_open = subscription.was_open = True
        if isinstance(message, wire.End):
            del self._subscriptions[message.id]
            return [Ended(subscription, error_of(message.error) if message.error else None)]
        try:
            return [self._updated(subscription, message)]
        except (CorruptRecordError, NotAllowedError) as error:
            self.unwatch(subscription)
            return [Ended(subscription, error)]

    def _mind_called(self, message: wire.MindCall) -> Event:
        try:
            args = self._decode(bytes(message.args))
            named = bytes(message.kwargs)
            kwargs = {} if named == _NO_KWARGS else self._decode(named)
        except HubbubError as error:
            called = MindCalled(message.id, message.method, [], {}, self._epoch)
            self.reply(called, b"", wire.Failure("internal", "unreadable", str(error)))
            return Missed(None, "unreadable")
        return MindCalled(message.id, message.method, args, kwargs, self._epoch)

    def _finished(self, call: Pending, message: wire.Result) -> Finished:
        if message.error is not None:
            return Finished(call, error=error_of(message.error))
        if message.value is msgspec.UNSET:
            return Finished(call)
        try:
            return Finished(call, self._decode(bytes(message.value)))
        except HubbubError as error:
            return Finished(call, error=error)

    def _updated(
        self, subscription: Subscription, message: wire.Answer | wire.Item | wire.Gap
    ) -> Event:
        name = subscription.message.name
        if isinstance(message, wire.Answer) is subscription.is_stream:
            hint = ".watch()" if subscription.is_stream else ".stream()"
            raise NotAllowedError(f"{name} is followed with {hint}", code="wrong_kind")
        if isinstance(message, wire.Gap):
            return Missed(subscription, message.reason)
        if isinstance(message, wire.Item):
            return Streamed(subscription, self._decode(bytes(message.value)))
        subscription.tid = message.tid
        if message.value is not msgspec.UNSET:
            subscription.value = self._decode(bytes(message.value))
            subscription.has_value = True
            return Answered(subscription)
        if message.patch is msgspec.UNSET or not subscription.has_value:
            raise RemoteProtocolError(
                f"a patch of {name} without the answer that it is for", code="garbled"
            )
        operations = self._decode(bytes(message.patch))
        subscription.value = patches.apply(subscription.value, operations)
        return Answered(subscription, operations)


def _fault(message: wire.Fault) -> Parting:
    error: HubbubError
    if message.kind == "protocol":
        error = RemoteProtocolError(message.message, code=message.code)
    else:
        error = error_of(wire.Failure(message.kind, message.code, message.message))
    return Parting(message.code, 0.5, error, message.kind in _HOPELESS)
