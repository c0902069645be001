"""An embedded space: the store is in this process, any number of threads use it.

Theory of operation
===================

The *serial lock* stands for the host's serial thread: whoever holds it validates a changeset and appends it to the
ledger. Nobody holds it while the disk writes, so commits that wait share one fsync (ST3).

    commit: serial lock [ recover? absorb, validate, append, put ] -> drive or wait -> settled -> known

What a vote has reserved is waited for: the serial lock is let go meanwhile.

When a group fails, what was decided and is not on the disk is forgotten by the next commit (ST5). The fate of a
failure may be told in several parts; those that arrive after the recovery speak of commits it has already forgotten.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from hubbub.kernel import (
    Changeset,
    Clock,
    ClosedError,
    Commit,
    HubbubError,
    Label,
    OutcomeUnknownError,
    ReadOnlyError,
    Record,
    ReservedError,
    Row,
    SystemClock,
    Tid,
    UnknownObjectError,
    is_ephemeral,
)
from hubbub.mount.base import NOTHING, Ballot, InvalidationLog, MountStats, finish_late
from hubbub.mount.cache import RecordCache
from hubbub.space.containers import merge_records, rebase
from hubbub.store.base import FeedEntry, Store
from hubbub.store.feeding import FEED_COMMITS, feed_piece
from hubbub.store.ledger import Ledger, Merge
from hubbub.store.queue import CommitQueue, Settled
from hubbub.store.snapshots import Snapshots
from hubbub.store.upkeep import StoreUpkeep
from hubbub.store.votes import PATIENCE_S, VOTE_GONE, VOTE_S, Vote

_LOOK_AT_VOTES_S = 0.25
"""So often who waits for a vote looks whether its time is over."""

T = TypeVar("T")


class LocalMount:
    """Mount an open store (a `hubbub.mount.Mount`). It closes the store.

    Args:
        store: Where the records are.
        clock: For tids.
        read_only: Refuse commits.
        cache_records: About how many records are kept in memory.
        merge: Merges records in place of the containers' own merges; then nothing is rebased either.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock | None = None,
        read_only: bool = False,
        cache_records: int = 100_000,
        merge: Merge | None = None,
    ) -> None:
        self.read_only = read_only
        self._store = store
        self._ledger = Ledger(
            store,
            clock or SystemClock(),
            merge or merge_records,
            None if merge else rebase,
            cache_records=cache_records,
        )
        self._serial = threading.Lock()
        self._vote_over = threading.Condition(self._serial)
        self._ledger.votes.on_over = self._vote_over.notify_all
        self._news = threading.Condition()
        self._log = InvalidationLog(self._ledger.settled_tid)
        self._failed_tid = 0
        self._recovered_tid = 0
        self._stats = MountStats()
        # The ledger has a cache of its own.
        self.cache = RecordCache(0)
        self.snapshots = Snapshots(store.feed_floor)
        self._is_closed = False
        self._queue = CommitQueue(store, self._settled)
        self.upkeep = StoreUpkeep(
            store,
            lambda: self._log.newest,
            snapshots=self.snapshots,
            on_packed=lambda _: self._ledger.forget_cached(),
            put_rows=None if read_only else self._put_rows,
            clock=clock,
        )

    @property
    def stats(self) -> MountStats:
        with self._news:
            return msgspec.structs.replace(self._stats)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the space is closed")

    # --- reading ------------------------------------------------------------------------------------------------------

    def begin(self) -> Tid:
        self._check_open()
        return self._log.newest

    def load(self, oid: int, at: int) -> Record:
        self._check_open()
        if is_ephemeral(oid):
            raise UnknownObjectError(oid, at)
        self._stats.loads += 1
        return self._ledger.load(oid, at)

    def prefetch(self, oids: Iterable[int], at: int) -> int:
        self._check_open()
        return 0

    def new_oid(self) -> int:
        self._check_open()
        return self._ledger.new_oid()

    def changed_since(
        self, tid: int, known: Mapping[int, int] = NOTHING
    ) -> tuple[Tid, frozenset[int] | None]:
        self._check_open()
        with self._news:
            return self._log.newest, self._log.since(tid, known)

    def wait(self, after_tid: int, timeout_s: float | None = None) -> Tid:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._news:
            while self._log.newest <= after_tid and not self._is_closed:
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    break
                self._news.wait(remaining)
            self._check_open()
            return self._log.newest

    def feed(self, after: int, most: int = FEED_COMMITS) -> list[FeedEntry]:
        self._check_open()
        return feed_piece(self._store, after, self._log.newest, most)

    def sync(self) -> Tid:
        return self.begin()

    # --- blobs --------------------------------------------------------------------------------------------------------

    def stage(self, suffix: str = "") -> Path:
        self._check_open()
        return self._store.stage(suffix)

    def unstage(self, name: str) -> None:
        self._store.unstage(name)

    def blob(self, oid: int, tid: int) -> Path:
        self._check_open()
        return self._store.blob(oid, tid)

    def open_blob(self, oid: int, tid: int) -> BinaryIO:
        return self.blob(oid, tid).open("rb", buffering=0)

    # --- writing ------------------------------------------------------------------------------------------------------

    def commit(self, changeset: Changeset) -> tuple[Tid, list[int]]:
        self._seal(changeset)
        return self._stored(lambda: self._ledger.commit_changeset(changeset))

    def _seal(self, changeset: Changeset) -> None:
        for name in changeset.blobs.values():
            self._store.seal(name)

    def vote(self, changeset: Changeset) -> Ballot:
        self._seal(changeset)

        def decide() -> Vote:
            return self._ledger.vote(changeset, VOTE_S)

        vote = self._decided(decide)
        try:
            # What it has seen is to be there whatever becomes of the disk, so that `finish` can't fail for it.
            self._queue.wait_settled(vote.seen_tid)
        except HubbubError:
            self.drop(Ballot(vote.number))
            raise
        return Ballot(vote.number, vote.merged, changeset)

    def finish(self, ballot: Ballot) -> tuple[Tid, list[int]]:
        try:
            return self._stored(lambda: self._ledger.finish(ballot.number))
        except OutcomeUnknownError as error:
            if error.code != VOTE_GONE:
                raise
            return finish_late(ballot, self.commit, error)

    def drop(self, ballot: Ballot) -> None:
        with self._serial:
            self._ledger.votes.drop(ballot.number)

    def _stored(self, decide: Callable[[], tuple[Commit, list[int]]]) -> tuple[Tid, list[int]]:
        """Have a commit decided, and wait until it is durable."""

        def decide_and_put() -> tuple[Commit, list[int]]:
            commit, merged = decide()
            self._queue.put(commit, wake=False)
            return commit, merged

        commit, merged = self._decided(decide_and_put)
        self._queue.drive()
        self._queue.wait_settled(commit.tid)
        with self._news:
            self._stats.commits += 1
        return commit.tid, merged

    def _put_rows(self, rows: Sequence[Row]) -> None:
        def decide() -> tuple[Commit, list[int]]:
            commit = Commit(self._ledger.next_tid(), Label(), rows=rows)
            self._ledger.append(commit)
            return commit, []

        self._stored(decide)

    def _decided(self, decide: Callable[[], T]) -> T:
        """Return what ``decide`` does in the serial order, once what it wants is not reserved any more."""
        if self.read_only:
            raise ReadOnlyError("this space was opened to read only")
        give_up_at = 0.0
        with self._serial:
            while True:
                self._check_open()
                self._recover()
                self._ledger.absorb()
                try:
                    return decide()
                except ReservedError as error:
                    refusal: HubbubError = error
                    now = time.monotonic()
                    give_up_at = give_up_at or now + PATIENCE_S
                    if now >= give_up_at:
                        break
                    self._vote_over.wait(_LOOK_AT_VOTES_S)
                except HubbubError as error:
                    refusal = error
                    break
            seen = self._ledger.last_tid
        self._wait_for_what_was_seen(seen)
        raise refusal

    def _wait_for_what_was_seen(self, tid: int) -> None:
        """An error may have seen commits that are not durable yet (ST2)."""
        if tid > self._queue.durable_tid:
            try:
                self._queue.wait_settled(tid)
            except HubbubError:
                pass  # then they are gone, and running the transaction again is right all the more

    def _recover(self) -> None:
        if self._failed_tid > self._recovered_tid:
            self._ledger.roll_back()
            self._recovered_tid = self._ledger.last_tid
            self._queue.resume()

    def _settled(self, settled: Settled) -> None:
        """Take note of the fate of some commits, on whatever thread has the queue's turn."""
        if settled.error is not None:
            self._failed_tid = max(self._failed_tid, settled.commits[-1].tid)
            return
        self._ledger.settle(settled.commits)
        stored = [commit for commit in settled.commits if commit.records]
        if not stored:
            return
        changed = _oids(record for commit in stored for record in commit.records)
        with self._news:
            self._log.add(stored[-1].tid, changed)
            self._stats.invalidations += len(changed)
            self._news.notify_all()

    def close(self) -> None:
        with self._serial, self._news:
            if self._is_closed:
                return
            self._is_closed = True
            self._news.notify_all()
            self._vote_over.notify_all()
        self._queue.close()
        self._store.close()


def _oids(records: Iterable[Record]) -> set[int]:
    return {record.oid for record in records}
