"""A peer's commits and votes: checked, given to the host, answered.

Commits of a connection that its mount has replaced by a newer one are refused: they could otherwise run a second time,
after their first answer was acknowledged and forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

from hubbub.gateway.held import Held, HeldVote
from hubbub.gateway.outlet import Outlet
from hubbub.gateway.told import Peers
from hubbub.kernel import (
    COMPANION_BIT,
    ROOT_OID,
    BrokenError,
    Changeset,
    ConflictError,
    HubbubError,
    LimitError,
    ReadOnlyError,
    Record,
    RemoteProtocolError,
    ReservedError,
    SnapshotGoneError,
)
from hubbub.mount.failures import UPLOAD_GONE, to_failed
from hubbub.perspective.host import Host, Outcome
from hubbub.store.attempts import MOUNT_KEY_BYTES
from hubbub.store.votes import Vote
from hubbub.wire import peer

log = logging.getLogger("hubbub.peers")

_MAX_KEY_BYTES = 64
_OID_LEAP = 1 << 40
_MAX_CLASS_NAME = 1000
_MERGED_BYTES = 64 << 10
_REMEMBERED_WRITES = 64
_MOST_VOTES = 100
_MOST_DONE = 10_000
_LABEL_BYTES = 256 << 10

_NOBODY = (None, frozenset[int]())
_NO_BLOBS: dict[str, Path] = {}

_oid_of = attrgetter("oid")
_tid_of = attrgetter("tid")
_class_name_of = attrgetter("class_name")
_refs_of = attrgetter("refs")

MAY_ONLY_READ = "you may only read this space: show a token that may write"


class Writing:
    """What one peer commits. Belongs to the loop.

    Args:
        host: Whose space it is.
        peers: All peers of it.
        outlet: Of this one.
        serial: The number of the connection.
        max_commits: Commits that may wait for their answers.
        is_read_only: Tells whether it may only read.
        answered: Called behind each answer.
    """

    def __init__(
        self,
        host: Host,
        peers: Peers,
        outlet: Outlet,
        serial: int,
        max_commits: int,
        is_read_only: Callable[[], bool],
        answered: Callable[[], None],
    ) -> None:
        self._host = host
        self._peers = peers
        self._outlet = outlet
        self._serial = serial
        self._max_commits = max_commits
        self._is_read_only = is_read_only
        self._answered = answered
        self.held = Held()

    # --- at once ------------------------------------------------------------------------------------------------------

    def commit(self, message: peer.Commit) -> None:
        """Commit a changeset."""
        written = self._check_changeset(message)
        self._check_keys(message.key, message.done)
        if not self._may_write(message.id, message.key) or not self._is_fit(message):
            return
        blobs = self._take_blobs(message) if message.blobs else _NO_BLOBS
        if blobs is None:
            return
        self._outlet.awaited += 1
        if message.key:
            self._peers.writers[message.key] = self._outlet, written
        changeset = Changeset(
            message.base,
            message.writes,
            message.current,
            # What a peer says of changes inside a container can't be checked: views look again for themselves (LV1).
            {},
            message.label,
            message.key,
            _staged_names(message, blobs),
            message.restored_tid,
        )
        self._host.apply(
            changeset,
            message.done,
            lambda outcome: self._committed(message.id, message.key, written, outcome, blobs),
        )

    # --- in two phases ------------------------------------------------------------------------------------------------

    def vote(self, message: peer.Vote) -> None:
        """Have a changeset vote."""
        written = self._check_changeset(message)
        if not self._may_write(message.id, b"") or not self._is_fit(message):
            return
        self._forget_lost_votes()
        for held in self.held.votes.values():
            if held.answer.id == message.id:
                # The mount's calls are numbered through: its answer was lost with a connection.
                self._outlet.answer(held.answer)
                return
        if len(self.held.votes) >= _MOST_VOTES:
            self._fail(message.id, LimitError(f"more than {_MOST_VOTES} votes are open"))
            return
        blobs = self._take_blobs(message) if message.blobs else _NO_BLOBS
        if blobs is None:
            return
        self._outlet.awaited += 1
        changeset = Changeset(
            message.base,
            message.writes,
            message.current,
            {},
            message.label,
            blobs=_staged_names(message, blobs),
            restored_tid=message.restored_tid,
        )
        self._host.vote(changeset, lambda outcome: self._voted(message, written, blobs, outcome))

    def _voted(
        self, message: peer.Vote, written: set[int], blobs: dict[str, Path], outcome: Outcome
    ) -> None:
        self._outlet.awaited -= 1
        if outcome.error is not None:
            self._give_blobs_back(blobs, outcome.error)
            self._fail(message.id, outcome.error)
        else:
            vote: Vote = outcome.value
            if self._outlet.is_over:
                # Nobody has its number: whoever comes back for it votes again.
                self._host.drop_vote(vote.number)
                self._hold(blobs)
            else:
                self._forget_lost_votes()
                answer = peer.Voted(message.id, vote.number, vote.merged)
                self.held.votes[vote.number] = HeldVote(answer, written, blobs)
                self._outlet.answer(answer)
        self._outlet.answered()
        self._answered()

    def _forget_lost_votes(self) -> None:
        """Those that were given up for their time."""
        still_open = self._host.ledger.votes.open
        for number in [number for number in self.held.votes if number not in still_open]:
            self._hold(self.held.votes.pop(number).blobs)

    def finish(self, message: peer.Finish) -> None:
        """Store what has voted."""
        self._check_keys(message.key, message.done)
        if not self._may_write(message.id, message.key):
            return
        vote = self.held.votes.pop(message.number, None)
        written: set[int] = set() if vote is None else vote.written
        blobs = _NO_BLOBS if vote is None else vote.blobs
        self._outlet.awaited += 1
        if message.key:
            self._peers.writers[message.key] = self._outlet, written
        # A number that is not this mount's own is not taken for one; but it may be the repeat of one that was.
        number = message.number if vote is not None else -1
        self._host.finish(
            number,
            message.key,
            message.done,
            lambda outcome: self._committed(message.id, message.key, written, outcome, blobs),
        )

    def drop(self, message: peer.Drop) -> None:
        """Give a vote up."""
        vote = self.held.votes.pop(message.number, None)
        if vote is not None:
            self._host.drop_vote(message.number)
            self._hold(vote.blobs)

    # --- checks -------------------------------------------------------------------------------------------------------

    def _may_write(self, call_id: int, key: bytes) -> bool:
        if self._is_read_only():
            self._fail(call_id, ReadOnlyError(MAY_ONLY_READ))
            return False
        if self._outlet.awaited >= self._max_commits:
            self._fail(
                call_id, LimitError(f"more than {self._max_commits} commits wait for answers")
            )
            return False
        if key and self._peers.is_replaced(key[:MOUNT_KEY_BYTES], self._serial):
            raise RemoteProtocolError(
                "this connection was replaced by a newer one of the same mount"
            )
        return True

    def _is_fit(self, message: peer.Commit | peer.Vote) -> bool:
        """Refuse what was done at a snapshot that is packed away: it may refer to what is gone; and huge labels."""
        label = message.label
        if len(label.note) + len(label.extra) + len(label.args) > _LABEL_BYTES:
            # Whoever follows the commits is sent it, hundreds at a time.
            large = f"the note and metadata of a transaction have {_LABEL_BYTES >> 10} KiB at most"
            self._fail(message.id, LimitError(large))
            return False
        if not 0 < message.base < self._peers.snapshots.floor:
            return True
        gone = SnapshotGoneError(
            "the snapshot of this transaction is packed away, for its lease was over: run it again"
        )
        self._fail(message.id, gone)
        return False

    def _take_blobs(self, message: peer.Commit | peer.Vote) -> dict[str, Path] | None:
        """Take the uploads that are to be committed; None: answered with a no."""
        uploads = self.held.uploads
        names = message.blobs.values()
        if not message.blobs.keys() <= set(map(_oid_of, message.writes)):
            raise RemoteProtocolError("a blob of an object that is not written")
        if len(set(names)) < len(message.blobs):
            raise RemoteProtocolError("two blobs out of one upload")
        key = message.key if isinstance(message, peer.Commit) else b""
        if key and key in self.held.taken:
            return self.held.taken[key]  # a repeat, and the first one is under way
        if not all(name in uploads for name in names):
            if key and self._host.ledger.outcome_of(key) is not None:
                return {}  # a repeat, and it is answered with the first outcome
            gone = BrokenError("an upload is gone: the host was started anew", code=UPLOAD_GONE)
            self._fail(message.id, gone)
            return None
        taken = {name: uploads.pop(name) for name in names}
        if key:
            self.held.taken[key] = taken
        return taken

    def _give_blobs_back(self, blobs: dict[str, Path], error: BaseException | None) -> None:
        """What certainly was not looked at may be committed once more; other files may be gone."""
        if isinstance(error, ConflictError | ReservedError):
            self._hold(blobs)
        elif error is not None:
            self._remove(blobs)

    def _hold(self, blobs: dict[str, Path]) -> None:
        if self.held.is_over:
            self._remove(blobs)  # nobody comes back for them
        else:
            self.held.uploads.update(blobs)

    def _remove(self, blobs: dict[str, Path]) -> None:
        for path in blobs.values():
            self._host.live.blobs.unstage(path.name)
            self.held.gone(path.name)

    def _check_changeset(self, message: peer.Commit | peer.Vote) -> set[int]:
        """Refuse what would hurt others: the disk writes a group for all. Return the oids that are written."""
        settled = self._host.ledger.settled_tid
        writes, current = message.writes, message.current
        written = set(map(_oid_of, writes))
        oids = {*chain.from_iterable(map(_refs_of, writes)), *(oid for oid, _ in current)}
        oids |= written
        if oids:
            for oid in (min(oids), max(oids)):
                if not 0 <= oid < COMPANION_BIT:
                    raise RemoteProtocolError(f"{oid:#x} is no oid that can be stored")
            # The oids of a commit are never given out again. One that leaps ahead would use up those of everybody.
            if max(oids) > self._host.ledger.new_oids(0).start + _OID_LEAP:
                raise RemoteProtocolError("a commit names oids that nobody was given")
        names = set(map(_class_name_of, writes))
        for name in names:
            if not name and all(_is_gone_rightly(w, message.restored_tid) for w in writes):
                continue
            if not (0 < len(name) <= _MAX_CLASS_NAME and name.isprintable()):
                raise RemoteProtocolError(f"{name[:80]!a} is no name of a class")
        if len(written) < len(writes):
            raise RemoteProtocolError("a commit writes an object twice")
        tids = {message.base, *map(_tid_of, writes), *(tid for _, tid in current)}
        if not (min(tids) >= 0 and max(tids) <= settled):
            raise RemoteProtocolError("a commit says that it has read what is not stored")
        return written

    def _check_keys(self, key: bytes, done: Sequence[bytes]) -> None:
        if len(done) > _MOST_DONE:
            raise RemoteProtocolError(f"a commit names at most {_MOST_DONE} keys that are done")
        if any(not other or len(other) > _MAX_KEY_BYTES for other in done):
            raise RemoteProtocolError(f"a commit's key has 1 to {_MAX_KEY_BYTES} bytes")
        if len(key) > _MAX_KEY_BYTES:
            raise RemoteProtocolError(f"a commit's key has at most {_MAX_KEY_BYTES} bytes")

    def _fail(self, call_id: int, error: BaseException) -> None:
        if not isinstance(error, HubbubError):
            log.error("a peer's commit failed", exc_info=error)
        self._outlet.answer(to_failed(call_id, error))

    # --- answers ------------------------------------------------------------------------------------------------------

    def _committed(
        self,
        call_id: int,
        key: bytes,
        written: set[int],
        outcome: Outcome,
        blobs: dict[str, Path],
    ) -> None:
        self._outlet.awaited -= 1
        self.held.taken.pop(key, None)
        if self._peers.writers.get(key, _NOBODY)[0] is self._outlet:
            del self._peers.writers[key]
        if outcome.error is None:
            tid, merged = outcome.value
            for path in blobs.values():
                self.held.gone(path.name)
            sent, kept = self._merged(outcome, written)
            self._outlet.answer(peer.Committed(call_id, tid, merged, sent, kept))
        else:
            if blobs:
                self._give_blobs_back(blobs, outcome.error)
            self._fail(call_id, outcome.error)
        self._outlet.answered()
        self._answered()

    def _merged(self, outcome: Outcome, written: set[int]) -> tuple[list[Any], list[int]]:
        """Return what is stored instead of what the peer sent, if that is small, and the oids where that is what was
        there before; note what the peer has now."""
        if outcome.commit is None:
            return [], []  # a repeat
        records = outcome.commit.records
        merged = outcome.value[1]
        sent: list[Record] = []
        kept: list[int] = []
        if merged:
            names = set(merged)
            sent = [record for record in records if record.oid in names]
            kept = list(names.difference(map(_oid_of, sent)))
            if sum(len(record.payload) for record in sent) > _MERGED_BYTES:
                sent = []
            names.difference_update(map(_oid_of, sent))
            records = [r for r in records if r.oid in written and r.oid not in names]
        if len(records) <= _REMEMBERED_WRITES:
            self._outlet.neighbours.remember(map(_oid_of, records))
        return peer.written(sent), kept


def _is_gone_rightly(write: Record, restored_tid: int) -> bool:
    """Tell whether ``write``, if it says that its object is gone, says so of one that was there, and nothing else."""
    if write.class_name:
        return True
    if write.oid == ROOT_OID:
        return False  # nobody could use the space any more
    return not write.refs and not write.payload and bool(write.tid or restored_tid)


def _staged_names(message: peer.Commit | peer.Vote, blobs: dict[str, Path]) -> dict[int, str]:
    """Return the names that the store has for the uploads."""
    return {oid: blobs[name].name for oid, name in message.blobs.items() if name in blobs}
