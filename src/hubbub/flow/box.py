"""Boxes: the bounded queues between components (FL1, FL2).

Theory of operation
===================

A box belongs to one component, which alone reads it, in one loop's thread. Any number of producers write. Items wait in
two lists, so that whole batches move at the price of one item::

    put --> _arrived  [4, 5, 6]      appended here
            _taken    [3, 2, 1]      turned round once, then popped from its end --> get

What happens when a box is full is the box's policy: ``wait`` (the default: senders wait, first come first served, and
so back-pressure reaches the source), or one of those for senders who can't wait. Whatever a policy drops is counted.

    OPEN      --last producer finished-->  FINISHED   what is left can still be read, then `Finished`
    OPEN      --stop-->                    STOPPED    what is left is dropped; readers and writers get `Stopped`
    FINISHED  --stop-->                    STOPPED

A sender that is cancelled while it waits has not sent what it waits with. A reader that is cancelled while it waits has
taken nothing. A tracked item in a box is a place of its tokens (`hubbub.flow.tracking`): a box that takes one takes the
place with it, and one that raises leaves it to the sender.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

from hubbub.flow.bounds import ITEMS, POLICIES, WhenFull, size_of
from hubbub.flow.feed import Feed
from hubbub.flow.tracking import Hand, Tracked
from hubbub.kernel import BoxFullError, Finished, GraphError, Stopped

T = TypeVar("T")

_TURN = 256
"""After so many items in one go a sender that never has to wait lets others run."""


_EMPTY: list[Any] = []
"""For all boxes out of which nothing is being taken. Nothing is ever put into it."""


class BoxState(enum.Enum):
    """Where a box stands in its life."""

    OPEN = "open"
    FINISHED = "finished"
    STOPPED = "stopped"


class Owner(Protocol):
    """Whose box it is."""

    def name_of(self, box: Box[Any]) -> str:
        """Return what errors and drawings call its ``box``, such as ``filter.inbox``."""
        ...

    def track(self) -> Hand:
        """Return the hand of this component, for all its boxes. Called when the first tracked item arrives."""
        ...

    def waits(self) -> None:
        """Its component waits for an item. Called each time."""
        ...


class Box(Generic[T]):
    """Hold what has been sent to a component and not been read yet.

    Args:
        name: How errors and drawings call it; its owner may know more.
        owner: Whose box it is.
        items: The bound in items; at least 1.
        limit_bytes: The bound in bytes, or None for none. A box that holds less takes one item more, however large.
        when_full: What a full box does.

    Attributes:
        passed: How many items have been put in so far, dropped ones not counted.
        dropped: How many the policy has dropped.
        producers: How many linkages lead here whose sender has not finished.
    """

    __slots__ = (
        "_arrived",
        "_bytes",
        "_items",
        "_limit_bytes",
        "_name",
        "_reader",
        "_remembers",
        "_taken",
        "_tracks",
        "_writers",
        "dropped",
        "hand",
        "owner",
        "passed",
        "producers",
        "state",
        "when_full",
    )

    def __init__(
        self,
        name: str = "",
        *,
        owner: Owner | None = None,
        items: int = ITEMS,
        limit_bytes: int | None = None,
        when_full: WhenFull = "wait",
    ) -> None:
        self._name = name
        self.when_full = when_full
        self.state = BoxState.OPEN
        self.producers = 0
        self.passed = 0
        self.dropped = 0
        self.hand: Hand | None = None
        self.owner = owner
        self._items = items
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._arrived: list[Any] = []
        self._taken: list[Any] = _EMPTY
        self._tracks = False
        self._remembers = False
        self._reader: asyncio.Future[None] | None = None
        self._writers: deque[asyncio.Future[None]] | None = None

    def __len__(self) -> int:
        return len(self._arrived) + len(self._taken)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<box {self.name!r}: {len(self)} of {self._items} items, {self.state.value}>"

    @property
    def name(self) -> str:
        """How errors and drawings call it, such as ``filter.inbox``."""
        if self._name:
            return self._name
        return self.owner.name_of(self) if self.owner is not None else "the box"

    @property
    def limit_items(self) -> int:
        """The bound in items."""
        return self._items

    @property
    def limit_bytes(self) -> int | None:
        """The bound in bytes, or None."""
        return self._limit_bytes

    @property
    def waiting_bytes(self) -> int:
        """Bytes of what waits; 0 where bytes are not bounded."""
        return self._bytes

    @property
    def waiting_writers(self) -> int:
        """How many senders wait for room."""
        return len(self._writers) if self._writers else 0

    @property
    def is_read(self) -> bool:
        """Whether the reader waits here for an item."""
        return self._reader is not None

    @property
    def full(self) -> bool:
        """Whether one more item finds no room."""
        return len(self._arrived) + len(self._taken) >= self._items or (
            self._limit_bytes is not None and self._bytes >= self._limit_bytes
        )

    # -------------------------------------------------------------------- writing

    def offer(self, item: T) -> bool:
        """Put ``item`` in if that needs no waiting. Return False where the sender has to wait.

        Raises:
            BoxFullError: By the policy ``fail``; nothing was put in.
            Stopped: If the box is stopped; nothing was put in.
        """
        if self.state is BoxState.STOPPED:
            raise Stopped(f"{self.name} is stopped: nobody reads it any more")
        if self.full or self._writers:
            if self.when_full == "wait":
                return False
            if not self._make_room(item):
                return True
        self._append(item)
        return True

    def offer_all(self, items: Sequence[T]) -> int:
        """Put in as many of ``items`` as need no waiting, in order. Return how many.

        Raises:
            BoxFullError: By the policy ``fail``, at the first that finds no room; those before it are in.
            Stopped: If the box is stopped; nothing was put in.
        """
        if self.state is BoxState.STOPPED:
            raise Stopped(f"{self.name} is stopped: nobody reads it any more")
        if self._limit_bytes is None and not self._writers:
            many = min(len(items), self._items - len(self._arrived) - len(self._taken))
            if many > 0:
                self._extend(items if many == len(items) else items[:many])
            else:
                many = 0
            if many == len(items) or self.when_full == "wait":
                return many
        else:
            many = 0
        for position in range(many, len(items)):
            if not self.offer(items[position]):
                return position
        return len(items)

    async def put(self, item: T) -> None:
        """Put ``item`` in, after waiting for room where the policy says so.

        Raises:
            BoxFullError: By the policy ``fail``; nothing was put in.
            Stopped: If the box is stopped, also while this waits; nothing was put in.
        """
        if self.when_full != "wait" and (self.passed + self.dropped) % _TURN < 2:
            await asyncio.sleep(0)  # a sender who never waits lets its reader run now and then
        if self.offer(item):
            return
        await self._room()
        self._append(item)
        self._wake_writer()

    async def put_all(self, items: Sequence[T]) -> None:
        """Put ``items`` in, in order, after waiting for room where the policy says so. Others may come between.

        Raises:
            BoxFullError: By the policy ``fail``, at the first that finds no room; those before it are in.
            Stopped: If the box is stopped, also while this waits; those before it were in.
        """
        done = 0
        while done < len(items):
            done += await self.put_some(items, done)

    async def put_some(self, items: Sequence[T], start: int = 0) -> int:
        """Put in one or more of ``items`` from ``start`` on, in order. Return how many: so a sender knows what is in.

        Where the policy drops, a reader that is quick gets its turn before anything is dropped.

        Raises:
            BoxFullError: As `put_all`.
            Stopped: As `put_all`; none of them was put in.
        """
        if self.when_full != "wait":
            await asyncio.sleep(0)
            room = max(self._items - len(self._arrived) - len(self._taken), 0)
            return self.offer_all(items[start : start + (room or self._items or _TURN)])
        done = self.offer_all(items[start : start + self._items])
        if not done:
            await self._room()
            done = 1
            if self._limit_bytes is None:
                done = max(self._items - len(self._arrived) - len(self._taken), 1)
            self._extend(items[start : start + done])
            done = min(done, len(items) - start)
            self._wake_writer()
        return done

    # -------------------------------------------------------------------- reading

    def get_nowait(self) -> T:
        """Return the oldest item.

        Raises:
            IndexError: If nothing is there.
        """
        hand = self.hand
        if hand is not None and hand.tokens:
            hand.release()
        taken = self._taken
        if not taken:
            taken = self._taken = self._arrived
            self._arrived = []
            taken.reverse()
        item = taken.pop()
        if self._limit_bytes is not None:
            self._bytes -= size_of(item)
        writers = self._writers
        if writers and not writers[0].done():
            self._wake_writer()
        if hand is not None:
            if self._remembers:
                hand.last = (self, item)
            if type(item) is Tracked:
                hand.tokens = item.tokens
                return cast(T, item.item)
        return cast(T, item)

    def pass_on(self, owner: Owner) -> None:
        """Let another component read it from now on, what waits included."""
        self.owner = owner
        self.hand = owner.track() if self._tracks else None
        self._remembers = False

    def remember(self) -> None:
        """Let its reader's hand keep hold of the item read last, so that it can be laid back."""
        self._remembers = True
        self._track()

    async def get(self) -> T:
        """Return the oldest item, after waiting for one.

        Raises:
            Finished: If all is read and all producers have finished.
            Stopped: If the box is stopped.
        """
        if not self._taken and not self._arrived:
            await self.ready()
        return self.get_nowait()

    async def take(self) -> list[Any]:
        """Return all that waits, after waiting for something: at least one item, the oldest first.

        Items that are tracked come in their wrappers (`hubbub.flow.tracking.Tracked`).

        Raises:
            Finished: If all is read and all producers have finished.
            Stopped: If the box is stopped.
        """
        if not self._taken and not self._arrived:
            await self.ready()
        return self.take_nowait()

    def take_nowait(self) -> list[Any]:
        """Return all that waits, the oldest first; perhaps nothing. What was read before counts as handled."""
        if self.hand is not None:
            self.hand.release()
        return self._empty()

    def put_back(self, items: Iterable[Any]) -> None:
        """Lay ``items`` before what waits, as if they had never been read; the bound may be passed by it."""
        back = list(items)
        if not back or self.state is BoxState.STOPPED:
            return
        back.reverse()
        self._taken = self._taken + back
        if not self._tracks and Tracked in map(type, back):
            self._track()
        if self._limit_bytes is not None:
            self._bytes += sum(size_of(item) for item in back)
        self._wake_reader()

    async def ready(self) -> None:
        """Wait until there is something to read.

        Raises:
            Finished: If all is read and all producers have finished.
            Stopped: If the box is stopped.
        """
        while not self._taken and not self._arrived:
            reader = self._begin_to_wait()
            try:
                await reader
            finally:
                self.unwatch(reader)

    def _begin_to_wait(self) -> asyncio.Future[None]:
        if self.hand is not None:
            self.hand.release()
        self.check_open()
        self.check_unread()
        reader = asyncio.get_running_loop().create_future()
        self.watch(reader)
        return reader

    def check_open(self) -> None:
        """Raise what a reader gets who finds nothing: `Finished`, `Stopped`, or nothing where more may come."""
        if self.state is BoxState.FINISHED:
            raise Finished(f"{self.name} is read to its end")
        if self.state is BoxState.STOPPED:
            raise Stopped(f"{self.name} was stopped")

    def watch(self, waiter: asyncio.Future[None] | None) -> None:
        """Let ``waiter`` be woken by the next item or the end, in place of whoever waits now; or nobody.

        For waiting on several boxes, together with `check_unread`.
        """
        self._reader = waiter
        if waiter is not None and self.owner is not None:
            self.owner.waits()

    def check_unread(self) -> None:
        """See that nobody waits here already: a box has one reader, and one of two would wait for ever.

        Raises:
            GraphError: If somebody does.
        """
        if self._reader is not None and not self._reader.done():
            raise GraphError(f"{self.name} is read in two places at once: read it in one")

    def unwatch(self, waiter: asyncio.Future[None]) -> None:
        """Forget ``waiter``, if it is the one that waits."""
        if self._reader is waiter:
            self._reader = None

    def __aiter__(self) -> Box[T]:
        return self

    async def __anext__(self) -> T:
        # As `ready`, which would be one coroutine more for each component that waits.
        while not self._taken and not self._arrived:
            try:
                reader = self._begin_to_wait()
            except Finished:
                raise StopAsyncIteration from None
            try:
                await reader
            finally:
                self.unwatch(reader)
        return self.get_nowait()

    # ------------------------------------------------------------------------ end

    def producer_added(self) -> None:
        """One producer more."""
        self.producers += 1

    def producer_finished(self) -> None:
        """One of the producers will send nothing more; the last one finishes the box."""
        self.producers -= 1
        if self.producers <= 0:
            self.finish()
        elif self.owner is not None:
            self.owner.waits()  # those that are left may be a ring that waits for itself

    def finish(self) -> None:
        """Nothing more will be put in: what is there can be read, then reading raises `Finished`. Idempotent."""
        if self.state is BoxState.OPEN:
            self.state = BoxState.FINISHED
            self._wake_reader()

    def stop(self) -> list[Any]:
        """End now. Return what was in it, which nobody will read. Idempotent."""
        left = self._empty()
        self.state = BoxState.STOPPED
        self._wake_reader()
        self._wake_writers()
        return left

    def discard(self) -> None:
        """From now on drop what is here and whatever comes, as if somebody read it: nobody has to wait. Idempotent."""
        self.when_full = "drop-newest"
        self._items = 0
        self._drop(self._empty())
        self._wake_writers()

    # ----------------------------------------------------------------------- parts

    def _empty(self) -> list[Any]:
        if self._taken:
            self._taken.reverse()
            items = self._taken
            items += self._arrived
            self._taken = _EMPTY
        else:
            items = self._arrived
        self._arrived = []
        self._bytes = 0
        if self._writers:
            self._wake_writer()
        return items

    def _extend(self, items: Sequence[T]) -> None:
        self._arrived += items
        self.passed += len(items)
        if self._limit_bytes is not None:
            self._bytes += sum(map(size_of, items))
        if not self._tracks and Tracked in map(type, items):
            self._track()
        if self._reader is not None:
            self._wake_reader()

    def _append(self, item: T) -> None:
        self._arrived.append(item)
        self.passed += 1
        if self._limit_bytes is not None:
            self._bytes += size_of(item)
        if type(item) is Tracked:
            self._track()
        if self._reader is not None:
            self._wake_reader()

    def _make_room(self, item: T) -> bool:
        """Drop by the policy; return whether ``item`` shall still be put in."""
        if self.when_full == "fail":
            raise BoxFullError(
                f"{self.name} is full ({self._items} items); "
                "read faster, send less, or choose another policy for it"
            )
        if self.when_full == "drop-newest":
            self._drop([item])
            return False
        if self.when_full == "latest":
            self._drop(self._empty())
            return True
        while self.full and len(self):
            if not self._taken:
                self._arrived.reverse()
                self._taken, self._arrived = self._arrived, []
            oldest = self._taken.pop()
            if self._limit_bytes is not None:
                self._bytes -= size_of(oldest)
            self._drop([oldest])
        return True

    def _drop(self, items: list[Any]) -> None:
        self.dropped += len(items)
        for item in items:
            if type(item) is Tracked:
                item.release()

    async def _room(self) -> None:
        """Wait for this sender's turn and for room."""
        writer = asyncio.get_running_loop().create_future()
        writers = self.queue_up(writer)
        try:
            await writer
            while self.full and self.when_full == "wait" and self.state is not BoxState.STOPPED:
                # Something was laid back meanwhile. Nobody overtakes: this one stays the first.
                again = asyncio.get_running_loop().create_future()
                writers[writers.index(writer)] = writer = again
                await writer
            if self.state is BoxState.STOPPED:
                raise Stopped(f"{self.name} was stopped: nobody reads it any more")
        except BaseException:
            self.give_up(writer)
            raise
        writers.remove(writer)

    def _track(self) -> None:
        """From now on tracked items may be in here: its reader needs a hand."""
        self._tracks = True
        if self.hand is None:
            self.hand = self.owner.track() if self.owner is not None else Hand()

    def _wake_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def queue_up(self, writer: asyncio.Future[None]) -> deque[asyncio.Future[None]]:
        """Put ``writer`` at the end of those who wait for room; it is woken when it is the first and there is some."""
        if self._writers is None:
            self._writers = deque()
        self._writers.append(writer)
        return self._writers

    def give_up(self, writer: asyncio.Future[None]) -> None:
        """Take ``writer`` out of those who wait for room; a turn that was its own goes to the next."""
        if self._writers is not None:
            self._writers.remove(writer)
            self._wake_writer()

    def _wake_writers(self) -> None:
        for writer in self._writers or ():
            if not writer.done():
                writer.set_result(None)

    def _wake_writer(self) -> None:
        writers = self._writers
        if writers and not self.full:
            first = writers[0]
            if not first.done():
                first.set_result(None)


__all__ = ["ITEMS", "POLICIES", "Box", "BoxState", "Feed", "Owner", "WhenFull", "size_of"]
