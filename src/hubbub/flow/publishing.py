"""Components that publish on a backplane, and those that do both.

A whole batch is published in one call, as long as no subscriber that is taken off when it is full is given more at once
than it has room for; after each call everybody gets a turn. A tracked item has been handled when it has been published:
when it is in the boxes of all subscribers, or their policies have dropped it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hubbub.flow.backplane import Backplane, backplane_of
from hubbub.flow.box import ITEMS
from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.functions import again
from hubbub.flow.subscribing import SubscribeTo, WhenSlow
from hubbub.flow.tracking import Tracked
from hubbub.kernel import Finished, Stopped

Topic = str | Callable[[Any], str]
"""Where an item is published: a topic, or what makes one of the item."""


class PublishTo(Component):
    """Publish what comes in on a backplane.

    Args:
        name: Which backplane.
        topic: On which topic, or a function that says so for each item.

    Raises:
        GraphError: When it is started, if there is no such backplane.
    """

    inboxes: Boxes = {"inbox": "what is published"}
    outboxes: Boxes = {}

    def __init__(self, name: str, topic: Topic = "") -> None:
        self._name = name
        self._topic = topic
        self._backplane: Backplane | None = None

    @property
    def label(self) -> str:
        return f"PublishTo {self._name}"

    def prepare(self) -> None:
        self._backplane = backplane_of(self, self._name)
        self._backplane.publisher_came(self)

    async def main(self) -> None:
        assert self._backplane is not None
        while True:
            batch = await self.inbox.take()
            await publish_batch(self, batch, self._backplane, self._topic)

    def withdraw(self) -> None:
        if self._backplane is not None:
            self._backplane.publisher_went(self)


class Join(SubscribeTo):
    """Publish what comes in, and send on what everybody else publishes: be a member of a backplane.

    It ends when what comes in has ended, after it has sent on what it has been given.

    Args:
        name: Which backplane.
        pattern: What it hears.
        topic: On which topic it publishes, or a function that says so for each item.
        last: See `SubscribeTo`.
        items: See `SubscribeTo`.
        limit_bytes: See `SubscribeTo`.
        when_full: See `SubscribeTo`.
        who: See `SubscribeTo`.

    Raises:
        GraphError: As for `SubscribeTo`.
    """

    inboxes: Boxes = {"inbox": "what it says"}
    outboxes: Boxes = {"outbox": box("what the others say", loose=True)}
    independent = True

    def __init__(
        self,
        name: str,
        pattern: str = "*",
        *,
        topic: Topic = "",
        last: int = 0,
        items: int = ITEMS,
        limit_bytes: int | None = None,
        when_full: WhenSlow = "disconnect",
        who: str = "",
    ) -> None:
        super().__init__(
            name,
            pattern,
            last=last,
            items=items,
            limit_bytes=limit_bytes,
            when_full=when_full,
            who=who,
        )
        self._topic = topic
        self._is_leaving = False
        self._is_idle = False
        self._says: asyncio.Task[None]

    def prepare(self) -> None:
        super().prepare()
        assert self._backplane is not None
        self._backplane.publisher_came(self)

    def withdraw(self) -> None:
        super().withdraw()
        if self._backplane is not None:
            self._backplane.publisher_went(self)

    def is_idle(self) -> bool:
        return super().is_idle() and self.inbox.is_read

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        self._is_leaving = False
        self._says = loop.create_task(self._say())
        halves = (self._says, loop.create_task(self._hear()))
        try:
            done, _ = await asyncio.wait(halves, return_when=asyncio.FIRST_EXCEPTION)
            for half in done:
                if not half.cancelled():
                    half.result()
        finally:
            for half in halves:
                half.cancel()
            await asyncio.wait(halves)

    async def _say(self) -> None:
        backplane, inbox = self._backplane, self.inbox
        assert backplane is not None
        while not self._is_leaving or len(inbox):
            self._is_idle = True
            try:
                batch = await inbox.take()
            except Finished:
                break
            finally:
                self._is_idle = False
            await publish_batch(self, batch, backplane, self._topic, source=self)
        self._end_box()

    async def _hear(self) -> None:
        try:
            await self._send_on()
        except Stopped:
            self._leave()  # nobody listens to it any more; it still says what it is given to say
        except Finished:
            self._is_leaving = True
            if self._is_idle and not len(self.inbox):
                self._says.cancel()


async def publish_batch(
    component: Component,
    batch: list[Any],
    backplane: Backplane,
    topic: Topic,
    *,
    source: object = None,
) -> None:
    """Publish what ``component`` has read, and let go of the tokens of what is tracked.

    If ``topic`` or the backplane's ``unique_by`` raises, what comes after that item is laid back.

    Args:
        component: Who publishes.
        batch: What was taken out of its inbox; it is not used afterwards by anybody else.
        backplane: Where.
        topic: On which topic.
        source: Who hears nothing of it.
    """
    tracked = (
        [item for item in batch if type(item) is Tracked] if Tracked in map(type, batch) else []
    )
    if isinstance(topic, str) and not backplane.checks_ids:
        items = (
            [item.item if type(item) is Tracked else item for item in batch] if tracked else batch
        )
        await backplane.hand_over(topic, items, source=source)
        for item in tracked:
            item.release()
        return
    rest = iter(batch)
    runs: list[tuple[str, list[Any], list[Tracked]]] = []
    try:
        for item in rest:
            plain = item.item if type(item) is Tracked else item
            where = topic if isinstance(topic, str) else topic(plain)
            if not runs or runs[-1][0] != where:
                runs.append((where, [], []))
            if backplane.is_new(plain):
                runs[-1][1].append(plain)
            if type(item) is Tracked:
                runs[-1][2].append(item)
    except BaseException:
        component.inbox.put_back([*again(component, item), *rest])
        raise
    finally:
        for where, items, held in runs:
            await backplane.hand_over(where, items, source=source)
            for item in held:
                item.release()
