"""Components that the tests of devices and stock parts put around what they test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from hubbub.flow import Component, Token, box


class Seen(Component):
    """Keeps what it gets; `enough` is set when it has so many.

    Args:
        wanted: How many.
    """

    inboxes = {"inbox": box("anything", items=1)}
    outboxes = {}

    def __init__(self, wanted: int = 0) -> None:
        self.items: list[Any] = []
        self._wanted = wanted
        self.enough = asyncio.Event()
        self._came = asyncio.Event()

    async def main(self) -> None:
        async for item in self.inbox:
            self.items.append(item)
            self._came.set()
            if len(self.items) >= self._wanted:
                self.enough.set()

    async def until(self, count: int) -> None:
        """Wait until it has ``count`` items."""
        while len(self.items) < count:
            self._came.clear()
            await self._came.wait()


class Held(Component):
    """Takes items when it is told to: `takes`, or `go_on.release()` for each. Each stays in its hand until then."""

    outboxes = {}

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.go_on = asyncio.Semaphore(0)
        self._came = asyncio.Event()

    async def main(self) -> None:
        while True:
            await self.go_on.acquire()
            self.items.append(await self.inbox.get())
            self._came.set()

    async def takes(self, *expected: Any) -> None:
        """Let it take one item, and wait until it has; it has to be the one ``expected``, if that is given."""
        count = len(self.items)
        self.go_on.release()
        while len(self.items) == count:
            self._came.clear()
            await self._came.wait()
        assert not expected or self.items[-1:] == list(expected)


class Tracking(Component):
    """A source that knows which of its items have been handled.

    Args:
        items: What it sends.
        stay: Whether it goes on when it has sent all, until it is cancelled.
    """

    inboxes = {}

    def __init__(self, items: Iterable[Any], *, stay: bool = False) -> None:
        self._items = list(items)
        self._stay = stay
        self.handled: list[Any] = []
        self.all_sent = asyncio.Event()
        self.changed = asyncio.Event()

    async def main(self) -> None:
        for item in self._items:
            token = Token(self._done, item)
            self.resume((token,))
            await self.send(item)
            for kept in self.keep():
                kept.release()
        self.all_sent.set()
        if self._stay:
            await asyncio.Event().wait()

    async def until_handled(self, *items: Any) -> None:
        """Wait until exactly ``items`` have been handled, in whatever order."""
        while sorted(self.handled) != sorted(items):
            self.changed.clear()
            await self.changed.wait()

    def _done(self, token: Token) -> None:
        self.handled.append(token.position)
        self.changed.set()
