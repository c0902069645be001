r"""Whose turn it is to read the socket: leader and followers, without a thread for it.

Theory of operation
===================

Threads wait for different things: an answer, news, a new connection. One of them, the *leader*, reads for all; the
others are parked. A leader whose own wait is over gives the turn to a parked one and leaves, so the thread that waits
for an answer is mostly the one that reads it (half of a load's time would be the hand-over).

    wait --turn is free--> lead -- own wait over --> leave, wake one that is parked
       \--turn is taken----> park -- woken: look again

Whoever leaves, leader or not, sees to it that a free turn finds a taker; so one is never lost on somebody who happened
to be satisfied already.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Waiter:
    """One thread's place to sleep. `wake` and `get_ready` need the owner's lock, `park` must not have it."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        # Most of them never sleep: whoever leads waits at the socket.
        self._lock: threading.Lock | None = None

    def wake(self) -> None:
        """Let the thread go on. If it is ready and does not sleep yet, `park` returns at once."""
        if self._lock is not None and self._lock.locked():
            self._lock.release()

    def get_ready(self) -> None:
        """Call it before `park`, once it is seen that there is something to wait for."""
        if self._lock is None:
            self._lock = threading.Lock()
            self._lock.acquire()

    def park(self, timeout_s: float | None) -> None:
        """Sleep until `wake`, or until the time is over."""
        assert self._lock is not None
        self._lock.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s))


class Turn:
    """Give the turn to one of those who wait.

    Args:
        lock: Guards all of it, and what ``is_over`` looks at.
        lead: Does one lap of the work that only one may do: waits for at most so many seconds (None: for ever) and
            takes in what comes. Called without the lock.
        ring: Ends a lap early.
    """

    def __init__(
        self,
        lock: threading.Lock,
        lead: Callable[[float | None], None],
        ring: Callable[[], None],
    ) -> None:
        self._lock = lock
        self._lead = lead
        self._ring = ring
        self._leader: Waiter | None = None
        self._leading_thread = 0
        self._parked: dict[Waiter, None] = {}

    @property
    def is_taken(self) -> bool:
        """Whether somebody leads."""
        return self._leader is not None

    def take(self, waiter: Waiter) -> bool:
        """Take the turn if it is free. With the lock held. Then call `wait` or `leave`."""
        if self._leader is not None:
            return False
        self._leader = waiter
        self._leading_thread = threading.get_ident()
        return True

    def leave(self, waiter: Waiter) -> None:
        """Give up waiting, and the turn to one that is parked. With the lock held."""
        parked = self._parked
        if parked:
            parked.pop(waiter, None)
        if self._leader is waiter:
            self._leader = None
        if self._leader is None:
            for other in parked:
                other.wake()
                break

    def wait(
        self, waiter: Waiter, is_over: Callable[[], bool], deadline: Callable[[], float | None]
    ) -> bool:
        """Wait until ``is_over``, leading meanwhile if nobody else does.

        Args:
            waiter: This thread's.
            is_over: Asked with the lock held.
            deadline: When to give up, by `time.monotonic`; None: not now. Asked with the lock held, again and again.

        Returns:
            False if the deadline passed.
        """
        lock = self._lock
        is_leader = False
        try:
            while True:
                with lock:
                    self._parked.pop(waiter, None)
                    if is_over():
                        return True
                    limit = deadline()
                    remaining = None if limit is None else limit - time.monotonic()
                    if remaining is not None and remaining <= 0:
                        return False
                    is_leader = self._leader is waiter or self.take(waiter)
                    if not is_leader:
                        waiter.get_ready()
                        self._parked[waiter] = None
                if is_leader:
                    self._lead(remaining)
                else:
                    waiter.park(remaining)
        finally:
            with lock:
                self.leave(waiter)

    def wake(self, waiter: Waiter) -> None:
        """Let ``waiter`` look again. With the lock held."""
        if self._leader is not waiter:
            waiter.wake()
        elif self._leading_thread != threading.get_ident():
            self._ring()

    def wake_all(self) -> None:
        """Let everybody look again. With the lock held."""
        for waiter in self._parked:
            waiter.wake()
        if self._leader is not None and self._leading_thread != threading.get_ident():
            self._ring()
