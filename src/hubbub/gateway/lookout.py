"""The loop looks for the next message before it sleeps, where the last one came soon.

A thread that sleeps takes some time to wake, and runs slower then. A peer that asks for one thing after another sends
its next message within that time. So for a moment after an answer the loop goes round without sleeping, if the message
before came soon after an answer too. In vain once, it sleeps at once until another one comes soon.

It gives way to whoever has work: while the serial thread or a writer runs, the loop sleeps as ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOK_S = 0.0002


class Lookout:
    """Keep the loop awake for a moment.

    Args:
        call_soon: The loop's.
        is_free: Whether no other thread of the host has anything to do.
    """

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], is_free: Callable[[], bool]
    ) -> None:
        self._call_soon = call_soon
        self._is_free = is_free
        self._answered_at = 0.0
        self._until = 0.0
        self._is_quick = False
        self.looks = False

    def came(self) -> None:
        """A message has come."""
        self._is_quick = time.perf_counter() - self._answered_at < _LOOK_S

    def answered(self) -> None:
        """Something was sent; perhaps the next message comes soon."""
        now = self._answered_at = time.perf_counter()
        if self._is_quick:
            self._until = now + _LOOK_S
            if not self.looks:
                self.looks = True
                self._call_soon(self._look)

    def _look(self) -> None:
        if time.perf_counter() < self._until and self._is_free():
            self._call_soon(self._look)
        else:
            self.looks = False
