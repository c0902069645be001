"""A long job: it tells how far it is, and can be stopped. Pack, verify, backup, restore, export and copy are such."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hubbub.kernel.errors import JobStoppedError

OnProgress = Callable[[str, int, int], None]
"""Called with what is done now, how much of it is done, and how much there is (0: not known)."""


class Job:
    """What a long job looks at between two steps. Any thread may stop it.

    Args:
        on_progress: Called now and then, in the job's thread.
    """

    def __init__(self, on_progress: OnProgress | None = None) -> None:
        self._on_progress = on_progress
        self._is_stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._is_stopped.is_set()

    def stop(self) -> None:
        """Have the job end at its next step. Idempotent."""
        self._is_stopped.set()

    def step(self, what: str, done: int, total: int = 0) -> None:
        """Say how far it is.

        Args:
            what: What is being done, such as ``marking``.
            done: How much of it is done.
            total: How much there is; 0 if that is not known.

        Raises:
            JobStoppedError: If somebody has stopped it.
        """
        if self._is_stopped.is_set():
            raise JobStoppedError(
                f"{what} was stopped after {done:,}" + (f" of {total:,}" if total else "")
            )
        if self._on_progress is not None:
            self._on_progress(what, done, total)
