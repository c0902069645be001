"""Reading a SQLite space: what is recent first, the tables second.

Whoever reads stays at or below ``last_tid``. What is recent may go into the tables meanwhile: it is looked for before
them, so it is found in one of the two, or in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hubbub.kernel import ClosedError, Oid, Record, Tid, UnknownObjectError
from hubbub.store.base import FeedEntry, StoredCommit
from hubbub.store.blobs import BLOB, Blobs, blob_key, blob_size
from hubbub.store.reader import Reader
from hubbub.store.recent import Recent


class Reading:
    """The reading half of a `hubbub.store.SQLiteStore`, which sets and moves what stands here.

    Attributes:
        path: The main file.
    """

    path: Path
    _blobs: Blobs
    _reader: Reader
    _recents: tuple[Recent, ...]
    _last_tid: Tid
    _max_oid: Oid
    _is_closed: bool

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"the store {self.path} is closed")

    @property
    def last_tid(self) -> Tid:
        self._check_open()
        return self._last_tid

    @property
    def max_oid(self) -> Oid:
        self._check_open()
        return self._max_oid

    def load(self, oid: int, at: int | None = None) -> Record:
        last = self._last_tid
        bound = last if at is None or at > last else at
        for recent in self._recents:
            record = recent.find(oid, bound)
            if record is not None:
                break
        else:
            record = self._reader.load(oid, bound)
        if self._is_closed:
            raise ClosedError(f"the store {self.path} is closed")
        if record is None or not record.class_name:
            raise UnknownObjectError(oid, at)
        return record

    def load_many(self, oids: Sequence[int], at: int | None = None) -> list[Record]:
        self._check_open()
        last = self._last_tid
        bound = last if at is None or at > last else at
        found: dict[int, Record] = {}
        for recent in self._recents:
            for oid in oids:
                if oid not in found:
                    record = recent.find(oid, bound)
                    if record is not None:
                        found[oid] = record
        wanted = [oid for oid in oids if oid not in found]
        if wanted:
            found.update(self._reader.load_many(wanted, bound))
        return [found[oid] for oid in oids if oid in found and found[oid].class_name]

    def revision(self, oid: int, tid: int) -> Record:
        self._check_open()
        if tid <= self._last_tid:
            for recent in self._recents:
                record = recent.revision(oid, tid)
                if record is not None:
                    return record
            record = self._reader.revision(oid, tid)
            if record is not None:
                return record
        raise UnknownObjectError(oid, tid)

    def successor(self, oid: int, tid: int) -> Tid | None:
        self._check_open()
        end, recents = self._last_tid, self._recents
        # What is in the tables is older than all that is recent, and a recent one may get there meanwhile.
        found = self._reader.successor(oid, tid, end)
        for recent in reversed(recents):
            if found is None:
                found = recent.successor(oid, tid)
        return found if found is not None and found <= end else None

    def records_of(self, tid: int) -> list[Record]:
        self._check_open()
        if tid > self._last_tid:
            return []
        for recent in self._recents:
            oids = recent.oids_of(tid)
            if oids is not None:
                return [self.revision(oid, tid) for oid in oids]
        return self._reader.records_of(tid)

    def current(self, after_oid: int, at: int, most: int) -> list[Record]:
        self._check_open()
        at = min(at, self._last_tid)
        while True:
            recents = self._recents
            oids = set(self._reader.oids_above(after_oid, most))
            for recent in recents:
                oids.update(recent.oids_above(after_oid)[:most])
            chosen = sorted(oids)[:most]
            found = self.load_many(chosen, at)
            if found or not chosen:
                return found
            after_oid = chosen[-1]

    @property
    def feed_floor(self) -> Tid:
        return Tid(self._reader.packed_tid)

    def feed(self, after: int = 0) -> Iterator[FeedEntry]:
        self._check_open()
        return self._feed(after, self._last_tid, self._recents)

    def _feed(self, after: int, end: int, recents: Sequence[Recent]) -> Iterator[FeedEntry]:
        yield from self._reader.feed(after, tables_end(recents, end))
        for recent in reversed(recents):
            yield from recent.feed(after, end)

    def commits(self, after: int, end: int, most_bytes: int) -> list[StoredCommit]:
        self._check_open()
        last, recents = self._last_tid, self._recents
        stored = tables_end(recents, last)
        if after < min(stored, end):
            found = self._reader.commits(after, stored, most_bytes)
            return [self._with_blobs(commit) for commit in found if commit.tid <= end]
        found = []
        for recent in reversed(recents):
            for entry in recent.feed(after, min(end, last)):
                if found and entry.byte_count > most_bytes:
                    return found
                most_bytes -= entry.byte_count
                commit = StoredCommit(entry.tid, entry.label, self.records_of(entry.tid))
                found.append(self._with_blobs(commit))
        return found

    def _with_blobs(self, commit: StoredCommit) -> StoredCommit:
        if not self._blobs.is_used:
            return commit
        sizes = {
            record.oid: blob_size(row)
            for record in commit.records
            if (row := self.row(BLOB, blob_key(record.oid, commit.tid))) is not None
        }
        return StoredCommit(commit.tid, commit.label, commit.records, sizes) if sizes else commit

    def blob(self, oid: int, tid: int) -> Path:
        row = self.row(BLOB, blob_key(oid, tid)) if tid <= self.last_tid else None
        if row is None:
            raise UnknownObjectError(oid, tid)
        return self._blobs.checked(oid, tid, blob_size(row))

    def history(self, oid: int) -> Iterator[Tid]:
        self._check_open()
        return self._history(oid, self._last_tid, self._recents)

    def _history(self, oid: int, newest: int, recents: Sequence[Recent]) -> Iterator[Tid]:
        for recent in recents:
            for tid in recent.history(oid, newest):
                yield tid
                newest = Tid(tid - 1)
        yield from self._reader.history(oid, newest)

    def rows(self, kind: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        self._check_open()
        recents = self._recents
        found = self._reader.rows(kind, prefix)
        for recent in reversed(recents):
            for (other, key), value in list(recent.rows.items()):
                if other != kind or not key.startswith(prefix):
                    continue
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = value
        return sorted(found.items())

    def row(self, kind: str, key: bytes) -> bytes | None:
        self._check_open()
        name = (kind, key)
        for recent in self._recents:
            if name in recent.rows:
                return recent.rows[name]
        return self._reader.row(kind, key)


def tables_end(recents: Sequence[Recent], end: int) -> int:
    """Return the tid up to which transactions are in the tables only: what is above it, up to ``end``, is recent."""
    for recent in recents:
        if recent.transactions:
            end = min(end, recent.transactions[0][1])
    return end
