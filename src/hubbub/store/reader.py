"""Reading the tables of a space, from any thread.

Each thread has a connection of its own, which goes when the thread does. Every call reads to its end, so that no read
transaction stays open.
"""

from __future__ import annotations

import struct
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from hubbub.kernel import ClosedError, CorruptRecordError, Record, Tid, tid_text
from hubbub.store.base import FeedEntry, StoredCommit
from hubbub.store.group import decode_label, record_crc, row_crc, transaction_crc, unpack_oids
from hubbub.store.tables import connect, explain

_FEED_BATCH = 256
_HISTORY_BATCH = 1000
_LOAD_BATCH = 1000
_encode_oids = msgspec.json.Encoder().encode

_LOAD = """SELECT tid, class, refs, payload, crc FROM record
    WHERE oid = ? AND tid <= ? ORDER BY tid DESC LIMIT 1"""
# As one statement a load costs half: no transaction of SQLite's, and no call, for each.
_LOAD_MANY = """SELECT r.oid, r.tid, r.class, r.refs, r.payload, r.crc FROM json_each(?) wanted CROSS JOIN record r
    ON r.oid = wanted.value AND r.tid = (SELECT max(tid) FROM record WHERE oid = wanted.value AND tid <= ?)"""
_FEED = f"""SELECT tid, previous, first, count, byte_count, label, oids, crc,
    (SELECT count(*) FROM record r WHERE r.id >= t.first AND r.id < t.first + t.count AND r.tid = t.tid)
    FROM "transaction" t WHERE tid > ? AND tid <= ? ORDER BY tid LIMIT {_FEED_BATCH}"""  # noqa: S608
_HISTORY = f"""SELECT tid FROM record WHERE oid = ? AND tid <= ?
    ORDER BY tid DESC LIMIT {_HISTORY_BATCH}"""  # noqa: S608
_REVISION = "SELECT tid, class, refs, payload, crc FROM record WHERE oid = ? AND tid = ?"
_SUCCESSOR = "SELECT min(tid) FROM record WHERE oid = ? AND tid > ? AND tid <= ?"
_OF = "SELECT oid, class, refs, payload, crc FROM record WHERE id >= ? AND id < ? AND tid = ? ORDER BY id"
_OIDS_OF = "SELECT oid FROM record WHERE id >= ? AND id < ? AND tid = ? ORDER BY id"
_TRANSACTION = 'SELECT first, count FROM "transaction" WHERE tid = ?'
_OIDS = "SELECT DISTINCT oid FROM record WHERE oid > ? ORDER BY oid LIMIT ?"
_RANGE = """SELECT oid, tid, class, refs, payload, crc FROM record
    WHERE id >= (SELECT min(first) FROM "transaction" WHERE tid BETWEEN ?1 AND ?2)
    AND id < (SELECT max(first + count) FROM "transaction" WHERE tid BETWEEN ?1 AND ?2) ORDER BY id"""
_ALL_ROWS = 'SELECT kind, key, value, crc FROM "row"'
_ROWS_FROM = 'SELECT key, value, crc FROM "row" WHERE kind = ? AND key >= ?'
_ROWS_BETWEEN = _ROWS_FROM + " AND key < ?"
_ROW = 'SELECT value, crc FROM "row" WHERE kind = ? AND key = ?'


class _ThreadReader:
    """One thread's connection. The lock keeps `close` from pulling it away."""

    __slots__ = ("__weakref__", "connection", "cursor", "lock")

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.cursor = connection.cursor()
        self.lock = threading.Lock()


