"""A part that puts items together."""

from __future__ import annotations

import asyncio
from typing import Any

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes
from hubbub.flow.tracking import Token
from hubbub.kernel import Finished, GraphError


class Batch(Component):
    """Send items together, as lists: so many, or what has come within a time.

    What is in an unfinished batch when the input ends is sent. An item counts as handled when its batch does.

    Args:
        items: How many make a batch.
        seconds: How long the first item of a batch waits at most; None for as long as it takes.

    Raises:
        GraphError: If the numbers make no sense.
    """

    inboxes: Boxes = {"inbox": "anything"}
    outboxes: Boxes = {"outbox": "lists of items"}

    def __init__(self, items: int = 100, seconds: float | None = None) -> None:
        if items < 1 or (seconds is not None and not seconds > 0):
            raise GraphError(
                f"a Batch has at least 1 item and more than 0 seconds, not {items} and {seconds}"
            )
        self._items = items
        self._seconds = seconds
        self._batch: list[Any] = []
        self._tokens: list[Token] = []
        self._due: float | None = None

    async def main(self) -> None:
        inbox = self.inbox
        while True:
            try:
                if not len(inbox):
                    async with asyncio.timeout_at(self._due):
                        await inbox.ready()
            except TimeoutError:
                await self._send_batch()
                continue
            except Finished:
                await self._send_batch()
                return
            if self._is_due():  # there are always more: no waiting, so no time-out
                await self._send_batch()
            item = inbox.get_nowait()
            self._tokens += self.keep()
            self._batch.append(item)
            if len(self._batch) >= self._items:
                await self._send_batch()
            elif len(self._batch) == 1 and self._seconds is not None:
                self._due = asyncio.get_running_loop().time() + self._seconds

    def _is_due(self) -> bool:
        return self._due is not None and asyncio.get_running_loop().time() >= self._due

    async def _send_batch(self) -> None:
        batch, self._batch = self._batch, []
        tokens, self._tokens = self._tokens, []
        self._due = None
        if batch:
            self.resume(tuple(tokens))
            await self.send(batch)
            for token in self.keep():
                token.release()
