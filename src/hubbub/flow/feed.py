"""One of several linkages that lead into the same box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from hubbub.flow.bounds import WhenFull

if TYPE_CHECKING:
    from hubbub.flow.box import Box

T = TypeVar("T")


class Feed(Generic[T]):
    """One of several linkages that lead into the same box, seen by its sender: counts what comes by it.

    Where a box has only one linkage, its sender gets the box itself.

    Attributes:
        box: Where it leads.
        passed: How many items have come by it.
    """

    __slots__ = ("box", "passed")

    def __init__(self, box: Box[T]) -> None:
        self.box = box
        self.passed = 0

    @property
    def when_full(self) -> WhenFull:
        """The policy of the box."""
        return self.box.when_full

    def offer(self, item: T) -> bool:
        """See `Box.offer`."""
        taken = self.box.offer(item)
        self.passed += taken
        return taken

    async def put(self, item: T) -> None:
        """See `Box.put`."""
        await self.box.put(item)
        self.passed += 1

    def offer_all(self, items: Sequence[T]) -> int:
        """See `Box.offer_all`."""
        taken = self.box.offer_all(items)
        self.passed += taken
        return taken

    async def put_all(self, items: Sequence[T]) -> None:
        """See `Box.put_all`."""
        done = 0
        while done < len(items):
            done += await self.put_some(items, done)

    async def put_some(self, items: Sequence[T], start: int = 0) -> int:
        """See `Box.put_some`."""
        put = await self.box.put_some(items, start)
        self.passed += put
        return put

    def producer_added(self) -> None:
        """See `Box.producer_added`."""
        self.box.producer_added()

    def producer_finished(self) -> None:
        """See `Box.producer_finished`."""
        self.box.producer_finished()
