"""Parts that look at one item after another: map, filter, unseen only, sequence numbers.

They take whole batches out of their boxes, as plain functions do (`hubbub.flow.functions`).
"""

from __future__ import annotations

import contextlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.tracking import Tracked
from hubbub.kernel import GraphError, Stopped


class Map(Component):
    """Send what a function makes of each item. A bare function is nearly the same, but sends no None.

    Args:
        f: A function of one item, or an ``async def``, which is awaited for one item after the other.
    """

    inboxes: Boxes = {"inbox": "what the function is called with"}
    outboxes: Boxes = {"outbox": box("what the function makes of it", loose=True)}

    def __init__(self, f: Callable[[Any], Any]) -> None:
        self._f = f

    async def main(self) -> None:
        f = self._f
        if not is_async(f):
            await in_batches(self, lambda item: (f(item),))
            return
        async for item in self.inbox:
            await self.send(await f(item))


class Filter(Component):
    """Send on the items that a predicate is true of.

    Args:
        predicate: A function of one item, or an ``async def``.

    Attributes:
        rejected: How many items it was not true of.
    """

    inboxes: Boxes = {"inbox": "anything"}
    outboxes: Boxes = {
        "outbox": "what the predicate is true of",
        "rejected": box("the rest", loose=True),
    }

    def __init__(self, predicate: Callable[[Any], Any]) -> None:
        self._predicate = predicate
        self.rejected = 0

    async def main(self) -> None:
        predicate = self._predicate
        waits = is_async(predicate)
        if not waits and not self.outlets("rejected"):
            await in_batches(self, self._one)
            return
        async for item in self.inbox:
            accepted = predicate(item)
            if await accepted if waits else accepted:
                await self.send(item)
            else:
                self.rejected += 1
                await self.send(item, "rejected")

    def _one(self, item: Any) -> Iterable[Any]:
        if self._predicate(item):
            return (item,)
        self.rejected += 1
        return ()


class UnseenOnly(Component):
    """Send on what has not been seen before, among so many that are remembered.

    An item that comes again is remembered anew: what comes often stays known.

    Args:
        key: What makes two items the same; the item itself if it is left out.
        remember: How many keys to remember; the one that was not seen for longest is forgotten first.

    Attributes:
        dropped: How many items have been seen before, and were not sent on.

    Raises:
        GraphError: If nothing would be remembered.
    """

    inboxes: Boxes = {"inbox": "anything"}
    outboxes: Boxes = {"outbox": "what has not been seen before"}

    def __init__(
        self, key: Callable[[Any], Hashable] | None = None, *, remember: int = 10_000
    ) -> None:
        if remember < 1:
            raise GraphError(f"UnseenOnly has to remember at least 1 item, not {remember}")
        self._key = key
        self._remember = remember
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self.dropped = 0

    async def main(self) -> None:
        await in_batches(self, self._one)

    def _one(self, item: Any) -> Iterable[Any]:
        key = item if self._key is None else self._key(item)
        seen = self._seen
        try:
            known = key in seen
        except TypeError:
            raise TypeError(
                f"UnseenOnly can't remember a {type(key).__name__}: give a key= that makes an item hashable"
            ) from None
        if known:
            seen.move_to_end(key)
            self.dropped += 1
            return ()
        seen[key] = None
        if len(seen) > self._remember:
            seen.popitem(last=False)
        return (item,)


class TagWithSequenceNumber(Component):
    """Send each item with its number: ``(0, item)``, ``(1, item)``. `RecoverOrder` takes the numbers off again.

    Args:
        first: The first number.
    """

    inboxes: Boxes = {"inbox": "anything"}
    outboxes: Boxes = {"outbox": "pairs of number and item"}

    def __init__(self, first: int = 0) -> None:
        self._next = first

    async def main(self) -> None:
        await in_batches(self, self._one)

    def _one(self, item: Any) -> Iterable[Any]:
        number = self._next
        self._next += 1
        return ((number, item),)


async def in_batches(component: Component, make: Callable[[Any], Iterable[Any]]) -> None:
    """Send on all that ``make`` makes of each item of the inbox, taking and sending whole batches.

    Where the component restarts it is one item after the other, so that what fails is one item.
    """
    inbox = component.inbox
    if component.restart is not None:
        async for item in inbox:
            for result in make(item):
                await component.send(result)
        return
    while True:
        items = iter(await inbox.take())
        results: list[Any] = []
        try:
            for item in items:
                if type(item) is Tracked:
                    results += [Tracked(result, item.tokens) for result in make(item.item)]
                    item.release()
                else:
                    results += make(item)
        except BaseException:
            inbox.put_back([item, *items])
            with contextlib.suppress(Stopped):  # it is the failure that counts
                await component.send_all(results)
            raise
        if results:
            await component.send_all(results)


def is_async(function: Any) -> bool:
    """Whether what ``function`` returns has to be awaited."""
    called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    return inspect.iscoroutinefunction(called)
