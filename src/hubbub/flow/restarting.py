"""What happens when a component fails: its graph is taken down (FL3), unless it is declared restartable."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from hubbub.kernel import GraphError


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before trying again: longer each time, up to a limit, a little different each time.

    Attributes:
        first_s: Seconds before the first new try.
        factor: How much longer each next wait is.
        most_s: Seconds at most.
        jitter: The part of each wait that is drawn, so that many do not come back at the same moment; 0 to 1.
    """

    first_s: float = 0.1
    factor: float = 2.0
    most_s: float = 30.0
    jitter: float = 0.25

    def __post_init__(self) -> None:
        if self.first_s < 0 or self.factor < 1 or self.most_s < 0 or not 0 <= self.jitter <= 1:
            raise GraphError(f"{self} makes no sense: times from 0, a factor from 1, jitter 0 to 1")

    def waits(self) -> Iterator[float]:
        """Yield the seconds to wait, try by try, without end."""
        wait = min(self.first_s, self.most_s)
        while True:
            yield wait * (1 - self.jitter * random.random())
            wait = min(wait * self.factor, self.most_s)


@dataclass(frozen=True, slots=True)
class Restart:
    """Run a component's ``main`` again when it fails, one for one: the others go on.

    Its boxes stay as they are: what waits, and what others send meanwhile, is there for the next run. The object stays
    the same, too: ``main`` begins by making afresh what a failure may have left half done.

    Attributes:
        limit: So many failures within ``within_s``, and the next one takes the graph down after all.
        within_s: Seconds after which a failure is forgotten.
        backoff: How long to wait before each new run.
        item: What becomes of the item that was in hand: ``skip`` it (it may be what makes the component fail), or
            give it ``again`` (then the work on it may be done twice).
    """

    limit: int = 5
    within_s: float = 60.0
    backoff: Backoff = field(default_factory=Backoff)
    item: Literal["skip", "again"] = "skip"


class Failures:
    """The failures of one component that are not forgotten yet.

    Args:
        policy: What its component declares.
    """

    __slots__ = ("_policy", "_times", "_waits", "count")

    def __init__(self, policy: Restart) -> None:
        self._policy = policy
        self._times: deque[float] = deque()
        self._waits = policy.backoff.waits()
        self.count = 0

    def failed(self, now: float) -> float | None:
        """Note a failure. Return the seconds to wait before the next run, or None if there shall be none.

        Args:
            now: Seconds on a clock that never goes back.
        """
        self.count += 1
        times = self._times
        while times and now - times[0] > self._policy.within_s:
            times.popleft()
        if not times:
            self._waits = self._policy.backoff.waits()
        times.append(now)
        if len(times) > self._policy.limit:
            return None
        return next(self._waits)
