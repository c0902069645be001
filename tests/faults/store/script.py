"""A history to crash in: commits of all kinds, blobs, packs; and what has to be there of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hubbub.kernel import Commit
from hubbub.store import SQLiteStore
from tests.conformance.store.building import tid
from tests.conformance.store.test_packing import Model, made

STEPS = 26
LOG_LIMIT_BYTES = 1  # the smallest there is, so that the logs turn over
PAD = 9000


def objects_of(number: int) -> dict[int, list[int] | None]:
    """Return what commit ``number`` writes: a chain behind the root that is replaced, and an object that changes."""
    chain = [100 * number + n for n in range(3)]
    written: dict[int, list[int] | None] = {0: [1, chain[0]], 1: []}
    for oid, next_oid in zip(chain, [*chain[1:], None], strict=True):
        written[oid] = [] if next_oid is None else [next_oid]
    if number % 7 == 0:
        written[100 * (number - 1)] = None
    return written


def blob_of(oid: int, number: int) -> bytes:
    return b"%d@%d " % (oid, number) * 300


def commit_of(number: int, stage: Callable[[], Path] | None) -> Commit:
    """Return commit ``number``; with ``stage``, its files are staged."""
    written = made(number, objects_of(number))
    size = PAD * 5 if number % 5 == 0 else PAD
    written.records[1].payload = (b"%d " % number * size)[:size]
    written.rows = [("last", b"", b"%d" % number)]
    if stage is not None and number % 3 == 0:
        names = {}
        for oid in (1, 100 * number):
            path = stage()
            path.write_bytes(blob_of(oid, number))
            names[oid] = path.name
        written.blobs = names
    return written


def pack_behind(number: int) -> int:
    """Return up to which commit the space is packed behind commit ``number``; 0 if it is not."""
    return number - 3 if number % 8 == 0 else 0


class Told:
    """What the script was told, so far.

    Attributes:
        acknowledged: The last commit that was acknowledged.
        begun: The last one that was begun.
        packed: Up to where a pack was told to be done.
        packing: Up to where a pack was begun.
    """

    def __init__(self) -> None:
        self.acknowledged = self.begun = self.packed = self.packing = 0


def play(store: SQLiteStore, told: Told, last: int = STEPS) -> None:
    """Play the script from where it is on."""
    for number in range(told.begun + 1, last + 1):
        written = commit_of(number, store.stage)
        told.begun = number
        store.write([written])
        told.acknowledged = number
        if pack_behind(number):
            told.packing = pack_behind(number)
            store.pack(tid(told.packing))
            told.packed = told.packing


def check(store: SQLiteStore, told: Told) -> int:
    """Check that ``store`` holds all that was acknowledged, whole, and nothing else; return its last commit."""
    last = store.last_tid - tid(0) if store.last_tid else 0
    assert told.acknowledged <= last <= told.begun
    floor = store.feed_floor - tid(0) if store.feed_floor else 0
    assert told.packed <= floor <= told.packing
    model = Model()
    for number in range(1, last + 1):
        for record in commit_of(number, None).records:
            model.revisions.setdefault(record.oid, []).append(record)
    entries = [entry.tid - tid(0) for entry in store.feed(tid(floor) if floor else 0)]
    assert entries == list(range(floor + 1, last + 1))
    assert store.row("last", b"") == (b"%d" % last if last else None)
    for number in range(max(floor, 1), last + 1):
        for oid, (when, payload, refs) in model.reached({0}, tid(number)).items():
            record = store.load(oid, tid(number))
            assert (record.tid, record.payload, record.refs) == (when, payload, refs)
            made_by = when - tid(0)
            if made_by % 3 == 0 and oid in (1, 100 * made_by):
                assert store.blob(oid, when).read_bytes() == blob_of(oid, made_by)
    assert list(store.verify()) == []
    return last


def read_all(store: SQLiteStore) -> None:
    """Read all that can be reached, and check each record against the script; raises what the store does."""
    last = store.last_tid - tid(0)
    todo, seen = [0], set()
    while todo:
        oid = todo.pop()
        if oid in seen:
            continue
        seen.add(oid)
        record = store.load(oid, tid(last))
        number = record.tid - tid(0)
        expected = {r.oid: r for r in commit_of(number, None).records}[oid]
        assert record == expected
        todo += record.refs
