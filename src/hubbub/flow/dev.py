"""Dev mode: what blocks in a component of the loop is an error, or is told of (FL4).

Sockets, subprocesses and sleeps raise `BlockingError` where a component would wait in them; other threads, its own
among them, and asyncio, which does not wait in them, may use them. Whatever else holds up the loop is found by a thread
that looks whether the loop still turns, and logs the stack of what holds it up.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import socket
import sys
import threading
import traceback
from typing import Any

from hubbub.kernel import BlockingError
from hubbub.kernel.blocking import watch

log = logging.getLogger("hubbub.flow")

HELD_S = 0.1
"""A component that holds up the loop for longer than this is told of."""

_component: contextvars.ContextVar[str] = contextvars.ContextVar("component", default="")

_BETWEEN = frozenset(
    {__name__, "hubbub.kernel.blocking", "os", "socket", "subprocess", "time", "urllib.request"}
)
"""Modules between what blocks and who has asked for it."""


def context_of(path: str) -> contextvars.Context:
    """Return the context in which the component ``path`` runs in dev mode."""
    watch(_refuse)
    context = contextvars.copy_context()
    context.run(_component.set, path)
    return context


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    path = _component.get()
    if not path or not _in_loop() or _waits_not(arguments) or _asked_by_asyncio():
        return
    raise BlockingError(
        f"{event} in component {path} would hold up all others of its loop; use a ThreadedComponent for it"
    )


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _waits_not(arguments: tuple[Any, ...]) -> bool:
    first = arguments[0] if arguments else None
    return isinstance(first, socket.socket) and first.gettimeout() == 0


def _asked_by_asyncio() -> bool:
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    name = str(frame.f_globals.get("__name__"))
    return name.partition(".")[0] in ("asyncio", "uvloop")


class Watchdog:
    """Tell of what holds up a loop. Begins in that loop's thread; `close` ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._beats = 0
        self._closed = threading.Event()
        self._timer: asyncio.TimerHandle
        self._beat()
        threading.Thread(target=self._look, name="hubbub-flow watchdog", daemon=True).start()

    def close(self) -> None:
        """Look no more. Idempotent."""
        self._timer.cancel()
        self._closed.set()

    def _beat(self) -> None:
        self._beats += 1
        self._timer = self._loop.call_later(HELD_S / 2, self._beat)

    def _look(self) -> None:
        seen = told = 0
        while not self._closed.wait(HELD_S):
            if self._beats == seen and told != seen:
                told = seen
                self._tell()
            seen = self._beats

    def _tell(self) -> None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "(no stack)"
        log.warning(
            "%s has held up its loop for more than %.0f ms, and all other components with it; "
            "use a ThreadedComponent for what blocks. Its stack now:\n%s",
            task.get_name() if task is not None else "a call back",
            HELD_S * 1000,
            stack,
        )
