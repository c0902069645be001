"""Records that a peer has no room for in memory, in files that have no name (as ZEO keeps its client's cache in one).

Theory of operation
===================

Records come in the order in which they were last used, and are put down in *chunks* of a few, one behind the other. An
index says in which chunk an object is. A record that is taken out or discarded leaves the index, and its bytes where
they are; one that is put again stands in another place from then on. Two files stand in for an exact order of age: when
the younger one is full the older one is dropped.

    put --> young file --half of the bytes--> becomes the old one; what was in that is gone

    chunk:  crc32 4 | records, in MessagePack
    place:  where the chunk begins, in bytes of the file | its length, in the lowest 28 bits

A larger chunk costs less to put down, and more to read one record of. An index costs 24 bytes for each object, a record
in memory about 350 and its payload. A file that can't be written or read is no error: what was in it is asked of the
host again. A fork reads its parent's files until it writes its own.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import IO
from zlib import crc32

import msgspec
from BTrees.LLBTree import LLBTree

from hubbub.kernel import Record

_log = logging.getLogger("hubbub.mount")

_CHUNK = 4
_CRC_BYTES = 4
_LENGTH_BITS = 28
_LONGEST = (1 << _LENGTH_BITS) - 1
_MOST_BYTES = 1 << (63 - _LENGTH_BITS - 1)
"""A file has no more: a place is a signed number of 64 bits."""

# Without the memo: it is anything.
_fields = attrgetter("oid", "tid", "class_name", "refs", "payload")
_oid = attrgetter("oid")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Record]).decode


class _File:
    """Chunks, and where each object's is. Nothing is there before something is put."""

    def __init__(self) -> None:
        self.places = LLBTree()
        self.byte_count = 0
        self._file: IO[bytes] | None = None

    def put(self, records: Sequence[Record]) -> int:
        """Put ``records`` down; return how many were too long for that. Raises OSError; some may be there then."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="hubbub-", buffering=0)  # noqa: SIM115 - lives as long
        parts: list[bytes] = []
        places: list[tuple[int, int]] = []
        begin = end = self.byte_count
        fields = list(map(_fields, records))
        oids = list(map(_oid, records))
        for first in range(0, len(oids), _CHUNK):
            data = _encode(fields[first : first + _CHUNK])
            length = _CRC_BYTES + len(data)
            if length <= _LONGEST:
                parts += (crc32(data).to_bytes(_CRC_BYTES, "little"), data)
                places += zip(oids[first : first + _CHUNK], repeat(end << _LENGTH_BITS | length))
                end += length
        data = b"".join(parts)
        while data:
            count = os.pwrite(self._file.fileno(), data, begin)
            begin, data = begin + count, data[count:]
        self.byte_count = end
        self.places.update(places)
        return len(oids) - len(places)

    def take(self, oid: int) -> tuple[bool, Record | None]:
        """Forget the record of ``oid``. Tell whether there was one, and return it unless it can't be read."""
        place = self.places.pop(oid, 0)
        if not place:
            return False, None
        assert self._file is not None
        try:
            found = os.pread(self._file.fileno(), place & _LONGEST, place >> _LENGTH_BITS)
            data = found[_CRC_BYTES:]
            if crc32(data) == int.from_bytes(found[:_CRC_BYTES], "little"):
                for record in _decode(data):
                    if record.oid == oid:
                        return True, record
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("a cached record can't be read: %s", error)
        return True, None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Spilled:
    """Keep one record of each object, the last that was put, within ``limit_bytes``. Guarded by its owner's lock.

    Attributes:
        evictions: How many records were let go of, for there was no room.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._half_bytes = min(limit_bytes // 2, _MOST_BYTES)
        self._young, self._old = _File(), _File()
        self._is_broken = limit_bytes <= 0
        self._pid = os.getpid()
        self.evictions = 0

    @property
    def byte_count(self) -> int:
        """Bytes of the files."""
        return self._young.byte_count + self._old.byte_count

    def __len__(self) -> int:
        """Return how many there are, about: one that was put again may count twice."""
        return len(self._young.places) + len(self._old.places)

    def put(self, records: Iterable[Record]) -> None:
        """Keep ``records``. What there is no room for is counted as an eviction."""
        waiting = list(records)
        if self._is_broken:
            self.evictions += len(waiting)
            return
        if self._pid != os.getpid():
            # A fork: what stands in the files is its parent's, who goes on writing there.
            self.evictions += len(self)
            self.clear()
            self._pid = os.getpid()
        try:
            self.evictions += self._young.put(waiting)
        except OSError as error:
            _log.warning("the cache of records is kept in memory only from now on: %s", error)
            self.evictions += len(self) + len(waiting)
            self.clear()
            self._is_broken = True
            return
        if self._young.byte_count > self._half_bytes:
            self.evictions += len(self._old.places)
            self._old.close()
            self._old, self._young = self._young, _File()

    def take(self, oid: int) -> Record | None:
        """Return the record of ``oid`` and forget it; None if there is none."""
        is_there, found = self._young.take(oid)
        if is_there:
            self._old.places.pop(oid, 0)  # an older one
            return found
        return self._old.take(oid)[1]

    def discard(self, oids: Iterable[int]) -> None:
        """Forget the records of ``oids``."""
        for places in (self._young.places, self._old.places):
            if places:
                for oid in oids:
                    places.pop(oid, None)

    def clear(self) -> None:
        """Forget everything, and give the files back."""
        for file in (self._young, self._old):
            file.close()
        self._young, self._old = _File(), _File()
