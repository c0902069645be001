"""A space as it was: a mount that stands still at one tid and refuses every change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, NoReturn

from hubbub.kernel import (
    Changeset,
    ClosedError,
    FeedGapError,
    ReadOnlyError,
    Record,
    Tid,
    tid_text,
)
from hubbub.mount.base import NOTHING, Ballot, Mount, MountStats
from hubbub.mount.cache import RecordCache
from hubbub.store.base import FeedEntry
from hubbub.store.feeding import FEED_COMMITS
from hubbub.store.snapshots import Snapshots
from hubbub.store.upkeep import Upkeep


class PastMount:
    """Look at another mount's space as it was at ``tid`` (a `hubbub.mount.Mount`).

    Args:
        mount: Of the space.
        tid: A snapshot that it can read.
        owns: Close ``mount`` with this one.
    """

    read_only = True

    def __init__(self, mount: Mount, tid: Tid, *, owns: bool = False) -> None:
        self._mount = mount
        self._tid = tid
        self._owns = owns
        self._is_closed = False
        # So that a pack keeps what is looked at here, also while nobody looks.
        self._hold = mount.snapshots.hold(tid)

    @property
    def snapshots(self) -> Snapshots:
        return self._mount.snapshots

    @property
    def stats(self) -> MountStats:
        return self._mount.stats

    @property
    def cache(self) -> RecordCache:
        return self._mount.cache

    @property
    def upkeep(self) -> Upkeep:
        return self._mount.upkeep

    def begin(self) -> Tid:
        if self._is_closed:
            raise ClosedError("the space is closed")
        return self._tid

    sync = begin

    def load(self, oid: int, at: int) -> Record:
        return self._mount.load(oid, min(at, self._tid))

    def prefetch(self, oids: Iterable[int], at: int) -> int:
        return self._mount.prefetch(oids, min(at, self._tid))

    def stage(self, suffix: str = "") -> Path:
        self._refuse()

    def unstage(self, name: str) -> None:
        self._mount.unstage(name)

    def blob(self, oid: int, tid: int) -> Path:
        return self._mount.blob(oid, tid)

    def open_blob(self, oid: int, tid: int) -> BinaryIO:
        return self._mount.open_blob(oid, tid)

    def new_oid(self) -> int:
        self._refuse()

    def commit(self, changeset: Changeset) -> tuple[Tid, list[int]]:
        self._refuse()

    def vote(self, changeset: Changeset) -> Ballot:
        self._refuse()

    def finish(self, ballot: Ballot) -> tuple[Tid, list[int]]:
        self._refuse()

    def drop(self, ballot: Ballot) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnlyError(
            f"this is the space as it was at tid {tid_text(self._tid)}: the past can't be changed. "
            "Undo a transaction, or open the space without at="
        )

    def changed_since(
        self, tid: int, known: Mapping[int, int] = NOTHING
    ) -> tuple[Tid, frozenset[int] | None]:
        return self.begin(), frozenset()

    def wait(self, after_tid: int, timeout_s: float | None = None) -> Tid:
        if after_tid >= self.begin():
            # Whoever follows the space has seen all there is.
            raise ClosedError("nothing comes behind the past")
        return self._tid

    def feed(self, after: int, most: int = FEED_COMMITS) -> list[FeedEntry]:
        if after > self.begin():
            raise FeedGapError(
                f"tid {tid_text(after)} is in the future of tid {tid_text(self._tid)}, at which this space is looked at"
            )
        return [entry for entry in self._mount.feed(after, most) if entry.tid <= self._tid]

    def close(self) -> None:
        self._is_closed = True
        self._hold.release()
        if self._owns:
            self._mount.close()
