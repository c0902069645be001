"""A component that sends something again and again."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes
from hubbub.kernel import GraphError


class Timer(Component):
    """Send an item every so many seconds.

    The moments lie on a grid that begins with the start: they do not drift. A moment that passes while the graph is
    held up, or while the receiver has no room, is left out, so that there is never a burst.

    Args:
        seconds: The time between two items.
        items: What to send: an iterable (the timer ends with it), or a function that is called at each moment. Left
            out, the items are 0, 1, 2 and so on.
        immediately: Whether the first item is sent at the start.

    Attributes:
        missed: How many moments have been left out.

    Raises:
        GraphError: If the time is not more than 0.
    """

    inboxes: Boxes = {}
    outboxes: Boxes = {"outbox": "an item at each moment"}

    def __init__(
        self,
        seconds: float,
        items: Iterable[Any] | Callable[[], Any] | None = None,
        *,
        immediately: bool = False,
    ) -> None:
        if not seconds > 0:
            raise GraphError(f"a Timer needs more than 0 seconds between two items, not {seconds}")
        self._seconds = seconds
        self._items = items
        self._immediately = immediately
        self.missed = 0

    async def main(self) -> None:
        loop = asyncio.get_running_loop()
        start, seconds = loop.time(), self._seconds
        make = self._items if callable(self._items) else None
        moment = 0 if self._immediately else 1
        for item in self._moments():
            wait = start + moment * seconds - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            await self.send(item if make is None else make())
            next_one = math.floor((loop.time() - start) / seconds) + 1
            moment += 1
            if next_one > moment:
                self.missed += next_one - moment
                moment = next_one

    def _moments(self) -> Iterable[Any]:
        if self._items is None:
            return itertools.count()
        return itertools.repeat(None) if callable(self._items) else self._items
