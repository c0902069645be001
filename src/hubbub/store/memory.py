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
import time
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path

from hubbub.kernel import (
    ROOT_OID,
    ClosedError,
    Commit,
    Job,
    LocalProtocolError,
    Oid,
    Record,
    RecordFields,
    StoreError,
    Tid,
    UnknownObjectError,
    tid_text,
)
from hubbub.store.base import Damage, FeedEntry, PackReport, StoredCommit, StoreStats
from hubbub.store.blobs import Blobs, blob_key, blob_of_key, blob_size
from hubbub.store.checking import check_blob
from hubbub.store.marks import Marking, OidSet


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


_tid_of = attrgetter("tid")
_NO_REVISIONS: tuple[list[int], list[RecordFields]] = ([], [])


class _Data:
    """What all stores that share it see."""

    def __init__(self) -> None:
        self.space_id = secrets.token_hex(16)
        self.lock = threading.Lock()
        self.revisions: dict[int, tuple[list[int], list[RecordFields]]] = {}
        self.entries: list[FeedEntry] = []
        self.rows: dict[str, dict[bytes, bytes]] = {}
        self.last_tid = Tid(0)
        self.max_oid = Oid(0)
        self.packed_tid = Tid(0)
        self.upkeep_lock = threading.Lock()
        self.blob_rows: dict[tuple[int, int], bytes] = {}
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
        entries = self._data.entries
        place = bisect_left(entries, tid, key=_tid_of)
        if place == len(entries) or entries[place].tid != tid or tid > self._data.last_tid:
            return []
        found: list[Record] = []
        for oid in entries[place].oids:
            try:
                found.append(self.revision(oid, tid))
            except UnknownObjectError:
                if tid > self._data.packed_tid:
                    raise
        return found

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
                for _, key, sealed in placing.rows:
                    data.blob_rows[blob_of_key(key)] = sealed
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
        data.max_oid = Oid(max(data.max_oid, *oids))
        data.last_tid = commit.tid

    def stage(self, suffix: str = "") -> Path:
        self._check_open()
        return self._data.blobs.stage(suffix)

    def seal(self, name: str) -> None:
        self._check_open()
        self._data.blobs.seal(name)

    def unstage(self, name: str) -> None:
        self._check_open()
        self._data.blobs.unstage(name)

    def blob(self, oid: int, tid: int) -> Path:
        self._check_open()
        row = self._data.blob_rows.get((oid, tid)) if tid <= self._data.last_tid else None
        if row is None:
            raise UnknownObjectError(oid, tid)
        return self._data.blobs.checked(oid, tid, blob_size(row))

    @property
    def feed_floor(self) -> Tid:
        return self._data.packed_tid

    def feed(self, after: int = 0) -> Iterator[FeedEntry]:
        self._check_open()
        # The newest is fixed now, so that the iterator ends however long its reader takes.
        last, entries = self._data.last_tid, self._data.entries
        start = bisect_right(entries, after, key=_tid_of)
        end = bisect_right(entries, last, key=_tid_of)
        return (entries[place] for place in range(start, end))

    def commits(self, after: int, end: int, most_bytes: int) -> list[StoredCommit]:
        found: list[StoredCommit] = []
        for entry in self.feed(after):
            if entry.tid > end or (found and entry.byte_count > most_bytes):
                break
            most_bytes -= entry.byte_count
            sizes = {
                oid: blob_size(self._data.blob_rows[oid, entry.tid])
                for oid in entry.oids
                if (oid, entry.tid) in self._data.blob_rows
            }
            found.append(StoredCommit(entry.tid, entry.label, self.records_of(entry.tid), sizes))
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

    def rows(self, kind: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        self._check_open()
        with self._data.lock:
            found = self._data.rows.get(kind, {}).items()
            return sorted(row for row in found if row[0].startswith(prefix))

    def row(self, kind: str, key: bytes) -> bytes | None:
        self._check_open()
        with self._data.lock:
            return self._data.rows.get(kind, {}).get(key)

    # --- upkeep -------------------------------------------------------------------------------------------------------

    def stats(self) -> StoreStats:
        self._check_open()
        data = self._data
        with data.lock:
            records = [fields for _, some in data.revisions.values() for fields in some]
            newest = [some[-1] for _, some in data.revisions.values()]
            return StoreStats(
                objects=sum(bool(fields[2]) for fields in newest),
                records=len(records),
                transactions=len(data.entries),
                payload_bytes=sum(len(fields[4]) for fields in records),
                blobs=len(data.blob_rows),
                blob_bytes=sum(blob_size(row) for row in data.blob_rows.values()),
                first_tid=data.entries[0].tid if data.entries else 0,
                last_tid=data.last_tid,
                packed_tid=data.packed_tid,
            )

    def pack(
        self,
        at: int,
        *,
        collect: bool = True,
        keep: Sequence[int] = (),
        job: Job | None = None,
    ) -> PackReport:
        data, job, began = self._data, job or Job(), time.perf_counter()
        with self._upkeep():
            at = max(min(at, data.last_tid), data.packed_tid)
            floor, data.packed_tid = data.packed_tid, Tid(at)
            try:
                reached = self._marked(at, keep, job) if collect else None
            except BaseException:
                data.packed_tid = floor
                raise
            dropped = [
                each
                for done, oid in enumerate(list(data.revisions))
                for each in self._drop(oid, at, reached, done, job)
            ]
            transactions = self._tidy(at)
            blobs = [each for each in dropped if each[:2] in data.blob_rows]
            freed = sum(len(payload) for *_, payload in dropped)
            for oid, tid, *_ in blobs:
                del data.blob_rows[oid, tid]
                freed += data.blobs.remove(oid, tid)
        return PackReport(
            tid=at,
            objects=sum(is_object for _, _, is_object, _ in dropped),
            records=len(dropped),
            transactions=transactions,
            blobs=len(blobs),
            freed_bytes=freed,
            seconds=time.perf_counter() - began,
        )

    def _marked(self, at: int, keep: Sequence[int], job: Job) -> OidSet:
        """Return what can be reached at ``at``, and what is newer with all that it refers to."""
        data, marking = self._data, Marking()
        marking.reach((ROOT_OID, *keep))
        for entry in self.feed(at):
            marking.reach(entry.oids)
            for record in self.records_of(entry.tid):
                marking.follow(record)
        for oids in marking.pieces(1000):
            job.step("marking", len(marking.reached), len(data.revisions))
            for record in self.load_many(oids, at):
                marking.follow(record)
        return marking.reached

    def _drop(
        self, oid: int, at: int, reached: OidSet | None, done: int, job: Job
    ) -> list[tuple[int, int, bool, bytes]]:
        """Drop what nobody can read of an object; return oid, tid, whether it ends the object, and payload of each."""
        data = self._data
        if not done % 1000:
            job.step("sweeping", done, len(data.revisions))
        with data.lock:
            tids, records = data.revisions[oid]
            old = bisect_right(tids, at)
            if not old:
                return []
            is_gone = not records[old - 1][2]
            is_collected = not is_gone and reached is not None and oid not in reached
            count = old if is_gone or is_collected else old - 1
            if count == len(tids):
                del data.revisions[oid]
            elif count:
                # New lists: who reads has the old ones.
                data.revisions[oid] = (tids[count:], records[count:])
        return [
            (oid, records[n][1], is_collected and n == old - 1, records[n][4]) for n in range(count)
        ]

    def _tidy(self, at: int) -> int:
        """Drop what is gone from the transactions up to ``at``; return of how many nothing was left."""
        data = self._data
        with data.lock:
            kept: list[FeedEntry] = []
            for entry in data.entries:
                if entry.tid <= at:
                    oids = tuple(
                        oid
                        for oid in entry.oids
                        if entry.tid in data.revisions.get(oid, _NO_REVISIONS)[0]
                    )
                    if not oids and entry.tid != data.last_tid:
                        continue
                    entry = FeedEntry(entry.tid, entry.label, oids, entry.byte_count)
                kept.append(entry)
            dropped = len(data.entries) - len(kept)
            data.entries = kept
        return dropped

    def verify(self, job: Job | None = None) -> Iterator[Damage]:
        self._check_open()
        return self._verify(job or Job())

    def _verify(self, job: Job) -> Iterator[Damage]:
        data = self._data
        with self._upkeep():
            last = data.last_tid
            for done, oid in enumerate(list(data.revisions)):
                job.step("verifying records", done, len(data.revisions))
                for record in self.load_many((oid,), last):
                    known = {found.oid for found in self.load_many(record.refs, last)}
                    for ref in record.refs:
                        if ref not in known:
                            what = (
                                f"object {oid:#x} refers to object {ref:#x}, which does not exist"
                            )
                            yield Damage(what=what, oid=oid, tid=record.tid)
            for blob, row in list(data.blob_rows.items()):
                yield from check_blob(data.blobs, blob_key(*blob), row, job)

    @contextmanager
    def _upkeep(self) -> Iterator[None]:
        self._check_open()
        if not self._data.upkeep_lock.acquire(blocking=False):
            raise StoreError(
                "a pack or a verification of this space is running already: wait for its end, or stop it"
            )
        try:
            yield
        finally:
            self._data.upkeep_lock.release()

    def close(self) -> None:
        self._is_closed = True
