"""The serial order: one thread that runs bodies one after another, so that a body that blocks delays other bodies and
nothing else (PE8)."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType

log = logging.getLogger("hubbub.serial")

SLOW_BODY_S = 0.1
"""After this many seconds in one body the log shows its stack."""


class SerialThread:
    """Run tasks in the order in which they were submitted, in a thread of its own.

    Control tasks (`control`) run before the next body: they take in what the disk has done.
    """

    def __init__(self, name: str = "hubbub-serial") -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._control: deque[Callable[[], None]] = deque()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._began: float = 0.0
        self._what: object = ""
        self._reported: float = 0.0
        self._closed = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, task: Callable[[], None]) -> None:
        """Run ``task`` after everything submitted before. Any thread."""
        self._tasks.put(task)

    def control(self, task: Callable[[], None]) -> None:
        """Run ``task`` before the next body. Any thread."""
        self._control.append(task)
        self._tasks.put(_wake)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to run behind the present task."""
        return self._tasks.empty()

    def close(self) -> None:
        """Run what was submitted, then end the thread and wait for it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._tasks.put(None)
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

    def _run(self) -> None:
        tasks, control = self._tasks, self._control
        while True:
            task = tasks.get()
            while control:
                _guarded(control.popleft())
            if task is None:
                return
            if task is not _wake:
                _guarded(task)


def _wake() -> None:
    pass


def _guarded(task: Callable[[], None]) -> None:
    try:
        task()
    except BaseException:
        log.exception("a task of the serial order failed; the order goes on")
