"""Tasks of the serial order that need what a vote has reserved: put back, and run again when a vote is over.

Theory of operation
===================

    runs --ReservedError--> waits --a vote is over--> in front of the serial order, as they came --> runs again
                              |                                                            '--reserved again--> waits
                              '--too long--> ReservedError goes to whoever asked

Others go on meanwhile. The first one put back is the first to run, before any vote that comes later, so nobody starves
but in front of votes that overlap without end; the time limit is for these. All of it belongs to the serial thread.
"""

from __future__ import annotations

import time
from collections import deque

from hubbub.perspective.serial import SerialThread, Task
from hubbub.store.votes import PATIENCE_S


class _Again:
    """A task that runs once more."""

    __slots__ = ("_put_back", "give_up_at", "task")

    def __init__(self, put_back: PutBack, task: Task, give_up_at: float) -> None:
        self._put_back = put_back
        self.task = task
        self.give_up_at = give_up_at

    def __call__(self) -> None:
        self._put_back.run(self)


class PutBack:
    """Keep tasks until a vote is over.

    Args:
        serial: Runs them.
        patience_s: So long a task is put back, then no more.
    """

    def __init__(self, serial: SerialThread, patience_s: float = PATIENCE_S) -> None:
        self._serial = serial
        self._patience_s = patience_s
        self._waiting: deque[_Again] = deque()
        self._running: _Again | None = None
        self._is_due = False
        self._is_over = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Task) -> bool:
        """Put ``task`` back, which runs just now. False: it has been put back for too long, or the end is near."""
        now = time.monotonic()
        again = self._running
        if again is None or again.task is not task:
            again = _Again(self, task, now + self._patience_s)
        if self._is_over or now >= again.give_up_at:
            return False
        self._waiting.append(again)
        return True

    def run(self, again: _Again) -> None:
        """Run a task again."""
        self._running = again
        try:
            again.task()
        finally:
            self._running = None

    def vote_is_over(self) -> None:
        """See to it that all run again, behind the present task and before any other."""
        if self._waiting and not self._is_due:
            self._is_due = True
            self._serial.control(self._release)

    def give_up(self) -> None:
        """Put nothing back any more: what waits runs for the last time."""
        self._is_over = True
        self._release()

    def _release(self) -> None:
        self._is_due = False
        waiting, self._waiting = self._waiting, deque()
        self._serial.submit_first(list(waiting))
