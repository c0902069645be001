"""A space's feed as a component: from a tid on, every commit, or what a function makes of it."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

from hubbub.flow import Component, GraphError, Token
from hubbub.flow.declaring import Boxes
from hubbub.flow.tracking import Position
from hubbub.mount import FeedEntry, Walk
from hubbub.spaceflow.place import Where, place_of

_MOST_UNHANDLED = 10_000
"""So many commits may be on their way; then the source waits until the oldest has been handled."""

_Made = list[tuple[FeedEntry, Sequence[Any]]]


class SpaceSource(Component):
    """Send each commit of a space, in order, none left out (ST1): the past from ``since`` on, then what happens.

    >>> SpaceSource("hub://shop:1975", since=tid, of=lambda root, commit: root["orders"].last(1)[0])

    What is sent is tracked, with the commit's tid as its position. So a `SpaceSink` behind it stores where it stands,
    and `handled_up_to` tells later from where to go on.

    Args:
        space: A URL or path, an open space, or the hub of this process.
        since: The tid behind which to begin; None: with the oldest commit that is kept; ``now``: with the next one.
        of: Called as ``of(root, commit)``, in a thread, with the space as it was at that commit; what it returns is
            sent, but for None. Of a generator function all that it yields is sent. Without it the commits themselves
            are sent (`FeedEntry`: tid, label, oids, byte_count).
        origin: What a sink knows this source by; else the URL or path, or ``space``.
        follow: Go on with what happens; else end where the feed ends now.
        token: For a URL: what the host asks of its peers.

    Raises:
        GraphError: If ``space`` or ``since`` makes no sense.
    """

    inboxes: Boxes = {}
    outboxes: Boxes = {"outbox": "each commit, or what `of` makes of it"}

    def __init__(
        self,
        space: Where,
        *,
        since: int | Literal["now"] | None = None,
        of: Callable[[Any, FeedEntry], Any] | None = None,
        origin: str = "",
        follow: bool = True,
        token: str = "",
    ) -> None:
        if isinstance(since, str) and since != "now":
            raise GraphError(f"since is a tid, None or 'now', not {since!r}")
        self._place = place_of(space, token)
        self._since = since
        self._of = of
        self._yields = inspect.isgeneratorfunction(of)
        self._origin = origin or (str(space) if _is_named(space) else "space")
        self._follow = follow
        self._after: int | None = None
        self._unhandled: deque[Token] = deque()
        self._has_room = asyncio.Event()

    async def main(self) -> None:
        """Read on and on.

        Raises:
            FeedGapError: If the feed no longer reaches back to where it shall begin. Nothing was sent.
            BrokenError: If the host is gone for too long.
        """
        place = self._place
        # What a failure left in hand is sent anew.
        self.track().release()
        await place.open()
        walk: Walk | None = None
        try:
            if self._after is None:
                self._after = await place.newest() if self._since == "now" else self._since or 0
            if self._of is not None:
                walk = place.walk(self._after)
            while True:
                entries = await place.feed(self._after)
                if entries:
                    await self._send_entries(entries, walk)
                elif self._follow:
                    await place.news()
                else:
                    return
        finally:
            if walk is not None:
                walk.close()
            await place.close()

    async def _send_entries(self, entries: list[FeedEntry], walk: Walk | None) -> None:
        error: Exception | None = None
        if walk is None:
            made: _Made = [(entry, (entry,)) for entry in entries]
        else:
            made, error = await self._place.call(self._make, entries, walk)
        for entry, items in made:
            if items:
                await self._send_items(entry, items)
            self._after = entry.tid
        if error is not None:
            raise error

    def _make(self, entries: list[FeedEntry], walk: Walk) -> tuple[_Made, Exception | None]:
        """Return what `of` makes of each, up to the first over which it fails. In a thread."""
        assert self._of is not None
        made: _Made = []
        for entry in entries:
            walk.go(entry)
            try:
                value = walk.read(self._of, entry)
            except Exception as error:  # noqa: BLE001 - raised when what came before it is sent
                return made, error
            made.append((entry, value if self._yields else () if value is None else (value,)))
        return made, None

    async def _send_items(self, entry: FeedEntry, items: Sequence[Any]) -> None:
        unhandled = self._unhandled
        while len(unhandled) >= _MOST_UNHANDLED:
            self._has_room.clear()
            await self._has_room.wait()
        oldest = unhandled[0].position.number if unhandled else entry.tid
        token = Token(self._handled, Position(self._origin, entry.tid, oldest))
        unhandled.append(token)
        hand = self.track()
        hand.resume((token,))
        await self.send_all(items)
        hand.release()

    def _handled(self, _: Token) -> None:
        unhandled = self._unhandled
        while unhandled and unhandled[0].handled:
            unhandled.popleft()
        self._has_room.set()


def _is_named(space: Any) -> bool:
    return isinstance(space, str) or hasattr(space, "__fspath__")
