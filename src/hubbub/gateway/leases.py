"""What peers may still read: a pack of the host's space goes no further (ST7).

Theory of operation
===================

A peer reads at snapshots that it was told of, and nobody knows which of them it still uses. So it has a *lease*:

    a tid is told --newest for some time--> older --``lease_s`` after the next one was told--> not held any more
                                              '--a load at it--> held for ``lease_s`` anew

Whoever loads at an older tid says so here before it looks whether the tid is kept (see `hubbub.store.snapshots`), so a
pack that begins meanwhile sees it or is seen. Beyond the lease a load below the packed tid is an error, never a wrong
object.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_STEPS = 64
"""Into so many steps a lease is divided: what was newest, and the oldest that was used, are remembered once in each."""


class Leases:
    """The leases of all peers of a host; one `hubbub.store.snapshots.Open` for all. `use` and `told` are the loop's.

    Args:
        lease_s: How long what was newest, or was loaded, is held.
        told: The newest tid.
        now: The time, in seconds.
    """

    def __init__(
        self, lease_s: float, told: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.lease_s = lease_s
        self._now = now
        self._newest: deque[tuple[float, int]] = deque([(now(), told)])
        self._next_step = 0.0
        # Begin of a step -> the oldest tid that was used in it. Bounded, however many snapshots there are.
        self._used: deque[tuple[float, int]] = deque()
        self._begun = float("-inf")
        self._oldest_used = 0
        self._peers = 0
        self._left_at = now() - lease_s

    @property
    def _step_s(self) -> float:
        return self.lease_s / _STEPS

    # --- the loop -----------------------------------------------------------------------------------------------------

    def told(self, tid: int) -> None:
        """Peers are told that ``tid`` is the newest."""
        now = self._now()
        if now < self._next_step:
            return
        self._next_step = now + self._step_s
        self._newest.append((now, tid))
        while len(self._newest) > 2 and self._newest[1][0] <= now - self.lease_s:
            self._newest.popleft()

    def use(self, tid: int) -> None:
        """A peer is about to load at ``tid``, which is not the newest."""
        now = self._now()
        if now - self._begun >= self._step_s:
            self._begun = now
            self._used.append((now, tid))
            while self._used[0][0] < now - self.lease_s - self._step_s:
                self._used.popleft()
        elif tid < self._oldest_used:
            self._used[-1] = self._begun, tid
        else:
            return
        self._oldest_used = tid

    def came(self) -> None:
        """A peer is there."""
        self._peers += 1

    def left(self) -> None:
        """A peer is gone; it may come back."""
        self._peers -= 1
        self._left_at = self._now()

    # --- a pack -------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether there was no peer for the time of a lease."""
        return not self._peers and self._now() - self._left_at >= self.lease_s

    @property
    def tid(self) -> int:
        """The oldest tid that a peer may read at."""
        begin = self._now() - self.lease_s
        entries = list(self._newest)
        oldest = entries[0][1]
        for at, tid in entries:
            if at <= begin:
                oldest = tid
        return min([oldest, *(tid for at, tid in self._used_since(begin - self._step_s))])

    def _used_since(self, begin: float) -> list[tuple[float, int]]:
        while True:
            try:
                return [(at, tid) for at, tid in self._used if at > begin]
            except RuntimeError:  # the loop has changed it meanwhile
                continue
