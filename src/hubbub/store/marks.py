"""Sets of oids that take a bit each, and what is still to be looked at in a walk over a graph of them.

Oids are handed out one after the other, so the bits of 65,536 neighbours stand in one page, which is made when its
first one is set: ten million objects take 1.3 MB, and an oid far from all others 8 KiB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from hubbub.kernel import Record, StoreError, tid_text

_PAGE_BYTES = 8192


class OidSet:
    """A set of oids."""

    __slots__ = ("_count", "_pages")

    def __init__(self, oids: Iterable[int] = ()) -> None:
        self._pages: dict[int, bytearray] = {}
        self._count = 0
        for oid in oids:
            self.add(oid)

    def add(self, oid: int) -> bool:
        """Add ``oid``; tells whether it is new."""
        page = self._pages.get(oid >> 16)
        if page is None:
            page = self._pages[oid >> 16] = bytearray(_PAGE_BYTES)
        place, bit = oid >> 3 & 8191, 1 << (oid & 7)
        if page[place] & bit:
            return False
        page[place] |= bit
        self._count += 1
        return True

    def discard(self, oid: int) -> None:
        """Take ``oid`` out, if it is there."""
        page = self._pages.get(oid >> 16)
        place, bit = oid >> 3 & 8191, 1 << (oid & 7)
        if page is not None and page[place] & bit:
            page[place] ^= bit
            self._count -= 1

    def __contains__(self, oid: int) -> bool:
        page = self._pages.get(oid >> 16)
        return page is not None and bool(page[oid >> 3 & 8191] & 1 << (oid & 7))

    def __len__(self) -> int:
        return self._count


class Marking:
    """The oids that a walk has reached, and those of them that it has not looked at yet.

    Attributes:
        reached: All that were reached.
    """

    def __init__(self) -> None:
        self.reached = OidSet()
        # Two bytes for each, so that a wide graph's border takes no more than the marks do by far.
        self._waiting: dict[int, array[int]] = {}

    def reach(self, oids: Iterable[int]) -> None:
        """Note that the walk has come to ``oids``."""
        add, waiting = self.reached.add, self._waiting
        for oid in oids:
            if add(oid):
                page = waiting.get(oid >> 16)
                if page is None:
                    page = waiting[oid >> 16] = array("H")
                page.append(oid & 0xFFFF)

    def follow(self, record: Record) -> None:
        """Note that the walk has come to what ``record`` refers to.

        Raises:
            StoreError: That is not known.
        """
        if record.is_opaque:
            raise StoreError(
                f"what object {record.oid:#x} refers to at tid {tid_text(record.tid)} is not known, and a pack that "
                "collects would drop it: pack without collecting (nothing was dropped)"
            )
        self.reach(record.refs)

    def pieces(self, most: int) -> Iterator[list[int]]:
        """Yield what is to be looked at, sorted, up to ``most`` neighbours at a time, until nothing waits any more.

        Meanwhile more may be reached.
        """
        waiting = self._waiting
        while waiting:
            page, offsets = waiting.popitem()
            base = page << 16
            oids = sorted(base | offset for offset in offsets)
            for start in range(0, len(oids), most):
                yield oids[start : start + most]
