"""Walk along a space's feed: see the space as it was at one commit after the other.

The feed tells exactly which objects each commit wrote, and leaves no commit out. So going from one to the next makes
ghosts of these objects alone, and all else stays awake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubbub.kernel import Tid, tid_time
from hubbub.mount.workspace import Records, Snapshot
from hubbub.space.connection import Connection
from hubbub.space.context import Transaction, running
from hubbub.store.base import FeedEntry


class Walk:
    """Read a space at commits of its feed, one after the other. Not for two threads at once.

    Args:
        records: Of the space.
        after: The tid that the first commit follows.
    """

    def __init__(self, records: Records, after: int) -> None:
        # It reads nothing before it has gone somewhere.
        self._snapshot = Snapshot(records, after, is_idle=True)
        self._objects = Connection(self._snapshot, read_only=True)

    def close(self) -> None:
        """Stay no longer: a pack need not keep what is seen from here. It may still `go` on. Idempotent."""
        self._snapshot.is_idle = True

    @property
    def tid(self) -> Tid:
        """Where it stands."""
        return Tid(self._snapshot.tid)

    def go(self, entry: FeedEntry) -> None:
        """Go on to ``entry``, which has to be the next one in the feed.

        Raises:
            PackedError: What was there is not kept any more.
        """
        self._objects.mend()
        self._objects.invalidate(entry.oids)
        self._snapshot.tid = entry.tid
        self._snapshot.is_idle = False
        self._snapshot.check()

    def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Return ``fn(root, *args)``, run on the space as it was here; what it yields, if it is a generator, as a list.

        Raises:
            ReadOnlyError: If it changes anything.
            UnknownObjectError: If it asks for what is not kept: what lived in the host's memory only, or is packed.
        """
        tid = self.tid
        transaction = Transaction(
            self._objects, tid_time(tid) if tid else 0.0, read_only=True, seed=tid, tid=tid
        )
        try:
            with running(transaction):
                value = fn(self._objects.root, *args)
                return list(value) if hasattr(value, "__next__") else value
        finally:
            self._objects.abort()
