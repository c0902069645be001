"""A store in memory: for tests, and for spaces that need not outlive their process.

Everything written counts as durable: `MemoryStore.reopen` finds it again, as a process would after a crash.

Theory of operation: the one writer appends first and moves ``last_tid`` last; readers stay at or below ``last_tid``,
so they need no lock and see all of a commit or nothing of it. Rows have no tid, so these are locked.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

from hubbub.kernel import (
    ClosedError,
    Commit,
    LocalProtocolError,
    Oid,
    Record,
    RecordFields,
    Tid,
    UnknownObjectError,
    tid_text,
)
from hubbub.store.base import FeedEntry, StoredCommit
from hubbub.store.blobs import Blobs, blob_of_key, blob_size


def check_order(commits: Sequence[Commit], last_tid: int) -> None:
    """Check that a group may be written behind ``last_tid``.

    Raises:
        LocalProtocolError: If a commit with records is not newer than the one before it, if a record carries another
            tid than its commit, or if an object occurs twice in one commit.
    """
    for commit in commits:
        if not commit.records:
            continue
        if commit.tid <= last_tid:
            raise LocalProtocolError(
                f"commit {tid_text(commit.tid)} can't be stored behind {tid_text(last_tid)}"
            )
        last_tid = commit.tid
        if any(record.tid != commit.tid for record in commit.records):
            raise LocalProtocolError(f"commit {tid_text(commit.tid)} holds a record of another tid")
        if len(commit.records) > 1 and len({r.oid for r in commit.records}) < len(commit.records):
            raise LocalProtocolError(f"commit {tid_text(commit.tid)} holds an object twice")


_NO_REVISIONS: tuple[list[int], list[RecordFields]] = ([], [])


class _Data:
    """What all stores that share it see."""

    def __init__(self) -> None:
        self.space_id = secrets.token_hex(16)
        self.lock = threading.Lock()
        self.revisions: dict[int, tuple[list[int], list[RecordFields]]] = {}
        self.tids: list[int] = []
        self.entries: list[FeedEntry] = []
        self.rows: dict[str, dict[bytes, bytes]] = {}
        self.last_tid = Tid(0)
        self.max_oid = Oid(0)
        self.blob_sizes: dict[tuple[int, int], int] = {}
        self._blobs: Blobs | None = None

    @property
    def blobs(self) -> Blobs:
        """The blob files, in a folder that goes with the data."""
        with self.lock:
            if self._blobs is None:
                folder = tempfile.mkdtemp(prefix="hubbub-blobs-")
                weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
                self._blobs = Blobs(Path(folder), is_durable=False)
            return self._blobs


class MemoryStore:
    """Keeps records in memory (a `hubbub.store.Store`)."""

    def __init__(self) -> None:
        self._data = _Data()
        self._is_closed = False

    def reopen(self) -> MemoryStore:
        """Return a store with the same data, as a new process would find it; this one is closed."""
        other = MemoryStore()
        self.close()
        with self._data.lock:
            # A write that still runs ends first: it is stored whole.
            other._data = self._data
        return other

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the store is closed")

    @property
    def space_id(self) -> str:
        return self._data.space_id

    @property
    def last_tid(self) -> Tid:
        self._check_open()
        return self._data.last_tid

    @property
    def max_oid(self) -> Oid:
        self._check_open()
        return self._data.max_oid

    def load(self, oid: int, at: int | None = None) -> Record:
        self._check_open()
        last = self._data.last_tid
        revisions = self._data.revisions.get(oid)
        if revisions is not None:
            tids, records = revisions
            place = bisect_right(tids, last if at is None or at > last else at)
            if place and records[place - 1][2]:
                # A fresh object each time: what its reader decodes into `memo` must not outlive a reopen.
                return Record(*records[place - 1])
        raise UnknownObjectError(oid, at)

    def load_many(self, oids: Sequence[int], at: int | None = None) -> list[Record]:
        found = []
        at = self.last_tid if at is None else at
        for oid in oids:
            try:
                found.append(self.load(oid, at))
            except UnknownObjectError:
                continue
        return found

    def revision(self, oid: int, tid: int) -> Record:
        self._check_open()
        if tid <= self._data.last_tid:
            tids, records = self._data.revisions.get(oid, _NO_REVISIONS)
            place = bisect_left(tids, tid)
            if place < len(tids) and tids[place] == tid:
                return Record(*records[place])
        raise UnknownObjectError(oid, tid)

    def successor(self, oid: int, tid: int) -> Tid | None:
        self._check_open()
        tids = self._data.revisions.get(oid, _NO_REVISIONS)[0]
        place = bisect_right(tids, tid)
        if place < len(tids) and tids[place] <= self._data.last_tid:
            return Tid(tids[place])
        return None

    def records_of(self, tid: int) -> list[Record]:
        self._check_open()
        data = self._data
        place = bisect_left(data.tids, tid)
        if place == len(data.tids) or data.tids[place] != tid or tid > data.last_tid:
            return []
        return [self.revision(oid, tid) for oid in data.entries[place].oids]

    def current(self, after_oid: int, at: int, most: int) -> list[Record]:
        self._check_open()
        at = min(at, self._data.last_tid)
        found: list[Record] = []
        for oid in sorted(oid for oid in list(self._data.revisions) if oid > after_oid):
            if len(found) == most:
                break
            found += self.load_many((oid,), at)
        return found

    def write(self, commits: Sequence[Commit]) -> None:
        data = self._data
        blobs = data.blobs if any(commit.blobs for commit in commits) else None
        with data.lock:
            self._check_open()
            check_order(commits, data.last_tid)
            placing = blobs.place(commits) if blobs is not None else None
            if placing is not None:
                for _, key, size in placing.rows:
                    data.blob_sizes[blob_of_key(key)] = blob_size(size)
            for commit in commits:
                for kind, key, value in commit.rows:
                    if value is None:
                        data.rows.get(kind, {}).pop(key, None)
                    else:
                        data.rows.setdefault(kind, {})[key] = value
                if commit.records:
                    self._append(commit)
            if placing is not None:
                placing.settle()

    def _append(self, commit: Commit) -> None:
        data = self._data
        for record in commit.records:
            tids, records = data.revisions.setdefault(record.oid, ([], []))
            records.append(record.fields())
            tids.append(record.tid)
        oids = tuple(record.oid for record in commit.records)
        data.entries.append(FeedEntry(commit.tid, commit.label, oids, commit.byte_count))
        data.tids.append(commit.tid)
        data.max_oid = Oid(max(data.max_oid, *oids))
        data.last_tid = commit.tid

    def stage(self, suffix: str = "") -> Path:
        self._check_open()
        return self._data.blobs.stage(suffix)

    def unstage(self, name: str) -> None:
        self._check_open()
        self._data.blobs.unstage(name)

    def blob(self, oid: int, tid: int) -> Path:
        self._check_open()
        size = self._data.blob_sizes.get((oid, tid)) if tid <= self._data.last_tid else None
        if size is None:
            raise UnknownObjectError(oid, tid)
        return self._data.blobs.checked(oid, tid, size)

    @property
    def feed_floor(self) -> Tid:
        return Tid(0)

    def feed(self, after: int = 0) -> Iterator[FeedEntry]:
        self._check_open()
        data = self._data
        # The newest is fixed now, so that the iterator ends however long its reader takes.
        start, end = bisect_right(data.tids, after), bisect_right(data.tids, data.last_tid)
        return (data.entries[place] for place in range(start, end))

    def commits(self, after: int, end: int, most_bytes: int) -> list[StoredCommit]:
        found: list[StoredCommit] = []
        for entry in self.feed(after):
            if entry.tid > end or (found and entry.byte_count > most_bytes):
                break
            most_bytes -= entry.byte_count
            found.append(StoredCommit(entry.tid, entry.label, self.records_of(entry.tid)))
        return found

    def all_rows(self) -> tuple[Tid, list[tuple[str, bytes, bytes]]]:
        self._check_open()
        with self._data.lock:
            rows = [
                (kind, key, value)
                for kind, of in self._data.rows.items()
                for key, value in of.items()
            ]
            return self._data.last_tid, sorted(rows)

    def history(self, oid: int) -> Iterator[Tid]:
        self._check_open()
        tids = self._data.revisions.get(oid, ([], []))[0]
        end = bisect_right(tids, self._data.last_tid)
        return iter([Tid(tid) for tid in reversed(tids[:end])])

    def rows(self, kind: str) -> list[tuple[bytes, bytes]]:
        self._check_open()
        with self._data.lock:
            return sorted(self._data.rows.get(kind, {}).items())

    def row(self, kind: str, key: bytes) -> bytes | None:
        self._check_open()
        with self._data.lock:
            return self._data.rows.get(kind, {}).get(key)

    def close(self) -> None:
        self._is_closed = True
