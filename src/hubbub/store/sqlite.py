r"""A store in one SQLite file, owned by one process.

Theory of operation
===================

Opening, in this order, so that damage is found before anything is changed (ST6):

    1. lock the side file (ST8)                      second owner: SpaceInUseError
    2. look at the main file's first bytes           not a space, or newer: StoreError
    3. examine the left-over log of SQLite           damage: CorruptRecordError
    4. let SQLite replay it; read what the group log holds behind that
    5. compare the newest tid with the acknowledged one of the side file
    6. fsync what was replayed, and put the group log's rest into the tables: a killed process may have left it in the
       page cache only

A group is appended to the group log (`hubbub.store.grouplog`), which makes it durable; then it is *recent*, then the
side file's tid and ``last_tid`` tell of it. A thread puts what is recent into the tables (`hubbub.store.tables`):

    write --append--> group log --> recent --segment full--> older --copier--> tables --> its place is free
      \--larger than the log takes, or no room in it--> all that is recent, and itself, into the tables

Readers stay at or below ``last_tid`` and look at the recent ones first, at the tables second. No read is left open
between two calls: a snapshot that stays would keep SQLite's log from being reset.

Once it is open whether something is stored nothing more is written, and `close` leaves both logs as they are, so that
the next open examines them (ST5).
"""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw

from hubbub.kernel import (
    ClosedError,
    Commit,
    CorruptRecordError,
    DiskFullError,
    HubbubError,
    Oid,
    OutcomeUnknownError,
    Record,
    StoreError,
    Tid,
    UnknownObjectError,
    tid_text,
)
from hubbub.store.base import FeedEntry, StoredCommit
from hubbub.store.blobs import BLOB, Blobs, Placing, blob_key, blob_size
from hubbub.store.copier import Copier
from hubbub.store.group import Group
from hubbub.store.grouplog import Entry, GroupLog, NoRoomError, read_log
from hubbub.store.lock import SideFile
from hubbub.store.reader import Reader
from hubbub.store.recent import Recent
from hubbub.store.tables import APPLICATION_ID, FORMAT_VERSION, Tables, connect, explain
from hubbub.store.wal import examine_wal

_log = logging.getLogger("hubbub.store")

_LEAST_SEGMENT_BYTES = 64 << 10


