"""Where a backup, an export or a copy takes its objects from: what a mount offers, embedded or over the network."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hubbub.kernel import Changeset, LimitError, Record, Tid, UnknownObjectError
from hubbub.store.base import FeedEntry, StoredCommit
from hubbub.store.upkeep import Upkeep

BLOB_CLASS = "hubbub.Blob"
"""Class name of the records that have blobs in a space of Hubbub's own objects."""


class Source(Protocol):
    """A space to read from: a `hubbub.mount.Mount`, seen from below."""

    @property
    def upkeep(self) -> Upkeep:
        """See `Mount`."""
        ...

    def feed(self, after: int, most: int = 1) -> list[FeedEntry]:
        """See `Mount`."""
        ...

    def sync(self) -> Tid:
        """See `Mount`."""
        ...

    def wait(self, after_tid: int, timeout_s: float | None = None) -> Tid:
        """See `Mount`."""
        ...

    def load(self, oid: int, at: int) -> Record:
        """See `Mount`."""
        ...

    def blob(self, oid: int, tid: int) -> Path:
        """See `Mount`."""
        ...


class Target(Source, Protocol):
    """A space to write to."""

    def stage(self) -> Path:
        """See `Mount`."""
        ...

    def unstage(self, name: str) -> None:
        """See `Mount`."""
        ...

    def new_oid(self) -> int:
        """See `Mount`."""
        ...

    def commit(self, changeset: Changeset) -> tuple[Tid, list[int]]:
        """See `Mount`."""
        ...


def commits_above(source: Source, after: int, end: int) -> list[StoredCommit]:
    """Return the first kept commits above ``after`` and up to ``end``; also one that is too large for a message.

    Raises:
        HubbubError: As `Upkeep.commits`.
    """
    try:
        return source.upkeep.commits(after, end)
    except LimitError:
        (entry,) = source.feed(after, 1)
        records = []
        for oid in entry.oids:
            try:
                records.append(source.upkeep.revision(oid, entry.tid))
            except UnknownObjectError:
                continue  # packed away
        blobs = {r.oid: size for r in records if (size := blob_size_of(source, r)) is not None}
        return [StoredCommit(entry.tid, entry.label, records, blobs)]


def blob_size_of(source: Source, record: Record) -> int | None:
    """Return how many bytes the blob of ``record`` has; None if it has none."""
    if not record.class_name.endswith("Blob"):
        return None
    try:
        return source.blob(record.oid, record.tid).stat().st_size
    except UnknownObjectError:
        return None  # it was never written
