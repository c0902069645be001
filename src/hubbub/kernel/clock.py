"""Where the time comes from, so that tests can say what time it is."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells Unix time in seconds. It may jump; whoever needs order uses tids."""

    def now(self) -> float:
        """Return the present Unix time in seconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only grow, evenly, from some moment on: for time-outs, which no jump may end."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by ``seconds``.

        Raises:
            ValueError: If ``seconds`` is negative; the clock is unchanged.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot go back by {-seconds} s")
        self._now += seconds
