"""The serial order: one thread that runs bodies one after another, so that a body that blocks delays other bodies and
nothing else (PE8).

Theory of operation
===================

    submit --> tasks --.
    control -> control -+--> control tasks, then one task, and again; then what was deferred; nothing left: sleep
                              '--defer--> when no control task is left

Only one thread at a time can run Python, so whoever wakes another and goes on working makes it wait twice. Therefore
the loop rings once at the end of its turn, and what this thread tells the loop is deferred until it has little left to
do.

Whoever runs tasks has the *role*, a lock. The thread gives it up only to sleep. Then the loop can take it over at the
end of its turn, for tasks that run no code of the application's and end soon (`Instead`): two hand-overs less. There is
one order all the same, since one lock guards it and nothing is overtaken.

    thread asleep, no control task --turn ends--> loop has the role: some tasks off the front --> the rest: ring
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

log = logging.getLogger("hubbub.serial")

Task = Callable[[], None]
Instead = Callable[[deque["Task | None"]], None]
"""Runs what it likes of the tasks, from the front on, in the role of the serial thread."""

SLOW_BODY_S = 0.1
"""After this many seconds in one body the log shows its stack."""


class SerialThread:
    """Run tasks in the order in which they were submitted, in a thread of its own.

    Control tasks (`control`) run before the next body: they take in what the disk has done.
    """

    def __init__(self, name: str = "hubbub-serial") -> None:
        self._tasks: deque[Task | None] = deque()
        self._control: deque[Task] = deque()
        self._deferred: deque[Task] = deque()
        self._sleeps = False
        self._role = threading.Lock()
        self._taken_over_by = 0
        self._bell = threading.Lock()
        self._bell.acquire()
        self._ring_soon: Callable[[], object] = self._ring
        self._instead: Instead | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._began: float = 0.0
        self._what: object = ""
        self._reported: float = 0.0
        self._closed = False

    def start(
        self, call_soon: Callable[[Task], object] | None = None, instead: Instead | None = None
    ) -> None:
        """Start the thread.

        Args:
            call_soon: Calls something a moment later in the thread that submits: it rings then, for all that it has
                submitted until then. None: at once.
            instead: Called at that moment, in the thread that submits, if it can have the role of this one.
        """
        if call_soon is not None:
            self._ring_soon = lambda: call_soon(self._turn_ends)
        self._instead = instead
        self._thread.start()

    def submit(self, task: Task) -> None:
        """Run ``task`` after everything submitted before. For the thread that has started this one."""
        self._tasks.append(task)
        if self._sleeps:
            self._ring_soon()

    def submit_first(self, tasks: Sequence[Task]) -> None:
        """Run ``tasks`` before everything submitted and not begun. In the role of this thread."""
        self._tasks.extendleft(reversed(tasks))

    def control(self, task: Task) -> None:
        """Run ``task`` before the next body. Any thread."""
        self._control.append(task)
        if not self.is_taken_over:  # else the thread is rung for as soon as it can have its role
            self._ring()

    @property
    def is_taken_over(self) -> bool:
        """Whether the calling thread has the role of this one just now, and is another one."""
        return self._taken_over_by == threading.get_ident()

    def defer(self, task: Task) -> bool:
        """Run ``task`` when the present task and all control tasks are over.

        Returns:
            False if this is not the serial thread; ``task`` is not taken then.
        """
        if threading.get_ident() != self._thread.ident:
            return False
        self._deferred.append(task)
        return True

    @property
    def waiting(self) -> int:
        """How many tasks have not begun."""
        return len(self._tasks)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to run behind the present task."""
        return not self._tasks

    @property
    def is_asleep(self) -> bool:
        """Whether the thread has nothing to do."""
        return self._sleeps

    def drop_tasks(self) -> None:
        """Forget all tasks that have not begun (a test's way to kill a host)."""
        self._tasks.clear()

    def close(self) -> None:
        """Run what was submitted, then end the thread and wait for it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._tasks.append(None)
        self._ring()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def begin_body(self, what: object) -> float:
        """Say what runs now, for the log of slow bodies: its text is asked for only there.

        Returns:
            Now, by `time.perf_counter`.
        """
        self._what = what
        self._began = began = time.perf_counter()
        return began

    def end_body(self) -> None:
        """The body is over."""
        self._began = 0.0

    def report_slow(self) -> str | None:
        """Log the stack of a body that has run for too long, once for each body. Any thread; called every now and then.

        Returns:
            What was logged, or None.
        """
        began = self._began
        if not began or self._reported == began:
            return None
        lasted = time.perf_counter() - began
        if lasted < SLOW_BODY_S:
            return None
        frame: FrameType | None = sys._current_frames().get(self._thread.ident or 0)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "(no stack)"
        if self._began != began:
            return None
        self._reported = began
        text = (
            f"{self._what} has been running for {lasted * 1000:.0f} ms and holds up all other commands and queries; "
            f"use an action for what waits. Its stack now:\n{stack}"
        )
        log.warning(text)
        return text

    def _turn_ends(self) -> None:
        """Run what may run here, ring for the rest. In the thread that submits."""
        instead = self._instead
        if instead is not None and self._tasks and self._role.acquire(blocking=False):
            self._taken_over_by = threading.get_ident()
            try:
                if not self._control:
                    _guarded(lambda: instead(self._tasks))
            finally:
                self._taken_over_by = 0
                self._role.release()
        if self._tasks or self._control:
            self._ring()

    def _run(self) -> None:
        # Never given up at the end: nobody runs anything then.
        self._role.acquire()
        tasks, control, deferred = self._tasks, self._control, self._deferred
        while True:
            while control:
                _guarded(control.popleft())
            while deferred:
                _guarded(deferred.popleft())
            if tasks:
                task = tasks.popleft()
                if task is None:
                    return
                try:
                    task()
                except BaseException:
                    log.exception(_FAILED)
            else:
                self._sleep()

    def _sleep(self) -> None:
        self._sleeps = True
        # Looked at again behind that: who puts something there now rings.
        if not self._tasks and not self._control:
            self._role.release()
            self._bell.acquire()
            self._role.acquire()
        self._sleeps = False

    def _ring(self) -> None:
        """Wake the thread if it sleeps. A ring too many does no harm."""
        if self._sleeps:
            self._sleeps = False
            with suppress(RuntimeError):  # somebody else has just rung
                self._bell.release()


_FAILED = "a task of the serial order failed; the order goes on"


def _guarded(task: Task) -> None:
    try:
        task()
    except BaseException:
        log.exception(_FAILED)
