"""Votes: transactions that are checked and could be stored, and wait for the word of others (two-phase commit).

Theory of operation
===================

    vote --finish--> committed      the objects that it writes or relies on are reserved in between:
      |  '--drop---> gone           whoever else wants to change them waits, or is put back and runs again
      |--too late--> gone           a voter that does not come back holds nobody up for long
      '--rolled back-> gone         what it was checked against was not stored (ST5)

Nothing of a vote is stored, so a crash forgets it. All of it belongs to the serial thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from hubbub.kernel import Changeset, OutcomeUnknownError, Record, ReservedError


class Vote:
    """One transaction that has voted.

    Attributes:
        number: Names it.
        changeset: What was asked for.
        records: What is to be stored; they get their tid at the end.
        merged: Oids whose state is not the one given.
        written: The oids of its records.
        reserved: Those, and what it relies on.
        until: When it is given up, by the ledger's clock.
        seen_tid: The newest commit that it may have seen.
    """

    __slots__ = (
        "changeset",
        "merged",
        "number",
        "records",
        "reserved",
        "seen_tid",
        "until",
        "written",
    )

    def __init__(
        self,
        number: int,
        changeset: Changeset,
        records: list[Record],
        merged: list[int],
        until: float,
        seen_tid: int,
    ) -> None:
        self.number = number
        self.changeset = changeset
        self.records = records
        self.merged = merged
        self.written = frozenset(record.oid for record in records)
        self.reserved = self.written.union(oid for oid, _ in changeset.current)
        self.until = until
        self.seen_tid = seen_tid


VOTE_S = 10.0
"""So many seconds a vote holds."""

PATIENCE_S = 2 * VOTE_S
"""So long whoever wants what votes have reserved waits for it."""

VOTE_GONE = "vote_gone"
"""The code of the error that a vote is not open any more: certainly nothing of it was stored."""


def _nobody_waits() -> None:
    pass


class Votes:
    """The votes that are open, and what they reserve.

    Attributes:
        open: By number. Empty most of the time; who has nothing to do with votes looks no further.
        on_over: Called when some of them are over: what they had reserved is free.
    """

    def __init__(self) -> None:
        self.open: dict[int, Vote] = {}
        self.on_over: Callable[[], None] = _nobody_waits
        self._next = secrets.randbits(48)  # so that a number of before a restart names nothing

    def __bool__(self) -> bool:
        return bool(self.open)

    def add(
        self,
        changeset: Changeset,
        records: list[Record],
        merged: list[int],
        until: float,
        seen_tid: int = 0,
    ) -> Vote:
        """Open a vote."""
        vote = Vote(self._next, changeset, records, merged, until, seen_tid)
        self._next += 1
        self.open[vote.number] = vote
        return vote

    def take(self, number: int) -> Vote:
        """Close a vote and return it.

        Raises:
            OutcomeUnknownError: If it is not open: it has waited for too long, or the host was started anew. Nothing of
                it was stored; other parts of its transaction may have been.
        """
        vote = self.open.pop(number, None)
        if vote is None:
            raise OutcomeUnknownError(
                "this vote is not open any more: it has waited for too long or was dropped. Nothing of it was stored "
                "here; what took part in its transaction elsewhere may have been",
                code=VOTE_GONE,
            )
        self.on_over()
        return vote

    def drop(self, number: int) -> bool:
        """Give a vote up; tells whether it was open."""
        return self._drop([number] if number in self.open else [])

    def drop_late(self, now: float) -> bool:
        """Give up the votes whose time is over; tells whether there was one."""
        return self._drop([number for number, vote in self.open.items() if vote.until <= now])

    def drop_unsettled(self, settled_tid: int) -> bool:
        """Give up the votes that may have seen commits above ``settled_tid``: these are not stored (ST5)."""
        return self._drop([n for n, vote in self.open.items() if vote.seen_tid > settled_tid])

    def _drop(self, numbers: list[int]) -> bool:
        for number in numbers:
            del self.open[number]
        if numbers:
            self.on_over()
        return bool(numbers)

    def check(self, written: Iterable[int], relied_on: Iterable[int] = ()) -> None:
        """Check that objects are free.

        Args:
            written: What somebody wants to write.
            relied_on: What they want to rely on, unchanged.

        Raises:
            ReservedError: If one is reserved.
        """
        wanted, relied = set(written), set(relied_on)
        for vote in self.open.values():
            busy = next(iter((vote.reserved & wanted) | (vote.written & relied)), None)
            if busy is not None:
                raise ReservedError(
                    f"object {busy:#x} is reserved by a transaction that has voted and not finished; try again"
                )
