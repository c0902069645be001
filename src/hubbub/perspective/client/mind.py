"""The user's mind: what the host may call on the user's side.

Theory of operation
===================

Calls run one after another in the order in which they came, which is the order of the commits that sent them. A plain
method runs at once; an ``async`` one has those behind it wait, in a queue that is bounded: past its end everything that
waits is dropped and the user is told of a gap (PE5). Only public methods of a `Mind` subclass can be called. What one
raises is logged here; the host learns no more than that it failed.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from types import FunctionType
from typing import Any

import msgspec

from hubbub.kernel import ConfigurationError, Refused
from hubbub.perspective.avatar import Mind
from hubbub.perspective.client.events import MindCalled
from hubbub.wire.session import Failure

log = logging.getLogger("hubbub.client")

WAITING = 1000
"""Calls that wait for an async method to end."""

_encode = msgspec.msgpack.Encoder().encode

Reply = Callable[[MindCalled, bytes, "Failure | None"], None]
Invoke = Callable[[Callable[[], Any]], Awaitable[Any]]


class MindRunner:
    """Run the calls of one user's mind.

    Args:
        mind: The user's object; None has none, and every call fails.
        reply: Takes the outcome of each call.
        missed: Told when calls were dropped.
        invoke: Runs a call elsewhere, such as in the thread of a window; None runs it here.

    Raises:
        ConfigurationError: If ``mind`` is no `Mind`.
    """

    def __init__(
        self,
        mind: Mind | None,
        reply: Reply,
        missed: Callable[[str], None],
        invoke: Invoke | None = None,
    ) -> None:
        if mind is not None and not isinstance(mind, Mind):
            raise ConfigurationError(
                f"mind= takes an object of a subclass of hubbub.Mind, not {type(mind).__qualname__}"
            )
        self._mind = mind
        self._reply = reply
        self._missed = missed
        self._invoke = invoke
        self._callable: set[str] = set()
        self._waiting: deque[MindCalled] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._running: Awaitable[Any] | None = None

    def take(self, called: MindCalled) -> None:
        """Run a call, now or when those before it have ended. Raises nothing."""
        if self._worker is not None:
            self._queue(called)
            return
        awaitable = self._begin(called)
        if awaitable is not None:
            self._running = awaitable
            self._worker = asyncio.ensure_future(self._work(called, awaitable))

    def close(self) -> None:
        """Drop what waits and cancel what runs. Idempotent."""
        self._waiting.clear()
        worker, self._worker = self._worker, None
        if worker is not None and worker is not asyncio.current_task():
            worker.cancel()
            running = self._running
            if (
                inspect.iscoroutine(running)
                and inspect.getcoroutinestate(running) == "CORO_CREATED"
            ):
                running.close()  # the worker did not come to it, and Python would complain

    def _queue(self, called: MindCalled) -> None:
        self._waiting.append(called)
        if len(self._waiting) <= WAITING:
            return
        for dropped in self._waiting:
            self._reply(dropped, b"", Failure("limit", "mind_busy", "the user's side is busy"))
        self._waiting.clear()
        self._missed("slow")

    async def _work(self, called: MindCalled, awaitable: Awaitable[Any]) -> None:
        while True:
            try:
                self._answer(called, await awaitable)
            except Exception as error:  # noqa: BLE001 - the user's code; logged
                self._failed(called, error)
            while True:
                if not self._waiting:
                    self._worker = self._running = None
                    return
                called = self._waiting.popleft()
                following = self._begin(called)
                if following is not None:
                    self._running = awaitable = following
                    break

    def _begin(self, called: MindCalled) -> Awaitable[Any] | None:
        """Run a plain method, or return what has to be awaited."""
        method = called.method
        if method not in self._callable:
            if not _may_be_called(type(self._mind), method):
                message = f"the user's mind has no method {method!r}"
                self._reply(called, b"", Failure("internal", "no_such_method", message))
                log.warning("the host called %s, but %s", method, message)
                return None
            self._callable.add(method)
        try:
            if self._invoke is None:
                value = getattr(self._mind, method)(*called.args, **called.kwargs)
            else:
                value = self._invoke(
                    partial(getattr(self._mind, method), *called.args, **called.kwargs)
                )
        except Exception as error:  # noqa: BLE001 - the user's code; logged
            self._failed(called, error)
            return None
        if value is not None and inspect.isawaitable(value):
            return value
        self._answer(called, value)
        return None

    def _answer(self, called: MindCalled, value: Any) -> None:
        if not called.id:
            return
        try:
            data = _encode(value)
        except Exception as error:  # noqa: BLE001 - whatever the user's objects do when they are read
            self._failed(called, error)
            return
        self._reply(called, data, None)

    def _failed(self, called: MindCalled, error: Exception) -> None:
        if isinstance(error, Refused):
            self._reply(called, b"", Failure("refused", error.code, error.message))
            return
        log.error("%s.%s failed", type(self._mind).__qualname__, called.method, exc_info=error)
        self._reply(
            called, b"", Failure("internal", "internal", f"the user's {called.method} failed")
        )


def _may_be_called(cls: type, name: str) -> bool:
    """Tell whether ``name`` is a plain method that a subclass of `Mind` has made public."""
    if name.startswith("_"):
        return False
    for base in cls.__mro__:
        if base in (Mind, object):
            continue
        found = vars(base).get(name)
        if found is not None:
            return isinstance(found, FunctionType) and issubclass(base, Mind)
    return False
