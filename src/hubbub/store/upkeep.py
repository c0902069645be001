"""What can be asked about a space beside its objects: its past, its size, its health; and the long jobs of its upkeep.

`Upkeep` is what a mount offers, embedded or over the network; `StoreUpkeep` answers out of a store in this process.
Nothing here answers above the settled tid (ST2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol

import msgspec

from hubbub.kernel import Record, Tid
from hubbub.store.base import FeedEntry, Store, StoredCommit

COMMIT_BYTES = 4 << 20
"""So many bytes of payload `Upkeep.commits` returns at once, about."""


class SpaceIdentity(msgspec.Struct, frozen=True):
    """Which space it is, and how far it reaches.

    Attributes:
        space_id: 32 hexadecimal digits; a restored copy has its own.
        last_tid: The newest tid.
        packed_tid: Up to here it is packed; 0 if it never was.
    """

    space_id: str
    last_tid: Tid
    packed_tid: Tid


class Upkeep(Protocol):
    """What a mount can be asked beside loads and commits. Any thread may call any method at any time.

    Every method may raise `BrokenError` over a network, `CorruptRecordError` where it meets damage, and `ClosedError`.
    """

    def history(self, oid: int, before: int | None = None, most: int = 100) -> list[Tid]:
        """Return the tids of the kept records of ``oid``, newest first: up to ``most`` of them, below ``before``."""
        ...

    def revision(self, oid: int, tid: int) -> Record:
        """Return the record that transaction ``tid`` itself wrote of ``oid``, also one that says that it is gone.

        Raises:
            UnknownObjectError: If it wrote none, or it is packed away.
        """
        ...

    def successor(self, oid: int, tid: int) -> Tid | None:
        """Return the tid of the first kept record of ``oid`` above ``tid``, or None."""
        ...

    def transaction(self, tid: int) -> FeedEntry | None:
        """Return what the feed tells of transaction ``tid``; None if there is none, or nothing of it is kept."""
        ...

    def records_of(self, tid: int) -> list[Record]:
        """Return the kept records that transaction ``tid`` wrote, in order."""
        ...

    def current(self, after_oid: int, at: int, most: int = 1000) -> list[Record]:
        """Return the records as of tid ``at`` of up to ``most`` objects above ``after_oid``, in the order of oids.

        Begin with -1. Nothing comes back only where there is nothing; fewer than ``most`` may come at any time.
        """
        ...

    def load_many(self, oids: Sequence[int], at: int) -> list[Record]:
        """Return the records of ``oids`` as of tid ``at``, leaving out unknown objects and those that are gone."""
        ...

    def identity(self) -> SpaceIdentity:
        """Return which space it is, and how far it reaches."""
        ...

    def commits(self, after: int, end: int, most_bytes: int = COMMIT_BYTES) -> list[StoredCommit]:
        """Return the first kept commits above ``after`` and up to ``end`` with their records, as `Store.commits`."""
        ...

    def all_rows(self) -> tuple[Tid, list[tuple[str, bytes, bytes]]]:
        """Return (kind, key, value) of every keyed row, sorted, and the newest tid at that moment."""
        ...


class StoreUpkeep:
    """Answer out of a store (an `Upkeep`).

    Args:
        store: Whose.
        settled_tid: Returns the tid up to which everything is durable.
    """

    def __init__(self, store: Store, settled_tid: Callable[[], Tid]) -> None:
        self._store = store
        self._settled_tid = settled_tid

    def history(self, oid: int, before: int | None = None, most: int = 100) -> list[Tid]:
        end = self._settled_tid()
        found = (
            tid
            for tid in self._store.history(oid)
            if tid <= end and (before is None or tid < before)
        )
        return list(islice(found, most))

    def revision(self, oid: int, tid: int) -> Record:
        return self._store.revision(oid, min(tid, self._settled_tid() + 1))

    def successor(self, oid: int, tid: int) -> Tid | None:
        found = self._store.successor(oid, tid)
        return found if found is not None and found <= self._settled_tid() else None

    def transaction(self, tid: int) -> FeedEntry | None:
        if tid <= 0 or tid > self._settled_tid():
            return None
        entry = next(self._store.feed(tid - 1), None)
        return entry if entry is not None and entry.tid == tid else None

    def records_of(self, tid: int) -> list[Record]:
        return self._store.records_of(tid) if tid <= self._settled_tid() else []

    def current(self, after_oid: int, at: int, most: int = 1000) -> list[Record]:
        return self._store.current(after_oid, min(at, self._settled_tid()), most)

    def load_many(self, oids: Sequence[int], at: int) -> list[Record]:
        return self._store.load_many(oids, min(at, self._settled_tid()))

    def identity(self) -> SpaceIdentity:
        return SpaceIdentity(self._store.space_id, self._settled_tid(), self._store.feed_floor)

    def commits(self, after: int, end: int, most_bytes: int = COMMIT_BYTES) -> list[StoredCommit]:
        return self._store.commits(after, min(end, self._settled_tid()), most_bytes)

    def all_rows(self) -> tuple[Tid, list[tuple[str, bytes, bytes]]]:
        return self._store.all_rows()
