"""What a peer is likely to load next, so that it comes along with what it asked for, or ahead of that.

Theory of operation
===================

From the object that was asked for the references are followed, those of one object after those of another, in the order
in which they were found: the *frontier*. A piece ends where its room does; the frontier stays for the next piece, until
another load begins a new one. What was sent is not sent again until it changes or the peer says that it has forgotten.

Behind what an object refers to stands what comes after it in the objects that refer to many: whoever goes through one
of them asks for that next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from hubbub.kernel import COMPANION_BIT, CorruptRecordError, Record, UnknownObjectError
from hubbub.store.ledger import Ledger

_MOST_ROOM_BYTES = 256 << 10
_OVERHEAD_BYTES = 64
_MOST_RECORDS = 1000
_FROM_STORE = 64
_FRONTIER = 10_000
_REMEMBERED_SENT = 100_000
_PARENTS = 8
_PARENT_REFS = range(33, 10_001)
_SIBLINGS = 32


class Neighbours:
    """Guess what one peer wants next."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._sent: set[int] = set()
        self._frontier: deque[Iterator[int]] = deque()
        self._parents: dict[int, tuple[tuple[int, ...], dict[int, int]]] = {}

    @property
    def goes_on(self) -> bool:
        """Whether there may be more behind the last piece."""
        return bool(self._frontier)

    def of(self, record: Record, at: int, room: int) -> list[Record]:
        """Return records to send along with ``record``: not sent lately, about ``room`` bytes."""
        oid = record.oid
        self._sent.add(oid)
        self._remember_parent(record)
        if room <= 0:
            return []
        frontier = self._frontier
        frontier.clear()
        if record.refs:
            frontier.append(iter(record.refs))
        for refs, places in self._parents.values():
            place = places.get(oid)
            if place is not None:
                frontier.append(iter(refs[place + 1 : place + 1 + _SIBLINGS]))
        return self.more(at, room) if frontier else []

    def more(self, at: int, room: int) -> list[Record]:
        """Return what follows the last piece, about ``room`` bytes."""
        room = min(room, _MOST_ROOM_BYTES)
        found: list[Record] = []
        frontier, sent, at_hand = self._frontier, self._sent, self._ledger.at_hand
        if len(sent) > _REMEMBERED_SENT:
            sent.clear()
        from_store = _FROM_STORE  # other peers wait meanwhile
        while frontier:
            for oid in frontier[0]:
                if oid in sent:
                    continue
                record = at_hand(oid, at)
                if record is None and from_store:
                    from_store -= 1
                    record = self._load(oid, at)
                    if record is None:
                        continue
                if record is not None:
                    room -= len(record.payload) + _OVERHEAD_BYTES
                if record is None or room < 0 or len(found) == _MOST_RECORDS:
                    frontier.appendleft(iter((oid,)))
                    return found
                found.append(record)
                sent.add(oid)
                if record.refs:
                    self._remember_parent(record)
                    if len(frontier) < _FRONTIER:
                        frontier.append(iter(record.refs))
            frontier.popleft()
        return found

    def _load(self, oid: int, at: int) -> Record | None:
        if oid >= COMPANION_BIT:
            return None
        try:
            return self._ledger.load(oid, at)
        except (UnknownObjectError, CorruptRecordError):
            return None  # whoever asks for it hears of it

    def _remember_parent(self, record: Record) -> None:
        if len(record.refs) in _PARENT_REFS:
            self._parents.pop(record.oid, None)
            places = {oid: place for place, oid in enumerate(record.refs)}
            self._parents[record.oid] = (record.refs, places)
            if len(self._parents) > _PARENTS:
                del self._parents[next(iter(self._parents))]

    def has(self, oids: Iterable[int]) -> set[int]:
        """Return which of ``oids`` the peer has, as far as it is known."""
        return self._sent.intersection(oids)

    def forget(self, oids: Iterable[int]) -> None:
        """Note that the peer's copies are old."""
        self._sent.difference_update(oids)

    def remember(self, oids: Iterable[int]) -> None:
        """Note that the peer has these as they are now."""
        self._sent.update(oids)

    def forget_all(self) -> None:
        """Note that all its copies may be old, or gone."""
        self._sent.clear()
