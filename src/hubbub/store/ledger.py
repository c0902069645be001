"""The ledger: changesets are validated, merged, voted on, and become commits in one serial order.

All of it happens in the serial thread, over what `hubbub.store.bookkeeping` keeps of commits that are decided and not
on the disk yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from hubbub.kernel import (
    Changeset,
    Clock,
    Commit,
    ConflictError,
    LocalProtocolError,
    Record,
    Tid,
    UnknownObjectError,
    oid_bytes,
    tid_at,
    tid_text,
)
from hubbub.store.base import Store
from hubbub.store.bookkeeping import PEER_COMMIT, Bookkeeping
from hubbub.store.votes import Vote

__all__ = ["PEER_COMMIT", "Ledger", "Merge", "Rebase"]

Merge = Callable[[Record, Record, Record], "tuple[bytes, tuple[int, ...]] | str"]
"""Merge (old, committed, new) into a payload and its refs, or say why it can't be done."""

Rebase = Callable[
    [Changeset, Callable[[int], "Record | None"], Callable[[int, int], Record]],
    "tuple[Changeset, list[int]] | None",
]
"""Make of a changeset that conflicts, with means to look at records, one that does not; and say which oids it does not
write as it did. None if there is none."""

_ABSENT_TID = Tid(0)
_AHEAD_S = 24 * 3600.0
"""So far ahead of the clock the tid of a commit may be that is restored."""


DEFAULT_CACHE_BYTES = 256 << 20
"""So many bytes of payloads are kept in memory, about, unless told otherwise."""


