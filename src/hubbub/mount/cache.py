"""Records that a peer keeps, each with the span of tids for which it is the right one.

Theory of operation
===================

A version is valid from the tid that wrote it *until* some tid, or, as long as nothing else is known, for every
snapshot up to the newest known. Several connections at several snapshots share the versions of one object.

    add(record, until=None)  --close(oid, until)-->  add-only history  --bytes run out-->  gone

Two generations stand in for an exact order of use: what is used moves to the young one; when that holds half of the
bytes it becomes the old one, and what was in the old one is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable

from hubbub.kernel import Record

_OVERHEAD_BYTES = 400
_VERSIONS = 8


class _Version:
    __slots__ = ("record", "until")

    def __init__(self, record: Record, until: int | None) -> None:
        self.record = record
        self.until = until


_Versions = list[_Version]


class RecordCache:
    """Keep records within ``limit_bytes``. Guarded by its owner's lock."""

    def __init__(self, limit_bytes: int) -> None:
        self._half_bytes = max(1, limit_bytes // 2)
        self._young: dict[int, _Versions] = {}
        self._old: dict[int, _Versions] = {}
        self._young_bytes = 0
        self._old_bytes = 0

    @property
    def byte_count(self) -> int:
        """About how many bytes are kept."""
        return self._young_bytes + self._old_bytes

    def get(self, oid: int, at: int) -> Record | None:
        """Return the record of ``oid`` that is right at the snapshot ``at``, or None."""
        versions = self._young.get(oid)
        if versions is None:
            versions = self._old.get(oid)
            if versions is None:
                return None
            self._make_young(oid)
        for version in reversed(versions):
            if version.record.tid <= at:
                if version.until is None or at < version.until:
                    return version.record
                return None
        return None

    def add(self, record: Record, until: int | None) -> None:
        """Keep ``record``, valid from its tid until ``until``; None: as long as nothing else is known."""
        oid, tid = record.oid, record.tid
        self._make_young(oid)
        versions = self._young.setdefault(oid, [])
        place = len(versions)
        while place and versions[place - 1].record.tid >= tid:
            place -= 1
        if place < len(versions) and versions[place].record.tid == tid:
            known = versions[place]
            if known.until is not None:
                known.until = None if until is None else max(known.until, until)
            return
        if place < len(versions):
            newer = versions[place].record.tid
            until = newer if until is None else min(until, newer)
        if place:
            before = versions[place - 1]
            before.until = tid if before.until is None else min(before.until, tid)
        versions.insert(place, _Version(record, until))
        self._young_bytes += _size(record)
        if len(versions) > _VERSIONS:
            self._young_bytes -= _size(versions.pop(0).record)
        self._age()

    def close(self, oids: Iterable[int], until: int) -> None:
        """Note that the newest versions of ``oids`` are not known to be right from ``until`` on."""
        for oid in oids:
            versions = self._young.get(oid) or self._old.get(oid)
            if versions and versions[-1].until is None:
                versions[-1].until = until

    def clear(self) -> None:
        """Drop everything."""
        self._young, self._old = {}, {}
        self._young_bytes = self._old_bytes = 0

    def _make_young(self, oid: int) -> None:
        versions = self._old.pop(oid, None)
        if versions is not None:
            size = sum(_size(version.record) for version in versions)
            self._old_bytes -= size
            self._young_bytes += size
            self._young[oid] = versions
            self._age()

    def _age(self) -> None:
        if self._young_bytes > self._half_bytes:
            self._old, self._young = self._young, {}
            self._old_bytes, self._young_bytes = self._young_bytes, 0


def _size(record: Record) -> int:
    return _OVERHEAD_BYTES + len(record.payload) + 16 * len(record.refs)
