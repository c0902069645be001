"""A loop whose time passes only when nothing else can happen: what hangs is found out, and nothing is waited for."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

TURNS = 200_000
"""After so many turns of the loop it is said that it would go on for ever."""

THREADS_S = 5.0
"""So long a loop with nothing to do waits for threads, in real time, before it is said to hang."""


class HangsError(Exception):
    """Nothing can happen any more, or things happen for ever."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Let the loop's time jump where it would wait."""

    loop: SimulatedLoop

    def select(self, timeout: float | None = None) -> Any:
        self.loop.turns += 1
        if self.loop.turns > TURNS:
            raise HangsError(f"it goes on after {TURNS} turns")
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is not None and not self.loop.has_threads:
            self.loop.now += timeout
            return ready
        if not self.loop.has_threads:
            raise HangsError("nothing is left that could happen")
        if timeout is None:
            ready = super().select(THREADS_S)
            if not ready:
                raise HangsError("nothing is left that could happen, and no thread says anything")
            return ready
        ready = super().select(min(timeout, 0.001))  # threads may be quicker
        if not ready:
            self.loop.now += min(timeout, 0.05)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self, *, has_threads: bool = False) -> None:
        selector = _Selector()
        selector.loop = self
        self.now = 0.0
        self.turns = 0
        self.has_threads = has_threads
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def simulate(main: Coroutine[Any, Any, T], *, has_threads: bool = False) -> T:
    """Run ``main``; return what it returns.

    Raises:
        HangsError: If it would never end.
    """
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(has_threads=has_threads)) as runner:
        return runner.run(main)
