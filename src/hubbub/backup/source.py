"""Where a backup, an export or a copy takes its objects from: what a mount offers, embedded or over the network."""

from __future__ import annotations

from typing import Protocol

from hubbub.kernel import Changeset, Record, Tid
from hubbub.store.upkeep import Upkeep


class Source(Protocol):
    """A space to read from: a `hubbub.mount.Mount`, seen from below."""

    @property
    def upkeep(self) -> Upkeep:
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


class Target(Source, Protocol):
    """A space to write to."""

    def new_oid(self) -> int:
        """See `Mount`."""
        ...

    def commit(self, changeset: Changeset) -> tuple[Tid, list[int]]:
        """See `Mount`."""
        ...