class Reader:
    """Read the tables, and check each checksum (ST6).

    Args:
        path: The main file.
        vfs: Name of the SQLite file system to use.
        packed_tid: Up to this tid the feed is not kept whole.
    """

    def __init__(self, path: Path, vfs: str | None, packed_tid: int) -> None:
        self.path = path
        self._vfs = vfs
        self.packed_tid = packed_tid
        self._is_closed = False
        self._local = threading.local()
        self._readers: weakref.WeakSet[_ThreadReader] = weakref.WeakSet()
        self._readers_lock = threading.Lock()

    @property
    def connection_count(self) -> int:
        """How many threads have a connection now."""
        return len(self._readers)

    def _closed(self) -> ClosedError:
        return ClosedError(f"the store {self.path} is closed")

    def _open(self) -> _ThreadReader:
        with self._readers_lock:
            if self._is_closed:
                raise self._closed()
            try:
                connection = connect(self.path, self._vfs)
                connection.execute("PRAGMA query_only = ON")
            except apsw.Error as error:
                raise explain(self.path, error) from error
            reader = _ThreadReader(connection)
            self._readers.add(reader)
        self._local.reader = reader
        return reader

    def fetch(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        """Return all rows of one statement.

        Raises:
            ClosedError: It is closed.
            CorruptRecordError: The file is damaged.
            StoreError: It can't be read.
        """
        try:
            reader = self._local.reader
        except AttributeError:
            reader = self._open()
        with reader.lock:
            if self._is_closed:
                raise self._closed()
            try:
                rows: list[Any] = reader.cursor.execute(sql, values).fetchall()
            except (apsw.Error, UnicodeDecodeError) as error:
                raise explain(self.path, error) from error
            return rows

    def each(self, sql: str, values: tuple[Any, ...]) -> Iterator[Any]:
        """Yield the rows of one statement as they come: for a bounded number of rows that may be large ones.

        This thread must read nothing else meanwhile. Raises as `fetch`.
        """
        reader = getattr(self._local, "reader", None) or self._open()
        with reader.lock:
            if self._is_closed:
                raise self._closed()
            # One of its own: who leaves the loop early closes it.
            cursor = reader.connection.cursor()
            try:
                yield from cursor.execute(sql, values)
            except (apsw.Error, UnicodeDecodeError) as error:
                raise explain(self.path, error) from error
            finally:
                cursor.close(True)

    def load(self, oid: int, at: int) -> Record | None:
        """Return the newest record of ``oid`` whose tid is not above ``at``, or None.

        Raises:
            CorruptRecordError: If it is damaged; names oid and tid.
        """
        try:
            rows = self.fetch(_LOAD, (oid, at))
        except CorruptRecordError as error:
            raise CorruptRecordError(f"object {oid:#x}: {error}", oid=oid, tid=at) from error
        return self.record(oid, *rows[0]) if rows else None

    def load_many(self, oids: Sequence[int], at: int) -> dict[int, Record]:
        """Return what `load` finds for each of ``oids``; those without a record are left out.

        Raises:
            CorruptRecordError: If one is damaged; names oid and tid.
        """
        found: dict[int, Record] = {}
        for start in range(0, len(oids), _LOAD_BATCH):
            wanted = _encode_oids(oids[start : start + _LOAD_BATCH]).decode()
            for oid, *fields in self.fetch(_LOAD_MANY, (wanted, at)):
                found[oid] = self.record(oid, *fields)
        return found

    def revision(self, oid: int, tid: int) -> Record | None:
        """Return the record of ``oid`` that ``tid`` wrote, or None. Raises `CorruptRecordError` if it is damaged."""
        rows = self.fetch(_REVISION, (oid, tid))
        return self.record(oid, *rows[0]) if rows else None

    def successor(self, oid: int, tid: int, end: int) -> Tid | None:
        """Return the tid of the first record of ``oid`` above ``tid``, up to ``end``, or None."""
        found = self.fetch(_SUCCESSOR, (oid, tid, end))[0][0]
        return None if found is None else Tid(found)

    def records_of(self, tid: int) -> list[Record]:
        """Return the records that ``tid`` wrote, in order. Raises `CorruptRecordError` if one is damaged."""
        found = self.fetch(_TRANSACTION, (tid,))
        if not found:
            return []
        first, count = found[0]
        rows = self.fetch(_OF, (first, first + count, tid))
        return [self.record(oid, tid, *fields) for oid, *fields in rows]

    def oids_above(self, oid: int, most: int) -> list[int]:
        """Return the first ``most`` oids above ``oid`` of which there is any record, sorted."""
        return [row[0] for row in self.fetch(_OIDS, (oid, most))]

    def record(
        self, oid: int, tid: int, name: str, refs: bytes, payload: bytes, crc: int
    ) -> Record:
        """Return the record that a row of the table holds.

        Raises:
            CorruptRecordError: If its checksum does not match; names oid and tid.
        """
        try:
            if record_crc(oid, tid, name.encode(), refs, payload) == crc:
                return Record(oid, tid, name, unpack_oids(refs), payload)
        except (TypeError, ValueError, AttributeError, struct.error):
            pass  # a damaged type is as bad as a damaged byte
        raise CorruptRecordError(
            f"the record of object {oid:#x} at tid {tid_text(tid)} in {self.path} is damaged: its checksum does not "
            f"match. Read an older revision of it, or restore a backup",
            oid=oid,
            tid=tid,
        )

    def feed(self, after: int, end: int) -> Iterator[FeedEntry]:
        """Yield the transactions above ``after``, up to ``end``, which must be one of them if it is not packed.

        Raises:
            CorruptRecordError: If one is damaged, or if some are missing.
        """
        # What went before the first one is not known here, only that it lies at or below `after`. Of what is packed
        # some may be missing.
        position = after
        is_first = True
        while position < end:
            rows = self.fetch(_FEED, (position, end))
            for tid, previous, first, count, byte_count, label, oids, crc, found in rows:
                packed = self.packed_tid
                if previous > max(position, packed) or (
                    previous != position and not is_first and position > packed
                ):
                    raise self._gap(position, tid)
                try:
                    is_sound = crc == transaction_crc(
                        tid, previous, first, count, byte_count, label, oids
                    )
                    is_sound = is_sound and len(oids) == 8 * count
                except (TypeError, struct.error):
                    is_sound = False
                if not is_sound or (found != count and tid > self.packed_tid):
                    raise CorruptRecordError(
                        f"transaction {tid_text(tid)} in {self.path} is damaged, or records of it are missing: "
                        f"restore a backup",
                        tid=tid,
                    )
                kept = unpack_oids(oids)
                if found != count:
                    still = self.fetch(_OIDS_OF, (first, first + count, tid))
                    kept = tuple(row[0] for row in still)
                yield FeedEntry(Tid(tid), decode_label(label), kept, byte_count)
                position = tid
                is_first = False
            if not rows:
                if end <= self.packed_tid:
                    return
                raise self._gap(position, end)

    def commits(self, after: int, end: int, most_bytes: int) -> list[StoredCommit]:
        """Return the first transactions above ``after``, with their records: about ``most_bytes`` of payload.

        Raises:
            CorruptRecordError: As `feed`, or if a record is damaged.
        """
        entries: list[FeedEntry] = []
        for entry in self.feed(after, end):
            if entries and entry.byte_count > most_bytes:
                break
            most_bytes -= entry.byte_count
            entries.append(entry)
        if not entries:
            return []
        records: dict[int, list[Record]] = {entry.tid: [] for entry in entries}
        for oid, tid, *fields in self.fetch(_RANGE, (entries[0].tid, entries[-1].tid)):
            if tid not in records:
                raise CorruptRecordError(
                    f"the record of object {oid:#x} in {self.path} has a tid that is no transaction's",
                    oid=oid,
                )
            records[tid].append(self.record(oid, tid, *fields))
        return [StoredCommit(entry.tid, entry.label, records[entry.tid]) for entry in entries]

    def all_rows(self) -> dict[tuple[str, bytes], bytes]:
        """Return every row: (kind, key) -> value. Raises `CorruptRecordError` if one is damaged."""
        return {
            (kind, key): self._checked(kind, key, value, crc)
            for kind, key, value, crc in self.fetch(_ALL_ROWS, ())
        }

    def _gap(self, after: int, before: int) -> CorruptRecordError:
        return CorruptRecordError(
            f"transactions between tid {tid_text(after)} and {tid_text(before)} are missing in {self.path}: "
            f"restore a backup",
            tid=before,
        )

    def history(self, oid: int, newest: int) -> Iterator[Tid]:
        """Yield the tids of the records of ``oid`` up to ``newest``, newest first."""
        while rows := self.fetch(_HISTORY, (oid, newest)):
            for (tid,) in rows:
                yield Tid(tid)
            newest = rows[-1][0] - 1

    def rows(self, kind: str, prefix: bytes = b"") -> dict[bytes, bytes]:
        """Return every row of ``kind`` whose key begins with ``prefix``: key -> value.

        Raises:
            CorruptRecordError: If one is damaged.
        """
        end = _behind(prefix)
        found = (
            self.fetch(_ROWS_FROM, (kind, prefix))
            if end is None
            else self.fetch(_ROWS_BETWEEN, (kind, prefix, end))
        )
        return {key: self._checked(kind, key, value, crc) for key, value, crc in found}

    def row(self, kind: str, key: bytes) -> bytes | None:
        """Return one row's value, or None.

        Raises:
            CorruptRecordError: If it is damaged.
        """
        found = self.fetch(_ROW, (kind, key))
        return self._checked(kind, key, *found[0]) if found else None

    def _checked(self, kind: str, key: object, value: object, crc: object) -> bytes:
        if (
            not isinstance(key, bytes)
            or not isinstance(value, bytes)
            or row_crc(kind, key, value) != crc
        ):
            raise CorruptRecordError(
                f"the {kind} row {key!r} in {self.path} is damaged: its checksum does not match"
            )
        return value

    def close(self) -> None:
        """Close the connections of all threads. Reading afterwards raises `ClosedError`."""
        with self._readers_lock:
            self._is_closed = True
            readers = list(self._readers)
        for reader in readers:
            with reader.lock:
                reader.connection.close()


def _behind(prefix: bytes) -> bytes | None:
    """Return the least key behind all that begin with ``prefix``; None if there is none."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else None
