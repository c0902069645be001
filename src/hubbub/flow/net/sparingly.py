"""A log that others can't fill: what strangers cause is logged so many times a second, and the rest counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

MOST = 20
"""So many lines a second, unless told otherwise."""


class Sparingly:
    """Log warnings, but not more than so many a second. The next one after that says how many were left out.

    Args:
        log: Where to.
        most: How many a second.
        clock: Says what time it is.
    """

    __slots__ = ("_clock", "_count", "_left_out", "_log", "_most", "_since")

    def __init__(
        self, log: logging.Logger, *, most: int = MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._most = most
        self._clock = clock
        self._since = float("-inf")
        self._count = 0
        self._left_out = 0

    def warning(self, text: str, *words: object, exc_info: BaseException | None = None) -> None:
        """Log it, or count it."""
        now = self._clock()
        if now - self._since >= 1.0:
            self._since = now
            self._count = 0
        self._count += 1
        if self._count > self._most:
            self._left_out += 1
            return
        if self._left_out:
            self._log.warning("%d more such warnings were left out", self._left_out)
            self._left_out = 0
        self._log.warning(text, *words, exc_info=exc_info)
