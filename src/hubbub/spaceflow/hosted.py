"""A space in the process of its host, beside the objects: what `place_of` returns for a hub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hubbub.kernel import Commit, Label, ReadOnlyError, Record, Tid
from hubbub.mount import FeedEntry, Walk
from hubbub.mount.cache import RecordCache
from hubbub.store import Store, feed_piece
from hubbub.store.ledger import Ledger
from hubbub.store.snapshots import Snapshots


class HostFace(Protocol):
    """What is needed of a running host (`hubbub.perspective.host.Host`)."""

    store: Store
    ledger: Ledger

    async def call(self, body: Callable[[Any], Any], label: Label) -> Any:
        """Run ``body`` as a command and wait until it is durable."""
        ...

    def on_settled(self, listener: Callable[[Sequence[Commit]], None]) -> None:
        """Call ``listener`` in the loop with each group of settled commits."""
        ...

    def remove_listener(self, listener: Callable[[Sequence[Commit]], None]) -> None:
        """Undo `on_settled`."""
        ...


class HasHost(Protocol):
    """A hub (`hubbub.Hub`)."""

    @property
    def host(self) -> Any:
        """The running host, a `HostFace`. Raises `ConfigurationError` where none runs."""
        ...


class _Settled:
    """The settled records of a host, for reading the past (`hubbub.mount.workspace.Records`)."""

    def __init__(self, ledger: Ledger) -> None:
        self.cache = RecordCache(0)  # the ledger has one of its own
        self.snapshots = Snapshots(ledger.store.feed_floor)
        self._ledger = ledger

    def load(self, oid: int, at: int) -> Record:
        return self._ledger.load(oid, at)

    def new_oid(self) -> int:
        raise ReadOnlyError("the past can't be changed")


class HostedPlace:
    """The space of a hub that runs in this process and loop.

    Args:
        hub: Its host is asked for when the graph starts.
    """

    def __init__(self, hub: HasHost) -> None:
        self._hub = hub
        self._host: HostFace | None = None
        self._settled = asyncio.Event()

    @property
    def name(self) -> str:
        return f"hub {id(self._hub):#x}"

    @property
    def host(self) -> HostFace:
        """The host that runs."""
        host: HostFace = self._hub.host if self._host is None else self._host
        return host

    async def open(self) -> None:
        self._host = self.host
        self._host.on_settled(self._note)

    def _note(self, commits: Sequence[Commit]) -> None:
        if any(commit.records for commit in commits):
            self._settled.set()

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        label = Label(command=f"flow:{getattr(fn, '__name__', 'run')}")
        return await self.host.call(lambda connection: fn(connection.root, *args), label)

    async def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.to_thread(fn, *args)

    async def newest(self) -> Tid:
        return self.host.ledger.settled_tid

    async def feed(self, after: int) -> list[FeedEntry]:
        host = self.host
        entries: list[FeedEntry] = await self.call(
            feed_piece, host.store, after, host.ledger.settled_tid
        )
        return entries

    async def news(self) -> None:
        await self._settled.wait()
        self._settled.clear()

    def walk(self, after: int) -> Walk:
        return Walk(_Settled(self.host.ledger), after)

    async def close(self) -> None:
        host, self._host = self._host, None
        if host is not None:
            host.remove_listener(self._note)
