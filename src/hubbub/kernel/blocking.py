"""Watch for what blocks: sockets, subprocesses and sleeps, as Python's audit hooks tell of them.

Of sleeps they tell from 3.13 on; before, `time.sleep` is wrapped. A hook can't be taken away again, so it is installed
once, and asks those who watch.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

BLOCKING = frozenset(
    {
        "time.sleep",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.sendto",
        "subprocess.Popen",
        "os.system",
        "urllib.Request",
    }
)

Watcher = Callable[[str, tuple[Any, ...]], None]

_watchers: list[Watcher] = []


def watch(watcher: Watcher) -> None:
    """Call ``watcher`` with the event and its arguments before something blocks, in its thread. Idempotent, for ever.

    Args:
        watcher: What it raises is raised where something would have blocked, which then does not happen.
    """
    if watcher in _watchers:
        return
    _watchers.append(watcher)
    if len(_watchers) == 1:
        sys.addaudithook(_hook)
        if sys.version_info < (3, 13):
            time.sleep = _watched_sleep(time.sleep)  # type: ignore[assignment]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in BLOCKING:
        for watcher in _watchers:
            watcher(event, arguments)


def _watched_sleep(sleep: Callable[[Any], None]) -> Callable[[float], None]:
    @functools.wraps(sleep)
    def watched(seconds: float) -> None:
        _hook("time.sleep", (seconds,))
        sleep(seconds)

    return watched
