"""A store in one SQLite file, owned by one process.

Theory of operation
===================

Opening, in this order, so that damage is found before anything is changed (ST6):

    1. lock the side file (ST8)                      second owner: SpaceInUseError
    2. look at the main file's first bytes           not a space, or newer: StoreError
    3. examine the left-over log                     damage: CorruptRecordError
    4. let SQLite replay it; compare the newest tid with the acknowledged one of the side file
    5. fsync what was replayed                       a killed process may have left it in the page cache only

A group is one SQLite transaction: BEGIN, rows, COMMIT (which fsyncs the log), then the side file's tid, then
``last_tid``. Readers stay at or below ``last_tid``. What goes wrong decides what is known (ST5):

    no room, anywhere                     rolled back, certainly not stored       DiskFullError, go on
    I/O error, or anything inside COMMIT  the log may hold a whole group          OutcomeUnknownError, write no more

Once in doubt the log is left as it is, also by `close`, so that the next open examines it.

Checkpoints are `hubbub.store.wal`'s. No read is left open between two calls: a snapshot that stays would keep the log
from being reset.

Each record and transaction carries a crc32. Transactions name their predecessor and their records' place, so that the
feed can't be shorter than it was.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import struct
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import apsw
import msgspec

from hubbub.kernel import (
    ClosedError,
    Commit,
    CorruptRecordError,
    DiskFullError,
    HubbubError,
    Label,
    Oid,
    OutcomeUnknownError,
    Record,
    StoreError,
    Tid,
    UnknownObjectError,
    tid_text,
)
from hubbub.store.base import FeedEntry
from hubbub.store.lock import SideFile
from hubbub.store.memory import check_order
from hubbub.store.wal import Checkpointer, examine_wal

_log = logging.getLogger("hubbub.store")

FORMAT_VERSION = 1
_APPLICATION_ID = 0x48756262  # "Hubb", in bytes 68-71 of the file
_PAGE_SIZE = 4096
_PASSIVE_PAGES = 1000
_FEED_BATCH = 256
_HISTORY_BATCH = 1000

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE record (
    id INTEGER PRIMARY KEY, oid INTEGER NOT NULL, tid INTEGER NOT NULL,
    class TEXT NOT NULL, refs BLOB NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE UNIQUE INDEX record_by_oid ON record (oid, tid);
CREATE TABLE "transaction" (
    tid INTEGER PRIMARY KEY, previous INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
    byte_count INTEGER NOT NULL, label BLOB NOT NULL, oids BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE "row" (
    kind TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""

_LOAD = """SELECT tid, class, refs, payload, crc FROM record
    WHERE oid = ? AND tid <= ? ORDER BY tid DESC LIMIT 1"""
_FEED = f"""SELECT tid, previous, first, count, byte_count, label, oids, crc,
    (SELECT count(*) FROM record r WHERE r.id >= t.first AND r.id < t.first + t.count AND r.tid = t.tid)
    FROM "transaction" t WHERE tid > ? AND tid <= ? ORDER BY tid LIMIT {_FEED_BATCH}"""  # noqa: S608
_HISTORY = f"""SELECT tid FROM record WHERE oid = ? AND tid <= ?
    ORDER BY tid DESC LIMIT {_HISTORY_BATCH}"""  # noqa: S608
_PUT_RECORD = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_TRANSACTION = 'INSERT INTO "transaction" VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
_PUT_ROW = 'INSERT OR REPLACE INTO "row" VALUES (?, ?, ?, ?)'
_DELETE_ROW = 'DELETE FROM "row" WHERE kind = ? AND key = ?'

_record_head = struct.Struct("<qqII").pack
_transaction_head = struct.Struct("<qqqqqII").pack
_encode_label = msgspec.msgpack.Encoder().encode
_decode_label = msgspec.msgpack.Decoder(Label).decode


def _pack_oids(oids: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(oids)}q", *oids) if oids else b""


def _unpack_oids(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 8}q", data) if data else ()


def _record_crc(oid: int, tid: int, name: bytes, refs: bytes, payload: bytes) -> int:
    head = _record_head(oid, tid, len(name), len(refs))
    return crc32(payload, crc32(refs, crc32(name, crc32(head))))


def _transaction_crc(
    tid: int, previous: int, first: int, count: int, byte_count: int, label: bytes, oids: bytes
) -> int:
    head = _transaction_head(tid, previous, first, count, byte_count, len(label), len(oids))
    return crc32(oids, crc32(label, crc32(head)))


def _row_crc(kind: str, key: bytes, value: bytes) -> int:
    return crc32(value, crc32(key, crc32(struct.pack("<I", len(key)), crc32(kind.encode()))))


class _Reader:
    """One thread's connection; goes when its thread does. The lock keeps `close` from pulling it away."""

    __slots__ = ("__weakref__", "connection", "cursor", "lock")

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.cursor = connection.cursor()
        self.lock = threading.Lock()


