"""What a connection stands between: where its records come from, and what a transaction would store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from hubbub.kernel import NO_BLOBS, Record


class Source(Protocol):
    """Where a connection's records come from."""

    def load(self, oid: int) -> Record:
        """Return the record of ``oid`` as of the connection's moment. Raises `UnknownObjectError`."""
        ...

    def new_oid(self) -> int:
        """Return an oid that nobody else gets."""
        ...


class Prepared:
    """What a transaction would store. Records carry the tid that was read, 0 for new objects."""

    __slots__ = ("blobs", "changes", "current", "ephemerals", "records")

    def __init__(
        self,
        records: list[Record],
        ephemerals: list[Record],
        current: list[tuple[int, int]],
        changes: dict[int, Any],
        blobs: Mapping[int, str] = NO_BLOBS,
    ) -> None:
        self.blobs = blobs
        self.records = records
        self.ephemerals = ephemerals
        self.current = current
        self.changes = changes
