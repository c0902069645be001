"""What is durable in the group log and not yet in the tables.

A `Recent` is filled by the one thread that writes and read by any. It is never emptied: when its contents are in the
tables the store lets go of it, and a reader that still holds it sees what it saw. Whoever reads looks here first and
in the tables second, so nothing is missed in between.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from operator import itemgetter

from hubbub.kernel import Record, Tid
from hubbub.store.base import FeedEntry
from hubbub.store.group import (
    Group,
    KeyedRow,
    RecordRow,
    TransactionRow,
    decode_label,
    unpack_oids,
)

_tid_of = itemgetter(0)


class Recent:
    """The groups that a stretch of the group log holds.

    Attributes:
        records, transactions: Rows for the tables, in the order in which they were written.
        rows: The newest value of each keyed row that they change; None deletes it.
        number: Of its newest group; 0 while it holds none.
    """

    __slots__ = ("_before", "_newest", "number", "records", "rows", "transactions")

    def __init__(self) -> None:
        self.records: list[RecordRow] = []
        self.transactions: list[TransactionRow] = []
        self.rows: dict[tuple[str, bytes], bytes | None] = {}
        self.number = 0
        self._newest: dict[int, Record] = {}
        self._before: dict[int, list[Record]] = {}

    def add(self, number: int, group: Group) -> None:
        """Take in a group that has become durable. The store's ``last_tid`` shows it to readers afterwards."""
        self.records += group.records
        self.transactions += group.transactions
        newest = self._newest
        for record in group.newest:
            oid = record.oid
            former = newest.get(oid)
            if former is not None:
                # First here, so that a reader who finds a newer one than it wants finds the older one too.
                older = self._before.get(oid)
                if older is None:
                    self._before[oid] = [former]
                else:
                    older.append(former)
            newest[oid] = record
        self.add_rows(group.rows)
        self.number = number

    def add_rows(self, rows: Iterable[KeyedRow]) -> None:
        """Take in keyed rows; a later one counts."""
        own = self.rows
        for kind, key, value in rows:
            own[kind, key] = value

    def find(self, oid: int, at: int) -> Record | None:
        """Return the newest record of ``oid`` whose tid is not above ``at``, or None."""
        newest = self._newest.get(oid)
        if newest is None or newest.tid <= at:
            return newest
        for record in reversed(self._before.get(oid, ())):
            if record.tid <= at:
                return record
        return None

    def history(self, oid: int, at: int) -> list[Tid]:
        """Return the tids of the records of ``oid`` up to ``at``, newest first."""
        newest = self._newest.get(oid)
        if newest is None:
            return []
        # A commit may have moved the one over to the others just now.
        tids = {newest.tid, *(record.tid for record in self._before.get(oid, ()))}
        return [Tid(tid) for tid in sorted(tids, reverse=True) if tid <= at]

    def revision(self, oid: int, tid: int) -> Record | None:
        """Return the record of ``oid`` that ``tid`` wrote, or None."""
        record = self.find(oid, tid)
        return record if record is not None and record.tid == tid else None

    def successor(self, oid: int, tid: int) -> Tid | None:
        """Return the tid of its first record of ``oid`` above ``tid``, or None."""
        newest = self._newest.get(oid)
        if newest is None or newest.tid <= tid:
            return None
        above = [r.tid for r in self._before.get(oid, ()) if r.tid > tid]
        return Tid(min(above, default=newest.tid))

    def oids_of(self, tid: int) -> tuple[int, ...] | None:
        """Return the oids that ``tid`` wrote, in order; None if it is not here."""
        place = bisect_left(self.transactions, tid, key=_tid_of)
        if place == len(self.transactions) or self.transactions[place][0] != tid:
            return None
        return unpack_oids(self.transactions[place][6])

    def oids_above(self, oid: int) -> list[int]:
        """Return the oids above ``oid`` of which it has a record, sorted."""
        return sorted(other for other in list(self._newest) if other > oid)

    def feed(self, after: int, end: int) -> Iterator[FeedEntry]:
        """Yield its transactions above ``after`` and up to ``end``."""
        for tid, _, _, _, byte_count, label, oids, _ in self.transactions[:]:
            if after < tid <= end:
                yield FeedEntry(Tid(tid), decode_label(label), unpack_oids(oids), byte_count)
