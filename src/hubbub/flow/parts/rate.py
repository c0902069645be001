"""A part that holds back what comes too fast."""

from __future__ import annotations

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes
from hubbub.flow.pacing import Pace


class RateLimit(Component):
    """Send on so many items a second at most. Nothing is dropped: who sends more waits (FL1).

    Args:
        per_second: How many.
        burst: How many may pass at once after a pause.

    Raises:
        GraphError: If the numbers make no sense.
    """

    inboxes: Boxes = {"inbox": "anything"}
    outboxes: Boxes = {"outbox": "the same, in its time"}

    def __init__(self, per_second: float, burst: int = 1) -> None:
        self._pace = Pace(per_second, burst)

    async def main(self) -> None:
        async for item in self.inbox:
            await self._pace.wait()
            await self.send(item)
