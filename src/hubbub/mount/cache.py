"""Records that a peer keeps, each with the span of tids for which it is the right one.

Theory of operation
===================

A version is valid from the tid that wrote it *until* some tid, or, as long as nothing else is known, for every
snapshot up to the newest known. Several connections at several snapshots share the versions of one object.

    add(record) --> newest, valid until now --close(oid, until)--> past, its span is fixed --bytes run out--> gone
                            |  ^
         memory runs out    v  | used again, or something is learned of it
                           in a file --close--> gone

Two generations stand in for an exact order of use: what is used moves to the young one; when that holds half of the
bytes it becomes the old one, and what was in the old one leaves memory. Newest versions go to a file then
(`hubbub.mount.spilled`), past ones are dropped. While an object has something in memory, what a file may still hold of
it is not looked at: it is replaced when that goes to a file, and discarded when that is closed, replaced or dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from hubbub.kernel import Record
from hubbub.mount.spilled import Spilled

_OVERHEAD_BYTES = 400
_VERSIONS = 8
MEMORY_BYTES = 3 << 19
"""So many bytes of a cache are in memory, about; the rest is in files."""

_oid_of = attrgetter("oid")
_payload_of = attrgetter("payload")


class _Version:
    """A record that is not, or not known to be, right any more."""

    __slots__ = ("record", "until")

    def __init__(self, record: Record, until: int) -> None:
        self.record = record
        self.until = until


class _Generation:
    """Records used at about the same time: the newest of each object, and past ones in the order of their tids."""

    __slots__ = ("byte_count", "newest", "past")

    def __init__(self) -> None:
        self.newest: dict[int, Record] = {}
        self.past: dict[int, list[_Version]] = {}
        self.byte_count = 0


class RecordCache:
    """Keep records within ``limit_bytes``. Guarded by its owner's lock.

    Args:
        limit_bytes: How many bytes of memory and of files it may have.
        memory_bytes: How many of them in memory, about.

    Attributes:
        recent: The newest records of what was used lately, right for every snapshot from their tid on. Anybody may look
            into it without the lock: a record that is closed at this moment is right for all snapshots begun before.
        recent_hits: How often `recent` had what was wanted; its users count.
        has_dropped: Whether bytes ran out since this was last set to False.
    """

    def __init__(self, limit_bytes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        memory_bytes = min(limit_bytes, memory_bytes)
        self._half_bytes = max(1, memory_bytes // 2)
        self._spilled = Spilled(limit_bytes - memory_bytes)
        self._dropped = 0
        self.recent_hits = 0
        self.has_dropped = False
        self.clear()

    @property
    def byte_count(self) -> int:
        """About how many bytes are kept."""
        return self._young.byte_count + self._old.byte_count + self._spilled.byte_count

    @property
    def count(self) -> int:
        """How many objects have records here."""
        young, old = self._young, self._old
        in_memory = len(young.newest) + len(young.past) + len(old.newest) + len(old.past)
        return in_memory + len(self._spilled)

    @property
    def evictions(self) -> int:
        """How many records were let go of, for there was no room."""
        return self._dropped + self._spilled.evictions

    def get(self, oid: int, at: int) -> Record | None:
        """Return the record of ``oid`` that is right at the snapshot ``at``, or None."""
        found = self._young_at(oid, at)
        if found is None and self._make_young(oid):
            found = self._young_at(oid, at)
            self._age()
        return found

    def _young_at(self, oid: int, at: int) -> Record | None:
        newest = self.recent.get(oid)
        if newest is not None and newest.tid <= at:
            return newest
        for version in reversed(self._young.past.get(oid, ())):
            if version.record.tid <= at:
                return version.record if at < version.until else None
        return None

    def add(self, record: Record, until: int | None) -> None:
        """Keep ``record``, valid from its tid until ``until``; None: as long as nothing else is known."""
        oid, tid = record.oid, record.tid
        self._make_young(oid)
        newest = self.recent.get(oid)
        if newest is not None:
            if newest.tid == tid:
                return
            if newest.tid > tid:
                until = newest.tid if until is None else min(until, newest.tid)
            else:
                self._close(newest, tid)
                self._spilled.discard((oid,))
        self._end_before(oid, tid)
        if until is None:
            past = self._young.past.get(oid)
            if past and past[-1].record.tid >= tid:
                # It was closed in doubt, and is right after all; or newer ones are known which are past themselves.
                if past[-1].record.tid > tid:
                    self._insert(record, past[-1].record.tid)
                    return
                self._young.byte_count -= _size(past.pop().record)
            self.recent[oid] = record
            self._young.byte_count += _size(record)
        else:
            self._insert(record, until)
        self._age()

    def add_many(self, records: Sequence[Record]) -> None:
        """Keep ``records``, one of each object, valid as long as nothing else is known."""
        fresh = dict(zip(map(_oid_of, records), records, strict=True))
        for generation in (self._young, self._old):
            for kept in (generation.newest, generation.past):
                if kept and any(map(kept.__contains__, fresh)):
                    for record in fresh.values():
                        self.add(record, None)
                    return
        size = sum(map(len, map(_payload_of, records))) + _OVERHEAD_BYTES * len(fresh)
        # What is about to be used stays young: else each of them had to be made so.
        self._age(size)
        self.recent.update(fresh)
        self._young.byte_count += size
        self._age()

    def make_old(self, oid: int) -> None:
        """Let the next use of ``oid`` be seen: it is not in `recent` until then."""
        record = self.recent.pop(oid, None)
        if record is not None:
            size = _size(record)
            self._young.byte_count -= size
            self._old.byte_count += size
            self._old.newest[oid] = record

    def close(self, oids: Iterable[int], until: int) -> None:
        """Note that the newest versions of ``oids`` are not known to be right from ``until`` on."""
        oids = list(oids)
        self._spilled.discard(oids)
        if self.recent.keys().isdisjoint(oids) and self._old.newest.keys().isdisjoint(oids):
            return  # most of what others change is not here
        for oid in oids:
            if oid in self._old.newest:
                self._make_young(oid)
            newest = self.recent.get(oid)
            if newest is not None and newest.tid < until:
                self._close(newest, until)

    def clear(self) -> None:
        """Drop everything."""
        self._spilled.clear()
        self._young, self._old = _Generation(), _Generation()
        self.recent = self._young.newest

    def _close(self, newest: Record, until: int) -> None:
        """Turn the newest record of an object into a past one."""
        # First there, then not here: who looks without the lock finds it.
        self._insert(newest, until)
        del self.recent[newest.oid]
        self._young.byte_count -= _size(newest)

    def _end_before(self, oid: int, tid: int) -> None:
        """Let versions that are older than ``tid`` end there."""
        for version in reversed(self._young.past.get(oid, ())):
            if version.record.tid < tid:
                version.until = min(version.until, tid)
                return

    def _insert(self, record: Record, until: int) -> None:
        """Keep a past version in its place."""
        tid = record.tid
        versions = self._young.past.setdefault(record.oid, [])
        place = len(versions)
        while place and versions[place - 1].record.tid >= tid:
            place -= 1
        if place < len(versions):
            known = versions[place]
            if known.record.tid == tid:
                known.until = max(known.until, until)
                return
            until = min(until, known.record.tid)
        versions.insert(place, _Version(record, until))
        self._young.byte_count += _size(record)
        if len(versions) > _VERSIONS:
            self._young.byte_count -= _size(versions.pop(0).record)

    def _make_young(self, oid: int) -> bool:
        """Bring what is known of ``oid`` into the young generation; tell whether there was anything elsewhere."""
        old, young, size = self._old, self._young, 0
        newest = old.newest.pop(oid, None)
        past = old.past.pop(oid, None)
        if newest is not None or past:
            if past:
                young.past[oid] = past
                size = sum(_size(version.record) for version in past)
            if newest is not None:
                size += _size(newest)
            old.byte_count -= size
        elif oid in young.newest:
            return False
        else:
            newest = self._spilled.take(oid)
            if newest is None:
                return False
            size = _size(newest)
        if newest is not None:
            young.newest[oid] = newest
        young.byte_count += size
        return True

    def _age(self, more: int = 0) -> None:
        if self._young.byte_count + more > self._half_bytes:
            old, self._old, self._young = self._old, self._young, _Generation()
            self.recent = self._young.newest
            # What has past versions in memory may not be in a file as well.
            past = self._old.past
            unfit = old.newest.keys() & past.keys() if past else ()
            for oid in unfit:
                del old.newest[oid]
            let_go = self.evictions
            self._dropped += len(old.past) + len(unfit)
            self._spilled.discard(unfit)
            self._spilled.put(old.newest.values())
            self.has_dropped = self.has_dropped or self.evictions > let_go


def _size(record: Record) -> int:
    return _OVERHEAD_BYTES + len(record.payload)
