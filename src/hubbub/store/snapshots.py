"""The open snapshots of one process, so that a pack keeps what they may still read (ST7).

Theory of operation
===================

Each snapshot is registered once, when it is made, and says where it stands; moving one is an assignment. A pack and a
snapshot that moves may meet, and neither takes a lock for it, since transactions move all the time:

    the snapshot    says where it stands, then looks at the floor    below it: it goes on to a newer tid, or is refused
    the pack        raises the floor, then looks where all stand     one is below: the floor comes down to there

Whichever is second sees the other. An *idle* snapshot, such as that of a workspace that waits in a pool, holds nothing.
"""

from __future__ import annotations

import threading
from typing import Protocol, Self
from weakref import WeakSet

from hubbub.kernel import PackedError, tid_text


class Open(Protocol):
    """A snapshot as a pack sees it."""

    @property
    def tid(self) -> int:
        """Where it stands."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether nobody reads by it now."""
        ...

    def __hash__(self) -> int: ...


class Hold:
    """Keeps what can be read at one tid, until it is released or forgotten. A context manager."""

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.is_idle = False

    def release(self) -> None:
        """Let it go. Idempotent."""
        self.is_idle = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


class Snapshots:
    """The snapshots of one space that are open in this process.

    Args:
        floor: The tid up to which the space is packed.

    Attributes:
        floor: Nothing may be read below it.
    """

    def __init__(self, floor: int = 0) -> None:
        self.floor = floor
        self._lock = threading.Lock()
        self._open: WeakSet[Open] = WeakSet()

    def add(self, snapshot: Open) -> None:
        """Take note of a snapshot for as long as there are references to it."""
        with self._lock:
            self._open.add(snapshot)

    def check(self, tid: int) -> None:
        """Check that what is at ``tid`` is kept, behind saying that one stands there.

        Raises:
            PackedError: It is not.
        """
        if tid < self.floor:
            raise PackedError(
                f"what was at tid {tid_text(tid)} is not kept any more: the space is packed up to tid "
                f"{tid_text(self.floor)}. Read it there or later, or restore a backup"
            )

    def hold(self, tid: int) -> Hold:
        """Keep what can be read at ``tid``.

        Raises:
            PackedError: It is not kept any more.
        """
        hold = Hold(tid)
        self.add(hold)
        try:
            self.check(tid)
        except PackedError:
            hold.release()
            raise
        return hold

    def oldest(self) -> int | None:
        """Return where the oldest one that is not idle stands, or None."""
        with self._lock:
            tids = [snapshot.tid for snapshot in self._open if not snapshot.is_idle]
        return min(tids, default=None)

    def shut(self, wanted: int) -> int:
        """Raise the floor to ``wanted``, or to where the oldest snapshot stands; return the floor. One at a time."""
        before = self.floor
        # Twice: so that the floor rarely has to come down again, and nobody is refused by it meanwhile.
        for _ in range(2):
            oldest = self.oldest()
            if oldest is not None:
                wanted = min(wanted, oldest)
            self.floor = max(wanted, before)
        return self.floor