class _Group:
    """A group of commits as the statements that store it."""

    def __init__(self, commits: Sequence[Commit], last_tid: int, next_id: int) -> None:
        self.records: list[tuple[int, int, int, str, bytes, bytes, int]] = []
        self.transactions: list[tuple[int, int, int, int, int, bytes, bytes, int]] = []
        self.row_changes: list[tuple[str, tuple[Any, ...]]] = []
        self.last_tid = last_tid
        self.max_oid = 0
        self.next_id = next_id
        for commit in commits:
            for kind, key, value in commit.rows:
                if value is None:
                    self.row_changes.append((_DELETE_ROW, (kind, key)))
                else:
                    row = (kind, key, value, _row_crc(kind, key, value))
                    self.row_changes.append((_PUT_ROW, row))
            if commit.records:
                self._add(commit)

    def _add(self, commit: Commit) -> None:
        tid, first, byte_count = commit.tid, self.next_id, 0
        oids = []
        for record in commit.records:
            oid, name, payload = record.oid, record.class_name, record.payload
            refs = _pack_oids(record.refs)
            crc = _record_crc(oid, tid, name.encode(), refs, payload)
            self.records.append((self.next_id, oid, tid, name, refs, payload, crc))
            self.next_id += 1
            byte_count += len(payload)
            oids.append(oid)
        label, packed = _encode_label(commit.label), _pack_oids(oids)
        head = (tid, self.last_tid, first, len(oids), byte_count, label, packed)
        self.transactions.append((*head, _transaction_crc(*head)))
        self.last_tid = tid
        self.max_oid = max(self.max_oid, *oids)


