"""Publish to clients that come to fetch: a bounded queue for each, in the words of cogen's comet chat.

    publish --> queue of ann  [hi, ho]   <-- fetch, by ann's long-poll
            --> queue of bob  [ho]       <-- fetch, by bob's

What a fetch gets stays in the queue until its block ends well: a client that goes away in a poll finds it there the
next time. Items are given to all subscribers, bounded for each; one that does not fetch in time is dropped, and told so
when it comes back.

    LIVE --too many items, or idle for too long--> DROPPED --told by its next fetch--> forgotten; it may subscribe anew
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Generic, Literal, TypeVar

from hubbub.flow.bounds import size_of
from hubbub.flow.recalling import check_count
from hubbub.kernel import GraphError, LimitError, SubscriberDroppedError

T = TypeVar("T")

WhenBehind = Literal["drop-subscriber", "wait", "latest", "drop-oldest", "drop-newest"]
"""What a full queue does with one more item: the subscriber is dropped, the publisher waits, or items are dropped."""

POLICIES: tuple[WhenBehind, ...] = (
    "drop-subscriber",
    "wait",
    "latest",
    "drop-oldest",
    "drop-newest",
)


class PublishSubscribeQueue(Generic[T]):
    """Give what is published to all subscribers, who come and fetch it. Belongs to one loop.

    >>> pubsub: PublishSubscribeQueue[str] = PublishSubscribeQueue()
    >>> me = pubsub.subscribe(key="ann", items=10)
    >>> async with me.fetch(timeout_s=10) as batch:
    ...     await answer(batch)

    Args:
        subscribers: How many there can be.
        idle_s: Seconds after which a subscriber is dropped that does not fetch.
        clock: Seconds that never go back.

    Raises:
        GraphError: If a bound makes no sense.
    """

    def __init__(
        self,
        *,
        subscribers: int = 10_000,
        idle_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_count(subscribers, 1, "subscribers")
        if idle_s <= 0:
            raise GraphError(f"idle_s has to be more than 0, not {idle_s}")
        self._limit = subscribers
        self._idle_s = idle_s
        self._clock = clock
        self._live: dict[Hashable, QueueSubscriber[T]] = {}  # the longest unused first
        self._dropped: dict[Hashable, QueueSubscriber[T]] = {}  # those who don't know yet

    def __len__(self) -> int:
        return len(self._live)

    def __bool__(self) -> bool:
        return True

    async def publish(self, item: T) -> int:
        """Put ``item`` into the queues of all subscribers. Return how many there were.

        Waits for those whose policy is ``wait``; if it is cancelled meanwhile, they don't get it, and the others do.
        """
        self.compact()
        members = list(self._live.values())
        waits = [wait for member in members if (wait := member._offer(item)) is not None]
        try:
            for wait in waits:
                await wait
        finally:
            for wait in waits:
                wait.cancel()
        await asyncio.sleep(0)  # whoever waits in a fetch takes it before more comes
        return len(members)

    def subscribe(
        self,
        key: Hashable = None,
        *,
        items: int = 100,
        limit_bytes: int | None = None,
        when_full: WhenBehind = "drop-subscriber",
    ) -> QueueSubscriber[T]:
        """Return the subscriber of that ``key``; it gets all that is published from its first call on.

        Args:
            key: What the client is known by when it comes back; a new subscriber each time if it is left out. Where
                there is one already, its bounds stay.
            items: How many items wait at most, those included that a fetch has and that are not confirmed.
            limit_bytes: How many bytes of them, or None for no such bound. One larger item still passes, alone.
            when_full: What happens when they are more.

        Raises:
            LimitError: If there are as many subscribers as there can be.
            GraphError: If a bound or the policy makes no sense.
        """
        if key is None:
            key = object()
        found = self._live.get(key) or self._dropped.get(key)
        if found is not None:
            return found
        check_count(items, 1, "items")
        if limit_bytes is not None:
            check_count(limit_bytes, 1, "limit_bytes")
        if when_full not in POLICIES:
            raise GraphError(
                f"there is no policy {when_full!r} for a full queue; there are {', '.join(POLICIES)}"
            )
        self.compact()
        if len(self._live) >= self._limit:
            raise LimitError(
                f"there are {self._limit} subscribers already: allow more with subscribers=, or a shorter idle_s="
            )
        member = self._live[key] = QueueSubscriber(self, key, items, limit_bytes, when_full)
        return member

    def unsubscribe(self, key: Hashable) -> bool:
        """Forget the subscriber of that ``key``, and what waits for it. Return whether there was one."""
        member = self._live.pop(key, None) or self._dropped.pop(key, None)
        if member is None:
            return False
        member._end("it has unsubscribed")
        return True

    def compact(self) -> int:
        """Drop the subscribers that have been idle for too long; return how many. Publishing does so, too."""
        now = self._clock()
        count = 0
        while self._live:
            member = next(iter(self._live.values()))
            if now - member._used <= self._idle_s:
                break
            if member._fetches:
                self._touch(member)
            else:
                self._drop(member, f"it has not fetched for {self._idle_s:g} s")
                count += 1
        return count

    # ----------------------------------------------------------------- for its subscribers

    def _touch(self, member: QueueSubscriber[T]) -> None:
        member._used = self._clock()
        if self._live.pop(member.key, None) is not None:
            self._live[member.key] = member

    def _drop(self, member: QueueSubscriber[T], reason: str) -> None:
        del self._live[member.key]
        member._end(reason)
        self._dropped[member.key] = member
        if len(self._dropped) > self._limit:
            del self._dropped[next(iter(self._dropped))]

    def _told(self, member: QueueSubscriber[T]) -> None:
        self._dropped.pop(member.key, None)


class QueueSubscriber(Generic[T]):
    """One client's queue. Made by `PublishSubscribeQueue.subscribe`.

    Attributes:
        key: What the client is known by.
        passed: How many items were put in so far.
        dropped: How many items were dropped: by the policy, or with the subscriber.
    """

    def __init__(
        self,
        queue: PublishSubscribeQueue[T],
        key: Hashable,
        items: int,
        limit_bytes: int | None,
        when_full: WhenBehind,
    ) -> None:
        self.key = key
        self.passed = 0
        self.dropped = 0
        self._queue = queue
        self._limit = items
        self._limit_bytes = limit_bytes
        self._when_full = when_full
        self._used = queue._clock()
        self._fetches = 0
        self._items: deque[T] = deque()
        self._first = 0  # the number of the oldest in the queue
        self._bytes = 0
        self._reader: asyncio.Future[None] | None = None
        self._writers: deque[tuple[T, asyncio.Future[None]]] = deque()
        self._ended: str | None = None

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return True

    @property
    def is_dropped(self) -> bool:
        """Whether it gets nothing more."""
        return self._ended is not None

    def fetch(self, timeout_s: float | None = None) -> Fetch[T]:
        """Return a block that gets all that waits, after waiting for something, as a list.

        What it got leaves the queue when the block ends well. If it fails or is cancelled it stays, and comes again. A
        fetch that waits gives way to a later one of the same subscriber, by a `TimeoutError`: its client is gone.

        Args:
            timeout_s: Seconds to wait at most, or None.

        Raises:
            TimeoutError: On entering, if nothing came in time (it is the same as ``asyncio.TimeoutError``).
            SubscriberDroppedError: On entering, if the subscriber was dropped. Subscribing again begins anew.
        """
        return Fetch(self, timeout_s)

    def unsubscribe(self) -> None:
        """Get nothing more. Idempotent."""
        if self._queue._live.get(self.key) is self or self._queue._dropped.get(self.key) is self:
            self._queue.unsubscribe(self.key)

    # -------------------------------------------------------------------------- parts

    @property
    def _full(self) -> bool:
        return len(self._items) >= self._limit or (
            self._limit_bytes is not None and self._bytes >= self._limit_bytes
        )

    def _offer(self, item: T) -> asyncio.Future[None] | None:
        """Put ``item`` in by the policy; return what to wait for where that is it."""
        if self._full or self._writers:
            match self._when_full:
                case "drop-subscriber":
                    self.dropped += 1
                    bound = f"{self._limit} items" + (
                        f" or {self._limit_bytes} bytes" if self._limit_bytes else ""
                    )
                    self._queue._drop(
                        self, f"it was too slow: {bound} waited for it, and more came"
                    )
                    return None
                case "wait":
                    room = asyncio.get_running_loop().create_future()
                    self._writers.append((item, room))
                    return room
                case "drop-newest":
                    self.dropped += 1
                    return None
                case "latest":
                    self.dropped += self._forget(len(self._items))
                case "drop-oldest":
                    while self._full and self._items:
                        self.dropped += self._forget(1)
        self._append(item)
        return None

    def _append(self, item: T) -> None:
        self._items.append(item)
        self.passed += 1
        if self._limit_bytes is not None:
            self._bytes += size_of(item)
        self._wake()

    def _forget(self, count: int) -> int:
        """Take the oldest off the queue."""
        for _ in range(count):
            item = self._items.popleft()
            if self._limit_bytes is not None:
                self._bytes -= size_of(item)
        self._first += count
        return count

    def _confirm(self, before: int) -> None:
        """All items before that number have arrived."""
        self._forget(max(0, min(before - self._first, len(self._items))))
        while self._writers and not self._full:
            item, room = self._writers.popleft()
            if not room.done():
                self._append(item)
                room.set_result(None)

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def _end(self, reason: str) -> None:
        self._ended = reason
        self.dropped += self._forget(len(self._items))
        for _, room in self._writers:
            if not room.done():
                self.dropped += 1
                room.set_result(None)
        self._writers.clear()
        self._wake()

    def _check(self) -> None:
        if self._ended is not None:
            self._queue._told(self)
            raise SubscriberDroppedError(
                f"subscriber {self.key!r} was dropped: {self._ended}; {self.dropped} items are lost to it. "
                "Subscribe again to go on from here",
                dropped=self.dropped,
            )

    async def _wait(self) -> None:
        while not self._items:
            self._check()
            self._wake()  # an earlier fetch gives way
            reader = self._reader = asyncio.get_running_loop().create_future()
            try:
                await reader
            finally:
                if self._reader is reader:
                    self._reader = None
            if not self._items and self._ended is None:
                raise TimeoutError(
                    "a later fetch of the same subscriber took the place of this one"
                )
        self._check()


class Fetch(Generic[T]):
    """A block that fetches: see `QueueSubscriber.fetch`."""

    __slots__ = ("_before", "_member", "_timeout_s")

    def __init__(self, member: QueueSubscriber[T], timeout_s: float | None) -> None:
        self._member = member
        self._timeout_s = timeout_s
        self._before = 0

    async def __aenter__(self) -> list[T]:
        member = self._member
        member._fetches += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await member._wait()
        except BaseException:
            self._leave()
            raise
        batch = list(member._items)
        self._before = member._first + len(batch)
        return batch

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()
        if kind is None:
            self._member._confirm(self._before)

    def _leave(self) -> None:
        self._member._fetches -= 1
        self._member._queue._touch(self._member)
