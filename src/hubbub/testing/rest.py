"""Waiting until a host has come to rest: no command runs or waits for the disk, no live query is due.

Nothing is timed: a task goes through the serial thread, the commit queue, the loop and the serial thread again, in the
order in which everything before it did. When meanwhile nothing new was begun, there is nothing left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hubbub.perspective.host import Host, _Waiting

TURNS = 8
"""Turns of the loop that are given to tasks which wait for what has just happened."""

_ROUNDS = 10_000


class Rest:
    """Watch what a host does.

    Attributes:
        activity: Grows whenever something is begun; `note` it for what the host can't see.
    """

    def __init__(self, host: Host) -> None:
        self.activity = 0
        self._host = host
        self._submit = host.serial.submit

        def submit(task: Callable[[], None]) -> None:
            self.activity += 1
            self._submit(task)

        host.serial.submit = submit  # type: ignore[method-assign]

    def note(self) -> None:
        """Something has been begun."""
        self.activity += 1

    async def reached(self) -> None:
        """Return when the host rests."""
        for _ in range(_ROUNDS):
            before = self.activity
            for _ in range(TURNS):
                await asyncio.sleep(0)
            await self._once_through()
            if self.activity == before:
                return
        raise TimeoutError(
            "the hub does not come to rest: its commands, timers or users call each other for ever"
        )

    async def _once_through(self) -> None:
        loop = asyncio.get_running_loop()
        host = self._host
        settled: asyncio.Future[None] = loop.create_future()
        answered: asyncio.Future[None] = loop.create_future()

        def set_result(future: asyncio.Future[None]) -> None:
            if not future.done():
                future.set_result(None)

        def tell_loop() -> None:
            loop.call_soon_threadsafe(set_result, answered)

        self._submit(lambda: host._put_nothing(_Waiting(lambda _: set_result(settled))))
        await settled
        self._submit(tell_loop)
        await answered