class SQLiteStore:
    """Keeps records in one SQLite file (a `hubbub.store.Store`).

    Args:
        path: The main file; its log, index and side file stand beside it.
        create: Make the space if there is none.
        vfs: Name of the SQLite file system to use, such as a fault-injecting one.
        log_limit_bytes: At this length of the log the writer waits for a checkpoint.

    Raises:
        SpaceInUseError: If another process, or another store here, owns the file; names it.
        CorruptRecordError: If the log is damaged or acknowledged commits are missing. Nothing was changed.
        DiskFullError: If there is no room to make the space.
        StoreError: If there is no space and ``create`` is false, if the file is no space or a newer one, or if its
            folder is missing or can't be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        vfs: str | None = None,
        log_limit_bytes: int = 16 << 20,
    ) -> None:
        self.path = Path(path).absolute()
        self._vfs = vfs
        self._log_limit_bytes = log_limit_bytes
        self._is_closed = False
        self._doubt: str | None = None
        self._write_lock = threading.Lock()
        self._local = threading.local()
        self._readers: weakref.WeakSet[_Reader] = weakref.WeakSet()
        self._readers_lock = threading.Lock()
        try:
            is_folder, exists = self.path.is_dir(), self.path.exists()
        except OSError as error:
            raise StoreError(f"the space {self.path} can't be opened: {error.strerror}") from error
        if is_folder:
            raise StoreError(f"{self.path} is a folder, not a space")
        if not create and not exists:
            raise StoreError(f"there is no space at {self.path}")
        self._side_file = SideFile(self.path)
        is_space = False
        try:
            self._look_at_main_file(create)
            is_space = True
            self._writer = self._open_writer()
        except BaseException:
            self._side_file.release(discard=not is_space)
            raise
        self._checkpointer = Checkpointer(
            self._connect, self._writer, log_limit_bytes // _PAGE_SIZE
        )

    # --- opening -----------------------------------------------------------------------------------------------------

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _look_at_main_file(self, create: bool) -> None:
        # Only here, while no connection is open: closing a file of ours would drop SQLite's POSIX locks on it.
        try:
            with self.path.open("rb") as file:
                head = file.read(100)
        except FileNotFoundError:
            head = b""
        except OSError as error:
            raise StoreError(f"the space {self.path} can't be read: {error.strerror}") from error
        if not head:
            log = self._beside("-wal")
            if log.exists() and log.stat().st_size:
                raise StoreError(
                    f"{self.path} is missing or empty, but its log {log.name} is there: put the file back, or move "
                    f"the log away"
                )
            if not create:
                raise StoreError(f"{self.path} is empty: there is no space in it")
        elif not head.startswith(b"SQLite format 3\0"):
            raise StoreError(f"{self.path} is not a Hubbub space")
        elif not self._beside("-journal").exists():  # else the head may be half written
            version, application = struct.unpack(">I4xI", head[60:72])
            self._check_format(application, version)

    def _check_format(self, application: int, version: int) -> None:
        if application != _APPLICATION_ID:
            raise StoreError(f"{self.path} is an SQLite file, but not a Hubbub space")
        if version > FORMAT_VERSION:
            raise StoreError(
                f"the space {self.path} has format version {version}; this Hubbub reads up to {FORMAT_VERSION}: "
                f"install a newer one"
            )

    def _open_writer(self) -> apsw.Connection:
        log = examine_wal(self._beside("-wal"))
        connection: apsw.Connection | None = None
        try:
            connection = self._connect()
            # Until all checks have passed, closing must leave the log as it was found.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            space_id = self._open_space(connection)
            self._read_state(connection)
            self._side_file.check(space_id, self._last_tid)
            if log.frame_count:
                self._make_durable(connection)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, apsw.FullError):
                raise DiskFullError(f"there is no room to open the space {self.path}") from error
            if isinstance(error, apsw.Error):
                raise self._explain(error) from error
            raise
        return connection

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(os.fspath(self.path), vfs=self._vfs)
        connection.set_busy_timeout(5000)
        connection.execute("PRAGMA cell_size_check = ON")
        return connection

    def _open_space(self, connection: apsw.Connection) -> str:
        execute = connection.execute
        if execute("SELECT count(*) FROM sqlite_schema").get == 0:
            execute(_SCHEMA)
            execute("INSERT INTO meta VALUES ('space', ?)", (secrets.token_hex(16),))
            execute("COMMIT")
        self._check_format(execute("PRAGMA application_id").get, execute("PRAGMA user_version").get)
        execute("PRAGMA journal_mode = WAL").get  # noqa: B018 - the attribute runs it to its end
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA cache_spill = OFF")
        execute(f"PRAGMA journal_size_limit = {2 * self._log_limit_bytes}").get  # noqa: B018
        connection.wal_autocheckpoint(0)
        return str(execute("SELECT value FROM meta WHERE key = 'space'").get)

    def _read_state(self, connection: apsw.Connection) -> None:
        execute = connection.execute
        self._last_tid = Tid(execute('SELECT max(tid) FROM "transaction"').get or 0)
        self._max_oid = Oid(execute("SELECT max(oid) FROM record").get or 0)
        self._next_id = (execute("SELECT max(id) FROM record").get or 0) + 1
        self._packed_tid = execute("SELECT value FROM meta WHERE key = 'packed'").get or 0

    def _make_durable(self, connection: apsw.Connection) -> None:
        """Fsync the replayed log, and copy it: after a failed fsync only a fresh write counts."""
        log = self._beside("-wal")
        with log.open("rb+") as file:
            os.fsync(file.fileno())
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.FullError as error:
            _log.warning("no room to copy the log of %s: %s", self.path, error)

    # --- reading -----------------------------------------------------------------------------------------------------

    def _open_reader(self) -> _Reader:
        with self._readers_lock:
            self._check_open()
            try:
                connection = self._connect()
                connection.execute("PRAGMA query_only = ON")
            except apsw.Error as error:
                raise self._explain(error) from error
            reader = _Reader(connection)
            self._readers.add(reader)
        self._local.reader = reader
        return reader

    def _fetch(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            reader = self._local.reader
        except AttributeError:
            reader = self._open_reader()
        with reader.lock:
            if self._is_closed:
                raise ClosedError(f"the store {self.path} is closed")
            try:
                # To the end, so that no read transaction stays open.
                rows: list[Any] = reader.cursor.execute(sql, values).fetchall()
            except (apsw.Error, UnicodeDecodeError) as error:
                raise self._explain(error) from error
            return rows

    def _explain(self, error: Exception) -> HubbubError:
        if isinstance(error, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError):
            return CorruptRecordError(
                f"{self.path} is damaged ({error}): copy its files away and restore a backup"
            )
        return StoreError(f"{self.path} can't be used: {error}")

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
        try:
            rows = self._fetch(_LOAD, (oid, last if at is None or at > last else at))
        except CorruptRecordError as error:
            raise CorruptRecordError(f"object {oid:#x}: {error}", oid=oid, tid=at) from error
        if not rows:
            raise UnknownObjectError(oid, at)
        tid, name, refs, payload, crc = rows[0]
        try:
            if _record_crc(oid, tid, name.encode(), refs, payload) == crc:
                return Record(oid, tid, name, _unpack_oids(refs), payload)
        except (TypeError, ValueError, AttributeError, struct.error):
            pass  # a damaged type is as bad as a damaged byte
        raise CorruptRecordError(
            f"the record of object {oid:#x} at tid {tid_text(tid)} in {self.path} is damaged: its checksum does not "
            f"match. Read an older revision of it, or restore a backup",
            oid=oid,
            tid=tid,
        )

    def load_many(self, oids: Sequence[int], at: int | None = None) -> list[Record]:
        at = self.last_tid if at is None else at
        found = []
        for oid in oids:
            try:
                found.append(self.load(oid, at))
            except UnknownObjectError:
                continue
        return found

    def feed(self, after: int = 0) -> Iterator[FeedEntry]:
        self._check_open()
        return self._feed(after, self._last_tid)

    def _feed(self, after: int, end: int) -> Iterator[FeedEntry]:
        # What went before the first one is not known here, only that it lies at or below `after`.
        position = after
        is_first = True
        while position < end:
            rows = self._fetch(_FEED, (position, end))
            for tid, previous, first, count, byte_count, label, oids, crc, found in rows:
                if previous > max(position, self._packed_tid) if is_first else previous != position:
                    raise self._gap(position, tid)
                try:
                    is_sound = crc == _transaction_crc(
                        tid, previous, first, count, byte_count, label, oids
                    )
                    is_sound = is_sound and len(oids) == 8 * count
                except (TypeError, struct.error):
                    is_sound = False
                if not is_sound or (found != count and tid > self._packed_tid):
                    raise CorruptRecordError(
                        f"transaction {tid_text(tid)} in {self.path} is damaged, or records of it are missing: "
                        f"restore a backup",
                        tid=tid,
                    )
                yield FeedEntry(Tid(tid), _decode_label(label), _unpack_oids(oids), byte_count)
                position = tid
                is_first = False
            if not rows:
                raise self._gap(position, end)

    def _gap(self, after: int, before: int) -> CorruptRecordError:
        return CorruptRecordError(
            f"transactions between tid {tid_text(after)} and {tid_text(before)} are missing in {self.path}: "
            f"restore a backup",
            tid=before,
        )

    def history(self, oid: int) -> Iterator[Tid]:
        self._check_open()
        return self._history(oid, self._last_tid)

    def _history(self, oid: int, newest: int) -> Iterator[Tid]:
        while rows := self._fetch(_HISTORY, (oid, newest)):
            for (tid,) in rows:
                yield Tid(tid)
            newest = rows[-1][0] - 1

    def rows(self, kind: str) -> list[tuple[bytes, bytes]]:
        found = self._fetch(
            'SELECT key, value, crc FROM "row" WHERE kind = ? ORDER BY key', (kind,)
        )
        return [(key, self._checked(kind, key, value, crc)) for key, value, crc in found]

    def row(self, kind: str, key: bytes) -> bytes | None:
        found = self._fetch('SELECT value, crc FROM "row" WHERE kind = ? AND key = ?', (kind, key))
        return self._checked(kind, key, *found[0]) if found else None

    def _checked(self, kind: str, key: bytes, value: object, crc: object) -> bytes:
        if not isinstance(value, bytes) or _row_crc(kind, key, value) != crc:
            raise CorruptRecordError(
                f"the {kind} row {key!r} in {self.path} is damaged: its checksum does not match"
            )
        return value

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, commits: Sequence[Commit]) -> None:
        with self._write_lock:
            self._check_open()
            if self._doubt is not None:
                raise OutcomeUnknownError(self._doubt)
            check_order(commits, self._last_tid)
            group = _Group(commits, self._last_tid, self._next_id)
            self._checkpointer.reset_if_long()
            self._commit(group)
            self._next_id = group.next_id
            if group.last_tid != self._last_tid:
                self._side_file.note(group.last_tid)
                self._max_oid = Oid(max(self._max_oid, group.max_oid))
                self._last_tid = Tid(group.last_tid)

    def _commit(self, group: _Group) -> None:
        execute, execute_many = self._writer.execute, self._writer.executemany
        is_committing = False
        try:
            execute("BEGIN IMMEDIATE")
            if len(group.records) == 1:
                execute(_PUT_RECORD, group.records[0])
            elif group.records:
                execute_many(_PUT_RECORD, group.records)
            if group.transactions:
                execute_many(_PUT_TRANSACTION, group.transactions)
            for sql, values in group.row_changes:
                execute(sql, values)
            is_committing = True
            execute("COMMIT")
        except BaseException as error:
            # The commit mark is the last thing written: without room for it the group can't turn up again.
            is_full = isinstance(error, apsw.FullError)
            is_certain = is_full or not (is_committing or isinstance(error, apsw.IOError))
            if not (self._roll_back() and is_certain):
                self._doubt = (
                    f"writing to {self.path} failed ({error}); whether its last group is stored can be seen only when "
                    f"the store is opened again. Until then it can be read, but not written"
                )
                raise OutcomeUnknownError(self._doubt) from error
            if is_full:
                raise DiskFullError(
                    f"there is no room for {self.path}: nothing of the group was stored; make room and try again"
                ) from error
            if isinstance(error, apsw.Error):
                raise self._explain(error) from error
            raise

    def _roll_back(self) -> bool:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except apsw.Error:
            _log.exception("rolling back %s failed", self.path)
            return False
        return True

    # --- closing -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        with self._write_lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._checkpointer.close()
            with self._readers_lock:
                readers = list(self._readers)
            for reader in readers:
                with reader.lock:
                    reader.connection.close()
            if self._doubt is not None:
                self._writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            with contextlib.suppress(apsw.Error):
                self._writer.close()
            self._side_file.release()

    @property
    def side_file(self) -> SideFile:
        """Where the owner can say which addresses it listens on."""
        return self._side_file
