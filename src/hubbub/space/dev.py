"""Dev mode: sockets, subprocesses and sleeps inside a body raise `BlockingError` (PE8).

Python's audit hooks tell of them (of sleeps from 3.13 on; before, `time.sleep` is wrapped). A hook can't be taken away
again, so it is installed once and asks each time whether a transaction of a host in dev mode is running in this thread.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

from hubbub.kernel import BlockingError
from hubbub.space import context

_BLOCKING = frozenset(
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
_installed = False


def _hook(event: str, _: tuple[Any, ...]) -> None:
    if event not in _BLOCKING:
        return
    transaction = context.current()
    if transaction is not None and transaction.dev:
        raise BlockingError(
            f"{event} inside a command, query or view would hold up everybody; use an action for it"
        )


def install() -> None:
    """Begin to watch. Idempotent; lasts as long as the process."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)
        if sys.version_info < (3, 13):
            time.sleep = _watched_sleep(time.sleep)  # type: ignore[assignment]


def _watched_sleep(sleep: Callable[[Any], None]) -> Callable[[float], None]:
    @functools.wraps(sleep)
    def watched(seconds: float) -> None:
        _hook("time.sleep", (seconds,))
        sleep(seconds)

    return watched
