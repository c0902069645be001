"""What a host tells its peers when a group of commits is durable, and what it told them lately.

For each group the host calls `Peers` first and gives the answers to those commits after that, so on every peer's
ordered stream:

    Invalidate(group's last tid, what others wrote) -> Committed(own tids)          (ST2)

The *told* tid is that of the newest group that has been told. It is always the tid of a stored commit, so it means the
same to the host that runs after a crash. Whatever a peer calls a snapshot is such a tid.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import weakref
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter

from hubbub.gateway.held import Holding
from hubbub.gateway.keeping import upkeep_of
from hubbub.gateway.leases import Leases
from hubbub.gateway.lookout import Lookout
from hubbub.gateway.outlet import Outlet
from hubbub.gateway.questioning import Threads
from hubbub.kernel import Commit, Record
from hubbub.mount.base import InvalidationLog
from hubbub.perspective.host import Host
from hubbub.store.ledger import PEER_COMMIT
from hubbub.store.snapshots import Snapshots

log = logging.getLogger("hubbub.peers")

_REMEMBERED_MOUNTS = 10_000
_LEASE_S = 60.0

_oid_of = attrgetter("oid")


class Peers:
    """All peers of one host, and what it told them lately."""

    _of_host: weakref.WeakKeyDictionary[Host, Peers] = weakref.WeakKeyDictionary()

    def __init__(self, host: Host, lease_s: float) -> None:
        told = min(host.ledger.settled_tid, host.store.last_tid)
        self.log = InvalidationLog(told)
        self.epoch = secrets.token_hex(8)
        self.outlets: dict[Outlet, None] = {}
        self.writers: dict[bytes, tuple[Outlet, Collection[int]]] = {}
        self._serials: dict[bytes, int] = {}
        self._next_serial = 0
        self.holding = Holding(host.drop_vote, host.live.blobs.unstage)
        self.snapshots = Snapshots(host.store.feed_floor)
        self.leases = Leases(lease_s, told)
        self.upkeep = upkeep_of(
            host, lambda: self.log.newest, self.snapshots, self.leases, self._drop_caches
        )
        self.threads = Threads()
        self._call_soon = asyncio.get_running_loop().call_soon
        self.lookout = Lookout(self._call_soon, lambda: host.is_at_rest)
        host.on_settled(self._settled)

    @classmethod
    def of(cls, host: Host, lease_s: float | None = None) -> Peers:
        """Return the peers of ``host``, made at the first call. In the loop.

        Args:
            host: Which.
            lease_s: How long a pack keeps what a peer may read, in seconds; of several the longest.
        """
        found = cls._of_host.get(host)
        if found is None:
            found = cls._of_host[host] = cls(host, _LEASE_S if lease_s is None else lease_s)
        elif lease_s is not None:
            found.leases.lease_s = max(found.leases.lease_s, lease_s)
        return found

    def next_serial(self) -> int:
        """Number the connections as they come."""
        self._next_serial += 1
        return self._next_serial

    def is_replaced(self, mount_key: bytes, serial: int) -> bool:
        """Tell whether a newer connection of the same mount has committed; note this one otherwise."""
        newest = self._serials.pop(mount_key, 0)
        self._serials[mount_key] = max(newest, serial)
        if len(self._serials) > _REMEMBERED_MOUNTS:
            del self._serials[next(iter(self._serials))]
        return newest > serial

    def forget(self, outlet: Outlet) -> None:
        """A connection is gone."""
        self.outlets.pop(outlet, None)
        for key in [key for key, owner in self.writers.items() if owner[0] is outlet]:
            del self.writers[key]

    def _drop_caches(self) -> None:
        """Have all peers forget what they keep: a pack has collected some of it."""
        for outlet in list(self.outlets):
            outlet.drop_cache()

    def _settled(self, commits: Sequence[Commit]) -> None:
        told = self.log.newest
        last: dict[int, Record] = {}
        written: list[dict[int, Record]] = []
        own: dict[Outlet, dict[int, Record]] = {}
        answers: dict[Outlet, int] = {}
        newest = 0
        for commit in commits:
            if not commit.records or commit.tid <= told:
                continue
            newest = commit.tid
            writer = self._writer_of(commit)
            records = dict(zip(map(_oid_of, commit.records), commit.records, strict=True))
            written.append(records)
            last.update(records)
            if writer is not None:
                outlet, sent = writer
                # What it did not send itself it is told: its keys may have been put into another node.
                mine = {oid: record for oid, record in records.items() if oid in sent}
                own.setdefault(outlet, {}).update(mine)
                answers[outlet] = answers.get(outlet, 0) + 1
        if not newest:
            return
        self.log.add(newest, last)
        self.leases.told(newest)
        if own:
            self._call_soon(_flush_all, own)
        made: dict[tuple[int, ...], bytes] = {}
        for outlet in list(self.outlets):
            own_records = own.get(outlet)
            try:
                if own_records is None:
                    outlet.tell(newest, last, written, made)
                    outlet.flush_told()
                else:
                    others = last.copy()
                    for oid, record in own_records.items():
                        if last[oid] is record:
                            del others[oid]
                    outlet.expect(answers[outlet])
                    outlet.tell(newest, others, written, own=own_records)
            except Exception:
                # Whatever it was: the others are to be told, and this one is not to have a hole (ST1).
                log.exception("telling a peer of a commit failed")
                outlet.abandon()

    def _writer_of(self, commit: Commit) -> tuple[Outlet, Collection[int]] | None:
        for kind, key, value in commit.rows:
            if kind == PEER_COMMIT and value is not None:
                return self.writers.get(key)
        return None


def _flush_all(outlets: Iterable[Outlet]) -> None:
    """Send what an answer that did not come should have taken along."""
    for outlet in outlets:
        outlet.expect(0)
        if outlet.has_more:
            outlet.flush()
