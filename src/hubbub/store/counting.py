"""Count what the tables of a space hold, in short statements."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hubbub.store.base import StoreStats
from hubbub.store.blobs import BLOB, blob_size
from hubbub.store.reader import Reader

_RECORDS = """SELECT count(*), total(length(payload)), max(id), total(class = '') FROM
    (SELECT id, payload, class FROM record WHERE id > ? ORDER BY id LIMIT 20000)"""
_GONE = """SELECT count(*) FROM (SELECT id, oid, tid, class FROM record WHERE id > ? AND id <= ?) r
    WHERE class = '' AND NOT EXISTS (SELECT 1 FROM record s WHERE s.oid = r.oid AND s.tid > r.tid)"""
_OBJECTS = """SELECT count(*), max(oid) FROM
    (SELECT DISTINCT oid FROM record WHERE oid > ? ORDER BY oid LIMIT 20000)"""
_TRANSACTIONS = 'SELECT count(*), min(tid) FROM "transaction"'
_BLOBS = 'SELECT key, value FROM "row" WHERE kind = ? AND key > ? ORDER BY key LIMIT 5000'


def count(reader: Reader, path: Path, last_tid: int) -> StoreStats:
    """Return how much the tables hold.

    Args:
        reader: To read them with.
        path: The main file.
        last_tid: The newest transaction.
    """
    records, payload_bytes, gone = _count_records(reader)
    transactions, first_tid = reader.fetch(_TRANSACTIONS, ())[0]
    blobs, blob_bytes = _count_blobs(reader)
    return StoreStats(
        objects=_count_objects(reader) - gone,
        records=records,
        transactions=transactions,
        payload_bytes=payload_bytes,
        file_bytes=sum(_size(path.with_name(path.name + s)) for s in ("", "-wal", "-shm", "-log")),
        blobs=blobs,
        blob_bytes=blob_bytes,
        first_tid=first_tid or 0,
        last_tid=last_tid,
        packed_tid=reader.packed_tid,
    )


def _count_records(reader: Reader) -> tuple[int, int, int]:
    """Return how many records there are, their payload bytes, and how many objects are gone now."""
    records = payload_bytes = gone = place = 0
    while True:
        number, size, last, gone_here = reader.fetch(_RECORDS, (place,))[0]
        if not number:
            return records, payload_bytes, gone
        records += number
        payload_bytes += int(size)
        if gone_here:
            gone += reader.fetch(_GONE, (place, last))[0][0]
        place = last


def _count_objects(reader: Reader) -> int:
    objects, oid = 0, -1
    while True:
        number, last = reader.fetch(_OBJECTS, (oid,))[0]
        if not number:
            return objects
        objects += number
        oid = last


def _count_blobs(reader: Reader) -> tuple[int, int]:
    blobs = size = 0
    key = b""
    while rows := reader.fetch(_BLOBS, (BLOB, key)):
        blobs += len(rows)
        size += sum(blob_size(value) for _, value in rows)
        key = rows[-1][0]
    return blobs, size


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
