"""A space as a program uses it: transactions, reads, watches, over any mount. What `hubbub.open` returns."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from persistent import Persistent as BasePersistent

from hubbub.kernel import ClosedError, Job, ReadOnlyError, Tid, TransientError, oid_from_bytes
from hubbub.mount import watching
from hubbub.mount.base import Mount, MountStats
from hubbub.mount.checking import Check, Checked
from hubbub.mount.copies import Copies
from hubbub.mount.keeping import Keeping
from hubbub.mount.walking import Walk
from hubbub.mount.watching import Change
from hubbub.mount.workspace import SpaceConnection, Workspace, peer_label
from hubbub.space.context import Transaction, enter, leave, running
from hubbub.store.base import FeedEntry
from hubbub.store.feeding import FEED_COMMITS

if TYPE_CHECKING:
    from hubbub.mount.aio import News

T = TypeVar("T")

_POOLED = 16
_THREADS = 8
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.25


class Space(Copies, Keeping):
    """A mounted space. Any number of threads may use it. A context manager that closes it.

    Args:
        mount: Its connection to the records; closed with the space.
    """

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._label = peer_label()
        self._lock = threading.Lock()
        self._pool: list[Workspace] = []
        self._is_closed = False
        self._executor: ThreadPoolExecutor | None = None
        self._news: News | None = None

    @property
    def stats(self) -> MountStats:
        """What it has cost so far: requests to the host, cache hits, bytes."""
        return self._mount.stats

    @property
    def tid(self) -> Tid:
        """The newest snapshot known."""
        return self._mount.begin()

    # --- transactions -------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Run the block as one transaction: it gets the root, and is committed at its end.

        Raises:
            ConflictError: Somebody was first; nothing is stored, run it again (`run` does).
            UnstorableError: Something can't be stored; nothing is.
            HubbubError: As `Mount.commit`. An exception of the block aborts it and goes on upwards.
        """
        with self._transaction(time.time(), None) as root:
            yield root

    def run(self, fn: Callable[..., T], *args: Any, attempts: int = 30) -> T:
        """Run ``fn(root, *args)`` as one transaction, again after a conflict; return what it returned.

        `hubbub.now`, `unique` and `random` give the same in each attempt.

        Args:
            fn: May run more than once; it touches nothing but the space.
            *args: For it.
            attempts: How often at most.

        Raises:
            TransientError: Of the last attempt; says how many there were.
            Exception: Whatever ``fn`` raises; nothing is stored.
        """
        started, seed = time.time(), random.getrandbits(64)
        pause_s = _FIRST_PAUSE_S
        attempt = 1
        while True:
            try:
                return self._attempt(started, seed, fn, args)
            except TransientError as error:
                if attempt >= attempts:
                    lasted_s = time.time() - started
                    error.message = (
                        f"{error.message} (given up after {attempt} attempts in {lasted_s:.1f} s)"
                    )
                    raise
            attempt += 1
            time.sleep(random.uniform(0, pause_s))
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    def _attempt(self, now: float, seed: int, fn: Callable[..., T], args: tuple[Any, ...]) -> T:
        """As `_transaction`, without what a context manager costs."""
        workspace = self._take()
        objects = workspace.objects
        transaction = Transaction(objects, now, label=self._label, seed=seed)
        token = enter(transaction)
        try:
            value = fn(objects.root, *args)
            workspace.commit(transaction, transaction.label)
            return value
        except BaseException:
            objects.abort()
            raise
        finally:
            leave(token)
            self._give_back(workspace)

    @contextmanager
    def _transaction(self, now: float, seed: int | None) -> Iterator[Any]:
        workspace = self._take()
        objects = workspace.objects
        transaction = Transaction(objects, now, label=self._label, seed=seed)
        try:
            with running(transaction):
                yield objects.root
                workspace.commit(transaction, transaction.label)
        except BaseException:
            objects.abort()
            raise
        finally:
            self._give_back(workspace)

    def read(self, fn: Callable[..., T], *args: Any) -> T:
        """Run ``fn(root, *args)`` on the newest snapshot; return what it returned. Return values, not shared objects.

        Raises:
            ReadOnlyError: If it changes anything; nothing is stored.
        """
        workspace = self._take()
        objects = workspace.objects
        objects.read_only = True
        try:
            value: T = watching.read_at(workspace, fn, args)
            changed = objects.prepare().records
            if changed:
                raise ReadOnlyError(
                    f"a read changed a value inside {changed[0].class_name}; use run()"
                )
            return value
        finally:
            objects.abort()
            objects.read_only = self._mount.read_only
            self._give_back(workspace)

    def _take(self) -> Workspace:
        with self._lock:
            if self._is_closed:
                raise ClosedError("the space is closed")
            workspace = self._pool.pop() if self._pool else None
        if workspace is None:
            return Workspace(self._mount, read_only=self._mount.read_only)
        workspace.move()
        return workspace

    def _give_back(self, workspace: Workspace) -> None:
        workspace.rest()
        with self._lock:
            if not self._is_closed and len(self._pool) < _POOLED:
                self._pool.append(workspace)

    def prefetch(self, *wanted: Any) -> int:
        """Fetch shared objects that are about to be used, all in one round trip, such as ``root["stories"].values()``.

        Objects that are kept here already cost nothing, and so does everything in an embedded space.

        Args:
            *wanted: Shared objects, oids, or iterables of these. Objects are not woken.

        Returns:
            How many records have come.
        """
        by_tid: dict[int, list[int]] = {}
        newest = 0
        for oid, tid in _oids_of(wanted):
            if tid == 0:
                tid = newest = newest or self._mount.begin()
            by_tid.setdefault(tid, []).append(oid)
        return sum(self._mount.prefetch(oids, tid) for tid, oids in by_tid.items())

    # --- what lasts ---------------------------------------------------------------------------------------------------

    def connect(self, at: int | None = None) -> SpaceConnection:
        """Return a long-lived connection; with ``at`` one that reads the space as it was at that tid."""
        return SpaceConnection(self._mount, at)

    def check(self, job: Job | None = None) -> Checked:
        """Look at every object that the root leads to, and tell which would not load with the classes known here (SP7).

        Import the application's modules first. Nothing is written; the space may be in use.

        Args:
            job: Told how far it is; may be stopped.

        Raises:
            JobStoppedError: If ``job`` was stopped.
            BrokenError: If the host can't be reached.
        """
        return Check(self._mount, job).run()

    def changes(self) -> Iterator[Change]:
        """Yield the present position at once, then a new one after commits; several may come as one.

        It ends when the space is closed.
        """
        return watching.changes(self._mount)

    def feed(self, after: int = 0, most: int = FEED_COMMITS) -> list[FeedEntry]:
        """Return commits above ``after``, in tid order, none left out (ST1): the first ones, ``most`` or fewer.

        Nothing comes back only where there is nothing.

        Args:
            after: A tid; 0 begins with the oldest commit that is kept.
            most: How many at most.

        Raises:
            FeedGapError: If the feed no longer reaches back to ``after``, or ``after`` is in the future.
            HubbubError: As `Mount.feed`.
        """
        return self._mount.feed(after, most)

    def walk(self, after: int = 0) -> Walk:
        """Return what reads the space at one commit of the feed after the other, from behind ``after`` on."""
        return Walk(self._mount, after)

    def watch(self, fn: Callable[..., T], *args: Any) -> Iterator[T]:
        """Yield what ``fn(root, *args)`` returns: at once, then whenever something that it read has changed.

        It ends when the space is closed.
        """
        return watching.watch(self._mount, fn, args)

    # --- the async face -----------------------------------------------------------------------------------------------

    async def aread(self, fn: Callable[..., T], *args: Any) -> T:
        """As `read`, without blocking the loop."""
        from hubbub.mount import aio

        value: T = await aio.call(self._threads(), self.read, fn, *args)
        return value

    async def arun(self, fn: Callable[..., T], *args: Any, attempts: int = 30) -> T:
        """As `run`, without blocking the loop. Cancelled, it may still be committed."""
        from hubbub.mount import aio

        value: T = await aio.call(self._threads(), lambda: self.run(fn, *args, attempts=attempts))
        return value

    async def acall(self, fn: Callable[..., T], *args: Any) -> T:
        """Return ``fn(*args)``, which may wait for this space, without blocking the loop."""
        from hubbub.mount import aio

        value: T = await aio.call(self._threads(), fn, *args)
        return value

    def awatch(self, fn: Callable[..., T], *args: Any) -> AsyncIterator[T]:
        """As `watch`, as an async iterator; cancelling whoever iterates ends it."""
        from hubbub.mount import aio

        return aio.watch(self._threads(), self._listener(), self._mount, fn, args)

    def achanges(self) -> AsyncIterator[Change]:
        """As `changes`, as an async iterator."""
        from hubbub.mount import aio

        return aio.changes(self._threads(), self._listener(), self._mount)

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._is_closed:
                raise ClosedError("the space is closed")
            if self._executor is None:
                self._executor = ThreadPoolExecutor(_THREADS, "hubbub-space")
            return self._executor

    def _listener(self) -> News:
        from hubbub.mount.aio import News

        with self._lock:
            if self._news is None:
                self._news = News(self._mount)
            return self._news

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close it: iterators end, whoever waits gets `ClosedError`. Idempotent."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._pool.clear()
            executor = self._executor
        self._mount.close()
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _oids_of(wanted: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """Yield the oids of shared objects and the tids at which they are seen; 0: the newest."""
    for item in wanted:
        if isinstance(item, int):
            yield item, 0
        elif isinstance(item, BasePersistent):
            jar = item._p_jar
            if jar is not None and item._p_oid is not None:
                yield oid_from_bytes(item._p_oid), getattr(jar.source, "tid", 0)
        else:
            yield from _oids_of(item)
