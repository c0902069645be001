"""What a store is: the one interface that memory, SQLite and later stores fill.

A store keeps records by (oid, tid), the list of transactions, and small keyed rows. It knows no classes and
decodes no payload. It is written by one thread at a time and read by any number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from hubbub.kernel import Commit, Job, Label, Oid, Record, Tid, tid_time


class FeedEntry(msgspec.Struct, frozen=True):
    """One commit as the feed tells it.

    Attributes:
        tid: Its transaction id.
        label: Who and what.
        oids: The objects it wrote, in the order in which they were written.
        byte_count: Bytes of payload that it stored.
    """

    tid: Tid
    label: Label
    oids: tuple[int, ...]
    byte_count: int

    @property
    def time(self) -> float:
        """When it was committed, Unix time in seconds."""
        return tid_time(self.tid)


class StoredCommit(msgspec.Struct, frozen=True, array_like=True):
    """One commit with its records, as backups and copies take it.

    Attributes:
        tid: Its transaction id.
        label: Who and what.
        records: Those that are kept of what it wrote, in order.
        blobs: Oids of those that have a blob -> how many bytes.
    """

    tid: Tid
    label: Label
    records: list[Record]
    blobs: dict[int, int] = {}


class StoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """How much a store holds.

    Attributes:
        objects: Objects that there are now.
        records: Kept records, those of the past and of gone objects included.
        transactions: Kept transactions.
        payload_bytes: Bytes of all payloads.
        file_bytes: Bytes on the disk, logs included and blobs not; 0 in memory.
        blobs: Kept blob files.
        blob_bytes: Their bytes.
        first_tid, last_tid: Of the oldest and newest kept transaction; 0 in an empty store.
        packed_tid: Up to here it is packed; 0 if it never was.
    """

    objects: int
    records: int
    transactions: int
    payload_bytes: int
    file_bytes: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    first_tid: int = 0
    last_tid: int = 0
    packed_tid: int = 0


class PackReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack has done.

    Attributes:
        tid: Up to which it has packed.
        objects: Objects that were collected.
        records: Records that are gone, theirs included.
        transactions: Transactions of which nothing was left.
        blobs: Blob files that are gone.
        freed_bytes: Bytes of payloads and blobs that are gone.
        seconds: How long it took.
    """

    tid: int
    objects: int = 0
    records: int = 0
    transactions: int = 0
    blobs: int = 0
    freed_bytes: int = 0
    seconds: float = 0.0


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that `Store.verify` has found.

    Attributes:
        what: A sentence for people.
        oid, tid: Where; 0 if it is of no one object or transaction.
    """

    what: str
    oid: int = 0
    tid: int = 0


class Store(Protocol):
    """Keeps records durably.

    Threads: `write` and `close` are called by one thread at a time; all else by any thread at any time, also
    while `write` runs (a reader then sees either all of a commit or nothing of it).
    """

    @property
    def space_id(self) -> str:
        """32 hexadecimal digits that name the space, given when it was made; a restored copy has its own."""
        ...

    @property
    def last_tid(self) -> Tid:
        """The tid of the newest stored transaction that has records; 0 in an empty store."""
        ...

    def load(self, oid: int, at: int | None = None) -> Record:
        """Return the newest record of ``oid`` whose tid is not above ``at`` (newest of all without it).

        Raises:
            UnknownObjectError: If there is none, or the newest says that the object is gone.
            CorruptRecordError: If its bytes are damaged (ST6); names oid and tid.
        """
        ...

    def load_many(self, oids: Sequence[int], at: int | None = None) -> list[Record]:
        """Return what `load` would for each oid, leaving out the unknown ones and those that are gone."""
        ...

    def revision(self, oid: int, tid: int) -> Record:
        """Return the record that transaction ``tid`` itself wrote of ``oid``, also one that says that it is gone.

        Raises:
            UnknownObjectError: If it wrote none, or it is packed away.
            CorruptRecordError: As `load`.
        """
        ...

    def successor(self, oid: int, tid: int) -> Tid | None:
        """Return the tid of the first kept record of ``oid`` above ``tid``, or None."""
        ...

    def records_of(self, tid: int) -> list[Record]:
        """Return the records that transaction ``tid`` wrote and that are kept, in order; none if there is no such one.

        Raises:
            CorruptRecordError: If one is damaged.
        """
        ...

    def current(self, after_oid: int, at: int, most: int) -> list[Record]:
        """Return the records of up to ``most`` objects above ``after_oid`` as of tid ``at``, in the order of oids.

        Objects that are gone are left out. Nothing comes back only where there is nothing.

        Raises:
            CorruptRecordError: If one is damaged.
        """
        ...

    def write(self, commits: Sequence[Commit]) -> None:
        """Store the records and rows of ``commits``, in tid order, as one group with one fsync (ST3).

        When it returns, all of it survives SIGKILL and power loss. Commits without records write rows only and
        do not appear in the feed. Staged files that a commit names (`Commit.blobs`) become its records' blobs; if it
        fails for certain they are gone.

        Raises:
            LocalProtocolError: A commit does not follow, or names a file that is not staged. Nothing has changed.
            StoreError: Blob files can't be moved into place. Nothing was stored; the store goes on.
            DiskFullError: Certainly nothing of the group was stored; the store goes on.
            OutcomeUnknownError: The fsync failed, or anything else that leaves it open whether rows can turn up
                after a restart: every further `write` raises this too until the store is reopened; reading goes on.
        """
        ...

    # --- blobs --------------------------------------------------------------------------------------------------------

    def stage(self, suffix: str = "") -> Path:
        """Return the path of a new empty file on the disk of the blobs, to be written and then named in a commit.

        Its name (``path.name``) is what `Commit.blobs` wants. It may be replaced by a hard link to another blob of the
        same store. `seal` it before the commit, so that nobody else has to wait for it. One that is never
        committed goes by `unstage`, when the store is opened next, or when a pack finds it untouched for a day.

        Args:
            suffix: Of its name: up to 64 letters, digits, ``.``, ``_`` and ``-``.

        Raises:
            DiskFullError: There is no room.
            StoreError: It can't be made.
        """
        ...

    def seal(self, name: str) -> None:
        """Make a staged file durable and take its checksum, so that the commit, which others wait for, need not.

        A file that is changed afterwards, or was not sealed, is read and fsynced in the commit. Idempotent.

        Raises:
            LocalProtocolError: It is not staged here.
            DiskFullError, StoreError: As `stage`.
        """
        ...

    def unstage(self, name: str) -> None:
        """Remove a staged file that will not be committed. Idempotent; a committed one stays."""
        ...

    def blob(self, oid: int, tid: int) -> Path:
        """Return the file of the blob that ``oid`` had at record ``tid``. It must not be changed.

        Raises:
            UnknownObjectError: If there is none.
            CorruptRecordError: If it should be there and is missing, or has another size (ST6).
        """
        ...

    # ------------------------------------------------------------------------------------------------------------------

    @property
    def feed_floor(self) -> Tid:
        """Above this tid the feed is whole; 0 if nothing was packed yet."""
        ...

    def feed(self, after: int = 0) -> Iterator[FeedEntry]:
        """Yield every stored transaction with records above ``after``, in tid order, none left out (ST1).

        It ends at the newest; whoever wants to follow asks again from the last tid seen.
        """
        ...

    def commits(self, after: int, end: int, most_bytes: int) -> list[StoredCommit]:
        """Return the first kept commits above ``after`` and up to ``end``, with their records: many in one go.

        As many as have ``most_bytes`` of payload, one at least; nothing comes back only where there is nothing. Below
        `feed_floor` what is packed away is left out.

        Raises:
            CorruptRecordError: If one is damaged, or if some are missing above the floor (ST6).
        """
        ...

    def all_rows(self) -> tuple[Tid, list[tuple[str, bytes, bytes]]]:
        """Return (kind, key, value) of every row that a commit has put, sorted, and the newest tid then.

        Writing waits meanwhile.
        """
        ...

    def history(self, oid: int) -> Iterator[Tid]:
        """Yield the tids of all kept records of ``oid``, newest first."""
        ...

    def rows(self, kind: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Return (key, value) of every row of ``kind`` whose key begins with ``prefix``, sorted by key."""
        ...

    def row(self, kind: str, key: bytes) -> bytes | None:
        """Return one row's value, or None."""
        ...

    # --- upkeep -------------------------------------------------------------------------------------------------------

    def stats(self) -> StoreStats:
        """Return how much it holds. It counts: on a large space it takes its time."""
        ...

    def pack(
        self,
        at: int,
        *,
        collect: bool = True,
        keep: Sequence[int] = (),
        job: Job | None = None,
    ) -> PackReport:
        """Drop what nobody can read as of tid ``at`` or later, while the space is in use (ST7).

        Dropped are revisions that had a successor at ``at``, records up to ``at`` that say that an object is gone, and,
        if ``collect``, all revisions up to ``at`` of objects that could not be reached at ``at`` nor are referred to by
        anything newer. Transactions of which nothing is left go, the newest one excepted. `feed_floor` becomes ``at``;
        an undo of what is not above it must be refused from then on. One pack or verification at a time.

        The file of a SQLite space does not become shorter: what is free is used again. A copy is as short as can be.

        Args:
            at: Nobody may read below it any more: the owner sees to that. One above `last_tid` means that.
            collect: Collect what the root can't reach.
            keep: Oids that are held by more than the root: what lives in the host's memory refers to them.
            job: For progress, and to stop it: then what was dropped is gone, the rest stays, and all is consistent.

        Raises:
            JobStoppedError: It was stopped.
            CorruptRecordError: A record that had to be looked at is damaged. Nothing was dropped.
            StoreError: One is running already.
            HubbubError: As `write`.
        """
        ...

    def verify(self, job: Job | None = None) -> Iterator[Damage]:
        """Read all there is, and yield what is wrong with it: checksums, gaps, references to nothing, missing blobs.

        Other threads may read and write meanwhile. Read it to its end, or close it: no pack runs before that.

        Raises:
            JobStoppedError: It was stopped.
            StoreError: A pack or another verification is running.
        """
        ...

    @property
    def max_oid(self) -> Oid:
        """The highest durable oid that any record has; 0 in an empty store."""
        ...

    def close(self) -> None:
        """Close it. Idempotent. Reading or writing afterwards raises `ClosedError`."""
        ...
