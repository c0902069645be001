"""The tables of a space in SQLite, and the connection that writes them.

Theory of operation
===================

What is durable in the group log is put here, many groups in one SQLite transaction, with the number of the newest of
them. So the tables always hold all groups up to a number and nothing of a later one. What goes wrong decides what is
known (ST5):

    no room, anywhere                     rolled back, certainly not stored       DiskFullError, go on
    I/O error, or anything inside COMMIT  SQLite's log may hold it all            OutcomeUnknownError, write no more

Each record, transaction and row carries a crc32. Transactions name their predecessor and their records' place, so that
the feed can't be shorter than it was.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import apsw

from hubbub.kernel import (
    ClosedError,
    CorruptRecordError,
    DiskFullError,
    HubbubError,
    OutcomeUnknownError,
    StoreError,
)
from hubbub.store.group import row_crc
from hubbub.store.recent import Recent
from hubbub.store.wal import Checkpointer

_log = logging.getLogger("hubbub.store")

FORMAT_VERSION = 1
APPLICATION_ID = 0x48756262  # "Hubb", in bytes 68-71 of the file
_PAGE_SIZE = 4096
_CACHE_KIB = 16 << 10

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
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""

_AT_ONCE = (400, 20, 1)
"""So many rows go into one statement, as long as there are so many left: each step of SQLite gives Python's lock away
and has to wait for it again, and takes it from others who work."""

Execute = Callable[..., apsw.Cursor]
"""Runs a statement inside the transaction."""

_Statements = tuple[tuple[int, str], ...]
"""A number of rows, and the statement that takes them; the largest first."""


def _for_rows(before: str, columns: int, after: str = "") -> _Statements:
    """Return the same statement for each number of rows in `_AT_ONCE`."""
    row = f"({', '.join('?' * columns)})"
    return tuple((count, before + ", ".join([row] * count) + after) for count in _AT_ONCE)


_PUT_RECORDS = _for_rows("INSERT INTO record VALUES ", 7)
_PUT_TRANSACTIONS = _for_rows('INSERT INTO "transaction" VALUES ', 8)
_PUT_ROWS = _for_rows('INSERT OR REPLACE INTO "row" VALUES ', 4)
_DELETE_ROWS = _for_rows('DELETE FROM "row" WHERE (kind, key) IN (VALUES ', 2, ")")
_NUMBER = "SELECT value FROM meta WHERE key = 'groups'"
_PUT_NUMBER = "INSERT OR REPLACE INTO meta VALUES ('groups', ?)"


def connect(path: Path, vfs: str | None) -> apsw.Connection:
    """Open a connection to the space's main file."""
    connection = apsw.Connection(str(path), vfs=vfs)
    connection.set_busy_timeout(5000)
    # Else a bound value that differs from the last one has the statement prepared anew, at half the price of a load.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def explain(path: Path, error: Exception) -> HubbubError:
    """Return the error to raise for one of SQLite's."""
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError):
        return CorruptRecordError(
            f"{path} is damaged ({error}): copy its files away and restore a backup"
        )
    return StoreError(f"{path} can't be used: {error}")


