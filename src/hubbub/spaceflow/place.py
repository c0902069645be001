"""Where a source or a sink finds its space: in a peer, in this process, or in the process of its host.

Nothing here blocks the loop: what may wait runs in a thread (FL4).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeVar

from hubbub.flow import GraphError
from hubbub.kernel import ClosedError, Tid
from hubbub.mount import Change, FeedEntry, Space, Walk
from hubbub.mount import open as open_space
from hubbub.spaceflow.hosted import HasHost, HostedPlace

T = TypeVar("T")

Where = str | os.PathLike[str] | Space | HasHost
"""A URL or path, an open space, or the hub of this process."""


class Place(Protocol):
    """A space that a component works with."""

    @property
    def name(self) -> str:
        """The same for two components if they mean the same space, as far as can be told."""
        ...

    async def open(self) -> None:
        """Get ready."""
        ...

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Return ``fn(root, *args)``, run as a transaction, when it is durable."""
        ...

    async def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Return ``fn(*args)``, which may wait for the space."""
        ...

    async def newest(self) -> Tid:
        """Return the newest tid."""
        ...

    async def feed(self, after: int) -> list[FeedEntry]:
        """Return the next commits above ``after``; nothing if there is none."""
        ...

    async def news(self) -> None:
        """Wait for a commit that no `feed` that was called since the last `news` has told of."""
        ...

    def walk(self, after: int) -> Walk:
        """Return what reads the space at one commit after the other."""
        ...

    async def close(self) -> None:
        """Give back what `open` took."""
        ...


class MountedPlace:
    """A mounted space: a peer's, or one that is embedded here.

    Args:
        where: An open space, which stays open; or what to open, and to close at the end.
        token: What the host asks of its peers.
    """

    def __init__(self, where: str | os.PathLike[str] | Space, token: str = "") -> None:
        self._url = None if isinstance(where, Space) else os.fspath(where)
        self._token = token
        self._space = where if isinstance(where, Space) else None
        self._changes: AsyncIterator[Change] | None = None

    @property
    def name(self) -> str:
        return self._url if self._url is not None else f"space {id(self._space):#x}"

    @property
    def space(self) -> Space:
        """The space. Raises `ClosedError` where it is not open."""
        if self._space is None:
            raise ClosedError(f"{self._url} is not open")
        return self._space

    async def open(self) -> None:
        if self._space is None:
            assert self._url is not None
            self._space = await asyncio.to_thread(open_space, self._url, token=self._token)

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        return await self.space.arun(fn, *args)

    async def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        return await self.space.acall(fn, *args)

    async def newest(self) -> Tid:
        tid: Tid = await self.call(lambda: self.space.tid)
        return tid

    async def feed(self, after: int) -> list[FeedEntry]:
        entries: list[FeedEntry] = await self.call(self.space.feed, after)
        return entries

    async def news(self) -> None:
        # It tells at once where the space stands, and then of each move since it told the last time.
        if self._changes is None:
            self._changes = self.space.achanges()
        try:
            await anext(self._changes)
        except StopAsyncIteration:
            raise ClosedError("the space was closed while a graph read its feed") from None

    def walk(self, after: int) -> Walk:
        return self.space.walk(after)

    async def close(self) -> None:
        changes, self._changes = self._changes, None
        if changes is not None:
            await changes.aclose()  # type: ignore[attr-defined]
        if self._url is not None and self._space is not None:
            space, self._space = self._space, None
            await asyncio.to_thread(space.close)


def place_of(where: Where, token: str = "") -> Place:
    """Return the place that ``where`` means.

    Raises:
        GraphError: If it means none.
    """
    if isinstance(where, str | os.PathLike | Space):
        return MountedPlace(where, token)
    if hasattr(type(where), "host"):
        return HostedPlace(where)
    raise GraphError(
        f"{where!r} is no space: give a URL or path, what hubbub.open returned, or the Hub of this process"
    )
