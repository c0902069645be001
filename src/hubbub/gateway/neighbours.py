"""What a peer is likely to load next, so that it comes along with what it asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from hubbub.kernel import COMPANION_BIT, CorruptRecordError, Record, UnknownObjectError
from hubbub.store.ledger import Ledger

_NEIGHBOURS = 32
_NEIGHBOUR_BYTES = 64 << 10
_REMEMBERED_SENT = 50_000
_LOOKED_AT = 1000
_PARENTS = 8
_PARENT_REFS = 10_000


class Neighbours:
    """Guess what one peer wants next: what an object refers to, then what stands behind it where it was referred to."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._sent: dict[int, None] = {}
        self._parents: dict[int, tuple[tuple[int, ...], dict[int, int]]] = {}

    def of(self, record: Record, at: int) -> list[Record]:
        """Return records to send along with ``record``: not sent lately, within bounds."""
        found: list[Record] = []
        room = _NEIGHBOUR_BYTES
        self._remember(record.oid)
        for oid in islice(self._likely(record), _LOOKED_AT):
            if oid in self._sent or oid >= COMPANION_BIT:
                continue
            try:
                neighbour = self._ledger.load(oid, at)
            except (UnknownObjectError, CorruptRecordError):
                continue  # whoever asks for it hears of it
            room -= len(neighbour.payload) + 64
            if room < 0:
                break
            found.append(neighbour)
            self._remember_parent(neighbour)
            self._remember(oid)
            if len(found) == _NEIGHBOURS:
                break
        self._remember_parent(record)
        return found

    def _remember_parent(self, record: Record) -> None:
        if _NEIGHBOURS < len(record.refs) <= _PARENT_REFS:
            self._parents.pop(record.oid, None)
            places = {oid: place for place, oid in enumerate(record.refs)}
            self._parents[record.oid] = (record.refs, places)
            if len(self._parents) > _PARENTS:
                del self._parents[next(iter(self._parents))]

    def _likely(self, record: Record) -> Iterator[int]:
        yield from record.refs[:_PARENT_REFS]
        for refs, places in self._parents.values():
            place = places.get(record.oid)
            if place is not None:
                yield from refs[place + 1 : place + 1 + _NEIGHBOURS]

    def _remember(self, oid: int) -> None:
        if len(self._sent) >= _REMEMBERED_SENT:
            self._sent.clear()
        self._sent[oid] = None

    def forget(self, oids: Iterable[int]) -> None:
        """Note that the peer's copies are old."""
        for oid in oids:
            self._sent.pop(oid, None)

    def forget_all(self) -> None:
        """Note that all its copies may be old."""
        self._sent.clear()
