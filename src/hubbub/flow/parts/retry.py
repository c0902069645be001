"""A part that calls a function again where it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from hubbub.flow.component import Component, path_in
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.parts.each import is_async
from hubbub.flow.restarting import Backoff
from hubbub.kernel import GraphError

log = logging.getLogger("hubbub.flow")


class Failed(NamedTuple):
    """What `Retry` has given up.

    Attributes:
        item: What the function was called with.
        error: What it raised last.
        tries: How often it was called.
    """

    item: Any
    error: Exception
    tries: int


class Retry(Component):
    """Call a function for each item, again where it fails; send on what it returns, but for None.

    When it has failed for the last time the item leaves by the outbox ``failed``, as `Failed`, and the next one has its
    turn. Where ``failed`` is linked to nothing, the last error takes the graph down (FL3). Items stay in order.

    Args:
        f: A function of one item, or an ``async def``. A plain function may block: it is called in a thread (FL4).
        limit: How often to call it for one item.
        backoff: How long to wait before each new call.
        on: The errors that another try may help against; others take the graph down at once.

    Attributes:
        failures: How many calls have failed.

    Raises:
        GraphError: If it would never be called.
    """

    inboxes: Boxes = {"inbox": "what the function is called with"}
    outboxes: Boxes = {
        "outbox": box("what the function makes of it", loose=True),
        "failed": box("items that were given up, with the error", loose=True),
    }

    def __init__(
        self,
        f: Callable[[Any], Any],
        limit: int = 5,
        backoff: Backoff | None = None,
        *,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
    ) -> None:
        if limit < 1:
            raise GraphError(f"a Retry calls its function at least once, not {limit} times")
        self._f = f
        self._limit = limit
        self._backoff = backoff or Backoff()
        self._on = on
        self.failures = 0

    @property
    def label(self) -> str:
        return str(getattr(self._f, "__name__", None) or type(self).__name__)

    async def main(self) -> None:
        waits = is_async(self._f)
        async for item in self.inbox:
            pauses = self._backoff.waits()
            for tries in range(1, self._limit + 1):
                try:
                    result = await (self._f(item) if waits else asyncio.to_thread(self._f, item))
                except self._on as error:
                    self.failures += 1
                    if tries == self._limit:
                        await self._give_up(Failed(item, error, tries))
                        break
                    pause = next(pauses)
                    log.info(
                        "%s: try %d failed, the next one in %.2f s: %r",
                        path_in(self),
                        tries,
                        pause,
                        error,
                    )
                    await asyncio.sleep(pause)
                else:
                    if result is not None:
                        await self.send(result)
                    break

    async def _give_up(self, failed: Failed) -> None:
        if not self.outlets("failed"):
            raise failed.error
        await self.send(failed, "failed")
