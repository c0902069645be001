"""A set of oids in little memory: a bit for each, in pages."""

from __future__ import annotations

_PAGE_BITS = 15


class OidSet:
    """Oids that were met: ten million that stand close together take a few megabytes."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._count = 0

    def add(self, oid: int) -> bool:
        """Add ``oid``; tell whether it is new."""
        page = self._pages.get(oid >> _PAGE_BITS)
        if page is None:
            page = self._pages[oid >> _PAGE_BITS] = bytearray(1 << (_PAGE_BITS - 3))
        place = oid & ((1 << _PAGE_BITS) - 1)
        bit = 1 << (place & 7)
        if page[place >> 3] & bit:
            return False
        page[place >> 3] |= bit
        self._count += 1
        return True

    def __len__(self) -> int:
        return self._count
