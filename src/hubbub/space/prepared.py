"""What a connection stands between: where its records come from, what a transaction would store, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from hubbub.kernel import NO_BLOBS, HubbubError, NoTransactionError, ReadOnlyError, Record


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


def refusal(obj: Any, read_only: bool) -> HubbubError:
    """Return the error for a change of ``obj`` outside of a transaction, or where only reading is allowed."""
    name = type(obj).__qualname__
    if read_only:
        return ReadOnlyError(
            f"{name} can't be changed where only reading is allowed "
            "(a query, a view, a read-only mount); use a command or a transaction"
        )
    return NoTransactionError(
        f"{name} can be changed only in a transaction: "
        "in a command, or by await self.run(...) from an action"
    )
