"""How fast things may go: so many in a second, some of them at once."""

from __future__ import annotations

import asyncio

from hubbub.kernel import GraphError


class Pace:
    """Let so many pass in a second, and ``burst`` of them at once after a pause: the generic cell rate algorithm.

    Args:
        per_second: How many.
        burst: How many may pass without waiting when none has passed for long enough; at least 1.

    Raises:
        GraphError: If the numbers make no sense.
    """

    __slots__ = ("_interval_s", "_next", "_slack_s")

    def __init__(self, per_second: float, burst: int = 1) -> None:
        if not per_second > 0 or burst < 1:
            raise GraphError(
                f"a rate is more than 0 in a second, with a burst of at least 1; not {per_second} and {burst}"
            )
        self._interval_s = 1 / per_second
        self._slack_s = (burst - 1) * self._interval_s
        self._next = float("-inf")

    async def wait(self) -> None:
        """Wait until the next one may pass."""
        now = asyncio.get_running_loop().time()
        due = max(self._next, now - self._slack_s)
        self._next = due + self._interval_s
        if due > now:
            await asyncio.sleep(due - now)
