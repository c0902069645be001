"""A space as a program uses it: transactions, reads, watches, over any mount. What `hubbub.open` returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar

from persistent import Persistent as BasePersistent

from hubbub.kernel import ClosedError, Job, ReadOnlyError, Tid, oid_from_bytes
from hubbub.mount import history, watching
from hubbub.mount.base import Mount, MountStats
from hubbub.mount.checking import Check, Checked
from hubbub.mount.copies import Copies
from hubbub.mount.history import Difference, Revision
from hubbub.mount.keeping import Keeping
from hubbub.mount.moments import When, snapshot_at
from hubbub.mount.past import PastMount
from hubbub.mount.transactions import Transactions
from hubbub.mount.undoing import label_of_undo, undo
from hubbub.mount.upgrading import Upgrade
from hubbub.mount.walking import Walk
from hubbub.mount.watching import Change
from hubbub.mount.workspace import SpaceConnection
from hubbub.space.context import annotated
from hubbub.store.base import FeedEntry
from hubbub.store.feeding import FEED_COMMITS

if TYPE_CHECKING:
    from hubbub.mount.aio import News

T = TypeVar("T")

_THREADS = 8


class Space(Transactions, Copies, Keeping):
    """A mounted space. Any number of threads may use it. A context manager that closes it.

    Args:
        mount: Its connection to the records; closed with the space.
        serializable: What transactions are that don't say; see `transaction`.
    """

    def __init__(self, mount: Mount, *, serializable: bool = False) -> None:
        super().__init__(mount, serializable=serializable)
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

    def sync(self) -> Tid:
        """Make a round trip to the host: what anybody was told is committed before this call is seen from now on.

        News of others come by themselves, and most often within a millisecond. So this is for who has heard of a
        commit by another way, such as an answer of another process.

        Returns:
            The newest snapshot.

        Raises:
            BrokenError: If the host is gone for too long.
        """
        return self._mount.sync()

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

    def connect(
        self,
        at: When | None = None,
        *,
        serializable: bool | None = None,
        transaction_manager: Any = None,
    ) -> SpaceConnection:
        """Return a long-lived connection.

        Args:
            at: Read the space as it was then; see `at`.
            serializable: As in `transaction`. No object stays awake from one transaction to the next then.
            transaction_manager: One of the ``transaction`` package, such as ``transaction.manager``: the connection
                takes part in its transactions, and is committed and aborted by it. None: by its own methods.

        Raises:
            HubbubError: As `at`.
        """
        tid = None if at is None else snapshot_at(self._mount, at)
        strict = self._serializable if serializable is None else serializable
        if transaction_manager is None:
            return SpaceConnection(self._mount, tid, serializable=strict)
        from hubbub.mount.joining import JoinedConnection

        return JoinedConnection(self._mount, transaction_manager, tid, serializable=strict)

    def at(self, when: When) -> Space:
        """Return the space as it was at ``when``, to read only. It ends with this one.

        Until it is closed a pack keeps what it shows: let it be a context manager.

        Args:
            when: A tid (an int, or its 16 hexadecimal digits), or a time: a `datetime`, text like
                ``2026-11-28T10:00``, or Unix time in seconds as float. Without a zone it is local time. A time means
                the state after the last transaction at or before it.

        Raises:
            StoreError: It is in the future.
            PackedError: It is not kept any more.
            ConfigurationError: It is no moment.
        """
        return Space(PastMount(self._mount, snapshot_at(self._mount, when)))

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

    def upgrade(self, job: Job | None = None) -> int:
        """Rewrite what is of an older shape than the classes known here; return how many objects that were (SP7).

        Nothing needs it but the wish to take old steps and former names out of the code. It works in small transactions
        while the space is in use; objects of unknown classes stay as they are.

        Args:
            job: Told how far it is; may be stopped. What was done by then stays, and another run does the rest.

        Raises:
            SchemaError: If an object can't be upgraded; what came before it is done.
            JobStoppedError: If ``job`` was stopped; the same.
            HubbubError: As `run`; the same.
        """
        return Upgrade(self._mount, job).run()

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

    # --- the past -----------------------------------------------------------------------------------------------------

    def history(self, obj: Any, *, before: int | None = None) -> Iterator[Revision]:
        """Yield the kept revisions of an object, newest first, each as it is asked for.

        Args:
            obj: A stored object, or its oid.
            before: Only those below this tid.

        Raises:
            TypeError: If it is neither.
        """
        return history.history(self._mount, history.oid_of(obj), before)

    def transactions(
        self, *, after: int = 0, before: int | None = None, newest_first: bool = False
    ) -> Iterator[FeedEntry]:
        """Yield the transactions that are kept, each as it is asked for: tid, time, label, oids, bytes.

        Args:
            after: Only those above this tid.
            before: Only those below this tid.
            newest_first: The other way round.

        Raises:
            FeedGapError: As `feed`.
        """
        if newest_first:
            return history.transactions_backwards(self._mount, after, before)
        return history.transactions(self._mount, after, before)

    def diff(self, obj: Any, before: When, after: When | None = None) -> Difference:
        """Compare an object at two moments: its attributes; of a container its keys or positions.

        Cost: reads the whole object twice, of a container all that is in it.

        Args:
            obj: A stored object, or its oid.
            before: The earlier moment; as in `at`.
            after: The later one; None is now.

        Raises:
            UnknownObjectError: If it is there at neither of them.
            HubbubError: As `at`.
        """
        end = self._mount.begin() if after is None else snapshot_at(self._mount, after)
        begin = snapshot_at(self._mount, before)
        return history.difference(self._mount, history.oid_of(obj), begin, end)

    def undo(
        self,
        tids: int | Iterable[int],
        *,
        note: str | None = None,
        user: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Tid:
        """Take back a transaction, or several at once, as if they had not run. It is a transaction itself.

        What was changed again since is merged where its class can; an undo that meets what it can't merge stores
        nothing. Undoing the undo brings back what it took.

        Args:
            tids: Which.
            note: What it is about; kept with it.
            user: On whose behalf it is.
            extra: More, plain values by name.

        Returns:
            Its tid.

        Raises:
            UndoError: It can't be done, because something was changed again or is packed away; names what.
            HubbubError: As `Mount.commit`.
        """
        wanted = [tids] if isinstance(tids, int) else list(tids)
        label = label_of_undo(annotated(self._label, note, user, extra), wanted)
        if self._mount.read_only:
            raise ReadOnlyError("this space was opened to read only; nothing can be undone in it")
        return undo(self._mount, wanted, label)

    # --- following ----------------------------------------------------------------------------------------------------

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

    async def arun(self, fn: Callable[..., T], *args: Any, **options: Any) -> T:
        """As `run`, options included, without blocking the loop. Cancelled, it may still be committed."""
        from hubbub.mount import aio

        value: T = await aio.call(self._threads(), lambda: self.run(fn, *args, **options))
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
            for pool in self._pools:
                pool.clear()
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
