"""Which changed records to send to a peer along with the news that they changed, so that it need not ask for them.

Theory of operation
===================

A peer that asks for an object of which it was told that it changed goes on looking at it: from then on the object is
*wanted*, and its next changes are sent whole. The host does not hear of the peer's reads, so that ends after a number
of changes; if the peer still looks, it asks once more, and so on.

    sent --told that it changed--> told --asked for again--> wanted(256) --pushed--> wanted(255) ... --pushed--> sent

What is written in one commit with a wanted object comes along, and is wanted for as long as that is: the other half of
a bucket that was split is most likely the next that changes. Objects that nobody asked for again cost nothing.

All of it is within bounds: bytes of a record and of a message, and the number of objects that are remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hubbub.kernel import Record

_CHANGES = 256
_RECORD_BYTES = 16 << 10
_MESSAGE_BYTES = 64 << 10
_WITH_IT = 8
_REMEMBERED = 10_000


class Pushed:
    """What one peer wants to be sent. Belongs to the loop.

    Attributes:
        wanted: For how many changes each object is wanted yet.
    """

    def __init__(self) -> None:
        self.wanted: dict[int, int] = {}
        self._told: dict[int, None] = {}

    def told(self, oids: Collection[int]) -> None:
        """Note that the peer had ``oids`` and hears now that they changed, without their records."""
        told = self._told
        told.update(dict.fromkeys(oids))
        if len(told) > _REMEMBERED:
            for oid in list(told)[: len(told) - _REMEMBERED]:
                del told[oid]

    def asked(self, oid: int) -> None:
        """Note that the peer asks for ``oid``."""
        if oid in self._told:
            del self._told[oid]
            self._want(oid, _CHANGES)

    def _want(self, oid: int, changes: int) -> None:
        self.wanted[oid] = changes
        if len(self.wanted) > _REMEMBERED:
            del self.wanted[next(iter(self.wanted))]

    def chosen(
        self, changed: Mapping[int, Record], commits: Collection[Collection[int]]
    ) -> list[Record]:
        """Return the records to push, and count them as pushed.

        Args:
            changed: The newest records of what the peer is told of.
            commits: The oids that each of the commits has written.
        """
        wanted = self.wanted
        found: dict[int, Record] = {}
        room = _MESSAGE_BYTES
        for oids in commits:
            mine = wanted.keys() & oids
            if not mine:
                continue
            left = max(map(wanted.__getitem__, mine)) - 1
            for oid in oids if len(oids) <= _WITH_IT else mine:
                record = changed.get(oid)
                if record is None or oid in found:
                    continue
                size = len(record.payload)
                if size > min(room, _RECORD_BYTES):
                    continue
                room -= size
                found[oid] = record
                if oid not in mine and left > 0:
                    self._want(oid, left)
        for oid in found:
            left = wanted.get(oid, 0) - 1
            if left > 0:
                wanted[oid] = left
            else:
                wanted.pop(oid, None)
        return list(found.values())

    def clear(self) -> None:
        """Forget everything: the peer's copies are gone."""
        self.wanted.clear()
        self._told.clear()
