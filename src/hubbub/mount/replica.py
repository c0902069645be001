"""What a peer knows of the space: records, what changed lately, oids to give away. No I/O, no waiting.

Theory of operation
===================

The host's messages are taken in one after another, in the order of the wire. The newest tid moves with `Invalidate`,
so a snapshot is always a tid at which the host had told everything.

A record that arrives was the right one at the snapshot it was asked for. It is right until now only if the log shows
no change since.

One thing is not told: what this peer wrote itself. `Invalidate` leaves it out, and `Committed` follows a moment
later. In between, another thread may begin at the new tid; so the objects of every commit in flight count as *perhaps*
changed by each `Invalidate`, and `Committed` then says what they really are. What it has not written after all (a
node of a B-tree whose split was put elsewhere) is again what it was before the doubt. Where both arrive together nobody
can begin in between, and nothing is doubted (`hubbub.mount.calls`).

Some records come along with the news that they changed. Such a one is right from its tid on, so older snapshots go on
with the version that is closed at that moment.

    Invalidate(11, others' oids) --> own oids: versions closed, newest tid 11 --> Committed(10): own records, valid
                                                                                  from 10 until someone else's change
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from hubbub.kernel import Record, RemoteProtocolError, Tid
from hubbub.mount.ahead import Ahead
from hubbub.mount.base import InvalidationLog
from hubbub.mount.cache import RecordCache
from hubbub.wire import peer

_DOUBTED = 10_000


class Replica:
    """Keep what the host told. Guarded by its owner's lock.

    Args:
        cache_bytes: Bytes of records that are kept.
    """

    def __init__(self, cache_bytes: int) -> None:
        self.cache = RecordCache(cache_bytes)
        self.log = InvalidationLog(0)
        self.epoch = ""
        self.ahead = Ahead()
        self.oids: deque[int] = deque()
        self._doubted: dict[
            int, Record
        ] = {}  # right until now, but for what our commits may have done

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
        self._doubted.clear()  # answers that would tell are lost
        self.oids.extend(range(message.first_oid, message.first_oid + message.oid_count))
        if not is_same_host or message.changed is None or message.tid < self.newest:
            self.dropped(message.tid)
        else:
            self.invalidated(message.tid, message.changed, ())

    def invalidated(
        self,
        tid: int,
        oids: Sequence[int],
        in_flight: Sequence[int],
        records: Sequence[Record] = (),
        settled: Sequence[int] = (),
    ) -> None:
        """Take in that ``oids`` changed up to ``tid``, some of them to ``records``.

        Args:
            tid: The newest tid from now on.
            oids: What others wrote.
            in_flight: What is written by commits not answered yet.
            records: The states as of ``tid`` of some of ``oids``.
            settled: What is written by commits up to ``tid`` whose answers are taken in before anybody looks.

        Raises:
            RemoteProtocolError: If a record is not of one of these commits; nothing has changed.
        """
        newest = self.log.newest
        if records:
            changed = set(oids)
            for record in records:
                if not newest < record.tid <= tid or record.oid not in changed:
                    raise RemoteProtocolError(
                        "the host sent a record that it does not tell of", code="garbled"
                    )
        perhaps = set(in_flight).difference(oids) if in_flight else ()
        if oids:
            self.cache.close(oids, newest + 1)
            if self._doubted:
                self._trust_no_more(oids)
        if perhaps:
            self.doubt(perhaps, newest)
        if settled:
            perhaps = {*perhaps, *settled}.difference(oids)
        self.log.add(tid, oids, perhaps)
        for record in records:
            if record.class_name:  # else it is gone: that is no record to be loaded
                self.cache.add(record, None)

    def doubt(self, oids: Collection[int], newest: int) -> None:
        """Serve nothing of ``oids`` that is newer than ``newest``: what our commits may have changed.

        What is right of them if our commits do not change them is remembered.
        """
        recent, doubted = self.cache.recent, self._doubted
        for oid in oids:
            record = recent.get(oid)
            if record is not None:
                doubted[oid] = record
        if len(doubted) > _DOUBTED:
            doubted.clear()
        self.cache.close(oids, newest + 1)

    def distrust(self, oids: Collection[int], newest: int) -> None:
        """Serve nothing of ``oids`` beyond ``newest``, and what is newer at its own tid: it may have changed since."""
        self._trust_no_more(oids)
        self.cache.close(oids, newest + 1)
        for oid in oids:
            record = self.cache.recent.get(oid)
            if record is not None:
                self.cache.close((oid,), record.tid + 1)

    def _trust_no_more(self, oids: Iterable[int]) -> None:
        for oid in oids:
            self._doubted.pop(oid, None)

    def dropped(self, tid: int) -> None:
        """Forget every record: nobody knows what changed up to ``tid``."""
        self._doubted.clear()
        self.cache.clear()
        self.log.reset(tid)

    def loaded(self, at: int, records: Sequence[Record]) -> None:
        """Take in records, one of each object, that are the right ones at the snapshot ``at``."""
        if at == self.newest and len(records) > 1:
            self.cache.add_many(records)
            return
        for record in records:
            is_right_now = self.log.is_unchanged(record.oid, at)
            self.cache.add(record, None if is_right_now else at + 1)

    def loaded_piece(
        self, asked: peer.Load | peer.More | peer.LoadMany, answer: peer.Loaded
    ) -> None:
        """Take in the answer to ``asked``, guesses and all."""
        self.loaded(asked.at, answer.records)
        if isinstance(asked, peer.LoadMany):
            return
        if type(asked) is peer.More:
            self.ahead.asked = 0
            guesses = answer.records
        else:
            if not asked.room:
                return
            guesses = answer.records[1:]
        mark = self.ahead.arrived(guesses, goes_on=answer.goes_on)
        if mark is not None:
            self.cache.make_old(mark)

    def committed(
        self,
        tid: int,
        writes: Sequence[Record],
        merged: Collection[int],
        records: Sequence[Record] = (),
        kept: Collection[int] = (),
        in_flight: Collection[int] = (),
        before: int | None = None,
    ) -> None:
        """Take in that this peer's ``writes`` are stored as ``tid``, except ``merged``, whose state is another.

        Args:
            tid: Of the commit.
            writes: What was sent.
            merged: The oids of those whose stored state is not the one sent.
            records: The stored states of some of ``merged``.
            kept: Those of ``merged`` that the commit has not written, and no other of this peer's may have.
            in_flight: What is written by other commits of this peer that are not answered yet.
            before: The newest tid before the news that came together with this; None: they came before, and put it all
                in doubt.

        Raises:
            RemoteProtocolError: If a record is none of these; nothing has changed.
        """
        others = frozenset(merged)
        if records and any(record.tid != tid or record.oid not in others for record in records):
            raise RemoteProtocolError("the host sent a record that was not merged", code="garbled")
        written = [write.oid for write in writes]
        if others:
            if before is not None:
                # What it was merged with may have been written in the same group, and is not told by itself.
                self.distrust(others.difference(kept), before)
            self.cache.close(others.union(written).difference(kept), tid)
        else:
            self.cache.close(written, tid)  # what is in a file is not read to be replaced
        if self._doubted:
            for oid in kept:
                record = self._doubted.get(oid)
                if record is not None:
                    self.cache.add(record, None)
            self._trust_no_more(written)
        mine = [write for write in writes if write.oid not in others] if others else list(writes)
        gone: list[int] = []
        for write in mine:
            write.tid = tid  # from here on it is what is stored
            if not write.class_name:
                gone.append(write.oid)
        if gone:
            # What is cached can be loaded, and these can't be.
            self.cache.close(gone, tid)
            mine = [write for write in mine if write.class_name]
        mine += records
        if tid == self.newest and len(mine) > 1:
            # Nobody came later, in this group of commits or another.
            self.cache.add_many(mine)
            return
        log = self.log
        for record in mine:
            oid = record.oid
            is_newest = log.is_unchanged(oid, tid - 1, certain_only=True)
            if in_flight and oid in in_flight:
                # Another commit of this peer's may have changed it since.
                is_newest = is_newest and log.is_unchanged(oid, tid)
            elif is_newest:
                # The doubt of its group was about this commit: who made it need not wake the object again.
                log.settle(oid, tid)
            self.cache.add(record, None if is_newest else tid + 1)
