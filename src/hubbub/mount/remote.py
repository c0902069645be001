"""A space that lives in a host elsewhere, over TCP or a Unix socket.

Theory of operation
===================

There is no thread and no loop here. Whoever waits reads for all (`hubbub.mount.turn`); messages are taken in under one
lock, in the order of the wire (`hubbub.mount.replica`). What was used lately is read without that lock
(`RecordCache.recent`), and most of what a walk along references needs comes before it is asked for
(`hubbub.mount.ahead`).

    CONNECTED --link breaks--> BROKEN --one who waits dials--> CONNECTED     what was in flight is sent again
        |                        '--nobody answers--> BROKEN                 (back-off with jitter)
        '--the host says no----> FAILED                                     every call raises its reason
    any --close--> CLOSED

* A load in flight is repeated. A commit in flight is repeated with the same key: the host answers a repeat with the
  first outcome, also after its restart. Without the host for too long, a load is a `BrokenError`, a commit that has
  been sent is an `OutcomeUnknownError`.
* `begin` on a broken link waits for a new one, and Mounted comes first on that: nothing stale is served.
* Silence: who leads pings after a heartbeat without a word, and after another one gives the link up. With nobody
  waiting nobody listens; `begin` then makes a round trip if the last word is old.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from hubbub.kernel import (
    BrokenError,
    Changeset,
    ClosedError,
    HubbubError,
    Job,
    OutcomeUnknownError,
    Record,
    RemoteProtocolError,
    Tid,
    UnknownObjectError,
    is_ephemeral,
)
from hubbub.mount.address import URL, usable_addresses
from hubbub.mount.asking import RemoteUpkeep
from hubbub.mount.base import NOTHING, Ballot, MountStats
from hubbub.mount.blobs import RemoteBlobs
from hubbub.mount.calls import Call, Calls
from hubbub.mount.committing import Committing
from hubbub.mount.dialling import Dialler, check_wait, opening_s
from hubbub.mount.link import LOOK_S, Bell, Link
from hubbub.mount.opening import (
    DEFAULT_BLOB_BYTES,
    DEFAULT_CACHE_BYTES,
    DEFAULT_WAIT_TIMEOUT_S,
)
from hubbub.mount.replica import Replica
from hubbub.mount.secured import Certificates
from hubbub.mount.turn import Turn, Waiter
from hubbub.store.base import FeedEntry
from hubbub.store.feeding import FEED_COMMITS
from hubbub.store.snapshots import Snapshots
from hubbub.wire import peer
from hubbub.wire.frames import frame

_OID_BLOCK = 1000
LOAD_MANY = 1000
"""So many records are asked for in one message."""
_LOOK_AT_JOB_S = 0.2
"""So often who waits for a long job looks whether it is to be stopped."""
_LOOK_FOR_COMMIT_S = 0.00035
"""As `LOOK_S`, for an answer that waits for a disk."""


class RemoteMount:
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
        self.read_only = read_only
        self._wait_timeout_s = wait_timeout_s
        self._lock = threading.Lock()
        self._bell = Bell()
        self._turn = Turn(self._lock, self._lap, self._bell.ring)
        self._stats = MountStats()
        self._blobs = RemoteBlobs(self._ask_all, self._tell, blob_dir, blob_bytes)
        self._committing = Committing(
            self._ask,
            self._tell,
            self._lock,
            self._stats,
            lambda: self.read_only,
            self.begin,
            self._blobs,
        )
        self._dialler = Dialler(
            addresses,
            self._bell,
            token,
            read_only=read_only,
            certificates=certificates,
            mount_key=self._committing.mount_key,
        )
        self._replica = Replica(cache_bytes)
        self.snapshots = Snapshots()
        self.cache = self._replica.cache
        self._link: Link | None = None
        self._dead: list[Link] = []
        self._fatal: HubbubError | None = None
        self._is_closed = False
        self._calls = Calls(
            lambda: str(self._dialler.address),
            self._replica,
            self._turn,
            self._stats,
            self._dialler.retry_after,
        )
        self.upkeep = RemoteUpkeep(self._ask, self._ask_job)
        try:
            link, mounted = self._dialler.dial("", 0, opening_s(wait_timeout_s))
        except BaseException:
            self._bell.close()
            raise
        self._install(link, mounted)

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
                while self._take_in(link):
                    pass
                is_fresh = time.monotonic() - link.received_at < 2 * link.heartbeat_s
                if self._link is link and is_fresh:
                    return self._replica.newest
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
            return self._replica.newest, self._replica.log.since(tid, known)

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

    # --- committing ---------------------------------------------------------------------------------------------------

    def commit(self, changeset: Changeset) -> tuple[Tid, list[int]]:
        return self._committing.commit(changeset)

    def vote(self, changeset: Changeset) -> Ballot:
        return self._committing.vote(changeset)

    def finish(self, ballot: Ballot) -> tuple[Tid, list[int]]:
        return self._committing.finish(ballot)

    def drop(self, ballot: Ballot) -> None:
        self._committing.drop(ballot)

    # --- asking the host ----------------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._fatal is not None

    def _check(self) -> None:
        if self._is_closed:
            raise ClosedError("the space is closed")
        if self._fatal is not None:
            raise self._fatal

    def _ask(self, message: Any, writes: Sequence[Record] = ()) -> Any:
        """Send ``message``, as often as it takes, and return its answer."""
        started = time.monotonic()
        with self._lock:
            self._check()
            link = self._link
            call = self._calls.add(message, writes, None if link is None else link.max_bytes)
            leads = link is not None and self._turn.take(call.waiter)
        try:
            if link is not None:
                self._send(link, call.data)
                if leads and self._lead_once(link, call):
                    return call.answer
            self._turn.wait(
                call.waiter,
                lambda: call.is_over or self._is_over,
                lambda: self._patience(started),
            )
        finally:
            if call.answer is None:
                with self._lock:
                    self._turn.leave(call.waiter)
                    self._calls.leave(call)
        if call.error is not None:
            raise call.error
        if call.answer is None:
            self._give_up(call)
        return call.answer

    def _ask_all(self, messages: Iterable[Any], ahead: int = 4) -> Iterator[Any]:
        """Send ``messages`` and yield their answers in order; up to ``ahead`` of them are on their way at a time."""
        calls: deque[Call] = deque()
        started = time.monotonic()
        try:
            for message in messages:
                with self._lock:
                    self._check()
                    link = self._link
                    call = self._calls.add(message, (), None if link is None else link.max_bytes)
                    calls.append(call)
                if link is not None:
                    self._send(link, call.data)
                if len(calls) > ahead:
                    yield self._answer_of(calls[0], started)
                    calls.popleft()
            while calls:
                yield self._answer_of(calls[0], started)
                calls.popleft()
        finally:
            with self._lock:
                for call in calls:
                    self._calls.leave(call)

    def _answer_of(self, call: Call, started: float) -> Any:
        self._turn.wait(
            call.waiter,
            lambda: call.is_over or self._is_over,
            lambda: self._patience(started),
        )
        if call.error is not None:
            raise call.error
        if call.answer is None:
            self._give_up(call)
        return call.answer

    def _ask_job(self, message: peer.Ask, job: Job) -> Any:
        """As `_ask`, for a long job: tell how far it is, and have it stopped if ``job`` is."""
        job.step(message.method, 0)
        started = time.monotonic()
        with self._lock:
            self._check()
            link = self._link
            call = self._calls.add(message, (), None if link is None else link.max_bytes)
            call.is_job = True
        if link is not None:
            self._send(link, call.data)
        is_stopping = False
        try:
            while not (call.is_over or self._is_over):
                look_at = time.monotonic() + _LOOK_AT_JOB_S
                patience = self._patience(started)
                if patience is not None and patience < time.monotonic():
                    break
                self._turn.wait(
                    call.waiter,
                    lambda: call.is_over or self._is_over or call.progress is not None,
                    lambda: look_at,  # noqa: B023 - called within this lap
                )
                with self._lock:
                    progress, call.progress = call.progress, None
                if job.is_stopped:
                    if not is_stopping:
                        self._tell(peer.StopJob(message.id))
                    is_stopping = True
                elif progress is not None:
                    job.step(progress.what, progress.done, progress.total)
        except BaseException:
            # What tells of the progress has failed: nobody waits for the job any more.
            self._tell(peer.StopJob(message.id))
            raise
        finally:
            if not call.is_over:
                with self._lock:
                    self._calls.leave(call)
        if call.error is not None:
            raise call.error
        if call.answer is None:
            self._give_up(call)
        return call.answer

    def _tell(self, message: Any) -> None:
        """Send a message that has no answer, if there is a connection."""
        with self._lock:
            link = None if self._is_over else self._link
        if link is not None:
            self._send(link, frame(peer.encode(message)))

    def _lead_once(self, link: Link, call: Call) -> bool:
        """Have the turn until something comes. Most often that is the answer, and the turn is given back: then True."""
        link.poll(link.heartbeat_s, _LOOK_FOR_COMMIT_S if call.writes else LOOK_S)
        with self._lock:
            self._take_in(link)
            if call.answer is None:
                return False
            self._turn.leave(call.waiter)
        return True

    def _patience(self, started: float) -> float | None:
        if self._link is not None:
            return None
        return max(started, self._dialler.broken_at) + self._wait_timeout_s

    def _give_up(self, call: Call) -> None:
        if self._is_closed:
            why: HubbubError = ClosedError("the space was closed meanwhile")
        elif self._fatal is not None:
            why = self._fatal
        else:
            why = BrokenError(self._dialler.complaint())
        if call.writes and call.sends:
            raise OutcomeUnknownError(
                f"a commit was sent and its answer did not arrive: it may be stored or not ({why})"
            ) from why
        raise why

    def _send(self, link: Link, data: bytes) -> None:
        try:
            link.send(data, lambda: self._take_in_for_sender(link))
        except OSError as error:
            with self._lock:
                self._lose(link, error)

    def _take_in_for_sender(self, link: Link) -> None:
        with self._lock:
            self._take_in(link)

    # --- the turn -----------------------------------------------------------------------------------------------------

    def _lap(self, remaining_s: float | None) -> None:
        """Wait for the host, or dial. Whoever has the turn."""
        with self._lock:
            link = self._link
            dead, self._dead = self._dead, []
        for old in dead:
            old.close()
        if self._is_over:
            return
        if link is None:
            self._dial(remaining_s)
            return
        due_s = self._keep_alive(link)
        link.poll(due_s if remaining_s is None else min(due_s, remaining_s))
        with self._lock:
            self._take_in(link)

    def _keep_alive(self, link: Link) -> float:
        now = time.monotonic()
        if link.pinged_at is None:
            quiet_s = now - link.received_at
            if quiet_s < link.heartbeat_s:
                return link.heartbeat_s - quiet_s
            link.pinged_at = now
            self._send(link, frame(peer.encode(peer.Ping(0))))
        remaining_s = link.pinged_at + link.heartbeat_s - now if link.pinged_at else 0.0
        if remaining_s <= 0 and link.pinged_at is not None:
            with self._lock:
                self._lose(link, TimeoutError(f"silent for {2 * link.heartbeat_s:.0f} s"))
        return max(0.0, remaining_s)

    def _dial(self, remaining_s: float | None) -> None:
        try:
            made = self._dialler.dial_again(self._replica.epoch, self._replica.newest, remaining_s)
        except HubbubError as error:
            with self._lock:
                self._fatal = error
                self._forget()
                self._turn.wake_all()
            return
        if made is not None:
            self._install(*made)

    def _install(self, link: Link, mounted: peer.Mounted) -> None:
        with self._lock:
            if self._is_closed:
                link.close()
                return
            self._stats.reconnects += bool(self._replica.epoch)
            self._link = link
            self._replica.mounted(mounted)
            again = self._calls.again()
            self._take_in(link)
            self._calls.news()
            self._turn.wake_all()
        for call in again:
            if not call.is_over:
                self._send(link, call.data)

    def _forget(self) -> None:
        """Keep nothing at hand, so that whoever wants something hears that this is over."""
        self.cache.clear()
        self._replica.oids.clear()

    def _lose(self, link: Link, why: Exception) -> None:
        """Note that ``link`` is broken. With the lock held."""
        if self._link is not link:
            return
        self._link = None
        self._dialler.lost(link, why)
        self._stats.bytes_in += link.bytes_in
        self._stats.bytes_out += link.bytes_out
        link.shut()
        if self._turn.is_taken:
            self._dead.append(link)  # its poller may be at work
        else:
            link.close()
        self._turn.wake_all()

    def _take_in(self, link: Link) -> bool:
        """Apply what has arrived; tells whether there was anything. Never waits."""
        if self._link is not link:
            return False
        try:
            messages = link.receive()
            for message in messages:
                self._calls.apply(message)
        except (OSError, RemoteProtocolError) as error:
            self._lose(link, error)
            return False
        return bool(messages) and self._link is link

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._forget()
            if self._link is not None:
                self._lose(self._link, ClosedError("closed"))
            self._turn.wake_all()
        # Once this thread had the turn, nobody polls the sockets any more.
        self._turn.wait(Waiter(), lambda: not self._turn.is_taken, lambda: None)
        with self._lock:
            self._bell.close()
            self._blobs.close()
            dead, self._dead = self._dead, []
        for old in dead:
            old.close()
