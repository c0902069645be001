"""The host's space in memory: bodies run one after another beside the objects (SP6).

Theory of operation
===================

Two connections share decoded states, but no object. The *live* one has the newest decided state and runs commands;
the *query* one has the newest settled state and runs queries and views, waking exactly what they read.

`execute` runs a body, encodes what it changed and appends a commit to the ledger; the reply waits for the disk, the
next body does not. If the disk fails, `roll_back` returns every object to the settled state (ST5).
All of it belongs to the serial thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from hubbub.kernel import (
    Changeset,
    Commit,
    Label,
    Record,
    Tid,
    UnknownObjectError,
    UnstorableError,
    tid_time,
)
from hubbub.space import context
from hubbub.space.connection import Connection
from hubbub.space.context import Transaction
from hubbub.space.hostblobs import HostBlobs

T = TypeVar("T")


class _Latest:
    def __init__(self, ledger: Any) -> None:
        self.load: Callable[[int], Record] = ledger.load_latest
        self.new_oid: Callable[[], int] = ledger.new_oid


class _Settled:
    def __init__(self, ledger: Any) -> None:
        self.load: Callable[[int], Record] = ledger.load_absorbed
        self.new_oid: Callable[[], int] = ledger.new_oid


class LiveSpace:
    """Run commands and queries over a ledger, in the serial thread.

    Args:
        ledger: The `hubbub.store.ledger.Ledger`.
        cache_objects: How many awake objects the commands' connection keeps.
        dev_mode: Raise `BlockingError` where a body blocks; `hubbub.space.dev.install` has been called.
    """

    def __init__(
        self, ledger: Any, *, cache_objects: int = 100_000, dev_mode: bool = False
    ) -> None:
        self.ledger = ledger
        self._dev_mode = dev_mode
        self._live = Connection(_Latest(ledger), cache_objects=cache_objects)
        self._live.past = ledger
        self._query = Connection(
            _Settled(ledger),
            cache_objects=cache_objects,
            read_only=True,
            tracked=True,
            keep_volatile=False,
        )
        self.blobs = self._live.blobs = self._query.blobs = HostBlobs(ledger.store)

    def execute(
        self,
        body: Callable[[Connection], T],
        label: Label,
        *,
        session: Any = None,
        durable: bool = True,
    ) -> tuple[T, Commit]:
        """Run ``body`` as one transaction and append its commit. The caller puts the commit into the queue.

        Args:
            body: Called with the connection; what it returns is returned.
            label: Kept with the commit; the body may replace it (`Transaction.label`).
            session: The user's session on whose behalf it runs.
            durable: False refuses to store anything: ephemeral objects and notices only.

        Raises:
            UnstorableError: If what it changed can't be stored.
            ReservedError: A vote has reserved an object that it changed: run it again when that is over.
            Exception: Whatever the body raises. In each case all objects are as before (SP5).
        """
        connection = self._live
        connection.mend()
        ledger = self.ledger
        tid: Tid = ledger.next_tid()
        transaction = Transaction(
            connection, tid_time(tid), label=label, session=session, tid=tid, dev=self._dev_mode
        )
        try:
            token = context.enter(transaction)
            try:
                value = body(connection)
                prepared = connection.prepare()
            finally:
                context.leave(token)
            if prepared.records and not durable:
                first = prepared.records[0]
                raise UnstorableError(
                    first.class_name, "was changed by a command that says durable=False"
                )
            if ledger.votes.open:
                ledger.check_free(prepared.records)
        except BaseException:
            connection.abort()
            raise
        for record in prepared.records:
            record.tid = tid
        for record in prepared.ephemerals:
            record.tid = tid
        rows = transaction.rows
        if transaction.record_rows and (prepared.records or rows):
            rows = [*rows, *transaction.record_rows]
        commit = Commit(
            tid,
            transaction.label,
            prepared.records,
            rows,
            prepared.ephemerals,
            prepared.changes,
            transaction.notices,
            blobs=prepared.blobs,
        )
        if prepared.blobs:
            self.blobs.appended(commit)
        ledger.append(commit)
        connection.committed(tid)
        return value, commit

    def apply(
        self, changeset: Changeset, done: Sequence[bytes] = (), merge: Any = None
    ) -> tuple[Commit, list[int]]:
        """Commit a peer's ``changeset`` in the serial order.

        Args:
            changeset: What to commit.
            done: As `Ledger.commit_changeset`.
            merge: Merges records instead of the usual one; what it raises goes on upwards.

        Raises:
            ConflictError: Nothing has changed.
        """
        commit, merged = self.ledger.commit_changeset(changeset, done, merge)
        if commit.blobs:
            self.blobs.appended(commit)
        self._live.invalidate([record.oid for record in commit.records])
        return commit, merged

    def finish(
        self, number: int, done: Sequence[bytes] = (), key: bytes = b""
    ) -> tuple[Commit, list[int]]:
        """Commit what has voted; as `Ledger.finish`."""
        commit, merged = self.ledger.finish(number, done, key)
        if commit.blobs:
            self.blobs.appended(commit)
        self._live.invalidate([record.oid for record in commit.records])
        return commit, merged

    def query(
        self, body: Callable[[Connection], T], *, session: Any = None
    ) -> tuple[T, frozenset[int], Tid]:
        """Run ``body`` on the settled state. Return its value, the oids that it read, and the tid it is for.

        What is to be encoded must be encoded inside ``body``: lazy answers wake objects too.

        Raises:
            ReadOnlyError: If it changes anything.
            Exception: Whatever the body raises; it carries ``hubbub_reads`` where it can, so that a live query whose
                run failed can still be run again when what it read changes.
        """
        connection = self._query
        connection.mend()
        tid: Tid = self.ledger.absorbed_tid
        transaction = Transaction(
            connection,
            tid_time(tid) if tid else 0.0,
            session=session,
            read_only=True,
            seed=tid,
            tid=tid,
            dev=self._dev_mode,
        )
        connection.track()
        try:
            token = context.enter(transaction)
            try:
                value = body(connection)
            finally:
                context.leave(token)
        except BaseException as error:
            reads = frozenset(connection.reads or ())
            connection.drop_track()
            error.hubbub_reads = reads  # type: ignore[attr-defined]
            raise
        return value, connection.end_track(), tid

    def absorb(self) -> list[Commit]:
        """Let queries see what has settled. Return the commits that became visible, in order."""
        commits: list[Commit] = self.ledger.absorb()
        if self.blobs.has_pending:
            self.blobs.settled(self.ledger.absorbed_tid)
        return commits

    def newest_tid(self, oid: int) -> int:
        """Return the tid of the newest record of ``oid``, settled or not; 0 if it has none."""
        try:
            record: Record = self.ledger.load_latest(oid)
        except UnknownObjectError:
            return 0
        return record.tid

    def forget_ephemerals(self, oids: Collection[int]) -> None:
        """Drop ephemeral objects that nobody can reach any more."""
        self.ledger.forget_ephemerals(oids)
        self._live.forget(oids)

    def roll_back(self) -> None:
        """Return every object to the settled state (ST5)."""
        self._live.invalidate(self.ledger.roll_back())
        self.blobs.rolled_back(self.ledger.absorbed_tid)
