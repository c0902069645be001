"""Components whose place is taken by others while they run: one after another, or as they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from hubbub.flow.box import Box, first_ready
from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.functions import as_component
from hubbub.flow.running import ENDED, Running
from hubbub.flow.tracking import Tracked
from hubbub.kernel import ComponentFailedError, Finished, GraphError


class Sequence(Component):
    """Run ``parts`` one after the other, each in this one's place: its inbox and its outbox are theirs.

    When one ends, what it has not read is there for the next.

    Raises:
        GraphError: If there is no part.
    """

    inboxes: Boxes = {"inbox": box("what the present part works on", loose=True)}
    outboxes: Boxes = {"outbox": box("what the present part makes", loose=True)}

    def __init__(self, *parts: Any) -> None:
        if not parts:
            raise GraphError("a Sequence needs at least one part")
        self._parts = [as_component(part) for part in parts]
        self._child: Running | None = None

    async def main(self) -> None:
        for part in self._parts:
            inbox = self.inbox
            inboxes = {} if inbox is ENDED or "inbox" not in part.inboxes else {"inbox": inbox}
            outlets = {"outbox": self.outlets()} if "outbox" in part.outboxes else {}
            (child,) = self.running.runner.launch([part], inboxes=inboxes, outlets=outlets)
            self._child = child
            await run_child(child)

    def finish(self) -> None:
        if self._child is not None:
            self._child.finish()


class Carousel(Component):
    """Run one component at a time, made anew for each item that comes to the inbox ``next``.

    The one before comes to a good end first: it gets all that came before, and what it makes of it leaves.
    What comes to ``inbox`` while there is none waits. (Kamaelia's Carousel dropped it.)

    Args:
        make: Called with the item of ``next``; returns a component, or anything else that is accepted for one.
        first: What to call ``make`` with at the start; nothing runs until ``next`` says so if it is left out.
    """

    inboxes: Boxes = {
        "inbox": box("what the present component works on", loose=True),
        "next": "what the next component is made of",
    }
    outboxes: Boxes = {"outbox": box("what the present component makes", loose=True)}

    _NONE: ClassVar[Any] = object()

    def __init__(self, make: Callable[[Any], Any], *, first: Any = _NONE) -> None:
        self._make = make
        self._first = first

    async def main(self) -> None:
        child: Running | None = None
        feed: Box[Any] | None = None
        try:
            if self._first is not Carousel._NONE:
                child, feed = self._begin(self._first)
            inbox, changes = self.inbox, self.box("next")
            while True:
                if child is not None and child.is_over:
                    await run_child(child)
                    child = feed = None
                boxes = [changes, inbox] if feed is not None else [changes]
                try:
                    ready = await first_ready(boxes)
                except Finished:
                    break
                item = ready.get_nowait()
                if ready is changes:
                    if child is not None and feed is not None:
                        feed.finish()
                        await run_child(child)
                    child, feed = self._begin(item)
                elif feed is not None:
                    hand = self._hand
                    await feed.put(Tracked(item, hand.tokens) if hand and hand.tokens else item)
            if child is not None and feed is not None:
                feed.finish()
                await run_child(child)
        finally:
            if child is not None and not child.is_over:
                child.stop()

    def _begin(self, item: Any) -> tuple[Running, Box[Any]]:
        part = as_component(self._make(item))
        feed: Box[Any] = Box("inbox")
        feed.producers = 1
        inboxes = {"inbox": feed} if "inbox" in part.inboxes else {}
        outlets = {"outbox": self.outlets()} if "outbox" in part.outboxes else {}
        (child,) = self.running.runner.launch([part], inboxes=inboxes, outlets=outlets)
        return child, feed


async def run_child(child: Running) -> None:
    """Wait for the end of a graph that a component has started; being cancelled stops it.

    Raises:
        ComponentFailedError: If it failed.
    """
    try:
        await child.wait()
    except asyncio.CancelledError:
        child.stop()
        try:
            await child.wait()
        except ComponentFailedError as failure:
            raise failure from None
        raise


__all__ = ["Carousel", "Sequence", "run_child"]
