"""Read all that the tables of a space hold, and tell what is wrong with it (ST6).

It reads in short statements, up to what was newest when it began, so that others can go on writing. What exists is kept
as a bit an object. One thing that is wrong does not hide the next one, unless SQLite itself can't read on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from hubbub.kernel import CorruptRecordError, Job, tid_text
from hubbub.store.base import Damage
from hubbub.store.blobs import BLOB, Blobs, blob_crc, blob_of_key, blob_size
from hubbub.store.group import decode_label, row_crc, transaction_crc, unpack_oids
from hubbub.store.marks import OidSet
from hubbub.store.reader import Reader

_PIECE = 5000
_TRANSACTIONS = """SELECT tid, previous, first, count, byte_count, label, oids, crc FROM "transaction"
    WHERE tid > ? AND tid <= ? ORDER BY tid LIMIT 256"""
_OIDS = "SELECT oid FROM record WHERE id >= ? AND id < ? AND tid = ? ORDER BY id"
_TOP = "SELECT max(id) FROM record"
_WHO = f"""SELECT id, oid, class = '' FROM record WHERE id > ? AND id <= ?
    ORDER BY id LIMIT {_PIECE}"""  # noqa: S608
_DOWN = """SELECT id, oid, tid, class, refs, payload, crc FROM record WHERE id <= ?
    ORDER BY id DESC LIMIT 500"""
_NOT_INDEXED = """SELECT oid, tid FROM record r WHERE id > ? AND id <= ? AND NOT EXISTS
    (SELECT 1 FROM record s INDEXED BY record_by_oid WHERE s.oid = r.oid AND s.tid = r.tid AND s.id = r.id)"""
_INDEX_COUNT = "SELECT count(*) FROM record INDEXED BY record_by_oid WHERE oid >= -1 AND +id <= ?"
_ROWS = f"""SELECT kind, key, value, crc FROM "row" WHERE (kind, key) > (?, ?)
    ORDER BY kind, key LIMIT {_PIECE}"""  # noqa: S608
_HAS_RECORD = "SELECT 1 FROM record WHERE oid = ? AND tid = ?"


class Checking:
    """One verification.

    Args:
        reader: To read with.
        blobs: The files.
        end: The newest transaction that has to be there.
        job: To stop it.
    """

    def __init__(self, reader: Reader, blobs: Blobs, end: int, job: Job) -> None:
        self._reader = reader
        self._blobs = blobs
        self._end = end
        self._job = job

    def damages(self) -> Iterator[Damage]:
        """Yield what is wrong.

        Raises:
            JobStoppedError: It was stopped.
        """
        top = 0
        try:
            top = self._reader.fetch(_TOP, ())[0][0] or 0
        except CorruptRecordError as error:
            yield Damage(what=str(error))
        for look in (self._transactions, self._records, self._rows):
            try:
                yield from look(top)
            except CorruptRecordError as error:
                yield Damage(what=str(error), oid=error.oid or 0, tid=error.tid or 0)

    def _transactions(self, top: int) -> Iterator[Damage]:
        position, packed, done = 0, self._reader.packed_tid, 0
        while rows := self._reader.fetch(_TRANSACTIONS, (position, self._end)):
            self._job.step("verifying transactions", done)
            for tid, previous, first, count, byte_count, label, oids, crc in rows:
                done += 1
                if previous > max(position, packed) or (previous != position and position > packed):
                    yield self._gap(position, tid)
                position = tid
                wrong = "is damaged: its checksum does not match"
                try:
                    found = transaction_crc(tid, previous, first, count, byte_count, label, oids)
                    listed = unpack_oids(oids)
                    decode_label(label)
                    if found == crc and len(listed) == count:
                        wrong = self._missing_of(tid, first, count, listed, tid <= packed)
                except (TypeError, ValueError, struct.error, msgspec.MsgspecError):
                    pass
                if wrong:
                    yield Damage(what=f"transaction {tid_text(tid)} {wrong}", tid=tid)
        if position < self._end and self._end > packed:
            yield self._gap(position, self._end)

    def _missing_of(
        self, tid: int, first: int, count: int, listed: tuple[int, ...], is_packed: bool
    ) -> str:
        found = tuple(row[0] for row in self._reader.fetch(_OIDS, (first, first + count, tid)))
        if found == listed or (is_packed and set(found) <= set(listed)):
            return ""
        return f"wrote {count} records, of which {len(set(listed) & set(found))} are there"

    def _gap(self, after: int, before: int) -> Damage:
        what = f"transactions between tid {tid_text(after)} and {tid_text(before)} are missing"
        return Damage(what=what, tid=before)

    def _records(self, top: int) -> Iterator[Damage]:
        exists, count = OidSet(), 0
        for pieces, done in self._upwards(top):
            self._job.step("verifying objects", done, top)
            # Places are in the order of tids, so the last word on each object comes last.
            for _, oid, is_gone in pieces:
                (exists.discard if is_gone else exists.add)(oid)
            count += len(pieces)
            for oid, tid in self._reader.fetch(_NOT_INDEXED, (pieces[0][0] - 1, pieces[-1][0])):
                what = f"the record of object {oid:#x} at tid {tid_text(tid)} can't be found by its oid"
                yield Damage(what=what, oid=oid, tid=tid)
        indexed = self._reader.fetch(_INDEX_COUNT, (top,))[0][0]
        if indexed > count:
            yield Damage(what=f"the index names {indexed} records, but there are {count}")
        yield from self._states(top, exists)

    def _upwards(self, top: int) -> Iterator[tuple[list[tuple[int, int, int]], int]]:
        place, done = 0, 0
        while pieces := self._reader.fetch(_WHO, (place, top)):
            yield pieces, done
            done += len(pieces)
            place = pieces[-1][0]

    def _states(self, top: int, exists: OidSet) -> Iterator[Damage]:
        """Look at each record, the newest one first: of each object that one's references count."""
        seen, place, done = OidSet(), top, 0
        found: list[Damage] = []
        while place:
            self._job.step("verifying records", done, top)
            last = 0
            for row in self._reader.each(_DOWN, (place,)):
                last, oid, tid, *fields = row
                done += 1
                try:
                    record = self._reader.record(oid, tid, *fields)
                except CorruptRecordError as error:
                    found.append(Damage(what=str(error), oid=oid, tid=tid))
                    continue
                if seen.add(oid):
                    for ref in record.refs:
                        if ref not in exists:
                            what = (
                                f"object {oid:#x} refers to object {ref:#x}, which does not exist"
                            )
                            found.append(Damage(what=what, oid=oid, tid=tid))
            yield from found
            found.clear()
            place = last - 1 if last else 0

    def _rows(self, top: int) -> Iterator[Damage]:
        last, done = ("", b""), 0
        while rows := self._reader.fetch(_ROWS, last):
            self._job.step("verifying rows", done)
            for kind, key, value, crc in rows:
                done += 1
                try:
                    is_sound = row_crc(kind, key, value) == crc
                except (TypeError, AttributeError):
                    is_sound = False
                if not is_sound:
                    yield Damage(
                        what=f"the {kind} row {key!r} is damaged: its checksum does not match"
                    )
                elif kind == BLOB:
                    yield from self._blob(key, value)
            last = (rows[-1][0], rows[-1][1])

    def _blob(self, key: bytes, value: bytes) -> Iterator[Damage]:
        oid, tid = blob_of_key(key)
        if tid > self._end:
            return
        if not self._reader.fetch(_HAS_RECORD, (oid, tid)):
            what = f"the blob of object {oid:#x} at tid {tid_text(tid)} belongs to no record"
            yield Damage(what=what, oid=oid, tid=tid)
        yield from check_blob(self._blobs, key, value, self._job)


def check_blob(blobs: Blobs, key: bytes, value: bytes, job: Job) -> Iterator[Damage]:
    """Yield what is wrong with one file, of which a row says this."""
    oid, tid = blob_of_key(key)
    try:
        blobs.examine(oid, tid, blob_size(value), blob_crc(value), job)
    except OSError as error:
        what = f"the blob of object {oid:#x} at tid {tid_text(tid)} can't be read: {error.strerror}"
        yield Damage(what=what, oid=oid, tid=tid)
    except CorruptRecordError as error:
        yield Damage(what=str(error), oid=oid, tid=tid)
