"""Calls at a later time: by the loop, or by a test that moves its clock."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Protocol

from hubbub.kernel import FakeClock


class Alarm(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """Let it not happen. Idempotent."""
        ...


class Alarms(Protocol):
    """Calls functions later, in the loop's thread."""

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Alarm:
        """Call ``fn`` in ``seconds``."""
        ...


class LoopAlarms:
    """Alarms by the running loop."""

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Alarm:
        return asyncio.get_running_loop().call_later(seconds, fn)


class _FakeAlarm:
    __slots__ = ("cancelled", "fn", "when")

    def __init__(self, when: float, fn: Callable[[], None]) -> None:
        self.when = when
        self.fn = fn
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeAlarms:
    """Alarms by a clock that a test moves."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, _FakeAlarm]] = []
        self._order = itertools.count()

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Alarm:
        alarm = _FakeAlarm(self._clock.now() + seconds, fn)
        heapq.heappush(self._heap, (alarm.when, next(self._order), alarm))
        return alarm

    def next_due(self, until: float) -> Callable[[], None] | None:
        """Move the clock to the next alarm that is due by ``until`` and return what to call; None if there is none."""
        while self._heap and self._heap[0][0] <= until:
            _, _, alarm = heapq.heappop(self._heap)
            if not alarm.cancelled:
                self._clock.advance(max(0.0, alarm.when - self._clock.now()))
                return alarm.fn
        return None
