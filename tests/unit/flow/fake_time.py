"""A loop whose time passes only where everybody waits for it, and then at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """`time` stands still while anything can run; a wait for a moment goes there straight away.

    Attributes:
        now: Its time. A test may put it forward, as if the loop had been held up for so long.
        threads: Where `asyncio.to_thread` calls its functions.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Selector(self))
        self.threads = ThreadPoolExecutor()
        self.set_default_executor(self.threads)

    def time(self) -> float:
        return self.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads in real time: in this one, any time-out is over at once."""
        with self.threads:
            pass


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: FakeTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            return super().select(10)  # for what threads and other processes say
        ready = super().select(0)
        if not ready:
            self._loop.now += timeout
        return ready


def in_fake_time(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` in a loop whose time is made up; return what it returns."""
    with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
        return runner.run(main)


def now() -> float:
    """Return the seconds since the loop was made."""
    return asyncio.get_running_loop().time() - 1000.0


def hold_up(seconds: float) -> None:
    """Let time pass as if something had blocked the loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, FakeTimeLoop)
    loop.now += seconds
