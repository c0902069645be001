"""The async face of a space: a small thread pool for what may wait, and one thread that listens for all watches.

Nothing here blocks the loop: a watch is woken by `call_soon_threadsafe`, looks at what changed without any I/O, and
runs its function in the pool.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from typing import Any

from hubbub.kernel import ClosedError, HubbubError, Tid
from hubbub.mount.base import Mount
from hubbub.mount.watching import Change, Watch


class _Subscriber:
    """One coroutine that waits for news."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.event = asyncio.Event()

    def wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.event.set)
        except RuntimeError:
            pass  # its loop is closed: nobody waits


class News:
    """Wake coroutines of any loop when the newest tid moves. One thread, from the first subscriber on."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._lock = threading.Lock()
        self._subscribers: set[_Subscriber] = set()
        self._thread: threading.Thread | None = None
        self.error: HubbubError | None = None

    def add(self, subscriber: _Subscriber) -> None:
        """Wake ``subscriber`` from now on."""
        with self._lock:
            self._subscribers.add(subscriber)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._listen, name="hubbub-news", daemon=True
                )
                self._thread.start()

    def remove(self, subscriber: _Subscriber) -> None:
        """Do not wake it any more."""
        with self._lock:
            self._subscribers.discard(subscriber)

    def _listen(self) -> None:
        tid = Tid(-1)
        while self.error is None:
            try:
                tid = self._mount.wait(tid)
            except HubbubError as error:
                self.error = error
            with self._lock:
                for subscriber in self._subscribers:
                    subscriber.wake()


async def call(executor: Executor, fn: Callable[..., Any], *args: Any) -> Any:
    """Run ``fn`` in the pool.

    Raises:
        ClosedError: If the space was closed before its turn came.
    """
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(executor, functools.partial(fn, *args))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Not the caller was cancelled: the pool has dropped what waited in it.
        raise ClosedError("the space was closed meanwhile") from None


async def _until(news: News, subscriber: _Subscriber, is_new: Callable[[], bool]) -> bool:
    """Wait for news; False when the space is closed."""
    while True:
        subscriber.event.clear()
        if isinstance(news.error, ClosedError):
            return False
        if news.error is not None:
            raise news.error
        try:
            if is_new():
                return True
        except ClosedError:
            return False
        await subscriber.event.wait()


async def watch(
    executor: Executor, news: News, mount: Mount, fn: Callable[..., Any], args: tuple[Any, ...]
) -> AsyncGenerator[Any, None]:
    """As `hubbub.mount.watching.watch`; cancelling it ends it."""
    watching = Watch(mount, fn, args)
    subscriber = _Subscriber()
    news.add(subscriber)
    try:
        while True:
            try:
                answer = await call(executor, watching.run)
            except ClosedError:
                return
            yield answer
            if not await _until(news, subscriber, watching.is_touched):
                return
    finally:
        news.remove(subscriber)


async def changes(executor: Executor, news: News, mount: Mount) -> AsyncGenerator[Change, None]:
    """As `hubbub.mount.watching.changes`."""
    subscriber = _Subscriber()
    news.add(subscriber)
    try:
        change = Change(await call(executor, mount.begin), None)

        def is_new() -> bool:
            nonlocal change
            newest, oids = mount.changed_since(change.tid)
            is_other = newest != change.tid
            if is_other:
                change = Change(newest, oids)
            return is_other

        while True:
            yield change
            if not await _until(news, subscriber, is_new):
                return
    except ClosedError:
        return
    finally:
        news.remove(subscriber)
