"""Tell a peer of commits: each as it becomes durable (``hubbub tail``), or piece by piece as it asks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from hubbub.gateway.questioning import Threads
from hubbub.kernel import Commit, HubbubError, LimitError, RemoteProtocolError
from hubbub.mount.failures import to_failed
from hubbub.perspective.host import Host
from hubbub.store.base import FeedEntry
from hubbub.store.feeding import FEED_COMMITS, feed_piece
from hubbub.wire import peer

_MOST = 10_000
_PIECES = 8
"""So many pieces of the feed may be asked for at a time."""


class Following:
    """What one peer wants to know of commits. Belongs to the loop.

    Args:
        host: Whose commits.
        threads: Where its past is read.
        is_read_only: Tells whether the peer may only read.
        told: Returns the tid up to which the peer was told what changed.
        tell: Sends a message that nobody waits for; False when the peer is gone.
        answer: Sends an answer.
    """

    def __init__(
        self,
        host: Host,
        threads: Threads,
        is_read_only: Callable[[], bool],
        told: Callable[[], int],
        tell: Callable[[peer.ToPeer], bool],
        answer: Callable[[peer.ToPeer], None],
    ) -> None:
        self._host = host
        self._threads = threads
        self._is_read_only = is_read_only
        self._told = told
        self._tell = tell
        self._answer = answer
        self._asked: peer.Follow | None = None
        self._is_open = False
        self._past: asyncio.Task[None] | None = None
        self._pieces: set[asyncio.Task[None]] = set()
        # What settles while the past is being read waits here, so that nothing is left out or told twice.
        self._waiting: list[peer.Told] | None = []

    def follow(self, asked: peer.Follow) -> None:
        """Tell what was stored before, then each commit."""
        if self._asked is not None:
            raise RemoteProtocolError("a connection follows once")
        self._asked = asked
        self._host.on_settled(self._settled)
        self._is_open = True
        self._past = asyncio.get_running_loop().create_task(self._tell_past(asked))

    def feed(self, asked: peer.Feed) -> None:
        """Answer with a piece of the feed: none of it above what the peer was told of (ST2)."""
        if len(self._pieces) >= _PIECES:
            refusal = LimitError(f"more than {_PIECES} pieces of the feed wait for answers")
            self._answer(to_failed(asked.id, refusal))
            return
        piece = asyncio.get_running_loop().create_task(self._tell_piece(asked))
        self._pieces.add(piece)
        piece.add_done_callback(self._pieces.discard)

    def close(self) -> None:
        """Stop. Idempotent."""
        for piece in self._pieces:
            piece.cancel()
        self._unfollow()

    def _unfollow(self) -> None:
        if self._is_open:
            self._is_open = False
            self._host.remove_listener(self._settled)
            if self._past is not None:
                self._past.cancel()

    async def _tell_piece(self, asked: peer.Feed) -> None:
        loop = asyncio.get_running_loop()
        most = min(max(asked.most, 1), FEED_COMMITS)
        try:
            entries = await loop.run_in_executor(
                None, feed_piece, self._host.store, asked.after, self._told(), most
            )
        except HubbubError as error:
            self._answer(to_failed(asked.id, error))
            return
        commits = [peer.FedCommit(e.tid, e.label, e.oids, e.byte_count) for e in entries]
        self._answer(peer.Fed(asked.id, commits))

    async def _tell_past(self, asked: peer.Follow) -> None:
        last = min(max(asked.last, 0), _MOST)
        try:
            entries = await self._past_of(last)
        except HubbubError as error:
            self._unfollow()
            self._answer(to_failed(asked.id, error))
            return
        newest = 0
        for entry in entries:
            newest = entry.tid
            told = peer.Told(
                asked.id, entry.tid, entry.label, len(entry.oids), entry.byte_count, -1.0
            )
            if not self._tell(told):
                self._unfollow()
                return
        waiting, self._waiting = self._waiting or [], None
        if not asked.go_on:
            self._unfollow()
            self._tell(peer.Pong(asked.id, newest))
            return
        for told in waiting:
            if told.tid > newest and not self._tell(told):
                self._unfollow()
                return

    async def _past_of(self, last: int) -> list[FeedEntry]:
        if not last:
            # Only where the present is: what settles from here on is told by the listener.
            return []
        threads = self._threads.of(is_long=True, is_read_only=self._is_read_only())
        return await asyncio.wrap_future(threads.begin(lambda: self._read_past(last)))

    def _read_past(self, last: int) -> list[FeedEntry]:
        return list(deque(self._host.store.feed(), maxlen=last))

    def _settled(self, commits: Sequence[Commit]) -> None:
        assert self._asked is not None
        now = time.perf_counter()
        for commit in commits:
            if not commit.records:
                continue
            ms = (now - commit.began) * 1000 if commit.began else -1.0
            told = peer.Told(
                self._asked.id,
                commit.tid,
                commit.label,
                len(commit.records),
                commit.byte_count,
                ms,
            )
            if self._waiting is not None:
                self._waiting.append(told)
            elif not self._tell(told):
                self._unfollow()
                return