class Ledger(Bookkeeping):
    """Order commits and know the newest state of every object.

    Args:
        store: Where settled records are.
        clock: Gives the time for tids.
        merge: Three-way merge of records; called in the serial thread.
        rebase: Called for a changeset that can't be merged record by record.
        cache_records: About how many settled records are kept decoded-ready in memory.
        cache_bytes: About how many bytes of them; a larger one is kept alone.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        merge: Merge,
        rebase: Rebase | None = None,
        *,
        cache_records: int = 100_000,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        super().__init__(store, clock, cache_records, cache_bytes)
        self._merge = merge
        self._rebase = rebase

    def validate(
        self, changeset: Changeset, tid: Tid, merge: Merge | None = None
    ) -> tuple[list[Record], list[int]]:
        """Check ``changeset`` against what was committed since it was read (ST4, SP6).

        Args:
            changeset: What to check.
            tid: Of its commit.
            merge: Merges records instead of the ledger's own; what it raises goes on upwards.

        Returns:
            Its records as of ``tid``, and the oids of those that had to be merged.

        Raises:
            ConflictError: Naming the first object that can't be merged. Nothing has changed. Where the class was not
                known here, the error carries ``committed`` and ``base`` records for the other side to merge (SP3).
        """
        for oid, read_tid in changeset.current:
            committed = self._latest_or_none(oid)
            committed_tid = committed.tid if committed else _ABSENT_TID
            if committed_tid != read_tid:
                name = committed.class_name if committed else "?"
                raise ConflictError(
                    oid, name, read_tid, committed_tid, "it was relied on unchanged"
                )
        records: list[Record] = []
        merged: list[int] = []
        pending, highest = self._pending_records, self.store.max_oid
        for write in changeset.writes:
            if not write.tid and write.oid > highest and write.oid not in pending:
                # It can't be there: the store need not be asked for each object of a large transaction.
                committed = None
            else:
                committed = self._latest_or_none(write.oid)
            if (committed.tid if committed else _ABSENT_TID) == write.tid or (
                not write.tid and committed is not None and committed.is_gone
            ):
                records.append(Record(write.oid, tid, write.class_name, write.refs, write.payload))
            else:
                assert committed is not None or write.tid
                records.append(self._merged(write, committed, tid, merge or self._merge))
                merged.append(write.oid)
        return records, merged

    def _merged(self, write: Record, committed: Record | None, tid: Tid, merge: Merge) -> Record:
        committed_tid = committed.tid if committed else _ABSENT_TID
        base = None
        outcome: tuple[bytes, tuple[int, ...]] | str
        if committed is None:
            outcome = "nothing referred to it any more, and it was packed away"
        elif not write.tid:
            outcome = "it was made by both"
        elif committed.is_gone or write.is_gone:
            outcome = "it was deleted"
        else:
            base = self._base_of(write)
            outcome = "what was read is packed away"
            if base is not None:
                outcome = merge(base, committed, write)
        if isinstance(outcome, str):
            error = ConflictError(write.oid, write.class_name, write.tid, committed_tid, outcome)
            error.committed, error.base = committed, base
            raise error
        payload, refs = outcome
        return Record(write.oid, tid, write.class_name, refs, payload)

    def _base_of(self, write: Record) -> Record | None:
        """Return the record that ``write`` replaces, or None if it is packed away."""
        try:
            return self.load(write.oid, write.tid)
        except UnknownObjectError:
            return None

    def commit_changeset(
        self, changeset: Changeset, done: Sequence[bytes] = (), merge: Merge | None = None
    ) -> tuple[Commit, list[int]]:
        """Validate ``changeset``, give it a tid and append it.

        Args:
            changeset: What to commit.
            done: Attempt keys whose answers have arrived; their rows are deleted in the same commit.
            merge: As `validate`.

        Returns:
            The appended commit, and the oids that were merged.

        Raises:
            ConflictError: As `validate`.
            ReservedError: A vote has reserved an object that it writes or relies on.
            LocalProtocolError: A commit that is to be restored is not newer than all others, or a day ahead of the
                clock.
        """
        if self.votes.open:
            self.check_free(changeset.writes, changeset.current)
        if changeset.restored_tid:
            tid, records, merged, moved = self._restored(changeset)
        else:
            tid = self.next_tid()
            records, merged, moved = self._validated(changeset, tid, merge)
        commit, merged = self._append_changeset(tid, changeset, records, merged, moved, done)
        return commit, merged

    def vote(self, changeset: Changeset, lasts_s: float, merge: Merge | None = None) -> Vote:
        """Validate ``changeset`` and reserve its objects, so that `finish` can't fail but for the disk.

        Args:
            changeset: As `commit_changeset`.
            lasts_s: Seconds after which it is given up.
            merge: As `validate`.

        Raises:
            ConflictError: As `validate`.
            ReservedError: Another vote has reserved an object.
        """
        self.check_free(changeset.writes, changeset.current)
        if changeset.restored_tid:
            _, records, merged, moved = self._restored(changeset)
        else:
            records, merged, moved = self._validated(changeset, self.next_tid(), merge)
        until = self._clock.monotonic() + lasts_s
        # Not the newest tid: that one may have been rolled back long ago.
        seen = self._pending[-1].tid if self._pending else self._settled_tid
        return self.votes.add(changeset, records, merged + moved, until, seen)

    def check_free(self, writes: Iterable[Record], current: Iterable[tuple[int, int]] = ()) -> None:
        """Check that no vote has reserved what is to be written or relied on; give up those that are late.

        Raises:
            ReservedError: One has.
        """
        votes = self.votes
        votes.drop_late(self._clock.monotonic())
        if votes.open:
            votes.check([write.oid for write in writes], [oid for oid, _ in current])

    def drop_late_votes(self) -> None:
        """Give up the votes whose time is over."""
        self.votes.drop_late(self._clock.monotonic())

    def finish(
        self, number: int, done: Sequence[bytes] = (), key: bytes = b""
    ) -> tuple[Commit, list[int]]:
        """Give the vote ``number`` its tid and append it; as `commit_changeset`.

        Args:
            number: Of the vote.
            done: As `commit_changeset`.
            key: Names this attempt, as `Changeset.key`.

        Raises:
            OutcomeUnknownError: It is not open any more; see `Votes.take`.
            LocalProtocolError: A commit that is to be restored is not newer than all others any more.
        """
        vote = self.votes.take(number)
        tid = self._restored(vote.changeset)[0] if vote.changeset.restored_tid else self.next_tid()
        for record in vote.records:
            record.tid = tid
        vote.changeset.key = key
        return self._append_changeset(tid, vote.changeset, vote.records, vote.merged, [], done)

    def _restored(self, changeset: Changeset) -> tuple[Tid, list[Record], list[int], list[int]]:
        tid = Tid(changeset.restored_tid)
        if tid > tid_at(self._clock.now() + _AHEAD_S):
            # All that comes later would have its tids behind it, until there are none left.
            raise LocalProtocolError(
                f"commit {tid_text(tid)} can't be restored: it is more than a day ahead of this machine's clock. Set "
                f"the clock right, or copy into a new file, which takes every history as it is"
            )
        if tid <= self._last_tid:
            raise LocalProtocolError(
                f"commit {tid_text(tid)} can't be restored behind {tid_text(self._last_tid)}"
            )
        writes = changeset.writes
        return tid, [Record(w.oid, tid, w.class_name, w.refs, w.payload) for w in writes], [], []

    def _append_changeset(
        self,
        tid: Tid,
        changeset: Changeset,
        records: list[Record],
        merged: list[int],
        moved: list[int],
        done: Sequence[bytes],
    ) -> tuple[Commit, list[int]]:
        # A peer may still use oids that a host before this one gave it: nobody else must get them.
        made = [write.oid for write in changeset.writes if not write.tid]
        if made:
            with self._oid_lock:
                self._next_oid = max(self._next_oid, max(made) + 1)
        rows: list[tuple[str, bytes, bytes | None]] = [(PEER_COMMIT, key, None) for key in done]
        if changeset.key:
            rows.append((PEER_COMMIT, changeset.key, oid_bytes(tid)))
            self._pending_keys[changeset.key] = tid
        merged += moved
        changes = changeset.changes
        if changes:
            changes = {oid: c for oid, c in changes.items() if oid not in merged}
        commit = Commit(tid, changeset.label, records, rows, changes=changes)
        if changeset.blobs:
            # What was merged has no file of this changeset's any more.
            commit.blobs = {oid: n for oid, n in changeset.blobs.items() if oid not in merged}
        self.append(commit)
        return commit, merged

    def _validated(
        self, changeset: Changeset, tid: Tid, merge: Merge | None
    ) -> tuple[list[Record], list[int], list[int]]:
        """As `validate`, and once more for what the changeset can be rebased to; with the oids moved by that."""
        try:
            return *self.validate(changeset, tid, merge), []
        except ConflictError:
            rebased = None
            if self._rebase is not None:
                # What it would have to look at may be packed away.
                with suppress(UnknownObjectError):
                    rebased = self._rebase(changeset, self._latest_or_none, self.load)
            if rebased is None:
                raise
        changeset, moved = rebased
        return *self.validate(changeset, tid, merge), moved
