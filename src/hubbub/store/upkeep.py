"""What can be asked about a space beside its objects: its past, its size, its health; and the long jobs of its upkeep.

`Upkeep` is what a mount offers, embedded or over the network; `StoreUpkeep` answers out of a store in this process.
Nothing here answers above the settled tid (ST2).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import isfinite
from typing import Protocol

import msgspec

from hubbub.kernel import (
    Clock,
    ConfigurationError,
    Job,
    ReadOnlyError,
    Record,
    Row,
    SnapshotGoneError,
    StoreError,
    SystemClock,
    Tid,
    duration_text,
    tid_at,
    tid_text,
)
from hubbub.store.base import Damage, FeedEntry, PackReport, Store, StoredCommit, StoreStats
from hubbub.store.snapshots import Snapshots

COMMIT_BYTES = 4 << 20
"""So many bytes of payload `Upkeep.commits` returns at once, about."""


SPACE = "space"
"""Row kind: what a space declares about itself."""

_RETENTION = b"keep"


_MOST_SHOWN = 2
_ROW_BYTES = 16
"""What a row costs in a message beside its key and value, at most about."""


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


class RowsPiece(msgspec.Struct, frozen=True, array_like=True):
    """Some of the keyed rows of a space, all of which are of one moment.

    Attributes:
        number: Goes with the next question for them.
        tid: The newest tid at that moment.
        count: How many rows there were then.
        rows: (kind, key, value) of those that come next.
    """

    number: int
    tid: Tid
    count: int
    rows: list[tuple[str, bytes, bytes]]


def retention_of(store: Store) -> float | None:
    """Return for how many seconds the space in ``store`` declares to keep its past; None if it declares nothing."""
    stored = store.row(SPACE, _RETENTION)
    return None if stored is None else msgspec.msgpack.decode(stored, type=float)


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

    def rows_from(self, number: int, skip: int, most_bytes: int = COMMIT_BYTES) -> RowsPiece:
        """Return a piece of `all_rows`, so that as many as there are cross in messages of any size.

        Args:
            number: What came with the first piece; 0 asks for that.
            skip: How many rows came before.
            most_bytes: About so many bytes at once, but one row at least.

        Raises:
            SnapshotGoneError: Others have asked for rows since, and those of ``number`` are not kept any more.
        """
        ...

    def stats(self) -> StoreStats:
        """Return how much the space holds. It counts: on a large space it takes its time."""
        ...

    def verify(self, job: Job | None = None) -> Iterator[Damage]:
        """Read all there is, and yield what is wrong with it, as `Store.verify`.

        Raises:
            JobStoppedError: It was stopped.
            StoreError: A pack or another verification is running.
        """
        ...

    def retention(self) -> float | None:
        """Return for how many seconds the space declares to keep its past; None if it declares nothing."""
        ...

    def declare_retention(self, seconds: float | None) -> None:
        """Declare for how many seconds the space keeps its past, durably; None takes that back. Nothing is packed yet.

        Raises:
            ConfigurationError: It is negative or no number. Nothing has changed.
            HubbubError: As `hubbub.mount.Mount.commit`.
        """
        ...

    def pack(
        self,
        before: int | None = None,
        *,
        collect: bool = True,
        force: bool = False,
        job: Job | None = None,
    ) -> PackReport:
        """Drop what nobody can read as of tid ``before`` or later, while the space is in use; as `Store.pack` (ST7).

        It goes no further than the oldest snapshot that is open, and says in its report how far it went.

        Args:
            before: Up to where; None: as far as the declared retention allows, or to the newest tid if there is none.
            collect: Collect what the root can't reach.
            force: Go beyond the declared retention.
            job: For progress, and to stop it.

        Raises:
            ConfigurationError: ``before`` is within the declared retention, and it is not forced. Nothing has changed.
            HubbubError: As `Store.pack`.
        """
        ...


class StoreUpkeep:
    """Answer out of a store (an `Upkeep`).

    Args:
        store: Whose.
        settled_tid: Returns the tid up to which everything is durable.
        snapshots: Those that are open; a pack keeps what they may read.
        roots: Returns the oids that are held by more than the root.
        on_packed: Called when a pack has ended, with its report, None if it did not end well: what is cached may be
            gone.
        put_rows: Stores keyed rows, durably; None: it is read only.
        clock: For the age of transactions.
    """

    def __init__(
        self,
        store: Store,
        settled_tid: Callable[[], Tid],
        *,
        snapshots: Snapshots | None = None,
        roots: Callable[[], Sequence[int]] = tuple,
        on_packed: Callable[[PackReport | None], None] = lambda _: None,
        put_rows: Callable[[Sequence[Row]], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._settled_tid = settled_tid
        self._snapshots = Snapshots(store.feed_floor) if snapshots is None else snapshots
        self._roots = roots
        self._on_packed = on_packed
        self._put_rows = put_rows
        self._clock = clock or SystemClock()
        self._packing = threading.Lock()
        # Rows of which a piece was given, until all were.
        self._showing = threading.Lock()
        self._shown_rows: dict[int, tuple[Tid, list[tuple[str, bytes, bytes]]]] = {}
        self._next_shown = 0

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

    def rows_from(self, number: int, skip: int, most_bytes: int = COMMIT_BYTES) -> RowsPiece:
        number, (newest, rows) = self._shown(number)
        piece: list[tuple[str, bytes, bytes]] = []
        for row in islice(rows, skip, None):
            most_bytes -= _ROW_BYTES + len(row[0]) + len(row[1]) + len(row[2])
            if piece and most_bytes < 0:
                break
            piece.append(row)
        with self._showing:
            if skip + len(piece) >= len(rows):
                self._shown_rows.pop(number, None)
        return RowsPiece(number, newest, len(rows), piece)

    def _shown(self, number: int) -> tuple[int, tuple[Tid, list[tuple[str, bytes, bytes]]]]:
        """Return the rows that go by ``number``; new ones for 0."""
        if not number:
            found = self._store.all_rows()
            with self._showing:
                number = self._next_shown = self._next_shown + 1
                self._shown_rows[number] = found
                if len(self._shown_rows) > _MOST_SHOWN:
                    del self._shown_rows[next(iter(self._shown_rows))]
            return number, found
        with self._showing:
            kept = self._shown_rows.get(number)
        if kept is None:
            raise SnapshotGoneError("the rows as of then are not kept any more: ask anew")
        return number, kept

    def stats(self) -> StoreStats:
        return self._store.stats()

    def verify(self, job: Job | None = None) -> Iterator[Damage]:
        return self._store.verify(job)

    def retention(self) -> float | None:
        return retention_of(self._store)

    def declare_retention(self, seconds: float | None) -> None:
        if seconds is not None and not (seconds >= 0 and isfinite(seconds)):
            raise ConfigurationError(f"a past of {seconds} seconds can't be kept: say 0 or more")
        value = None if seconds is None else msgspec.msgpack.encode(float(seconds))
        self._writing()([(SPACE, _RETENTION, value)])

    def _writing(self) -> Callable[[Sequence[Row]], None]:
        if self._put_rows is None:
            raise ReadOnlyError("this space was opened to read only")
        return self._put_rows

    def pack(
        self,
        before: int | None = None,
        *,
        collect: bool = True,
        force: bool = False,
        job: Job | None = None,
    ) -> PackReport:
        self._writing()
        end = self._end_of_pack(before, force=force)
        if not self._packing.acquire(blocking=False):
            raise StoreError(
                "a pack of this space is running already: wait for its end, or stop it"
            )
        try:
            at = self._snapshots.shut(end)
            report: PackReport | None = None
            try:
                report = self._store.pack(at, collect=collect, keep=self._roots(), job=job)
                return report
            finally:
                # If it failed before it dropped anything, all is still there.
                self._snapshots.floor = self._store.feed_floor
                self._on_packed(report)
        finally:
            self._packing.release()

    def _end_of_pack(self, before: int | None, *, force: bool) -> int:
        newest, seconds = self._settled_tid(), self.retention()
        if seconds is None or force:
            return newest if before is None else min(before, newest)
        allowed = tid_at(max(self._clock.now() - seconds, 0.0))
        if before is not None and before > allowed:
            raise ConfigurationError(
                f"this space declares to keep its past for {duration_text(seconds)}, so it can be packed up to tid "
                f"{tid_text(allowed)} and not up to {tid_text(before)}. Say force to go beyond that"
            )
        return min(allowed if before is None else before, newest)