class Tables:
    """Write the tables of one space.

    Args:
        connection: The only one that writes; closed by `close`.
        path: The main file.
        log_limit_bytes: Size that SQLite's own log is kept to, about.

    Attributes:
        doubt: Why nothing more may be written until the store is opened again, or None.
    """

    def __init__(self, connection: apsw.Connection, path: Path, log_limit_bytes: int) -> None:
        self.path = path
        self.doubt: str | None = None
        self._connection = connection
        self._turn = _Turn()
        self._is_closed = False
        self._log_limit_bytes = log_limit_bytes
        self._checkpointer = Checkpointer(connection, log_limit_bytes // _PAGE_SIZE)

    def prepare(self) -> None:
        """Make the tables if there are none, and set the connection up."""
        execute = self._connection.execute
        if execute("SELECT count(*) FROM sqlite_schema").get == 0:
            execute(_SCHEMA)
            values = [("space", secrets.token_hex(16)), ("mark", secrets.token_bytes(16))]
            self._connection.executemany("INSERT INTO meta VALUES (?, ?)", values)
            execute("COMMIT")
        execute("PRAGMA journal_mode = WAL").get  # noqa: B018 - the attribute runs it to its end
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA cache_spill = OFF")
        execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        execute(f"PRAGMA journal_size_limit = {2 * self._log_limit_bytes}").get  # noqa: B018

    def put(self, recents: Sequence[Recent]) -> None:
        """Store all of ``recents``, oldest first, in one SQLite transaction with one fsync.

        One that is there already, whole as they all are, is made durable again, and not put twice.

        Raises:
            DiskFullError: Certainly nothing was stored.
            OutcomeUnknownError: It may be stored or not; `doubt` is set.
            StoreError: Nothing was stored; the tables are damaged or can't be used.
        """
        with self._turn.now(), self._transaction() as execute:
            there = self.number
            for recent in recents:
                if recent.number <= there:
                    continue
                self._execute(_PUT_RECORDS, recent.records)
                self._execute(_PUT_TRANSACTIONS, recent.transactions)
                rows = recent.rows.items()
                gone = [name for name, value in rows if value is None]
                kept = [(*name, v, row_crc(*name, v)) for name, v in rows if v is not None]
                self._execute(_DELETE_ROWS, gone)
                self._execute(_PUT_ROWS, kept)
            execute(_PUT_NUMBER, (max(there, recents[-1].number),))

    @property
    def number(self) -> int:
        """The number of the newest group that they hold."""
        return int(self._connection.execute(_NUMBER).get or 0)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Leave the tables to another process for this block, instead of `put`."""
        with self._turn.now():
            yield

    @contextmanager
    def change(self) -> Iterator[Execute]:
        """Change the tables in one SQLite transaction, when nobody else wants them; the block gets `execute`.

        Keep it to a few milliseconds: whoever puts groups waits for it.

        Raises:
            ClosedError: They are closed.
            HubbubError: As `put`.
        """
        with self._turn.when_idle():
            with self._transaction() as execute:
                yield execute
            self._checkpointer.keep_short()

    @contextmanager
    def _transaction(self) -> Iterator[Execute]:
        if self._is_closed:
            raise ClosedError(f"the store {self.path} is closed")
        if self.doubt is not None:
            raise OutcomeUnknownError(self.doubt)
        execute = self._connection.execute
        is_committing = False
        try:
            execute("BEGIN IMMEDIATE")
            yield execute
            is_committing = True
            execute("COMMIT")
        except BaseException as error:
            # The commit mark is the last thing written: without room for it the group can't turn up again.
            is_full = isinstance(error, apsw.FullError)
            is_certain = is_full or not (is_committing or isinstance(error, apsw.IOError))
            if not (self._roll_back() and is_certain):
                raise self.set_doubt(error) from error
            if is_full:
                raise DiskFullError(
                    f"there is no room for {self.path}: nothing of the group was stored; make room and try again"
                ) from error
            if isinstance(error, apsw.Error):
                raise explain(self.path, error) from error
            raise

    def _execute(self, statements: _Statements, rows: Sequence[tuple[Any, ...]]) -> None:
        begin = 0
        for count, statement in statements:
            while len(rows) - begin >= count:
                values = list(chain.from_iterable(rows[begin : begin + count]))
                self._connection.execute(statement, values)
                begin += count

    def set_doubt(self, error: BaseException) -> OutcomeUnknownError:
        """Write no more from now on; return the error that says so."""
        self.doubt = (
            f"writing to {self.path} failed ({error}); whether its last group is stored can be seen only when the "
            f"store is opened again. Until then it can be read, but not written"
        )
        return OutcomeUnknownError(self.doubt)

    def _roll_back(self) -> bool:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error:
            _log.exception("rolling back %s failed", self.path)
            return False
        return True

    def keep_log_short(self) -> None:
        """Copy SQLite's own log into the main file, if it has become long."""
        with self._turn.now():
            self._checkpointer.keep_short()

    def close(self) -> None:
        """Close the connection. After a doubt the log stays as it is, so that the next open examines it."""
        with self._turn.now():
            self._is_closed = True
            if self.doubt is not None:
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            try:
                self._connection.close()
            except apsw.Error as error:
                _log.warning("closing %s: %s", self.path, error)


class _Turn:
    """Who may use the connection: those who put groups at once, others when none of them waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_taken = False
        self._hurried = 0

    @contextmanager
    def now(self) -> Iterator[None]:
        with self._changed:
            self._hurried += 1
            try:
                self._changed.wait_for(lambda: not self._is_taken)
            finally:
                self._hurried -= 1
            self._is_taken = True
        with self._taken():
            yield

    @contextmanager
    def when_idle(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken and not self._hurried)
            self._is_taken = True
        with self._taken():
            yield

    @contextmanager
    def _taken(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()
