"""What goes out to one peer: answers and news, in one order, within bounds.

Theory of operation
===================

A peer that does not read is not queued for without end (PE5):

    FOLLOWING --buffer over its limit--> BEHIND     no invalidations any more
    BEHIND --drained, or an answer has to go out--> FOLLOWING    DropCache first: all copies may be old
    any --buffer over four times the limit--> ended

What is written in one turn of the loop leaves in one piece. A peer that waits for an answer to a commit gets the news
with that, those of several groups as one message: nobody can have begun at a tid that the peer has never heard of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

from hubbub.gateway.neighbours import Neighbours
from hubbub.gateway.pushed import Pushed
from hubbub.kernel import Record
from hubbub.wire import peer
from hubbub.wire.frames import frame

_PUSH_BELOW_BYTES = 64 << 10
_OID_BYTES = 9
_HOLD_S = 0.005
"""So long a peer that waits for an answer may not be told of others' commits."""
_COMMITS_AGAIN_S = 0.02
"""Whose commit was answered not longer ago commits one after another."""

_oid_of = attrgetter("oid")


class Outlet:
    """What goes out to one peer. Belongs to the loop.

    Attributes:
        neighbours: Guesses what the peer wants next.
        pushed: Knows which changed records it wants to be sent.
        awaited: How many of its commits are not answered yet.
        is_busy: More is about to come; who set it flushes.
        is_over: Nothing goes out any more.

    Args:
        write: Takes bytes for the peer; never waits.
        buffered_bytes: Tells how many bytes have been written and not sent.
        limit_bytes: So many may wait before the peer is told to drop its cache.
        neighbours: Of this peer.
        newest: Returns the newest tid that peers were told.
        sent: Called when something was written.
        give_up: Ends the connection; given what the peer does, or what became of it.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        buffered_bytes: Callable[[], int],
        limit_bytes: int,
        neighbours: Neighbours,
        newest: Callable[[], int],
        sent: Callable[[], None],
        give_up: Callable[[str], None],
    ) -> None:
        self._write = write
        self._buffered_bytes = buffered_bytes
        self._limit_bytes = limit_bytes
        self.neighbours = neighbours
        self.pushed = Pushed()
        self._newest = newest
        self._sent = sent
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._has_answers = False
        self._news: dict[int, None] = {}  # told and not put into words yet, up to:
        self._news_tid = 0
        self._news_bytes = 0
        self._flush_handle: asyncio.Handle | None = None
        self._held: asyncio.TimerHandle | None = None
        self._held_since = 0.0
        self._drain_timer: asyncio.TimerHandle | None = None
        self._untold = 0
        self._answered_at = -_COMMITS_AGAIN_S
        self._is_behind = False
        self.awaited = 0
        self.is_busy = False
        self.is_over = False

    def close(self) -> None:
        """Send nothing any more."""
        self.is_over = True
        for handle in (self._flush_handle, self._held, self._drain_timer):
            if handle is not None:
                handle.cancel()

    @property
    def is_full(self) -> bool:
        """Whether far more waits than should."""
        return self._buffered_bytes() + self._out_bytes > 4 * self._limit_bytes

    # --- news ---------------------------------------------------------------------------------------------------------

    def tell(
        self,
        tid: int,
        changed: Mapping[int, Record],
        commits: Sequence[Mapping[int, Record]],
        made: dict[tuple[int, ...], bytes] | None = None,
        own: Mapping[int, Record] | None = None,
    ) -> None:
        """Say that objects changed up to ``tid``, or note that the peer is behind (PE5).

        Args:
            tid: The newest.
            changed: The newest records of the objects.
            commits: What each of the commits has written.
            made: The frames that say it, by the oids of the records that go with it: those that others were sent, and
                this one. None: nobody else is told the same.
            own: What the peer has written itself in these commits; the answers are about to come.
        """
        if self._is_behind:
            self._catch_up()
            return
        waiting = self._buffered_bytes() + self._out_bytes
        pushed: list[Record] = []
        # Who does not keep up with what is sent gets no more than has to be.
        if self.pushed.wanted and waiting < _PUSH_BELOW_BYTES:
            pushed = self.pushed.chosen(changed, commits)
        if not pushed and (own is not None or self._waits):
            self._note(tid, changed, own, waiting)
            return
        key = tuple(map(_oid_of, pushed))
        message = made.get(key) if made is not None else None
        if message is None:
            told = peer.Invalidate(tid, list(changed), peer.written(pushed))
            message = frame(peer.encode(told))
            if made is not None:
                made[key] = message
        if waiting + len(message) > self._limit_bytes:
            self._fall_behind()
            return
        self._no_longer_has(changed, frozenset(key))
        self._put(message)

    def _note(
        self,
        tid: int,
        changed: Mapping[int, Record],
        own: Mapping[int, Record] | None,
        waiting: int,
    ) -> None:
        """As `tell`, for who waits for an answer: what else it is told until then is said along with it."""
        size = _OID_BYTES * (len(changed) + 2)
        if waiting + size > self._limit_bytes:
            self._fall_behind()
            return
        self._no_longer_has(changed)
        if own and not self._news.keys().isdisjoint(own):
            # Somebody else had changed what it then wrote: said in one it would look the other way round.
            self._say_news()
        self._news.update(dict.fromkeys(changed))
        self._news_tid = tid
        self._news_bytes += size
        self._out_bytes += size

    def _say_news(self) -> None:
        """Put what is noted into words."""
        data = frame(peer.encode(peer.Invalidate(self._news_tid, list(self._news))))
        self._out.append(data)
        self._out_bytes += len(data) - self._news_bytes
        self._news = {}
        self._news_tid = self._news_bytes = 0

    def _fall_behind(self) -> None:
        self._is_behind = True
        self.forget_all()
        self._catch_up()

    def _no_longer_has(
        self, changed: Mapping[int, Record], fresh: frozenset[int] = frozenset()
    ) -> None:
        """Note that the peer's copies are old, but for ``fresh``, which it is sent."""
        had = self.neighbours.has(changed)
        if fresh:
            self.neighbours.remember(fresh)
            had -= fresh
        if had:
            self.neighbours.forget(had)
            self.pushed.told(had)

    @property
    def _waits(self) -> bool:
        """Whether it waits for the answer to a commit, or does so again in a moment."""
        return bool(self.awaited) or self._loop.time() - self._answered_at < _COMMITS_AGAIN_S

    def flush_told(self) -> None:
        """Send what the peer was told: at once, so that it is under way before any answer to the same group is.

        A peer that waits for an answer to a commit gets it with that, or after `_HOLD_S`: else all would wake all. Who
        commits one after another may have sent the next while the disk was waited for: that is read first.
        """
        if self.awaited and not self._has_answers:
            self._hold()
        elif self._waits:
            # Its next commit has most likely arrived, and is read before this comes round.
            if self._flush_handle is None:
                self._flush_handle = self._loop.call_soon(self._flush_or_hold)
        else:
            self.flush()

    def _flush_or_hold(self) -> None:
        self._flush_handle = None
        if self.awaited and not self._has_answers:
            self._hold()
        else:
            self.flush()

    def _hold(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        if not self._held_since and self.has_more:
            self._held_since = self._loop.time()
            # One that runs is left running: most often all has gone out long before.
            if self._held is None:
                self._held = self._loop.call_later(_HOLD_S, self._held_long)

    def _held_long(self) -> None:
        self._held = None
        if self._held_since:
            left_s = self._held_since + _HOLD_S - self._loop.time()
            if left_s > 0:
                self._held = self._loop.call_later(left_s, self._held_long)
            else:
                self.flush()

    @property
    def has_more(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._out or self._news_tid)

    def forget_all(self) -> None:
        """Note that the peer's copies are gone, or may be old."""
        self.neighbours.forget_all()
        self.pushed.clear()

    def drop_cache(self) -> None:
        """Have the peer drop all that it keeps."""
        if not self.is_over and not self._is_behind:
            self._is_behind = True
            self.forget_all()
            self._catch_up()
            self.flush()

    def expect(self, answers: int) -> None:
        """So many answers to commits of this group are about to come: the last sends all that is told to this peer.

        Who says so flushes all the same, behind all answers.
        """
        self._untold = answers

    def _catch_up(self, *, now: bool = False) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None
        is_drained = self._buffered_bytes() + self._out_bytes < self._limit_bytes // 2
        if now or is_drained:
            self._is_behind = False
            self._put(frame(peer.encode(peer.DropCache(self._newest()))))
        else:
            self._drain_timer = self._loop.call_later(0.05, self._catch_up)

    def abandon(self) -> None:
        """End the connection: the peer may have missed something, and the next connection tells it all."""
        self._give_up("could not be told of a commit")

    # --- sending ------------------------------------------------------------------------------------------------------

    def answer(self, message: peer.ToPeer) -> None:
        """Send ``message`` behind all that is told: at the end of the turn, or when `flush` is called."""
        if self.is_over:
            return
        if self._is_behind:
            # An answer says that everything before it was told.
            self._catch_up(now=True)
        self._has_answers = True
        self._put(frame(peer.encode(message)))

    def _put(self, data: bytes) -> None:
        if self._news_tid:
            self._say_news()
        self._out.append(data)
        self._out_bytes += len(data)
        if self._flush_handle is None and not self.is_busy and not self._untold:
            self._flush_handle = self._loop.call_soon(self.flush)

    def flush_read(self) -> None:
        """Send the answers to what has just been read. News alone wait for the answer to a commit, if there is one."""
        if self._has_answers or not self.awaited:
            self.flush()
        else:
            self._hold()

    def flush(self) -> None:
        """Send all that waits, in one piece."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        self._held_since = 0.0
        if self._news_tid:
            self._say_news()
        if not self._out or self.is_over:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        self._has_answers = False
        self._write(data)
        self._sent()
        if self._buffered_bytes() > 4 * self._limit_bytes + len(data):
            self._give_up("asks and does not read the answers")

    def answered(self) -> None:
        """An answer to a commit has been given."""
        self._answered_at = self._loop.time()
        if self._untold:
            self._untold -= 1
            if not self._untold:
                self.flush()
