"""A part that lets somebody look at what passes.

Theory of operation
===================

A tap is a graph of two parts. What passes never waits for who looks::

    inbox --> pass --> outbox
                |
                +----> [box: drops the oldest] --> look: runs the function or graph, and outlives its failure

"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

from hubbub.flow.box import ITEMS, Box
from hubbub.flow.component import Component, path_in
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.functions import as_component
from hubbub.flow.graph import Graph, Linkage, Place
from hubbub.flow.running import Running
from hubbub.flow.threaded import Threaded
from hubbub.flow.tracking import Tracked
from hubbub.kernel import ComponentFailedError, GraphError

log = logging.getLogger("hubbub.flow")


class Tap(Graph):
    """Show what passes to a function or a graph, without touching it.

    Whoever looks harms nobody else: what passes does not wait for it. Where it is slow it misses the oldest items; when
    it fails that is logged, and it misses the rest; both are counted. When all has passed it has ``patience_s`` for
    what it has not seen. A plain function is called in a thread. What it makes of the items goes nowhere, and that it
    looks at a tracked item does not keep that from being handled.

    Args:
        look: A function of one item, or anything else that is accepted for a component with an inbox.
        items: How many items may wait to be looked at.
        patience_s: How long it may go on when all has passed.

    Raises:
        GraphError: If it can't be a component, or has no inbox.
    """

    def __init__(self, look: Any, *, items: int = ITEMS, patience_s: float = 5.0) -> None:
        component = Threaded(look) if _is_plain(look) else as_component(look)
        if "inbox" not in component.inboxes:
            raise GraphError(f"{component!r} can't look at anything: it has no inbox")
        passed = asyncio.Event()
        self._looking = _Looking(component, passed, patience_s)
        super().__init__(
            {"pass": _Passing(passed), "look": self._looking},
            [Linkage(Place("pass", "look"), Place("look", "inbox"))],
            {"inbox": [Place("pass", "inbox")]},
            {"outbox": [Place("pass", "outbox")]},
            bounds={Place("look", "inbox"): box(items=items, when_full="drop-oldest")},
            name=f"Tap({component.label})",
        )

    @property
    def missed(self) -> int:
        """How many items passed unseen: those that it was too slow for, and those that came after its end."""
        return self._looking.missed

    @property
    def failure(self) -> ComponentFailedError | None:
        """Why the one who looks has failed, or None."""
        return self._looking.failure


class _Passing(Component):
    """Send on what comes, and offer it to the one who looks."""

    inboxes: Boxes = {"inbox": "anything"}
    outboxes: Boxes = {
        "outbox": box("the same", loose=True),
        "look": "the same, for the one who looks",
    }

    def __init__(self, passed: asyncio.Event) -> None:
        self._passed = passed

    async def main(self) -> None:
        inbox = self.inbox
        (look,) = self.outlets("look")
        try:
            while True:
                items = await inbox.take()
                for item in items:
                    # Looking is no handling: what goes there is not tracked.
                    look.offer(item.item if type(item) is Tracked else item)
                await self.send_all(items)
        finally:
            self._passed.set()


class _Looking(Component):
    """Run the one who looks, and outlive it."""

    outboxes: Boxes = {}

    def __init__(self, component: Component, passed: asyncio.Event, patience_s: float) -> None:
        self._component = component
        self._passed = passed
        self._patience_s = patience_s
        self._after_its_end = 0
        self.failure: ComponentFailedError | None = None

    @property
    def missed(self) -> int:
        """See `Tap.missed`."""
        dropped = self.inbox.dropped if self._running is not None else 0
        return self._after_its_end + dropped

    async def main(self) -> None:
        inbox = self.inbox
        # What it makes of the items goes nowhere, whether or not it expects that.
        away = Box[Any](items=1, when_full="latest")
        (child,) = self.running.runner.launch(
            [self._component],
            inboxes={"inbox": inbox},
            outlets=dict.fromkeys(self._component.outboxes, (away,)),
        )
        try:
            await self._watch(child)
        except ComponentFailedError as failure:
            self.failure = failure
            log.warning("%s failed, and looks at nothing more", path_in(self), exc_info=failure)
        inbox.pass_on(self)
        while True:
            self._after_its_end += len(await inbox.take())

    async def _watch(self, child: Running) -> None:
        """Wait for the end of the one who looks, but not for ever when all has passed.

        Raises:
            ComponentFailedError: If it failed.
        """
        ended = asyncio.ensure_future(child.wait())
        passed = asyncio.ensure_future(self._passed.wait())
        try:
            await asyncio.wait([ended, passed], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([ended], timeout=self._patience_s)
            if not ended.done():
                log.warning("%s is too slow, and is stopped", path_in(self))
        finally:
            passed.cancel()
            child.stop()
            await asyncio.wait([ended])
        ended.result()


def _is_plain(look: Any) -> bool:
    """Whether it is a function of one item that might block."""
    if not callable(look) or isinstance(look, Component | type):
        return False
    called = look if inspect.isroutine(look) else getattr(look, "__call__", look)  # noqa: B004
    return not (
        inspect.iscoroutinefunction(called)
        or inspect.isgeneratorfunction(called)
        or inspect.isasyncgenfunction(called)
    )
