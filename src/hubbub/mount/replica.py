"""What a peer knows of the space: records, what changed lately, oids to give away. No I/O, no waiting.

Theory of operation
===================

The host's messages are taken in one after another, in the order of the wire. The newest tid moves with `Invalidate`,
so a snapshot is always a tid at which the host had told everything.

A record that arrives was the right one at the snapshot it was asked for. It is right until now only if the log shows
no change since.

One thing is not told: what this peer wrote itself. `Invalidate` leaves it out, and `Committed` follows a moment
later. In between, another thread may begin at the new tid; so the objects of every commit in flight count as *perhaps*
changed by each `Invalidate`, and `Committed` then says what they really are.

    Invalidate(11, others' oids) --> own oids: versions closed, newest tid 11 --> Committed(10): own records, valid
                                                                                  from 10 until someone else's change
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from hubbub.kernel import Record, RecordFields, Tid
from hubbub.mount.base import InvalidationLog
from hubbub.mount.cache import RecordCache
from hubbub.wire import peer


class Replica:
    """Keep what the host told. Guarded by its owner's lock.

    Args:
        cache_bytes: Bytes of records that are kept.
    """

    def __init__(self, cache_bytes: int) -> None:
        self.cache = RecordCache(cache_bytes)
        self.log = InvalidationLog(0)
        self.epoch = ""
        self.oids: deque[int] = deque()

    @property
    def newest(self) -> Tid:
        """The newest snapshot."""
        return self.log.newest

    def mounted(self, message: peer.Mounted) -> None:
        """Take in where the host stands, after a first or another connection."""
        is_same_host = message.host_epoch == self.epoch
        if not is_same_host:
            # Its oids are counted anew; those of the old host may be given to others.
            self.oids.clear()
            self.epoch = message.host_epoch
        self.oids.extend(range(message.first_oid, message.first_oid + message.oid_count))
        if not is_same_host or message.changed is None or message.tid < self.newest:
            self.dropped(message.tid)
        else:
            self.invalidated(message.tid, message.changed, ())

    def invalidated(self, tid: int, oids: Sequence[int], in_flight: Iterable[int]) -> None:
        """Take in that ``oids`` changed up to ``tid``; ``in_flight`` are written by commits not answered yet."""
        newest = self.newest
        perhaps = set(in_flight).difference(oids)
        self.cache.close(oids, newest + 1)
        self.cache.close(perhaps, newest + 1)
        self.log.add(tid, oids, perhaps)

    def dropped(self, tid: int) -> None:
        """Forget every record: nobody knows what changed up to ``tid``."""
        self.cache.clear()
        self.log.reset(tid)

    def loaded(self, at: int, fields: RecordFields) -> Record:
        """Take in a record that is the right one at the snapshot ``at``; return the one to use."""
        record = Record(*fields)
        is_right_now = self.log.is_unchanged(record.oid, at)
        self.cache.add(record, None if is_right_now else at + 1)
        return self.cache.get(record.oid, at) or record

    def committed(self, tid: int, writes: Iterable[Record], merged: Iterable[int]) -> None:
        """Take in that this peer's ``writes`` are stored as ``tid``, except ``merged``, whose state is another."""
        others = frozenset(merged)
        for write in writes:
            if write.oid in others:
                self.cache.close((write.oid,), tid)
                continue
            record = Record(write.oid, tid, write.class_name, write.refs, write.payload)
            is_newest = self.log.is_unchanged(write.oid, tid - 1, certain_only=True)
            self.cache.add(record, None if is_newest else tid + 1)
