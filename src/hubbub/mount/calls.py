"""Calls in flight to a host, and what each of its messages does to them and to the replica. No I/O.

Theory of operation
===================

    add --answer--> over            each call is answered once; its thread is woken
     |  '--fault--> over            the host ends the connection: whatever is in flight fails
     '--leave--> gone               its thread gave up
           '----> abandoned         ... but a commit that was sent stays, until the host answers or a new link tells

While a commit is in flight, what it writes is perhaps changed (see `hubbub.mount.replica`): that is why an abandoned
one is remembered. Where the answer has arrived together with the news, nobody has to doubt: both are taken in under one
hold of the lock, and what the commit was is known before anybody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hubbub.kernel import (
    BrokenError,
    HubbubError,
    LimitError,
    OutcomeUnknownError,
    Record,
    RemoteProtocolError,
    Tid,
)
from hubbub.mount.base import MountStats
from hubbub.mount.failures import from_failed, from_fault
from hubbub.mount.link import check_feed, check_oids
from hubbub.mount.replica import Replica
from hubbub.mount.turn import Turn, Waiter
from hubbub.wire import peer
from hubbub.wire.frames import frame

_REPEATS = 50

_NOTHING: Mapping[int, int] = {}

_ASKED: dict[type, tuple[type, ...]] = {
    peer.Loaded: (peer.Load, peer.More, peer.LoadMany),
    peer.Voted: (peer.Vote,),
    peer.Answer: (peer.Ask,),
    peer.Put: (peer.PutPiece,),
    peer.Piece: (peer.GetPiece,),
    peer.OidBlock: (peer.Oids,),
    peer.Pong: (peer.Ping,),
    peer.Fed: (peer.Feed,),
}


_Answer = (
    peer.Loaded
    | peer.Failed
    | peer.OidBlock
    | peer.Pong
    | peer.Fed
    | peer.Voted
    | peer.Answer
    | peer.Put
    | peer.Piece
)


class Call:
    """A message that waits for its answer.

    Attributes:
        message: What is asked.
        writes: The records of a commit.
        data: The message as a frame.
        waiter: Of the thread that waits.
        answer: None until there is one.
        error: Instead of an answer.
        sends: How often it has been sent.
        is_abandoned: Nobody waits any more.
        is_job: It ends with its connection, and is not sent again.
        progress: How far a job is, until somebody takes note.
    """

    __slots__ = (
        "answer",
        "data",
        "error",
        "is_abandoned",
        "is_job",
        "message",
        "progress",
        "sends",
        "waiter",
        "writes",
    )

    def __init__(self, message: Any, writes: Sequence[Record]) -> None:
        self.message = message
        self.writes = writes
        self.data = frame(peer.encode(message))
        self.waiter = Waiter()
        self.answer: Any = None
        self.error: HubbubError | None = None
        self.sends = 0
        self.is_abandoned = False
        self.is_job = False
        self.progress: peer.Progress | None = None

    @property
    def is_over(self) -> bool:
        """Whether it is answered."""
        return self.answer is not None or self.error is not None


class Calls:
    """The calls in flight. Guarded by the mount's lock.

    Args:
        where: Returns the host's address, for messages.
        replica: Takes in what is told.
        turn: Wakes threads.
        stats: Counts.
        retry_after: Called with the seconds that a host which goes away wants to be left alone.
    """

    def __init__(
        self,
        where: Callable[[], str],
        replica: Replica,
        turn: Turn,
        stats: MountStats,
        retry_after: Callable[[float], None],
    ) -> None:
        self.for_news: set[Waiter] = set()
        self._where = where
        self._replica = replica
        self._turn = turn
        self._stats = stats
        self._retry_after = retry_after
        self._how: dict[type, Callable[[Any], None]] = {
            peer.Invalidate: self._invalidate,
            peer.DropCache: self._drop,
            peer.Fault: self._fault,
            peer.Closing: self._closing,
            peer.Loaded: self._answer,
            peer.Committed: self._committed,
            peer.Failed: self._answer,
            peer.OidBlock: self._answer,
            peer.Pong: self._answer,
            peer.Fed: self._answer,
            peer.Voted: self._answer,
            peer.Answer: self._answer,
            peer.Put: self._answer,
            peer.Piece: self._answer,
            peer.Progress: self._progress,
        }
        self._in_flight: dict[int, Call] = {}
        self._commits: dict[int, Sequence[Record]] = {}
        self._settling: Mapping[int, int] = _NOTHING
        self._before: int | None = None
        self._next_id = 1

    def add(self, message: Any, writes: Sequence[Record], limit_bytes: int | None) -> Call:
        """Number ``message`` and return its call.

        Args:
            message: To the host.
            writes: The records of a commit.
            limit_bytes: What the link that it is sent on takes; None if there is no link: it is sent by the next one.

        Raises:
            LimitError: If it is larger.
        """
        message.id = self._next_id
        call = Call(message, writes)
        if limit_bytes is not None and len(call.data) > limit_bytes + 4:
            raise LimitError(
                f"a message of {len(call.data)} bytes is over the host's limit of {limit_bytes}: "
                "commit in smaller parts"
            )
        self._next_id += 1
        self._in_flight[message.id] = call
        if writes:
            self._commits[message.id] = writes
        self._stats.requests += 1
        call.sends = 0 if limit_bytes is None else 1
        return call

    def ask_ahead(self, at: int, limit_bytes: int) -> Call:
        """Number a call for what is likely to be wanted next at ``at``; nobody waits for it."""
        ahead = self._replica.ahead
        call = self.add(peer.More(0, at, ahead.room), (), limit_bytes)
        call.is_abandoned = True
        ahead.asked = call.message.id
        return call

    def leave(self, call: Call) -> None:
        """Its thread goes on, answered or not."""
        if not call.is_over:
            call.is_abandoned = True
            if not (call.writes and call.sends):
                self._forget(call)

    def again(self) -> list[Call]:
        """Return what has to be sent on a new link, in order."""
        self._replica.ahead.broken()
        for call in list(self._in_flight.values()):
            call.sends += 1
            if call.sends > _REPEATS and not call.is_abandoned:
                why = f"{self._where()} broke the connection at each of {_REPEATS} attempts"
                call.error = OutcomeUnknownError(why) if call.writes else BrokenError(why)
            elif call.is_job and call.sends > 1:
                call.error = BrokenError(
                    f"the connection to {self._where()} broke; the job was stopped with it: start it again"
                )
            if call.is_abandoned or call.is_over:
                self._forget(call)
        return list(self._in_flight.values())

    def _forget(self, call: Call) -> None:
        self._in_flight.pop(call.message.id, None)
        self._commits.pop(call.message.id, None)

    def news(self) -> None:
        """Wake who waits for another tid."""
        for waiter in self.for_news:
            self._turn.wake(waiter)

    def apply(self, messages: Sequence[peer.ToPeer]) -> None:
        """Take in what the host says, in order.

        Raises:
            RemoteProtocolError: If it makes no sense here.
            ConnectionAbortedError: If the host ends the connection.
        """
        if self._commits and len(messages) > 1:
            self._apply_together(messages)
            return
        for message in messages:
            self._apply(message)

    def _apply_together(self, messages: Sequence[peer.ToPeer]) -> None:
        """As `apply`, where answers to commits may be among ``messages``."""
        settling = {
            message.id: message.tid
            for message in messages
            if type(message) is peer.Committed
            and message.id in self._commits
            # What is known of a repeat is less.
            and self._in_flight[message.id].sends == 1
        }
        before = self._replica.log.newest
        writes = [self._commits[call_id] for call_id in settling]
        try:
            self._settling, self._before = settling, before
            for message in messages:
                self._apply(message)
        except BaseException:
            # An answer that was relied on was not taken in.
            self._replica.distrust([write.oid for some in writes for write in some], before)
            raise
        finally:
            self._settling, self._before = _NOTHING, None

    def _apply(self, message: peer.ToPeer) -> None:
        take_in = self._how.get(type(message))
        if take_in is None:
            raise RemoteProtocolError(f"the host sent {type(message).__name__} unasked")
        take_in(message)

    def _in_flight_oids(self) -> list[int]:
        return [write.oid for writes in self._commits.values() for write in writes]

    def _without_doubt(self, oids: list[int]) -> list[int]:
        """Return those of ``oids`` that no commit in flight may change."""
        perhaps = self._in_flight_oids()
        return [oid for oid in oids if oid not in perhaps]

    def _invalidate(self, message: peer.Invalidate) -> None:
        tid, oids = message.tid, message.oids
        settling = self._settling
        in_flight: list[int] = []
        settled: list[int] = []
        for call_id, writes in self._commits.items():
            committed = settling.get(call_id) if settling else None
            if committed is None:
                in_flight += [write.oid for write in writes]
            elif committed <= tid:
                settled += [write.oid for write in writes]
        self._replica.invalidated(tid, oids, in_flight, message.records, settled)
        self._stats.invalidations += len(oids)
        if self.for_news:
            self.news()

    def _drop(self, message: peer.DropCache) -> None:
        self._replica.dropped(message.tid)
        self.news()

    def _closing(self, message: peer.Closing) -> None:
        self._retry_after(message.retry_s)

    def _progress(self, message: peer.Progress) -> None:
        call = self._in_flight.get(message.id)
        if call is not None and call.is_job:
            call.progress = message
            self._turn.wake(call.waiter)

    def _answer(self, message: _Answer) -> None:
        call = self._in_flight.get(message.id)
        if call is None:
            return
        asked = _ASKED.get(type(message))
        if asked is not None and type(call.message) not in asked:
            raise RemoteProtocolError(
                f"the host answered {type(call.message).__name__} with {type(message).__name__}"
            )
        if isinstance(message, peer.OidBlock):
            check_oids(message.first, message.count)
        elif isinstance(message, peer.Fed):
            check_feed(call.message, message)
        self._forget(call)
        replica = self._replica
        if isinstance(message, peer.Loaded):
            replica.loaded_piece(call.message, message)
            call.answer = message.records
        elif isinstance(message, peer.OidBlock):
            replica.oids.extend(range(message.first, message.first + message.count))
            call.answer = message
        elif isinstance(message, peer.Pong):
            call.answer = Tid(message.tid)
        elif isinstance(message, peer.Fed):
            call.answer = message.commits
        elif not isinstance(message, peer.Failed):
            call.answer = message
        else:
            call.error = from_failed(message)
            if replica.ahead.asked == message.id:
                replica.ahead.broken()
        self._turn.wake(call.waiter)

    def _committed(self, message: peer.Committed) -> None:
        call = self._in_flight.get(message.id)
        if call is None:
            return
        asked = type(call.message)
        if asked is not peer.Commit and asked is not peer.Finish:
            raise RemoteProtocolError(f"the host answered {asked.__name__} with Committed")
        self._forget(call)
        writes = call.writes
        # A repeat is answered without the list of what was merged.
        merged = message.merged if call.sends == 1 else [write.oid for write in writes]
        kept = self._without_doubt(message.kept) if message.kept else ()
        in_flight = self._in_flight_oids() if self._commits else ()
        try:
            self._replica.committed(
                message.tid, writes, merged, message.records, kept, in_flight, self._before
            )
        except RemoteProtocolError:
            # It is asked again, on the next link.
            self._in_flight[message.id] = call
            self._commits[message.id] = writes
            raise
        call.answer = (Tid(message.tid), merged)
        self._turn.wake(call.waiter)

    def _fault(self, message: peer.Fault) -> None:
        error = from_fault(message, self._where())
        for call in self._in_flight.values():
            call.error = (
                OutcomeUnknownError(f"a commit was sent and then: {error}")
                if call.writes
                else error
            )
            self._turn.wake(call.waiter)
        self._in_flight.clear()
        self._commits.clear()
        raise ConnectionAbortedError(str(error))
