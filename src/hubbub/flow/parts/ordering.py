"""A part that puts numbered items back in order."""

from __future__ import annotations

from typing import Any

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes
from hubbub.flow.tracking import Token
from hubbub.kernel import GraphError


class RecoverOrder(Component):
    """Send numbered items in the order of their numbers, without them; keep back what is too early.

    >>> Pipeline(TagWithSequenceNumber(), Parallel(*workers), RecoverOrder())

    Every number has to come, once. At the end, or where so much is kept back that nothing more fits, a number that is
    missing is a failure.

    Args:
        first: The first number.
        items: How many items are kept back at most.

    Raises:
        GraphError: If nothing could be kept back.
    """

    inboxes: Boxes = {"inbox": "pairs of number and item, in any order"}
    outboxes: Boxes = {"outbox": "the items, in order"}

    def __init__(self, first: int = 0, *, items: int = 1000) -> None:
        if items < 1:
            raise GraphError(f"RecoverOrder has to keep back at least 1 item, not {items}")
        self._next = first
        self._limit = items
        self._early: dict[int, tuple[Any, tuple[Token, ...]]] = {}

    async def main(self) -> None:
        early = self._early
        async for number, item in self.inbox:
            if number < self._next or number in early:
                raise ValueError(f"number {number} came twice")
            early[number] = (item, self.keep())
            while self._next in early:
                following, tokens = early.pop(self._next)
                self._next += 1
                self.resume(tokens)
                await self.send(following)
                for token in self.keep():
                    token.release()
            if len(early) > self._limit:
                raise ValueError(
                    f"number {self._next} did not come, and {len(early)} items wait for it: "
                    "give items= more room, or see what drops items on the way"
                )
        if early:
            raise ValueError(f"number {self._next} did not come; {len(early)} items waited for it")
