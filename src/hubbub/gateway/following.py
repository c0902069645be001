"""Tell a peer of commits: what was stored before, then each as it becomes durable (``hubbub tail``)."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from hubbub.kernel import Commit
from hubbub.perspective.host import Host
from hubbub.store.base import FeedEntry
from hubbub.wire import peer

_MOST = 10_000


class Following:
    """One `Follow` of a peer. Belongs to the loop.

    Args:
        host: Whose commits.
        asked: What the peer wants.
        tell: Sends a message; False when the peer is gone.
    """

    def __init__(self, host: Host, asked: peer.Follow, tell: Callable[[peer.ToPeer], bool]) -> None:
        self._host = host
        self._asked = asked
        self._tell = tell
        # What settles while the past is being read waits here, so that nothing is left out or told twice.
        self._waiting: list[peer.Told] | None = []
        host.on_settled(self._settled)
        self._is_open = True
        self._past = asyncio.get_running_loop().create_task(self._tell_past())

    def close(self) -> None:
        """Stop. Idempotent."""
        if self._is_open:
            self._is_open = False
            self._host.remove_listener(self._settled)
            self._past.cancel()

    async def _tell_past(self) -> None:
        loop = asyncio.get_running_loop()
        last = min(max(self._asked.last, 0), _MOST)
        entries = await loop.run_in_executor(None, self._read_past, last)
        newest = 0
        for entry in entries:
            newest = entry.tid
            told = peer.Told(
                self._asked.id, entry.tid, entry.label, len(entry.oids), entry.byte_count, -1.0
            )
            if not self._tell(told):
                self.close()
                return
        waiting, self._waiting = self._waiting or [], None
        if not self._asked.go_on:
            self.close()
            self._tell(peer.Pong(self._asked.id, newest))
            return
        for told in waiting:
            if told.tid > newest and not self._tell(told):
                self.close()
                return

    def _read_past(self, last: int) -> list[FeedEntry]:
        if not last:
            # Only where the present is: what settles from here on is told by the listener.
            return []
        return list(deque(self._host.store.feed(), maxlen=last))

    def _settled(self, commits: Sequence[Commit]) -> None:
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
                self.close()
                return
