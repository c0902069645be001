"""What `TCPClient` and `SingleServer` have in common: boxes of their own that one connection after the other serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hubbub.flow.box import Box, BoxState
from hubbub.flow.component import Component, Outlets
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.net.connection import Connection
from hubbub.flow.net.speech import Speech
from hubbub.flow.net.wires import Wire
from hubbub.flow.running import ENDED


class Carried(Connection):
    """One of these connections.

    Attributes:
        is_heard: Whether everything that came has been given, and nothing more will come.
        is_handled: Whether that has been handled, as far as the wire knows.
        is_said: Whether everything is sent that ever will be.

    Args:
        wire: What is spoken.
        source: What to send, or None.
        targets: Where what comes goes.
        changed: Called when it has heard or said all, or is over.
    """

    __slots__ = ("_changed", "_given_source", "_given_targets", "is_handled", "is_heard", "is_said")

    def __init__(
        self, wire: Wire, source: Box[Any] | None, targets: Outlets, changed: Callable[[], None]
    ) -> None:
        super().__init__(wire)
        self._given_source = source
        self._given_targets = targets
        self._changed = changed
        self.is_heard = False
        self.is_handled = False
        self.is_said = False

    @property
    def is_over(self) -> bool:
        """Whether it is gone and all that came is given."""
        return self.lost and self.is_heard

    def begin(self) -> None:
        """Carry from now on."""
        self.join(self._given_source, self._given_targets)

    def opened(self) -> None:
        self.begin()

    def heard(self) -> None:
        self.is_heard = True
        self.wire.when_handled(self._handled)
        self._changed()

    def _handled(self) -> None:
        self.is_handled = True
        self._changed()

    def said(self) -> None:
        self.is_said = True
        self._changed()

    def over(self) -> None:
        self._changed()


class Carrier(Component):
    """Base of components whose inbox is sent over a connection, and whose outbox gives what comes."""

    inboxes: Boxes = {"inbox": box("what to send to the other side", loose=True)}
    outboxes: Boxes = {"outbox": box("what the other side sends", loose=True)}
    independent = True

    def __init__(self, speech: Speech) -> None:
        self.speech = speech
        self._changed = asyncio.Event()
        self._finishing = False
        self._source: Box[Any] | None = None
        self._feeds_itself = False
        self._waiter: asyncio.Future[None] | None = None

    def _take_boxes(self) -> Outlets:
        """Note the inbox, if it is linked; return where the outbox leads."""
        inbox = self._inbox
        self._source = None if inbox is ENDED else inbox
        self._feeds_itself = _feeds_itself(self)
        return self.outlets()

    def _all_sent(self) -> bool:
        """Whether everything has been sent that ever will be, and is handled where that is asked for."""
        source = self._source
        return (
            source is not None
            and not len(source)
            and source.state is not BoxState.OPEN
            and self.speech.settled
        )

    def leave_inbox(self) -> None:
        """Watch the inbox no more: a connection does."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and self._source is not None:
            self._source.unwatch(waiter)

    def _come_to_end(self, connection: Carried) -> None:
        """The graph is asked to finish, and ``connection`` is still there: bring it on its way."""
        if self._source is None or self._feeds_itself:
            # Nobody else ends the inbox: the end is there when all that came is handled and what came of it is sent.
            if not connection.is_heard:
                connection.end_reading()
            if connection.is_handled and (self._source is None or not len(self._source)):
                connection.say_end()
        elif connection.is_said:
            connection.say_end()

    async def _wait(self, seconds: float | None = None) -> None:
        """Wait until something has changed: a connection, a wish, the end of the inbox; or so long."""
        source = self._source
        if (
            source is not None
            and not len(source)
            and source.state is BoxState.OPEN
            and not source.is_read
        ):
            self._waiter = asyncio.get_running_loop().create_future()
            self._waiter.add_done_callback(lambda _: self._changed.set())
            source.watch(self._waiter)
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self.leave_inbox()
        self._changed.clear()


def _feeds_itself(component: Component) -> bool:
    """Whether what ``component`` sends may come back to it within its graph."""
    linkages = component.running.flat.linkages
    seen: set[Component] = set()
    ahead = [component]
    while ahead:
        here = ahead.pop()
        for source, target in linkages:
            if source.leaf is here and target.leaf not in seen:
                seen.add(target.leaf)
                ahead.append(target.leaf)
    return component in seen
