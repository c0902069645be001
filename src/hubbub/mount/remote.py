"""A space that lives in a host elsewhere, over TCP, TLS or a Unix socket.

How it talks to the host is in `hubbub.mount.conversation`; what was used lately is read without asking
(`RecordCache.recent`), and most of what a walk along references needs comes before it is asked for
(`hubbub.mount.ahead`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from hubbub.kernel import (
    Changeset,
    Record,
    Tid,
    UnknownObjectError,
    is_ephemeral,
)
from hubbub.mount.address import URL, usable_addresses
from hubbub.mount.asking import RemoteUpkeep
from hubbub.mount.base import NOTHING, Ballot, MountStats
from hubbub.mount.blobs import RemoteBlobs
from hubbub.mount.calls import Call
from hubbub.mount.committing import Committing, new_mount_key
from hubbub.mount.conversation import Conversation
from hubbub.mount.dialling import Dialler, check_wait
from hubbub.mount.link import Bell
from hubbub.mount.opening import (
    DEFAULT_BLOB_BYTES,
    DEFAULT_CACHE_BYTES,
    DEFAULT_WAIT_TIMEOUT_S,
)
from hubbub.mount.secured import Certificates
from hubbub.mount.turn import Waiter
from hubbub.store.base import FeedEntry
from hubbub.store.feeding import FEED_COMMITS
from hubbub.store.snapshots import Snapshots
from hubbub.wire import peer

_OID_BLOCK = 1000
LOAD_MANY = 1000
"""So many records are asked for in one message."""
_LOOK_AT_JOB_S = 0.2
"""So often who waits for a long job looks whether it is to be stopped."""
_LOOK_FOR_COMMIT_S = 0.00035
"""As `LOOK_S`, for an answer that waits for a disk."""


class RemoteMount(Conversation):
    """Mount a host's space (a `hubbub.mount.Mount`).

    Args:
        url: ``hub://host:port/space``, ``hubs://`` for TLS, ``hub+unix:///path``; or several, of copies of one space.
        token: What the host asks of peers.
        read_only: Refuse commits here already.
        wait_timeout_s: How long to wait for a host that is gone.
        cache_bytes: Bytes of records that are kept.
        certificates: For TLS.
        blob_dir: Where files of blobs are kept; None: in a temporary folder.
        blob_bytes: About how many bytes of them.

    Raises:
        BrokenError: If nobody answers there.
        RemoteProtocolError: If whoever answers is no Hubbub host.
        LoginFailedError: If it does not take the token.
        ConfigurationError: If ``url`` makes no sense.
    """

    def __init__(
        self,
        url: URL | Sequence[URL],
        token: str = "",
        *,
        read_only: bool = False,
        wait_timeout_s: float = DEFAULT_WAIT_TIMEOUT_S,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        certificates: Certificates | None = None,
        blob_dir: URL | None = None,
        blob_bytes: int = DEFAULT_BLOB_BYTES,
    ) -> None:
        check_wait(wait_timeout_s)
        addresses, certificates = usable_addresses(url, certificates)
        mount_key = new_mount_key()

        def dialler(bell: Bell) -> Dialler:
            return Dialler(
                addresses,
                bell,
                token,
                read_only=read_only,
                certificates=certificates,
                mount_key=mount_key,
            )

        super().__init__(dialler, cache_bytes, wait_timeout_s)
        self.read_only = read_only
        self._blobs = RemoteBlobs(self._ask_all, self._tell, blob_dir, blob_bytes)
        self._committing = Committing(
            mount_key,
            self._ask,
            self._lock,
            self._stats,
            lambda: self.read_only,
            self.begin,
            self._tell,
            self._blobs,
        )
        self.snapshots = Snapshots()
        self.cache = self._replica.cache
        self.upkeep = RemoteUpkeep(self._ask, self._ask_job)
        self._connect()

    @property
    def address(self) -> str:
        """Where the host is that it is connected to, or was last."""
        return str(self._dialler.address)

    # --- the mount ----------------------------------------------------------------------------------------------------

    @property
    def stats(self) -> MountStats:
        with self._lock:
            stats = msgspec.structs.replace(self._stats)
            if self._link is not None:
                stats.bytes_in += self._link.bytes_in
                stats.bytes_out += self._link.bytes_out
            cache = self._replica.cache
            stats.cached_bytes = cache.byte_count
            stats.cached_records = cache.count
            stats.evictions = cache.evictions
            stats.loads += cache.recent_hits
            stats.cache_hits += cache.recent_hits
        return stats

    def begin(self) -> Tid:
        with self._lock:
            self._check()
            link = self._link
            if link is not None:
                while link.has_news and self._take_in(link):
                    pass
                is_fresh = time.monotonic() - link.received_at < 2 * link.heartbeat_s
                if self._link is link and is_fresh:
                    return self._replica.log.newest
        return self.sync()

    def load(self, oid: int, at: int) -> Record:
        replica = self._replica
        more: Call | None = None
        with self._lock:
            self._check()
            self._stats.loads += 1
            link = self._link
            record = replica.cache.get(oid, at)
            if record is None and replica.ahead.asked and link is not None:
                self._take_in(link)
                record = replica.cache.get(oid, at)
            if record is not None:
                self._stats.cache_hits += 1
                if oid == replica.ahead.mark and replica.ahead.reached() and link is not None:
                    more = self._calls.ask_ahead(at, link.max_bytes)
            elif is_ephemeral(oid):
                raise UnknownObjectError(oid, at)
            else:
                forget, replica.cache.has_dropped = replica.cache.has_dropped, False
                message = peer.Load(0, oid, at, replica.ahead.missed(), forget)
        if more is not None and link is not None:
            self._send(link, more.data)
        if record is not None:
            return record
        found = self._ask(message)
        if not found:
            raise UnknownObjectError(oid, at)
        loaded: Record = found[0]
        return loaded

    def prefetch(self, oids: Iterable[int], at: int) -> int:
        with self._lock:
            self._check()
            cache = self._replica.cache
            wanted = [
                oid
                for oid in dict.fromkeys(oids)
                if not is_ephemeral(oid) and cache.get(oid, at) is None
            ]
        pieces = (wanted[i : i + LOAD_MANY] for i in range(0, len(wanted), LOAD_MANY))
        count = 0
        for found in self._ask_all(peer.LoadMany(0, piece, at) for piece in pieces):
            count += len(found)
        with self._lock:
            self._stats.prefetched += count
        return count

    def new_oid(self) -> int:
        oids = self._replica.oids
        while True:
            try:
                return oids.popleft()  # no two threads get the same
            except IndexError:
                self._ask(peer.Oids(0, _OID_BLOCK))

    def changed_since(
        self, tid: int, known: Mapping[int, int] = NOTHING
    ) -> tuple[Tid, frozenset[int] | None]:
        with self._lock:
            self._check()
            log = self._replica.log
            return log.newest, log.since(tid, known)

    def wait(self, after_tid: int, timeout_s: float | None = None) -> Tid:
        limit = None if timeout_s is None else time.monotonic() + timeout_s
        waiter = Waiter()
        with self._lock:
            self._calls.for_news.add(waiter)
        try:
            self._turn.wait(
                waiter,
                lambda: self._replica.newest != after_tid or self._is_over,
                lambda: limit,
            )
        finally:
            with self._lock:
                self._calls.for_news.discard(waiter)
        with self._lock:
            self._check()
            return self._replica.newest

    def feed(self, after: int, most: int = FEED_COMMITS) -> list[FeedEntry]:
        found = self._ask(peer.Feed(0, after, most))
        return [
            FeedEntry(Tid(commit.tid), commit.label, commit.oids, commit.byte_count)
            for commit in found
        ]

    def sync(self) -> Tid:
        self._ask(peer.Ping(0))
        with self._lock:
            return self._replica.newest

    # --- blobs --------------------------------------------------------------------------------------------------------

    def stage(self, suffix: str = "") -> Path:
        with self._lock:
            self._check()
        return self._blobs.stage(suffix)

    def unstage(self, name: str) -> None:
        self._blobs.unstage(name)

    def blob(self, oid: int, tid: int) -> Path:
        with self._lock:
            self._check()
        return self._blobs.path(oid, tid)

    def open_blob(self, oid: int, tid: int) -> BinaryIO:
        with self._lock:
            self._check()
        return self._blobs.open(oid, tid)

    def forget(self) -> None:
        """Drop the records and files of blobs that are kept here: what is asked for next comes from the host."""
        with self._lock:
            self._replica.cache.clear()
        self._blobs.forget()

    # --- committing ---------------------------------------------------------------------------------------------------

    def commit(self, changeset: Changeset) -> tuple[Tid, list[int]]:
        return self._committing.commit(changeset)

    def vote(self, changeset: Changeset) -> Ballot:
        return self._committing.vote(changeset)

    def finish(self, ballot: Ballot) -> tuple[Tid, list[int]]:
        return self._committing.finish(ballot)

    def drop(self, ballot: Ballot) -> None:
        self._committing.drop(ballot)

    def close(self) -> None:
        super().close()
        self._blobs.close()
