"""Components whose place is taken by others while they run: one after another, or as they are asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

from hubbub.flow.box import Box, BoxState
from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.functions import as_component
from hubbub.flow.running import ENDED, Running
from hubbub.flow.waiting import first_ready
from hubbub.kernel import Finished, GraphError, Stopped


class _InItsPlace(Component):
    """Runs others in its place, one at a time."""

    _child: Running | None = None

    def feeds_within(self, box: Box[Any]) -> int:
        return self._child.feeds(box) if self._child is not None else 0


class Sequence(_InItsPlace):
    """Run ``parts`` one after the other, each in this one's place: its inbox and its outbox are theirs.

    When one ends, what it has not read is there for the next. Asked to finish, the sources among them are passed by;
    the others come to the end of the inbox.

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
        self._finishing = False

    async def main(self) -> None:
        for part in self._parts:
            self._child = self.launch(part)
            if self._finishing:
                self._child.finish()
            await self._child.to_its_end()

    def finish(self) -> None:
        self._finishing = True
        if self._child is not None:
            self._child.finish()

    def is_idle(self) -> bool:
        return self._child is not None and not self._child.is_over and self._child.is_idle()


class Carousel(_InItsPlace):
    """Run one component at a time, made anew for each item that comes to the inbox ``next``.

    The one before comes to a good end first: it gets all that came before, and what it makes of it leaves.
    What comes to ``inbox`` while there is none waits, and so does what one that ends by itself has not read.
    (Kamaelia's Carousel dropped it.)

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
        self._child: Running | None = None
        self._gone: asyncio.Future[None] | None = None
        self._feed: Box[Any] = Box("inbox")
        self._finishing = False

    async def main(self) -> None:
        try:
            if self._first is not Carousel._NONE:
                self._begin(self._first)
            while not self._is_at_end():
                await self._go_on()
            if self._child is not None:
                self._feed.producer_finished()
                if self._finishing:
                    self._child.finish()
                await self._let_end()
        finally:
            child, self._child = self._child, None
            if child is not None:
                child.stop()
                await child.wait()

    def finish(self) -> None:
        self._finishing = True
        if self._child is not None and self._is_at_end():
            self._child.finish()

    def is_idle(self) -> bool:
        return super().is_idle() and (
            self._child is None or (self._child.is_idle() and not len(self._feed))
        )

    # ------------------------------------------------------------------------- parts

    def _is_at_end(self) -> bool:
        """Whether there will be no other component, and nothing more for the one that there is."""
        return _at_end(self.box("next")) and (self._child is None or _at_end(self.inbox))

    async def _go_on(self) -> None:
        """Wait for what is next, and do it."""
        inbox, changes = self.inbox, self.box("next")
        if self._child is None:
            with contextlib.suppress(Finished):
                self._begin(await changes.get())
            return
        ready = await self._wait([box for box in (changes, inbox) if box is not ENDED])
        if ready is None:
            if self._child.is_over:
                await self._let_end()
        elif ready is changes:
            item = ready.get_nowait()
            self._feed.producer_finished()
            if "inbox" not in self._child.graph.inboxes:
                self._child.finish()
            await self._let_end()
            self._begin(item)
        else:
            await self._pass_on(ready)

    async def _wait(self, boxes: list[Box[Any]]) -> Box[Any] | None:
        """Wait for something in ``boxes``, or for their ends; return None where the component has ended before."""
        gone = self._gone
        assert gone is not None
        if gone.done():
            return None
        waiting = asyncio.ensure_future(first_ready(boxes))
        try:
            await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            await asyncio.wait((waiting,))
        if gone.done() or waiting.cancelled() or isinstance(waiting.exception(), Finished):
            return None
        return waiting.result()

    async def _pass_on(self, inbox: Box[Any]) -> None:
        items = inbox.take_nowait()
        done = 0
        try:
            while done < len(items):
                done += await self._feed.put_some(items, done)
        except Stopped:
            inbox.put_back(items[done:])  # for the next one

    def _begin(self, item: Any) -> None:
        part = as_component(self._make(item))
        self._feed = Box("inbox")
        self._feed.producers = 1
        inboxes = {"inbox": self._feed} if "inbox" in part.inboxes else {}
        outlets = {"outbox": self.outlets()} if "outbox" in part.outboxes else {}
        (self._child,) = self.running.runner.launch(
            [part], inboxes=inboxes, outlets=outlets, within=self
        )
        self._gone = asyncio.get_running_loop().create_future()
        self._child.when_over(self._ended)

    def _ended(self, child: Running) -> None:
        if child is self._child and self._gone is not None and not self._gone.done():
            left = self._feed.stop()
            if self.inbox is not ENDED:
                self.inbox.put_back(left)
            self._gone.set_result(None)

    async def _let_end(self) -> None:
        child = self._child
        assert child is not None
        await child.to_its_end()
        self._ended(child)
        self._child = None


def _at_end(box: Box[Any]) -> bool:
    return box.state is not BoxState.OPEN and not len(box)
