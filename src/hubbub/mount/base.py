"""What a mount is: a peer's face of a space, whether it is embedded here or lives in a host elsewhere.

Theory of operation
===================

A mount knows a newest tid, which moves forward only. A *snapshot* is a tid that once was the newest known; `load` is
asked for a record *at* a snapshot, so a transaction sees one moment however long it takes (SP1). When the newest tid
moves, the `InvalidationLog` notes which objects changed, so that an owner of objects at an older snapshot learns what
to throw away, or that nobody knows any more and all has to go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from hubbub.kernel import Changeset, OutcomeUnknownError, Record, Tid, TransientError
from hubbub.mount.cache import RecordCache
from hubbub.store.base import FeedEntry
from hubbub.store.feeding import FEED_COMMITS
from hubbub.store.snapshots import Snapshots
from hubbub.store.upkeep import Upkeep

NOTHING: Mapping[int, int] = {}


class MountStats(msgspec.Struct):
    """What a mount has done since it was opened.

    Attributes:
        requests: Messages sent to the host that wait for an answer; 0 for an embedded space.
        loads: Records that objects woke from.
        cache_hits: How many of them were kept here and needed no request, by about: threads count without a lock.
        commits: Changesets that were stored.
        invalidations: Objects that were reported changed by others.
        bytes_in: Bytes received from the host.
        bytes_out: Bytes sent to it.
        reconnects: Times that a broken connection was made anew.
        cached_bytes: Bytes of records that are kept now.
        cached_records: How many these are.
        evictions: Records that were let go of, for there was no room.
        prefetched: Records that `Mount.prefetch` has brought.
    """

    requests: int = 0
    loads: int = 0
    cache_hits: int = 0
    commits: int = 0
    invalidations: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    reconnects: int = 0
    cached_bytes: int = 0
    cached_records: int = 0
    evictions: int = 0
    prefetched: int = 0

    @property
    def cache_misses(self) -> int:
        """Records that were not kept here."""
        return self.loads - self.cache_hits

    @property
    def hit_rate(self) -> float:
        """How many of the records that were wanted were kept here, from 0 to 1; 1 where nothing was wanted."""
        return self.cache_hits / self.loads if self.loads else 1.0


class Ballot(msgspec.Struct, frozen=True):
    """A vote that was taken.

    Attributes:
        number: Names it.
        merged: Oids whose state is not the one given, because it was merged.
        changeset: What has voted.
    """

    number: int
    merged: list[int] = []
    changeset: Changeset | None = None


def finish_late(
    ballot: Ballot,
    commit: Callable[[Changeset], tuple[Tid, list[int]]],
    gone: OutcomeUnknownError,
) -> tuple[Tid, list[int]]:
    """Commit what has voted, though its vote is over: certainly nothing of it was stored, and nobody may have minded.

    Args:
        ballot: The vote.
        commit: Commits its changeset.
        gone: What `Mount.finish` raises if that can't be done.
    """
    if ballot.changeset is None:
        raise gone
    try:
        return commit(ballot.changeset)
    except TransientError as error:
        raise OutcomeUnknownError(f"{gone.message} ({error})", code=gone.code) from error


class Mount(Protocol):
    """A space as one process sees it. Any thread may call any method at any time.

    Every method raises `ClosedError` after `close`.
    """

    @property
    def read_only(self) -> bool:
        """Whether commits are refused."""
        ...

    @property
    def stats(self) -> MountStats:
        """What it has done so far; a copy."""
        ...

    @property
    def cache(self) -> RecordCache:
        """Records that are kept. What is in its ``recent`` needs no `load`."""
        ...

    @property
    def snapshots(self) -> Snapshots:
        """The snapshots of this process, and up to where nothing may be read any more."""
        ...

    def begin(self) -> Tid:
        """Return the newest snapshot known. Takes in what has arrived, and does not wait.

        Raises:
            BrokenError: If there is no connection to the host and none could be made in time.
        """
        ...

    def load(self, oid: int, at: int) -> Record:
        """Return the newest record of ``oid`` whose tid is not above ``at``.

        Raises:
            UnknownObjectError: If there is none.
            CorruptRecordError: If it is damaged (ST6).
            BrokenError: As `begin`.
        """
        ...

    def prefetch(self, oids: Iterable[int], at: int) -> int:
        """Fetch the records of ``oids`` at the snapshot ``at`` that are not kept here, all in one round trip or few.

        Those that do not exist are left out. An embedded space has nothing to fetch.

        Returns:
            How many have come.
        """
        ...

    def commit(self, changeset: Changeset) -> tuple[Tid, list[int]]:
        """Store ``changeset``, durably, once.

        Returns:
            Its tid, and the oids whose stored state is not the one given, because it was merged. `begin` returns at
            least that tid from now on.

        Raises:
            ConflictError: Somebody was first and it can't be merged (ST4). Nothing was stored.
            DiskFullError: Nothing was stored.
            ReadOnlyError: Of a read-only mount.
            OutcomeUnknownError: The connection, or the disk, failed on the way. It may be stored or not.
            BrokenError: There is no connection; certainly nothing was stored.
        """
        ...

    def stage(self, suffix: str = "") -> Path:
        """Return the path of a new empty file; once it is written a changeset may name it (`Changeset.blobs`).

        Args:
            suffix: Of its name, as `hubbub.store.Store.stage`.

        Raises:
            DiskFullError: There is no room.
            StoreError: It can't be made.
        """
        ...

    def unstage(self, name: str) -> None:
        """Remove a staged file that will not be committed. Idempotent; a committed one stays."""
        ...

    def blob(self, oid: int, tid: int) -> Path:
        """Return the file of the blob that ``oid`` had at record ``tid``. It must not be changed.

        Over a network it is fetched, and stays here for a minute at least.

        Raises:
            UnknownObjectError: If there is none.
            CorruptRecordError: If it is missing or damaged (ST6).
            BrokenError: As `begin`; the next call goes on where this one stood.
        """
        ...

    def open_blob(self, oid: int, tid: int) -> BinaryIO:
        """Open the file of a blob. As long as it is open it does not go. Raises as `blob`."""
        ...

    def vote(self, changeset: Changeset) -> Ballot:
        """Check ``changeset`` and reserve what it writes, so that `finish` can't fail but for the disk (two phases).

        It holds for `hubbub.store.votes.VOTE_S` seconds; then others may change what it had reserved. Whoever wants
        that meanwhile waits.

        Raises:
            HubbubError: As `commit`. Nothing was stored or reserved.
        """
        ...

    def finish(self, ballot: Ballot) -> tuple[Tid, list[int]]:
        """Store what has voted; as `commit`. Where the vote was given up meanwhile it is stored if it still can be.

        Raises:
            OutcomeUnknownError: As `commit`; also, with the code ``vote_gone``, if the vote was given up and somebody
                else has changed what it needs: then certainly nothing of it was stored here, but what took part in the
                transaction elsewhere may have been.
        """
        ...

    def drop(self, ballot: Ballot) -> None:
        """Give a vote up. Idempotent, and harmless for one that is over."""
        ...

    @property
    def upkeep(self) -> Upkeep:
        """What can be asked beside loads and commits."""
        ...

    def new_oid(self) -> int:
        """Return an oid that nobody else gets."""
        ...

    def changed_since(
        self, tid: int, known: Mapping[int, int] = NOTHING
    ) -> tuple[Tid, frozenset[int] | None]:
        """Return the newest tid and what changed after ``tid`` up to it; None when that is not known any more.

        Args:
            tid: A snapshot.
            known: Leave these out: oids whose state as of a newer tid is known, if it is certain to be the newest.
        """
        ...

    def wait(self, after_tid: int, timeout_s: float | None = None) -> Tid:
        """Wait until something newer than ``after_tid`` is known, or the time is over; return the newest tid known.

        It survives broken connections: it goes on when the host is back.
        """
        ...

    def feed(self, after: int, most: int = FEED_COMMITS) -> list[FeedEntry]:
        """Return commits above ``after``, in tid order, none left out: the first ones, ``most`` of them or fewer.

        Nothing comes back only where there is nothing. Whatever it tells of can be read at its tid.

        Args:
            after: A tid; 0 begins with the oldest commit that is kept.
            most: How many at most.

        Raises:
            FeedGapError: If the feed does not reach back to ``after``, or ``after`` is in the future.
            BrokenError: As `begin`.
        """
        ...

    def sync(self) -> Tid:
        """Make a round trip: whatever anybody was told is committed before this call is known afterwards.

        Raises:
            BrokenError: As `begin`.
        """
        ...

    def close(self) -> None:
        """Close it. Idempotent. Whoever waits gets `ClosedError`."""
        ...


class InvalidationLog:
    """Remember which objects changed lately, within bounds. Guarded by its owner's lock.

    Attributes:
        newest: The newest tid.

    Args:
        tid: Where it begins; nothing is known of changes at or before it.
        limit: About how many oids it remembers.
    """

    def __init__(self, tid: int, limit: int = 200_000) -> None:
        self._limit = limit
        self.reset(tid)

    def reset(self, tid: int) -> None:
        """Forget everything; begin anew at ``tid``."""
        self._floor = tid
        self.newest = Tid(tid)
        self._size = 0
        self._entries: deque[tuple[int, frozenset[int]]] = deque()
        self._last: dict[int, int] = {}
        self._last_certain: dict[int, int] = {}

    def add(self, tid: int, oids: Collection[int], perhaps: Collection[int] = ()) -> None:
        """Note that ``oids`` changed after the newest tid and up to ``tid``, and ``perhaps`` others too."""
        if tid <= self.newest:
            return
        self.newest = Tid(tid)
        changed = frozenset(oids)
        if changed:
            fresh = dict.fromkeys(changed, tid)
            self._last_certain.update(fresh)
            self._last.update(fresh)
        if perhaps:
            self._last.update(dict.fromkeys(perhaps, tid))
            changed = changed.union(perhaps)
        self._entries.append((tid, changed))
        self._size += 1 + len(changed)
        while self._size > self._limit:
            self._forget_oldest()

    def settle(self, oid: int, tid: int) -> None:
        """Note that ``oid``, which perhaps changed lately, has changed at ``tid`` and not later."""
        if self._last.get(oid, 0) > tid:
            self._last[oid] = tid

    def _forget_oldest(self) -> None:
        old, changed = self._entries.popleft()
        self._size -= 1 + len(changed)
        self._floor = old
        for last in (self._last, self._last_certain):
            for oid in changed:
                if last.get(oid, old + 1) <= old:
                    del last[oid]

    def since(self, tid: int, known: Mapping[int, int] = NOTHING) -> frozenset[int] | None:
        """Return what changed after ``tid``, or None if that is not known; as `Mount.changed_since`."""
        changed = self._since(tid)
        if changed and known:
            last = self._last
            changed = changed.difference(
                [oid for oid, at in known.items() if at >= last.get(oid, at)]
            )
        return changed

    def _since(self, tid: int) -> frozenset[int] | None:
        if tid == self.newest:
            return frozenset()
        if not self._floor <= tid < self.newest:
            return None
        found: list[frozenset[int]] = []
        for entry_tid, oids in reversed(self._entries):
            if entry_tid <= tid:
                break
            found.append(oids)
        return found[0].union(*found[1:]) if len(found) > 1 else found[0]

    def is_unchanged(self, oid: int, after: int, *, certain_only: bool = False) -> bool:
        """Tell whether it is known that ``oid`` did not change after ``after``.

        Args:
            oid: Which object.
            after: A tid.
            certain_only: Leave out what only perhaps changed.
        """
        last = self._last_certain if certain_only else self._last
        return after >= self._floor and last.get(oid, after) <= after
