"""Savepoints: states within a transaction to which it can return (SP5).

Theory of operation
===================

At a savepoint everything that has changed is encoded into the *stash*, which stands before the connection's source from
then on: a changed object may become a ghost again and wakes as it was at the savepoint. So going back means to let the
stash return to what it held, and to make ghosts of all that has changed since; and what a huge transaction has
finished need not stay in memory. A transaction without savepoints has no stash and pays nothing.

    source <-- stash {oid: record}, journal of what was put there, a point is a length of that journal

What is kept of each point is a few numbers, so a loop may set one in each round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self

from hubbub.kernel import NoTransactionError, Record, UnknownObjectError

if TYPE_CHECKING:
    from hubbub.space.context import Transaction


class _Source(Protocol):
    def load(self, oid: int) -> Record: ...

    def new_oid(self) -> int: ...


class Point:
    """Where a transaction stood: lengths of what it had collected."""

    __slots__ = ("current", "journal", "layers", "new")

    def __init__(self, journal: int, layers: int, new: int, current: int) -> None:
        self.journal = journal
        self.layers = layers
        self.new = new
        self.current = current


class Stash:
    """The states that a transaction has put aside, before ``source`` (a `hubbub.space.connection.Source`).

    Attributes:
        source: What is behind it.
        records: The newest state put aside of each object, under the tid that was read.
        layers: Keyed changes of containers, from point to point.
        has_brought_back: Whether former states were brought back in this transaction.
    """

    def __init__(self, source: _Source) -> None:
        self.source = source
        self.new_oid: Callable[[], int] = source.new_oid
        self.records: dict[int, Record] = {}
        self.has_brought_back = False
        self.layers: list[dict[int, dict[Any, Any]]] = []
        self._journal: list[tuple[int, Record | None]] = []
        self._points: list[Point] = []

    @property
    def tid(self) -> int:
        """The snapshot that ``source`` is at; 0 if it is the newest."""
        tid: int = getattr(self.source, "tid", 0)
        return tid

    def load(self, oid: int) -> Record:
        record = self.records.get(oid)
        return self.source.load(oid) if record is None else record

    def put(self, record: Record) -> None:
        """Put a state aside."""
        self._journal.append((record.oid, self.records.get(record.oid)))
        self.records[record.oid] = record

    def found(self, oid: int) -> Record | None:
        """Return what the transaction found of an object that was put aside, a record without payload if nothing."""
        mine = self.records.get(oid)
        if mine is None:
            return None
        try:
            return self.source.load(oid)
        except UnknownObjectError:
            return Record(oid, 0, mine.class_name, (), b"")

    def point(self, new: int, current: int) -> Point:
        """Return a point to go back to.

        Args:
            new: How many new objects there are.
            current: How many objects the transaction relies on.
        """
        point = Point(len(self._journal), len(self.layers), new, current)
        self._points.append(point)
        return point

    def check(self, point: Point) -> None:
        """Check that it is possible to go back to ``point``.

        Raises:
            NoTransactionError: If it belongs to another transaction, or an earlier point was gone back to.
        """
        if point not in self._points:
            raise gone()

    def go_back(self, point: Point) -> set[int]:
        """Return to what was put aside at ``point``, and forget later points; return the oids whose state changes."""
        changed: set[int] = set()
        journal = self._journal
        while len(journal) > point.journal:
            oid, before = journal.pop()
            changed.add(oid)
            if before is None:
                del self.records[oid]
            else:
                self.records[oid] = before
        del self.layers[point.layers :]
        del self._points[self._points.index(point) + 1 :]
        return changed

    def changes(self, latest: dict[int, dict[Any, Any]]) -> dict[int, Any]:
        """Return the keyed changes of the whole transaction: those of all layers, and the ``latest`` behind them.

        Nothing is told of any container where states were brought back: nobody has noted what that changes in it.
        """
        if self.has_brought_back:
            return {}
        merged: dict[int, Any] = {}
        for layer in (*self.layers, latest):
            for oid, noted in layer.items():
                merged.setdefault(oid, {}).update(noted)
        return merged


def gone() -> NoTransactionError:
    """Return the error for a savepoint that can't be used any more."""
    return NoTransactionError(
        "this savepoint is gone: its transaction has ended, or has gone back to an earlier savepoint"
    )


class Savepoint:
    """A state of the running transaction to return to, as often as is wanted, until it ends.

    As a context manager it goes back when its block raises; the exception goes on upwards.
    """

    __slots__ = ("_label", "_notices", "_point", "_record_rows", "_rows", "_transaction")

    def __init__(self, transaction: Transaction) -> None:
        self._point: Point = transaction.connection.savepoint()
        self._transaction = transaction
        self._label = transaction.label
        self._notices = len(transaction.notices)
        self._rows = len(transaction.rows)
        self._record_rows = len(transaction.record_rows)

    def rollback(self) -> None:
        """Undo all that the transaction has done since: objects, containers, what it sent, jobs, notes.

        Objects are as they were at the savepoint; those that are new since belong to nobody again. What was taken out
        of an object before, such as a list, is not part of it any more: read it again. Savepoints that were made since
        are gone; this one can be used again.

        Raises:
            NoTransactionError: If the transaction has ended, or has gone back to an earlier savepoint.
        """
        transaction = self._transaction
        transaction.connection.roll_back(self._point)
        transaction.label = self._label
        del transaction.notices[self._notices :]
        del transaction.rows[self._rows :]
        del transaction.record_rows[self._record_rows :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, *_: object) -> None:
        if exc_type is not None:
            self.rollback()
