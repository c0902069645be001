r"""What has been decided but may not be on the disk yet, and what is: the bookkeeping of a ledger.

Theory of operation
===================

One thread, the *serial* thread, decides and appends commits (`hubbub.store.ledger`). Another, the *writer*
(`hubbub.store.queue`), makes them durable and then settles them here. Any thread may read what is settled.

    decided (pending, serial thread only)  --settle-->  settled (cache, store; every thread)
                       \--roll_back-->  gone (ST5)

* The newest state of an object, for whoever runs in the serial order, is its newest pending record, else the settled
  one (`load_latest`).
* A settled read is bounded by a tid, so commits that settle while it goes on change nothing in it (`load`).
* Ephemeral records never reach the store. They are pending like the others and, once settled, are taken over by the
  serial thread between two bodies (`absorb`), so that a query sees durable and ephemeral objects at one tid (LV1).
* Nothing that is not settled is ever given to another thread: peers' loads never pass the durable tid (ST2).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from hubbub.kernel import (
    Clock,
    Commit,
    Oid,
    Record,
    Tid,
    UnknownObjectError,
    is_ephemeral,
    oid_from_bytes,
    tid_at,
)
from hubbub.store.attempts import Attempts
from hubbub.store.base import Store
from hubbub.store.votes import Votes

PEER_COMMIT = "peer-commit"
"""Row kind: attempt key of a changeset -> tid of its commit."""


class Bookkeeping:
    """Keep commits from when they are decided until they are settled, and know the newest state of every object.

    Args:
        store: Where settled records are.
        clock: Gives the time for tids.
        cache_records: About how many settled records are kept decoded-ready in memory.
        cache_bytes: About how many bytes of them.
    """

    def __init__(self, store: Store, clock: Clock, cache_records: int, cache_bytes: int) -> None:
        self.store = store
        self._clock = clock
        self._cache_records = max(2, cache_records)
        self._cache_bytes = cache_bytes
        self._young_bytes = (
            0  # of what was put there, so what was written again and again counts for more
        )
        self._lock = threading.Lock()
        self._young: dict[int, Record] = {}
        self._old: dict[int, Record] = {}
        self._settled_tid: Tid = store.last_tid
        # Serial thread only:
        self._last_tid: Tid = store.last_tid
        self._pending: list[Commit] = []
        self._pending_records: dict[int, Record] = {}  # the newest of each object
        self._pending_keys: dict[bytes, Tid] = {}
        self._attempts = Attempts(lambda mount: [key for key, _ in store.rows(PEER_COMMIT, mount)])
        self._ephemerals: dict[int, Record] = {}
        self._absorbed_tid: Tid = store.last_tid
        self._oid_lock = threading.Lock()
        self._next_oid = store.max_oid + 1
        self.votes = Votes()

    # --- any thread -------------------------------------------------------------------------------------------------

    @property
    def settled_tid(self) -> Tid:
        """Every commit up to this tid is durable (or had nothing to store)."""
        return self._settled_tid

    def new_oids(self, count: int = 1) -> range:
        """Hand out ``count`` oids that nobody else gets."""
        with self._oid_lock:
            first = self._next_oid
            self._next_oid = first + count
        return range(first, first + count)

    def new_oid(self) -> Oid:
        """Hand out one oid."""
        return Oid(self.new_oids(1)[0])

    def load(self, oid: int, at: int | None = None) -> Record:
        """Return the settled record of ``oid``, as of tid ``at``.

        Raises:
            UnknownObjectError, CorruptRecordError: As `Store.load`.
        """
        record = self._young.get(oid) or self._old.get(oid)
        if record is not None and (at is None or record.tid <= at):
            if oid not in self._young:
                with self._lock:
                    if self._old.get(oid) is record:
                        self._keep(record)
            if not record.class_name:
                raise UnknownObjectError(oid, at)
            return record
        before = self._settled_tid
        found = self.store.load(oid, at if at is not None else before)
        if at is None or at >= before:
            with self._lock:
                # A commit that settled meanwhile may have made it old.
                if self._settled_tid == before:
                    self._keep(found)
        return found

    def at_hand(self, oid: int, at: int) -> Record | None:
        """As `load`, of what is in memory only: None if the store would have to be asked."""
        record = self._young.get(oid) or self._old.get(oid)
        if record is not None and record.tid <= at and record.class_name:
            return record
        return None

    def settle(self, commits: Iterable[Commit]) -> None:
        """Take note that ``commits`` are durable. Called by the writer, in tid order."""
        commits = tuple(commits)
        if not commits:
            return
        # Of an object that several of them have written, the last state is the one to keep.
        newest = {record.oid: record for commit in commits for record in commit.records}
        size = sum([len(record.payload) for record in newest.values()])
        with self._lock:
            if self._old:
                for oid in newest:
                    self._old.pop(oid, None)
            is_small = self._young_bytes + size <= self._cache_bytes // 2
            if is_small and len(self._young) + len(newest) <= self._cache_records // 2:
                self._young.update(newest)
                self._young_bytes += size
            else:
                for record in newest.values():
                    self._keep(record)
            self._settled_tid = commits[-1].tid

    def ephemeral_refs(self) -> list[int]:
        """Return the oids of durable objects that ephemeral ones refer to. Any thread, by about: see `Snapshots`."""
        pending = [record for commit in list(self._pending) for record in commit.ephemerals]
        records = [*list(self._ephemerals.values()), *pending]
        return [oid for record in records for oid in record.refs if not is_ephemeral(oid)]

    def forget_cached(self) -> None:
        """Forget settled records that are kept in memory: some of them may be packed away."""
        with self._lock:
            self._young, self._old, self._young_bytes = {}, {}, 0

    def _keep(self, record: Record) -> None:
        young = self._young
        young[record.oid] = record
        self._young_bytes += len(record.payload)
        if len(young) > self._cache_records // 2 or self._young_bytes > self._cache_bytes // 2:
            self._old, self._young, self._young_bytes = young, {}, 0

    # --- serial thread ----------------------------------------------------------------------------------------------

    def next_tid(self) -> Tid:
        """Return the tid of the transaction that begins now. It counts as used only once appended (ST1)."""
        now, last = tid_at(self._clock.now()), self._last_tid
        return now if now > last else Tid(last + 1)

    @property
    def last_tid(self) -> Tid:
        """The newest decided tid, settled or not."""
        return self._last_tid

    @property
    def absorbed_tid(self) -> Tid:
        """The tid at which queries read."""
        return self._absorbed_tid

    def load_latest(self, oid: int) -> Record:
        """Return the newest record of ``oid``, decided or settled.

        Raises:
            UnknownObjectError, CorruptRecordError: As `Store.load`.
        """
        pending = self._pending_records.get(oid)
        if pending is not None:
            if not pending.class_name:
                raise UnknownObjectError(oid)
            return pending
        if is_ephemeral(oid):
            return self._ephemeral(oid)
        return self.load(oid)

    def load_at(self, oid: int, at: int) -> Record:
        """Return the record of ``oid`` as of tid ``at``, decided or settled.

        Raises:
            UnknownObjectError, CorruptRecordError: As `Store.load`.
        """
        for commit in reversed(self._pending):
            if commit.tid <= at:
                for record in commit.records:
                    if record.oid == oid:
                        if record.is_gone:
                            raise UnknownObjectError(oid, at)
                        return record
        return self.load(oid, at)

    def records_of(self, tid: int) -> list[Record]:
        """Return the records that transaction ``tid`` wrote, decided or settled, and that are kept."""
        for commit in reversed(self._pending):
            if commit.tid == tid:
                return list(commit.records)
        return self.store.records_of(tid)

    def load_absorbed(self, oid: int) -> Record:
        """Return the record of ``oid`` at `absorbed_tid`, ephemeral objects included.

        Raises:
            UnknownObjectError, CorruptRecordError: As `Store.load`.
        """
        if is_ephemeral(oid):
            return self._ephemeral(oid)
        return self.load(oid, self._absorbed_tid)

    def _ephemeral(self, oid: int) -> Record:
        record = self._ephemerals.get(oid)
        if record is None:
            raise UnknownObjectError(oid)
        return record

    def _latest_or_none(self, oid: int) -> Record | None:
        """Return the newest record of ``oid``, also one that says that it is gone."""
        try:
            return self.load_latest(oid)
        except UnknownObjectError:
            pending = self._pending_records.get(oid)
            if pending is not None or is_ephemeral(oid) or oid > self.store.max_oid:
                return pending
        newest = next(self.store.history(oid), None)
        return None if newest is None else self.store.revision(oid, newest)

    def outcome_of(self, key: bytes) -> Tid | None:
        """Return the tid of the commit that was made under attempt ``key``, or None."""
        tid = self._pending_keys.get(key)
        if tid is None and not self._attempts.is_new(key):
            stored = self.store.row(PEER_COMMIT, key)
            tid = Tid(oid_from_bytes(stored)) if stored else None
        return tid

    def append(self, commit: Commit) -> None:
        """Add ``commit`` at the end of the serial order. It is pending until it is absorbed or rolled back."""
        self._last_tid = commit.tid
        self._pending.append(commit)
        table = self._pending_records
        for record in commit.records:
            table[record.oid] = record
        for record in commit.ephemerals:
            table[record.oid] = record

    def absorb(self) -> list[Commit]:
        """Move what has settled out of the pending commits; queries read as of then. Return those commits."""
        settled = self._settled_tid
        pending = self._pending
        count = 0
        while count < len(pending) and pending[count].tid <= settled:
            count += 1
        done, self._pending = pending[:count], pending[count:]
        # A newer record of the same object stays.
        table = self._pending_records
        for commit in done:
            for record in commit.records:
                if table.get(record.oid) is record:
                    del table[record.oid]
            for record in commit.ephemerals:
                self._ephemerals[record.oid] = record
                if table.get(record.oid) is record:
                    del table[record.oid]
            if self._pending_keys:
                self._forget_keys(commit)
        self._absorbed_tid = settled
        return done

    def roll_back(self) -> set[int]:
        """Forget every pending commit that has not settled (ST5). Return the oids whose newest state changed by it."""
        self.absorb()
        if self.votes.open:
            self.votes.drop_unsettled(self._settled_tid)
        changed: set[int] = set()
        for commit in self._pending:
            changed.update(record.oid for record in commit.records)
            changed.update(record.oid for record in commit.ephemerals)
            self._forget_keys(commit)
        self._pending = []
        self._pending_records.clear()
        return changed

    def forget_ephemerals(self, oids: Iterable[int]) -> None:
        """Drop ephemeral objects that nobody can reach any more."""
        for oid in oids:
            self._ephemerals.pop(oid, None)

    def _forget_keys(self, commit: Commit) -> None:
        for kind, key, _ in commit.rows:
            if kind == PEER_COMMIT:
                self._pending_keys.pop(key, None)
