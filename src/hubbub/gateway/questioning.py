"""Where the questions of a host's peers are worked on: so many threads for each kind, and no more.

Theory of operation
===================

                     peers that may write   that may only read
    short questions  two threads            two more
    long ones        two                    two

Connections are cheap, and threads are not: whoever may only read could otherwise keep all of them busy with counting,
and blobs, prefetches and the peers that write would wait behind that. What finds no thread free waits its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from hubbub.kernel import LimitError

T = TypeVar("T")

THREADS = 2
MOST_WAITING = 500


class Questioning:
    """Work on questions in threads. Belongs to the loop.

    Args:
        name: Of the threads.
        most_waiting: So many questions may be worked on, or wait.
    """

    def __init__(self, name: str, most_waiting: int = MOST_WAITING) -> None:
        self._threads = ThreadPoolExecutor(THREADS, f"hubbub-{name}")
        self._loop = asyncio.get_running_loop()
        self._most_waiting = most_waiting
        self._count = 0

    def begin(self, work: Callable[[], T]) -> Future[T]:
        """Have ``work`` done in its turn. Cancelling it takes back what has not begun.

        Raises:
            LimitError: Too much waits already.
        """
        if self._count >= self._most_waiting:
            raise LimitError(
                f"{self._count} questions of this kind wait for this host already: ask again later"
            )
        self._count += 1
        future = self._threads.submit(work)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[T]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._over)

    def _over(self) -> None:
        self._count -= 1


class Threads:
    """The threads for the questions of one host's peers."""

    def __init__(self) -> None:
        self._short = Questioning("questions")
        self._long = Questioning("long")
        self._short_of_readers = Questioning("readers")
        self._long_of_readers = Questioning("long-readers")

    def of(self, *, is_long: bool, is_read_only: bool) -> Questioning:
        """Return where such a question is worked on."""
        if is_read_only:
            return self._long_of_readers if is_long else self._short_of_readers
        return self._long if is_long else self._short
