"""What a mounted space commits: in one message, or by a vote and its end (two-phase commit). It knows no socket.

A commit in flight is repeated with the same key by whoever sends it, so it happens once. A vote needs no key: one whose
answer was lost is given up by the host, and another is taken.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hubbub.kernel import (
    BrokenError,
    Changeset,
    ConflictError,
    OutcomeUnknownError,
    ReadOnlyError,
    Record,
    Tid,
)
from hubbub.mount.base import Ballot, MountStats, finish_late
from hubbub.mount.blobs import RemoteBlobs
from hubbub.mount.failures import UPLOAD_GONE
from hubbub.space.containers import merge_records
from hubbub.store.attempts import MOUNT_KEY_BYTES
from hubbub.store.votes import VOTE_GONE
from hubbub.wire import peer

_MERGES = 10
_DONE_KEYS = 1000
_UPLOADS = 3


def new_mount_key() -> bytes:
    """Return what names a mount to its host."""
    return secrets.token_bytes(MOUNT_KEY_BYTES)


class Asks(Protocol):
    """Sends a message as often as it takes, and returns its answer."""

    def __call__(self, message: Any, writes: Sequence[Record] = (), /) -> Any:
        """Return the answer to ``message``, which commits ``writes``."""
        ...


class Committing:
    """Commit changesets to a host. Any thread.

    Args:
        mount_key: Names this mount to its host. A secret.
        ask: Asks the host.
        lock: Guards the statistics.
        stats: Counts.
        is_read_only: Tells whether commits are refused here already.
        begin: Returns the newest snapshot.
        tell: Sends a message that has no answer.
        blobs: Has the files of blobs.
    """

    def __init__(
        self,
        mount_key: bytes,
        ask: Asks,
        lock: threading.Lock,
        stats: MountStats,
        is_read_only: Callable[[], bool],
        begin: Callable[[], Tid],
        tell: Callable[[Any], None],
        blobs: RemoteBlobs,
    ) -> None:
        self._mount_key = mount_key
        self._ask = ask
        self._tell = tell
        self._lock = lock
        self._stats = stats
        self._is_read_only = is_read_only
        self._begin = begin
        self._blobs = blobs
        self._next_attempt = 1
        self._done_keys: list[bytes] = []

    def commit(self, changeset: Changeset) -> tuple[Tid, list[int]]:
        """See `hubbub.mount.Mount`."""
        self._check()
        if not changeset.writes and not changeset.current:
            return self._begin(), []
        _, merged_here, answer = self._merging(changeset, self._commit)
        tid, merged = answer
        if merged_here:
            merged = [*merged_here, *merged]
        if changeset.blobs:
            self._blobs.committed(changeset.blobs, tid)
        return tid, sorted(set(merged)) if merged else merged

    def vote(self, changeset: Changeset) -> Ballot:
        """See `hubbub.mount.Mount`."""
        self._check()
        writes, merged_here, voted = self._merging(changeset, self._vote)
        sent = Changeset(
            changeset.base,
            writes,
            changeset.current,
            label=changeset.label,
            blobs=changeset.blobs,
            restored_tid=changeset.restored_tid,
        )
        return Ballot(voted.number, sorted({*merged_here, *voted.merged}), sent)

    def finish(self, ballot: Ballot) -> tuple[Tid, list[int]]:
        """See `hubbub.mount.Mount`."""
        self._check()
        assert ballot.changeset is not None
        writes = ballot.changeset.writes
        try:
            tid, merged = self._once(peer.Finish(0, ballot.number, b""), writes)
        except OutcomeUnknownError as error:
            if error.code != VOTE_GONE:
                raise
            tid, merged = finish_late(ballot, self.commit, error)
        else:
            if ballot.changeset.blobs:
                self._blobs.committed(ballot.changeset.blobs, tid)
        return tid, sorted({*ballot.merged, *merged})

    def drop(self, ballot: Ballot) -> None:
        """See `hubbub.mount.Mount`."""
        self._tell(peer.Drop(ballot.number))

    def _check(self) -> None:
        if self._is_read_only():
            raise ReadOnlyError("this space was opened to read only")

    def _merging(
        self, changeset: Changeset, send: Callable[[Changeset, list[Record]], Any]
    ) -> tuple[list[Record], list[int], Any]:
        """Return what was sent in the end, what was merged here for it, and the answer."""
        writes: list[Record] = list(changeset.writes)
        merged_here: list[int] = []
        uploads = 0
        while True:
            if changeset.blobs:
                self._blobs.upload(changeset.blobs.values())
            try:
                return writes, merged_here, send(changeset, writes)
            except BrokenError as error:
                uploads += 1
                if error.code != UPLOAD_GONE or uploads > _UPLOADS:
                    raise
                self._blobs.lost(changeset.blobs.values())
            except ConflictError as conflict:
                place = _merge_here(writes, conflict)
                if place is None or len(merged_here) >= _MERGES * len(writes):
                    raise
                merged_here.append(writes[place].oid)

    def _commit(self, changeset: Changeset, writes: list[Record]) -> tuple[Tid, list[int]]:
        message = peer.Commit(
            0,
            b"",
            changeset.base,
            peer.written(writes),
            changeset.current,
            {},
            changeset.label,
            [],
            changeset.blobs,
            changeset.restored_tid,
        )
        return self._once(message, writes)

    def _vote(self, changeset: Changeset, writes: list[Record]) -> peer.Voted:
        voted: peer.Voted = self._ask(
            peer.Vote(
                0,
                changeset.base,
                peer.written(writes),
                changeset.current,
                {},
                changeset.label,
                changeset.blobs,
                changeset.restored_tid,
            )
        )
        return voted

    def _once(
        self, message: peer.Commit | peer.Finish, writes: Sequence[Record]
    ) -> tuple[Tid, list[int]]:
        """Have something stored under a key of its own, so that a repeat has the first outcome."""
        with self._lock:
            key = self._mount_key + self._next_attempt.to_bytes(8, "big")
            self._next_attempt += 1
            done, self._done_keys = self._done_keys[:_DONE_KEYS], self._done_keys[_DONE_KEYS:]
        try:
            message.key, message.done = key, done
            answer: tuple[Tid, list[int]] = self._ask(message, writes)
        except BaseException:
            with self._lock:
                self._done_keys += done
            raise
        with self._lock:
            self._done_keys.append(key)
            self._stats.commits += 1
        return answer


def _merge_here(writes: list[Record], conflict: ConflictError) -> int | None:
    """Merge the write that ``conflict`` is about, if its class is known here; return its place (SP3)."""
    committed, base = conflict.committed, conflict.base
    if committed is None or base is None:
        return None
    for place, write in enumerate(writes):
        if write.oid == conflict.oid:
            outcome = merge_records(base, committed, write)
            if isinstance(outcome, str):
                return None
            payload, refs = outcome
            writes[place] = Record(write.oid, committed.tid, write.class_name, refs, payload)
            return place
    return None
