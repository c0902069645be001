"""What a host holds for a mount: its votes, and what it has uploaded and not committed. It outlives a connection.

Theory of operation
===================

    a connection mounts --> HELD --its last connection is lost--> WAITS --comes back--> HELD
                                                                   '--does not--> all of it is dropped
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from hubbub.wire import peer

GRACE_S = 5.0
"""So long a mount whose connection broke may take to come back."""


class HeldVote:
    """An open vote: its answer, the oids that it writes, and the files of its blobs by the peer's names."""

    __slots__ = ("answer", "blobs", "written")

    def __init__(self, answer: peer.Voted, written: set[int], blobs: dict[str, Path]) -> None:
        self.answer = answer
        self.written = written
        self.blobs = blobs


class Held:
    """What is held for one mount. Belongs to the loop.

    Attributes:
        votes: Its open votes by their numbers.
        uploads: The files of what it has uploaded, by its own names.
        taken: Uploads of commits that are under way, by their keys.
        connections: How many it has now.
        staged_bytes: Bytes of all that it has uploaded and not committed.
        is_over: All of it was dropped: whatever comes back is not held.
    """

    def __init__(self) -> None:
        self.votes: dict[int, HeldVote] = {}
        self.uploads: dict[str, Path] = {}
        self.taken: dict[bytes, dict[str, Path]] = {}
        self.connections = 0
        self.timer: asyncio.TimerHandle | None = None
        self.staged_bytes = 0
        self.is_over = False
        self._sizes: dict[str, int] = {}

    def size_of(self, name: str) -> int:
        """Return how many bytes the file ``name`` has, or will have when what has come is written."""
        return self._sizes.get(name, 0)

    def grows(self, name: str, size: int) -> int:
        """Note that the file ``name`` has ``size`` bytes at least; return the bytes of all."""
        before = self._sizes.get(name, 0)
        if size > before:
            self._sizes[name] = size
            self.staged_bytes += size - before
        return self.staged_bytes

    def gone(self, name: str) -> None:
        """The file ``name`` is committed, or removed."""
        self.staged_bytes -= self._sizes.pop(name, 0)


class Holding:
    """What is held for all mounts.

    Args:
        drop_vote: Gives a vote up.
        unstage: Removes what was uploaded.
    """

    def __init__(self, drop_vote: Callable[[int], None], unstage: Callable[[str], None]) -> None:
        self._drop_vote = drop_vote
        self._unstage = unstage
        self._held: dict[bytes, Held] = {}

    def take(self, mount_key: bytes) -> Held:
        """Return what is held for a mount that has a connection more. An empty key names nobody else."""
        held = self._held.setdefault(mount_key, Held()) if mount_key else Held()
        held.connections += 1
        if held.timer is not None:
            held.timer.cancel()
            held.timer = None
        return held

    def let_go(self, mount_key: bytes, held: Held) -> None:
        """One of its connections is gone."""
        held.connections -= 1
        if held.connections:
            return
        if not mount_key or not (held.votes or held.uploads):
            self._drop(mount_key, held)
            return
        loop = asyncio.get_running_loop()
        held.timer = loop.call_later(GRACE_S, self._drop, mount_key, held)

    def _drop(self, mount_key: bytes, held: Held) -> None:
        self._held.pop(mount_key, None)
        for number in held.votes:
            self._drop_vote(number)
        for path in held.uploads.values():
            self._unstage(path.name)
        for vote in held.votes.values():
            for path in vote.blobs.values():
                self._unstage(path.name)
        held.is_over = True
        held.votes.clear()
        held.uploads.clear()