class SQLiteStore:
    """Keeps records in one SQLite file (a `hubbub.store.Store`).

    Args:
        path: The main file; its logs, index and side file stand beside it.
        create: Make the space if there is none.
        vfs: Name of the SQLite file system to use, such as a fault-injecting one.
        log_limit_bytes: About how long SQLite's log becomes; a segment of the group log has a quarter of it.

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
        self._write_lock = threading.Lock()
        self._blobs = Blobs(self._beside("-blobs"), self.path)
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
            self._open_tables()
        except BaseException:
            self._side_file.release(discard=not is_space)
            raise
        self._copier = Copier(self._tables, self._older_is_put)
        try:
            self._blobs.sweep_staged(self._has_blob)
        except BaseException:
            self.close()
            raise

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
            for log in (self._beside("-wal"), self._beside("-log")):
                if log.exists() and log.stat().st_size:
                    raise StoreError(
                        f"{self.path} is missing or empty, but its log {log.name} is there: put the file back, or "
                        f"move the log away"
                    )
            if not create:
                raise StoreError(f"{self.path} is empty: there is no space in it")
        elif not head.startswith(b"SQLite format 3\0"):
            raise StoreError(f"{self.path} is not a Hubbub space")
        elif not self._beside("-journal").exists():  # else the head may be half written
            version, application = struct.unpack(">I4xI", head[60:72])
            self._check_format(application, version)

    def _check_format(self, application: int, version: int) -> None:
        if application != APPLICATION_ID:
            raise StoreError(f"{self.path} is an SQLite file, but not a Hubbub space")
        if version > FORMAT_VERSION:
            raise StoreError(
                f"the space {self.path} has format version {version}; this Hubbub reads up to {FORMAT_VERSION}: "
                f"install a newer one"
            )

    def _open_tables(self) -> None:
        wal = examine_wal(self._beside("-wal"))
        connection: apsw.Connection | None = None
        try:
            connection = connect(self.path, self._vfs)
            # Until all checks have passed, closing must leave the log as it was found.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._tables = Tables(connection, self.path, self._log_limit_bytes)
            self._tables.prepare()
            self._check_format(
                connection.execute("PRAGMA application_id").get,
                connection.execute("PRAGMA user_version").get,
            )
            self._read_state(connection)
            if wal.frame_count:
                self._make_durable(connection)
            self._put_left_over()
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, apsw.FullError):
                raise DiskFullError(f"there is no room to open the space {self.path}") from error
            if isinstance(error, apsw.Error):
                raise explain(self.path, error) from error
            raise

    def _read_state(self, connection: apsw.Connection) -> None:
        """Read where the tables end, and what the group log holds behind that; compare with what was acknowledged."""
        execute = connection.execute
        meta = dict(execute("SELECT key, value FROM meta"))
        space_id, mark = meta.get("space"), meta.get("mark")
        if not isinstance(space_id, str) or not isinstance(mark, bytes):
            raise CorruptRecordError(f"{self.path} is damaged: its id is missing; restore a backup")
        self._last_tid = Tid(execute('SELECT max(tid) FROM "transaction"').get or 0)
        self._max_oid = Oid(execute("SELECT max(oid) FROM record").get or 0)
        self._next_id = (execute("SELECT max(id) FROM record").get or 0) + 1
        self._number = meta.get("groups") or 0
        left_over = Recent()
        for entry in read_log(self._beside("-log"), mark, self._number):
            self._take(entry, left_over)
        self._recents: tuple[Recent, ...] = (Recent(),)
        if left_over.number:
            self._recents = (Recent(), left_over)
        self.space_id = space_id
        self._side_file.check(space_id, self._last_tid)
        self._log = GroupLog(
            self._beside("-log"),
            mark,
            max(self._log_limit_bytes // 4, _LEAST_SEGMENT_BYTES),
            self.path,
        )
        self._reader = Reader(self.path, self._vfs, meta.get("packed") or 0)

    def _take(self, entry: Entry, left_over: Recent) -> None:
        if entry.after != self._last_tid:
            raise CorruptRecordError(
                f"{self._beside('-log')} does not go on where {self.path} ends: its group {entry.number} is behind tid "
                f"{tid_text(entry.after)}, not {tid_text(self._last_tid)}. Nothing was changed. If one of the two is "
                f"an older copy, put the other one's copy of the same time beside it",
                tid=Tid(entry.after),
            )
        group = Group.stored(entry.body, self._last_tid, self._next_id)
        left_over.add(entry.number, group)
        self._number = entry.number
        self._last_tid = Tid(group.last_tid)
        self._max_oid = Oid(max(self._max_oid, group.max_oid))
        self._next_id = group.next_id

    def _make_durable(self, connection: apsw.Connection) -> None:
        """Fsync what SQLite has replayed, and copy it: after a failed fsync only a fresh write counts."""
        log = self._beside("-wal")
        with log.open("rb+") as file:
            os.fsync(file.fileno())
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.FullError as error:
            _log.warning("no room to copy the log of %s: %s", self.path, error)

    def _put_left_over(self) -> None:
        try:
            self._put_recents()
        except DiskFullError as error:
            # It can be read all the same, and whoever writes is told.
            _log.warning("no room to copy the log of %s: %s", self.path, error)
        else:
            self._log.close(remove=True)

    # --- reading -----------------------------------------------------------------------------------------------------

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
        yield from self._reader.feed(after, _before(recents, end))
        for recent in reversed(recents):
            yield from recent.feed(after, end)

    def commits(self, after: int, end: int, most_bytes: int) -> list[StoredCommit]:
        self._check_open()
        last, recents = self._last_tid, self._recents
        tables_end = _before(recents, last)
        if after < min(tables_end, end):
            found = self._reader.commits(after, tables_end, most_bytes)
            return [commit for commit in found if commit.tid <= end]
        found = []
        for recent in reversed(recents):
            for entry in recent.feed(after, min(end, last)):
                if found and entry.byte_count > most_bytes:
                    return found
                most_bytes -= entry.byte_count
                found.append(StoredCommit(entry.tid, entry.label, self.records_of(entry.tid)))
        return found

    def all_rows(self) -> tuple[Tid, list[tuple[str, bytes, bytes]]]:
        # Rows have no tid: only while nothing is written it is known which one they belong to.
        with self._write_lock:
            self._check_open()
            recents = self._recents
            found: dict[tuple[str, bytes], bytes | None] = {**self._reader.all_rows()}
            for recent in reversed(recents):
                found.update(recent.rows)
            rows = [(*name, value) for name, value in found.items() if value is not None]
            return self._last_tid, sorted(rows)

    def history(self, oid: int) -> Iterator[Tid]:
        self._check_open()
        return self._history(oid, self._last_tid, self._recents)

    def _history(self, oid: int, newest: int, recents: Sequence[Recent]) -> Iterator[Tid]:
        for recent in recents:
            for tid in recent.history(oid, newest):
                yield tid
                newest = Tid(tid - 1)
        yield from self._reader.history(oid, newest)

    def rows(self, kind: str) -> list[tuple[bytes, bytes]]:
        self._check_open()
        recents = self._recents
        found = self._reader.rows(kind)
        for recent in reversed(recents):
            for (other, key), value in list(recent.rows.items()):
                if other != kind:
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

    # --- blobs -------------------------------------------------------------------------------------------------------

    def stage(self, suffix: str = "") -> Path:
        self._check_open()
        return self._blobs.stage(suffix)

    def unstage(self, name: str) -> None:
        self._check_open()
        self._blobs.unstage(name)

    def blob(self, oid: int, tid: int) -> Path:
        row = self.row(BLOB, blob_key(oid, tid)) if tid <= self.last_tid else None
        if row is None:
            raise UnknownObjectError(oid, tid)
        return self._blobs.checked(oid, tid, blob_size(row))

    def _has_blob(self, oid: int, tid: int) -> bool:
        return self.row(BLOB, blob_key(oid, tid)) is not None

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, commits: Sequence[Commit]) -> None:
        with self._write_lock:
            self._check_open()
            if self._tables.doubt is not None:
                raise OutcomeUnknownError(self._tables.doubt)
            group = Group(commits, self._last_tid, self._next_id)
            placing: Placing | None = None
            if group.has_blobs:
                placing = self._blobs.place(commits)
                group.rows += placing.rows
            try:
                self._store(group)
            except OutcomeUnknownError:
                raise
            except HubbubError:
                if placing is not None:
                    placing.undo()
                raise
            except BaseException as error:
                doubt = self._tables.set_doubt(error)
                if isinstance(error, Exception):
                    raise doubt from error
                raise
            if placing is not None:
                placing.settle()

    def _store(self, group: Group) -> None:
        number = self._number + 1
        log = self._log
        is_small = log.prepare(number, self._last_tid, group)
        if is_small and (self._is_behind or not log.has_place):
            self._turn_over()
        if is_small and self._append():
            self._recents[0].add(number, group)
        else:
            self._copier.wait()
            large = Recent()
            large.add(number, group)
            self._put_recents(large)
            log.rewind()
        self._number = number
        self._next_id = group.next_id
        if group.last_tid != self._last_tid:
            self._side_file.note(group.last_tid)
            if group.max_oid > self._max_oid:
                self._max_oid = Oid(group.max_oid)
            self._last_tid = Tid(group.last_tid)

    def _append(self) -> bool:
        try:
            self._log.append()
        except NoRoomError:
            return False
        return True

    @property
    def _is_behind(self) -> bool:
        """Whether something older is in the log, and nobody is putting it into the tables."""
        return len(self._recents) > 1 and self._copier.is_idle

    def _turn_over(self) -> None:
        """Go on in the other segment of the log, and have what is in this one put into the tables."""
        self._copier.wait()
        if len(self._recents) > 1:  # it could not be put; perhaps it can be now
            self._put_recents()
            self._log.rewind()
            return
        if self._tables.doubt is not None:
            raise OutcomeUnknownError(self._tables.doubt)
        older = self._recents[0]
        self._recents = (Recent(), older)
        self._log.turn_over()
        self._copier.begin(older)

    def _older_is_put(self) -> None:
        self._recents = self._recents[:1]

    def _put_recents(self, *more: Recent) -> None:
        """Put everything into the tables, here and now. The copier must be idle."""
        recents = [recent for recent in (*reversed(self._recents), *more) if recent.number]
        if recents:
            self._tables.put(recents)
            self._recents = (Recent(),)
            self._tables.keep_log_short()

    # --- closing -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        with self._write_lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._copier.close()
            self._reader.close()
            is_put = False
            try:
                if self._tables.doubt is None:
                    self._put_recents()
                    is_put = True
            except HubbubError as error:
                _log.warning("durable commits stay in the log of %s: %s", self.path, error)
            self._tables.close()
            self._log.close(remove=is_put)
            self._side_file.release()

    @property
    def side_file(self) -> SideFile:
        """Where the owner can say which addresses it listens on."""
        return self._side_file


def _before(recents: Sequence[Recent], end: int) -> int:
    """Return the tid up to which transactions are in the tables only: what is above it, up to ``end``, is recent."""
    for recent in recents:
        if recent.transactions:
            end = min(end, recent.transactions[0][1])
    return end
