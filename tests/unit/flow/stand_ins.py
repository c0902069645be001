"""Components that the tests of the core put around what they test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from hubbub.flow import Backoff, Component, Restart, Token, box

AT_ONCE = Backoff(first_s=0, jitter=0)


class Seen(Component):
    """Keep what comes; end after ``wanted`` items, if that is given."""

    outboxes = {}

    def __init__(self, wanted: int | None = None) -> None:
        self.items: list[Any] = []
        self._wanted = wanted

    async def main(self) -> None:
        async for item in self.inbox:
            self.items.append(item)
            if len(self.items) == self._wanted:
                return


class Pass(Component):
    """Send on what comes, one by one."""

    async def main(self) -> None:
        async for item in self.inbox:
            await self.send(item)


class Gate(Component):
    """Send on what comes while it is open."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def main(self) -> None:
        async for item in self.inbox:
            await self.open.wait()
            await self.send(item)


class Forever(Component):
    """Send numbers from 0 on, without end."""

    inboxes = {}

    def __init__(self) -> None:
        self.sent = 0

    async def main(self) -> None:
        while True:
            await self.send(self.sent)
            self.sent += 1


class Idle(Component):
    """Wait for ever; tell of its end."""

    inboxes = {}
    outboxes = {}

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False

    async def main(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


class Fails(Component):
    """Send on what comes, but fail at some items: at each once, or always."""

    def __init__(
        self,
        at: Iterable[Any],
        *,
        restart: Restart | None = None,
        always: bool = False,
        error: Callable[[str], BaseException] = ValueError,
    ) -> None:
        self._at = set(at)
        self._always = always
        self._error = error
        self.restart = restart

    async def main(self) -> None:
        async for item in self.inbox:
            if item in self._at:
                if not self._always:
                    self._at.discard(item)
                raise self._error(f"at {item}")
            await self.send(item)


class Tracking(Component):
    """Send items with tokens; know which have been handled, and how often."""

    inboxes = {}

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = list(items)
        self.handled: list[Any] = []

    async def main(self) -> None:
        for item in self._items:
            token = Token(self._done, item)
            self.resume((token,))
            await self.send(item)
            for kept in self.keep():
                kept.release()

    def _done(self, token: Token) -> None:
        self.handled.append(token.position)


class Loose(Component):
    """Has boxes that may stay unlinked; ends at once."""

    inboxes = {"inbox": box("anything", loose=True)}
    outboxes = {"outbox": box("nothing", loose=True)}

    async def main(self) -> None:
        return


async def turns(count: int = 5) -> None:
    """Let others run."""
    for _ in range(count):
        await asyncio.sleep(0)
