"""Answer a peer's loads: from memory in the loop; many at once, or what may be slow, in a thread."""

from __future__ import annotations

import asyncio

from hubbub.gateway.outlet import Outlet
from hubbub.gateway.told import Peers
from hubbub.kernel import (
    COMPANION_BIT,
    HubbubError,
    LimitError,
    PackedError,
    Record,
    RemoteProtocolError,
    SnapshotGoneError,
    UnknownObjectError,
)
from hubbub.mount.failures import to_failed
from hubbub.mount.remote import LOAD_MANY
from hubbub.perspective.host import Host
from hubbub.wire import peer

_MANY = 8
"""So many loads of many records may wait for their answers."""
_MANY_BYTES = 4 << 20
_OVERHEAD_BYTES = 64


class Loading:
    """What one peer loads. Belongs to the loop.

    Args:
        host: Whose space it is.
        outlet: Sends the answers.
        peers: All peers of that host.
        limit_bytes: Bytes of one answer.
    """

    def __init__(self, host: Host, outlet: Outlet, peers: Peers, limit_bytes: int) -> None:
        self._host = host
        self._outlet = outlet
        self._peers = peers
        self._limit_bytes = min(_MANY_BYTES, limit_bytes // 2)
        self._tasks: set[asyncio.Task[None]] = set()

    def load(self, message: peer.Load) -> None:
        """Answer with one record, and what is likely to be wanted next."""
        at, outlet = message.at, self._outlet
        self._check(message.oid, at)
        if not self._may_read(message.id, at):
            return
        try:
            record = self._host.ledger.load(message.oid, at)
        except UnknownObjectError:
            outlet.answer(peer.Loaded(message.id, []))
            return
        except HubbubError as error:
            outlet.answer(to_failed(message.id, error))
            return
        if message.forget:
            outlet.forget_all()
        outlet.pushed.asked(message.oid)
        neighbours = outlet.neighbours.of(record, at, message.room)
        goes_on = message.room > 0 and outlet.neighbours.goes_on
        outlet.answer(peer.Loaded(message.id, peer.written([record, *neighbours]), goes_on))

    def more(self, message: peer.More) -> None:
        """Go on with what is likely to be wanted next."""
        self._check(0, message.at)
        if not self._may_read(message.id, message.at):
            return
        neighbours = self._outlet.neighbours
        found = peer.written(neighbours.more(message.at, message.room))
        self._outlet.answer(peer.Loaded(message.id, found, neighbours.goes_on))

    def load_many(self, message: peer.LoadMany) -> None:
        """Answer with all records that are asked for, as far as they fit into one message."""
        if len(message.oids) > LOAD_MANY:
            raise RemoteProtocolError(f"more than {LOAD_MANY} records at a time")
        for oid in message.oids:
            self._check(oid, message.at)
        if not self._may_read(message.id, message.at):
            return
        if len(self._tasks) >= _MANY:
            refusal = LimitError(f"more than {_MANY} loads of many records wait for answers")
            self._outlet.answer(to_failed(message.id, refusal))
            return
        task = asyncio.get_running_loop().create_task(self._load_many(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """The peer is gone."""
        for task in self._tasks:
            task.cancel()

    async def _load_many(self, message: peer.LoadMany) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(None, self._read_many, message.oids, message.at)
        except HubbubError as error:
            self._outlet.answer(to_failed(message.id, error))
            return
        if message.at == self._peers.log.newest:
            self._outlet.neighbours.remember(record.oid for record in found)
        self._outlet.answer(peer.Loaded(message.id, peer.written(found)))

    def _read_many(self, oids: list[int], at: int) -> list[Record]:
        ledger = self._host.ledger
        found: list[Record] = []
        cold: list[int] = []
        for oid in oids:
            record = ledger.at_hand(oid, at)
            if record is None:
                cold.append(oid)
            else:
                found.append(record)
        if cold:
            found += self._host.store.load_many(cold, at)
        room = self._limit_bytes
        for place, record in enumerate(found):
            room -= len(record.payload) + _OVERHEAD_BYTES
            if room < 0:
                return found[: max(1, place)]
        return found

    def _may_read(self, call_id: int, at: int) -> bool:
        """Tell whether what is at ``at`` is kept, and see to it that it stays; if not, that is answered."""
        peers = self._peers
        if at == peers.log.newest:
            return True
        peers.leases.use(at)  # first: a pack that begins now sees it, or is seen
        try:
            peers.snapshots.check(at)
        except PackedError as error:
            gone = SnapshotGoneError(f"{error.message}. The snapshot's lease was over: begin anew")
            self._outlet.answer(to_failed(call_id, gone))
            return False
        return True

    def _check(self, oid: int, at: int) -> None:
        if not 0 <= at <= self._host.ledger.settled_tid:
            raise RemoteProtocolError(f"a load at {at:#x} is out of range")
        if not 0 <= oid < COMPANION_BIT:
            raise RemoteProtocolError(f"a load of {oid:#x} is out of range")
