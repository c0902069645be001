"""Pack the tables of a space while it is in use (ST7).

Theory of operation
===================

    mark      walk from the root, and from all that is newer than ``at``, over the records as of ``at``
    floor     say durably that nothing below ``at`` is whole any more: only then may anything go
    sweep     read all places in the order of oids and tids; drop, a few at a time, what has a successor at ``at``,
              what was not marked, and what says that its object is gone
    tidy      drop transactions of which nothing is left, and blob files that belong to nothing

Marks are bits; what waits to be looked at takes two bytes each (`hubbub.store.marks`). Each read is one short
statement, so SQLite's log can be reset meanwhile, and each deletion one transaction of a few milliseconds: so long do
those who put groups wait at most. A checksum is looked at before references are followed: with damaged ones something
that can be reached would go.

Why nothing goes that a writer still needs: whoever writes has a snapshot at ``at`` or above. What it refers to was
reachable at its snapshot, by records of ``at`` (marked) or newer ones, or is new. Those that were there when marking
began have been looked at; for each later one the same is true when it is written. An undo alone may bring back an
older reference: it refuses what is not above the floor, which is raised in memory before marking begins.

Killed at any point it leaves too much, never too little; the next pack goes over it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from hubbub.kernel import ROOT_OID, Job
from hubbub.store.base import PackReport
from hubbub.store.blobs import BLOB, Blobs, blob_key, blob_of_key
from hubbub.store.marks import Marking, OidSet
from hubbub.store.reader import Reader
from hubbub.store.tables import Execute, Tables

_READ_OBJECTS = 500
_READ_PLACES = 5000
_READ_TRANSACTIONS = 1000
_FIRST_CHUNK = 64
_LARGEST_CHUNK = 4096
_CHUNK_S = 0.004
_BINDINGS = 1000

_AS_OF = """SELECT r.oid, r.tid, r.class, r.refs, r.payload, r.crc FROM json_each(?) wanted CROSS JOIN record r
    ON r.oid = wanted.value AND r.tid = (SELECT max(tid) FROM record WHERE oid = wanted.value AND tid <= ?)"""
_FIRST_ABOVE = 'SELECT first FROM "transaction" WHERE tid > ? ORDER BY tid LIMIT 1'
_FROM_PLACE = f"""SELECT id, oid, tid, class, refs, payload, crc FROM record WHERE id >= ?
    ORDER BY id LIMIT {_READ_OBJECTS}"""  # noqa: S608
_PLACES = f"""SELECT oid, tid, id FROM record WHERE (oid, tid) > (?, ?)
    ORDER BY oid, tid LIMIT {_READ_PLACES}"""  # noqa: S608
_PLACES_WITH_CLASS = f"""SELECT oid, tid, id, class = '' FROM record WHERE (oid, tid) > (?, ?)
    ORDER BY oid, tid LIMIT {_READ_PLACES}"""  # noqa: S608
_COUNT = "SELECT count(*) FROM record"
_DELETE = (
    "DELETE FROM record WHERE id IN (SELECT value FROM json_each(?)) RETURNING length(payload)"
)
_HAS_BLOBS = 'SELECT 1 FROM "row" WHERE kind = ? LIMIT 1'
_LAST_OF_NEXT = f"""SELECT max(tid), count(*) FROM (SELECT tid FROM "transaction" WHERE tid > ? AND tid <= ?
    ORDER BY tid LIMIT {_READ_TRANSACTIONS})"""  # noqa: S608
_EMPTY = """SELECT tid FROM "transaction" t WHERE tid > ? AND tid <= ? AND tid != ? AND NOT EXISTS
    (SELECT 1 FROM record r WHERE r.id >= t.first AND r.id < t.first + t.count AND r.tid = t.tid)"""
_DELETE_TRANSACTIONS = 'DELETE FROM "transaction" WHERE tid IN (SELECT value FROM json_each(?))'
_BLOBS_BETWEEN = 'SELECT key FROM "row" WHERE kind = ? AND key >= ? AND key <= ?'
_PUT_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"

_encode_numbers = msgspec.json.Encoder().encode


class Bounds(NamedTuple):
    """What is put down with the floor, so that numbers are never given twice though the highest ones may go.

    Attributes:
        at: The floor.
        max_oid: The highest oid that was ever stored.
        next_id: The next free place.
    """

    at: int
    max_oid: int
    next_id: int


class _Victim(NamedTuple):
    oid: int
    tid: int
    id: int


class Packing:
    """One pack.

    Args:
        reader: To read with.
        tables: To delete with.
        blobs: The files.
        at: Up to where.
        job: To stop it.
    """

    def __init__(self, reader: Reader, tables: Tables, blobs: Blobs, at: int, job: Job) -> None:
        self._reader = reader
        self._tables = tables
        self._blobs = blobs
        self._at = at
        self._job = job
        self._began = time.perf_counter()
        self._marking = Marking()
        self._gone = OidSet()
        self._chunk = _FIRST_CHUNK
        self._next_place = 0
        self._total = 0
        self._objects = self._records = self._transactions = self._files = self._freed = 0
        self._victims: list[_Victim] = []
        self._has_blobs = False

    # --- mark ---------------------------------------------------------------------------------------------------------

    def mark(self, keep: Sequence[int]) -> None:
        """Mark what can be reached; again for what has been put into the tables since.

        Raises:
            CorruptRecordError: A record is damaged; nothing was dropped.
            StoreError: What a record refers to is not known; nothing was dropped.
            JobStoppedError: Nothing was dropped.
        """
        self._total = self._reader.fetch(_COUNT, ())[0][0]
        self._marking.reach((ROOT_OID, *keep))
        if not self._next_place:
            found = self._reader.fetch(_FIRST_ABOVE, (self._at,))
            self._next_place = found[0][0] if found else 0
        if self._next_place:
            self._mark_newer()
        done = 0
        for oids in self._marking.pieces(_READ_OBJECTS):
            done += len(oids)
            self._job.step("marking", done, max(done, self._total))
            self._mark_as_of(oids)

    def _mark_newer(self) -> None:
        reach, follow, check = self._marking.reach, self._marking.follow, self._reader.record
        while True:
            self._job.step("marking", len(self._marking.reached), self._total)
            last = 0
            for place, oid, tid, *fields in self._reader.each(_FROM_PLACE, (self._next_place,)):
                last = place
                if tid > self._at:
                    reach((oid,))
                    follow(check(oid, tid, *fields))
            if not last:
                return
            self._next_place = last + 1

    def _mark_as_of(self, oids: list[int]) -> None:
        follow, check = self._marking.follow, self._reader.record
        for oid, tid, *fields in self._reader.each(
            _AS_OF, (_encode_numbers(oids).decode(), self._at)
        ):
            record = check(oid, tid, *fields)
            if record.is_gone:
                self._gone.add(oid)
            follow(record)

    # --- drop ---------------------------------------------------------------------------------------------------------

    def set_floor(self, bounds: Bounds) -> None:
        """Put the floor down, durably. Raises as `Tables.put`."""
        with self._tables.change() as execute:
            for name, value in (
                ("packed", bounds.at),
                ("max_oid", bounds.max_oid),
                ("next_id", bounds.next_id),
            ):
                execute(_PUT_META, (name, value))

    def drop(self, newest: int, *, collect: bool) -> PackReport:
        """Drop what nobody can read; behind `set_floor`.

        Args:
            newest: The newest transaction in the tables; it stays even if nothing is left of it.
            collect: Whether what is not marked goes.

        Raises:
            JobStoppedError: The rest stays, and all is consistent.
            HubbubError: As `Tables.put`.
        """
        self._has_blobs = bool(self._reader.fetch(_HAS_BLOBS, (BLOB,)))
        self._sweep(collect)
        self._drop_transactions(newest)
        if self._has_blobs or self._blobs.folder.exists():
            self._drop_orphans()
        return PackReport(
            tid=self._at,
            objects=self._objects,
            records=self._records,
            transactions=self._transactions,
            blobs=self._files,
            freed_bytes=self._freed,
            seconds=time.perf_counter() - self._began,
        )

    def _sweep(self, collect: bool) -> None:
        at, reached, gone = self._at, self._marking.reached, self._gone
        former: _Victim | None = None
        is_gone = False
        done = 0
        for places in self._places(with_class=not collect):
            done += len(places)
            self._job.step("sweeping", done, max(done, self._total))
            for oid, tid, place, *flags in places:
                if former is not None:
                    if tid <= at and oid == former.oid:
                        self._condemn(former)
                    elif is_gone or (collect and former.oid not in reached):
                        self._objects += not is_gone
                        self._condemn(former)
                former = _Victim(oid, tid, place) if tid <= at else None
                is_gone = bool(flags[0]) if flags else oid in gone
        if former is not None and (is_gone or (collect and former.oid not in reached)):
            self._objects += not is_gone
            self._condemn(former)
        self._delete()

    def _places(self, *, with_class: bool) -> Iterator[list[tuple[int, ...]]]:
        last = (-1, 0)
        sql = _PLACES_WITH_CLASS if with_class else _PLACES
        while places := self._reader.fetch(sql, last):
            last = (places[-1][0], places[-1][1])
            yield places

    def _condemn(self, victim: _Victim) -> None:
        self._victims.append(victim)
        if len(self._victims) >= self._chunk:
            self._delete()

    def _delete(self) -> None:
        victims, self._victims = self._victims, []
        if not victims:
            return
        self._job.step("dropping", self._records)
        began = time.perf_counter()
        blobs: list[bytes] = []
        with self._tables.change() as execute:
            began = time.perf_counter()
            ids = _encode_numbers([victim.id for victim in victims]).decode()
            sizes: list[Any] = [row[0] for row in execute(_DELETE, (ids,)).fetchall()]
            if self._has_blobs:
                blobs = _delete_blobs(execute, [blob_key(v.oid, v.tid) for v in victims])
        self._suit_chunk(time.perf_counter() - began)
        self._records += len(sizes)
        self._freed += sum(sizes)
        for key in blobs:
            self._remove(*blob_of_key(key))

    def _suit_chunk(self, lasted_s: float) -> None:
        if lasted_s > _CHUNK_S:
            self._chunk = max(self._chunk // 2, 8)
        elif lasted_s < _CHUNK_S / 2:
            self._chunk = min(self._chunk * 2, _LARGEST_CHUNK)

    def _remove(self, oid: int, tid: int) -> None:
        self._freed += self._blobs.remove(oid, tid)
        self._files += 1

    # --- tidy ---------------------------------------------------------------------------------------------------------

    def _drop_transactions(self, newest: int) -> None:
        after = 0
        while True:
            end, count = self._reader.fetch(_LAST_OF_NEXT, (after, self._at))[0]
            if not count:
                return
            empty = [row[0] for row in self._reader.fetch(_EMPTY, (after, end, newest))]
            for start in range(0, len(empty), _FIRST_CHUNK):
                chunk = empty[start : start + _FIRST_CHUNK]
                self._job.step("dropping", self._records)
                with self._tables.change() as execute:
                    execute(_DELETE_TRANSACTIONS, (_encode_numbers(chunk).decode(),))
                self._transactions += len(chunk)
            after = end

    def _drop_orphans(self) -> None:
        """Remove files without a row: a crash, or a pack that was killed, has left them."""
        self._blobs.sweep_forgotten()
        for files in self._blobs.walk():
            if not files:
                continue
            self._job.step("sweeping blobs", self._files)
            first, last = blob_key(*files[0]), blob_key(*files[-1])
            kept = {row[0] for row in self._reader.fetch(_BLOBS_BETWEEN, (BLOB, first, last))}
            for oid, tid in files:
                # What is above is perhaps just being put in place.
                if tid <= self._at and blob_key(oid, tid) not in kept:
                    self._remove(oid, tid)


def _delete_blobs(execute: Execute, keys: list[bytes]) -> list[bytes]:
    """Delete the rows of those of ``keys`` that have one, and return these."""
    found: list[bytes] = []
    for start in range(0, len(keys), _BINDINGS):
        some = keys[start : start + _BINDINGS]
        marks = ", ".join("?" * len(some))
        rows = execute(
            f'DELETE FROM "row" WHERE kind = ? AND key IN ({marks}) RETURNING key',  # noqa: S608
            (BLOB, *some),
        )
        deleted: list[Any] = rows.fetchall()
        found += [row[0] for row in deleted]
    return found
