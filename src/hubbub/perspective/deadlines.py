"""Many deadlines at the price of few timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

GRAIN_S = 0.05
"""Deadlines within so many seconds share a timer; none is early, and none late by more."""

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Call ``expired`` with each item whose time is over. Belongs to the loop.

    Args:
        expired: Takes an item that was not removed in time; it is forgotten by then.
    """

    def __init__(self, expired: Callable[[T], None]) -> None:
        self._expired = expired
        self._slots: dict[int, dict[T, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def add(self, item: T, after_s: float) -> int:
        """Let the time of ``item`` be over in ``after_s`` seconds; returns what `remove` wants."""
        loop = asyncio.get_running_loop()
        number = int((loop.time() + after_s) / GRAIN_S) + 1
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
            loop.call_at(number * GRAIN_S, self._end, number)
        slot[item] = None
        return number

    def remove(self, item: T, number: int) -> None:
        """Forget ``item``. Idempotent."""
        slot = self._slots.get(number)
        if slot is not None:
            slot.pop(item, None)

    def _end(self, number: int) -> None:
        for item in self._slots.pop(number):
            self._expired(item)
