"""Commits to test with."""

from __future__ import annotations

from collections.abc import Iterable

from hubbub.kernel import Commit, Label, Record, Row, Tid

BASE_TID = 0x040D_0000_0000_0000


def tid(number: int) -> Tid:
    return Tid(BASE_TID + number)


def commit(
    number: int, oids: Iterable[int] = (), rows: Iterable[Row] = (), size: int = 20
) -> Commit:
    """Commit ``number``: a record of each oid, whose payload says which."""
    records = [
        Record(oid, tid(number), "app:Thing", (oid + 1, 7), b"%d@%d" % (oid, number) + b"." * size)
        for oid in oids
    ]
    return Commit(tid(number), Label(identity="ann", command=f"c{number}"), records, list(rows))
