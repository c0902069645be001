"""Reading and writing descriptors without blocking the loop, and so that waiting can be cancelled.

Terminals, pipes, sockets and serial lines are waited for by the loop. Regular files and devices such as ``/dev/null``
can't be: they are always ready, and a thread reads them. The descriptor's blocking mode stays as it is, since a
terminal shares it with everybody else who has it open.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

CHUNK_BYTES = 1 << 16
"""How much is read at a time."""


class Descriptor:
    """A descriptor that is read, or written to, by one component.

    Args:
        number: The descriptor. Whoever opened it closes it, by `close` if it was read by this.

    Attributes:
        number: The descriptor.
    """

    __slots__ = ("_in_thread", "_waited_for", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._waited_for = True
        self._in_thread: asyncio.Future[bytes] | None = None

    async def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        """Return what is there, after waiting for something; ``b""`` at the end.

        Being cancelled while it waits has read nothing.

        Raises:
            OSError: What the system says.
        """
        loop = asyncio.get_running_loop()
        while self._waited_for:
            try:
                await _ready(self.number, loop.add_reader, loop.remove_reader)
                return os.read(self.number, limit_bytes)
            except PermissionError:
                self._waited_for = False
            except BlockingIOError:
                pass  # somebody else was quicker
        self._in_thread = loop.run_in_executor(None, os.read, self.number, limit_bytes)
        return await asyncio.shield(self._in_thread)

    def close(self) -> None:
        """Close it, but not before a thread that still reads is done: its number may be another file's by then."""
        number, reading = self.number, self._in_thread
        if reading is None or reading.done():
            os.close(number)
            return

        def close(read: asyncio.Future[bytes]) -> None:
            read.exception()  # nobody else looks at it any more
            os.close(number)

        reading.add_done_callback(close)

    async def write(self, data: bytes) -> None:
        """Write ``data``, all of it; for a descriptor that does not block.

        Raises:
            OSError: What the system says; a part may have been written.
        """
        loop = asyncio.get_running_loop()
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self.number, left) :]
            except BlockingIOError:
                await _ready(self.number, loop.add_writer, loop.remove_writer)


async def _ready(number: int, add: Callable[..., Any], remove: Callable[[int], object]) -> None:
    """Wait until the loop says that the descriptor is ready.

    Raises:
        PermissionError: If the descriptor can't be waited for.
    """
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(number, _wake, waiter)
    try:
        await waiter
    finally:
        remove(number)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
