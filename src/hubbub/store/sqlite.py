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
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from hubbub.kernel import (
    Commit,
    CorruptRecordError,
    DiskFullError,
    HubbubError,
    Job,
    Oid,
    OutcomeUnknownError,
    StoreError,
    Tid,
    tid_text,
)
from hubbub.store.base import Damage, PackReport, StoreStats
from hubbub.store.blobs import BLOB, Blobs, Placing, blob_key
from hubbub.store.checking import Checking
from hubbub.store.copier import Copier
from hubbub.store.copyprocess import CopyProcess, can_copy_apart
from hubbub.store.counting import count
from hubbub.store.group import Group
from hubbub.store.grouplog import Entry, GroupLog, NoRoomError, read_log
from hubbub.store.heads import check_format, look_at_main_file
from hubbub.store.lock import SideFile
from hubbub.store.packing import Bounds, Packing
from hubbub.store.reader import Reader
from hubbub.store.reading import Reading, tables_end
from hubbub.store.recent import Recent
from hubbub.store.tables import Tables, connect, explain
from hubbub.store.wal import examine_wal

_log = logging.getLogger("hubbub.store")

_LEAST_SEGMENT_BYTES = 64 << 10


class SQLiteStore(Reading):
    """Keeps records in one SQLite file (a `hubbub.store.Store`).

    Args:
        path: The main file; its logs, index and side file stand beside it.
        create: Make the space if there is none.
        vfs: Name of the SQLite file system to use, such as a fault-injecting one.
        log_limit_bytes: About how long SQLite's log becomes; a segment of the group log has a quarter of it.
        copies_apart: Put the group log into the tables in a process of its own, once there is enough to put and where
            there is a processor for it. Not with ``vfs``.

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
        copies_apart: bool = False,
    ) -> None:
        self.path = Path(path).absolute()
        self._vfs = vfs
        self._log_limit_bytes = log_limit_bytes
        self._is_closed = False
        self._write_lock = threading.Lock()
        self._upkeep_lock = threading.Lock()
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
            look_at_main_file(self.path, create)
            is_space = True
            self._open_tables()
        except BaseException:
            self._side_file.release(discard=not is_space)
            raise
        process: CopyProcess | None = None
        if copies_apart and vfs is None and can_copy_apart():
            lock = self._side_file.fileno()
            process = CopyProcess(self.path, self._log.path, log_limit_bytes, lock)
        self._copier = Copier(self._tables, self._older_is_put, process)
        try:
            self._blobs.sweep_staged(self._has_blob)
        except BaseException:
            self.close()
            raise

    # --- opening -----------------------------------------------------------------------------------------------------

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _open_tables(self) -> None:
        wal = examine_wal(self._beside("-wal"))
        connection: apsw.Connection | None = None
        try:
            connection = connect(self.path, self._vfs)
            # Until all checks have passed, closing must leave the log as it was found.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._tables = Tables(connection, self.path, self._log_limit_bytes)
            self._tables.prepare()
            check_format(
                self.path,
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
        max_oid = execute("SELECT max(oid) FROM record").get or 0
        next_id = (execute("SELECT max(id) FROM record").get or 0) + 1
        # A pack may have dropped the highest ones.
        self._max_oid = Oid(max(max_oid, meta.get("max_oid") or 0))
        self._next_id = max(next_id, meta.get("next_id") or 0)
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

    def all_rows(self) -> tuple[Tid, list[tuple[str, bytes, bytes]]]:
        # Rows have no tid: only while nothing is written it is known which one they belong to.
        with self._write_lock:
            self._check_open()
            recents = self._recents
            found: dict[tuple[str, bytes], bytes | None] = {**self._reader.all_rows()}
            for recent in reversed(recents):
                found.update(recent.rows)
            rows = [
                (kind, key, value)
                for (kind, key), value in found.items()
                if value is not None and kind != BLOB
            ]
            return self._last_tid, sorted(rows)

    # --- blobs -------------------------------------------------------------------------------------------------------

    def stage(self, suffix: str = "") -> Path:
        self._check_open()
        return self._blobs.stage(suffix)

    def seal(self, name: str) -> None:
        self._check_open()
        self._blobs.seal(name)

    def unstage(self, name: str) -> None:
        self._check_open()
        self._blobs.unstage(name)

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
        place = self._log.place
        self._log.turn_over()
        self._copier.begin(older, place)

    def _older_is_put(self) -> None:
        self._recents = self._recents[:1]

    def _put_recents(self, *more: Recent) -> None:
        """Put everything into the tables, here and now. The copier must be idle."""
        recents = [recent for recent in (*reversed(self._recents), *more) if recent.number]
        if recents:
            self._tables.put(recents)
            self._recents = (Recent(),)
            self._tables.keep_log_short()

    # --- upkeep ------------------------------------------------------------------------------------------------------

    def stats(self) -> StoreStats:
        self._put_down_if_possible()
        return count(self._reader, self.path, self.last_tid)

    def pack(
        self,
        at: int,
        *,
        collect: bool = True,
        keep: Sequence[int] = (),
        job: Job | None = None,
    ) -> PackReport:
        with self._upkeep():
            self._put_down()
            floor, newest = self._reader.packed_tid, self.last_tid
            at = max(min(at, newest), floor)
            packing = Packing(self._reader, self._tables, self._blobs, at, job or Job())
            self._reader.packed_tid = at
            try:
                if collect:
                    packing.mark(keep)
                    # What came meanwhile; see `hubbub.store.packing` for why the rest need not be looked at.
                    self._put_down()
                    packing.mark(())
                with self._write_lock:
                    bounds = Bounds(at, self._max_oid, self._next_id)
                packing.set_floor(bounds)
            except BaseException:
                self._reader.packed_tid = floor  # nothing was dropped
                raise
            return packing.drop(newest, collect=collect)

    def verify(self, job: Job | None = None) -> Iterator[Damage]:
        self._check_open()
        return self._verify(job or Job())

    def _verify(self, job: Job) -> Iterator[Damage]:
        with self._upkeep():
            self._put_down_if_possible()
            last, recents = self.last_tid, self._recents
            end = tables_end(recents, last)
            yield from Checking(self._reader, self._blobs, end, job).damages()

    @contextmanager
    def _upkeep(self) -> Iterator[None]:
        self._check_open()
        if not self._upkeep_lock.acquire(blocking=False):
            raise StoreError(
                f"a pack or a verification of {self.path} is running already: wait for its end, or stop it"
            )
        try:
            yield
        finally:
            self._upkeep_lock.release()

    def _put_down_if_possible(self) -> None:
        with suppress(DiskFullError, OutcomeUnknownError):
            self._put_down()

    def _put_down(self) -> None:
        """Have all that is recent put into the tables, while others go on writing.

        Raises:
            DiskFullError: There is no room.
            OutcomeUnknownError: As `write`.
        """
        with self._write_lock:
            self._check_open()
            if self._tables.doubt is not None:
                raise OutcomeUnknownError(self._tables.doubt)
            if len(self._recents) == 1 and not self._recents[0].number:
                return
            self._turn_over()
            begun = self._recents[1:]
        self._copier.wait()
        if begun and begun[0] in self._recents:
            if self._tables.doubt is not None:
                raise OutcomeUnknownError(self._tables.doubt)
            raise DiskFullError(
                f"there is no room to put the log of {self.path} into its tables: make room and try again"
            )

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
