r"""Commits of peers: in the serial order like all others, and where that is cheaper, run by the loop itself.

Theory of operation
===================

A peer's commit has no body: it is checked, numbered, written. Waking the serial thread for that, and being woken by it,
takes longer than doing it. So at the end of its turn the loop does it in the role of that thread (`SerialThread`):

    turn ends --nothing but small commits of peers wait, and the disk is quick--> all checked and numbered --> one write
       \--else--> ring for the thread                                             --> absorbed --> told

* No code of the application's runs in the loop (PE8). A commit that has to be merged by more than bytes and plain keys
  goes to the thread, and all behind it.
* The loop waits for the disk meanwhile, and serves nobody. So the disk has to have been quick the last time, and a
  write that was slow all the same bars the next for ten times as long: at most a tenth of the time is lost so.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hubbub.kernel import Changeset, Commit
from hubbub.perspective.serial import Task
from hubbub.space.containers import NotPlainError, merge_plain_records
from hubbub.space.live import LiveSpace
from hubbub.store.ledger import Merge
from hubbub.store.queue import CommitQueue

_MOST_TASKS = 64
_MOST_OBJECTS = 64
_MOST_BYTES = 64 << 10
_QUICK_S = 0.002
_BARRED = 10


class Application:
    """One changeset on its way: a task of the serial order."""

    __slots__ = ("_applying", "changeset", "done_keys", "waiting")

    def __init__(
        self, applying: Applying, changeset: Changeset, done_keys: Sequence[bytes], waiting: Any
    ) -> None:
        self._applying = applying
        self.changeset = changeset
        self.done_keys = done_keys
        self.waiting = waiting

    def __call__(self) -> None:
        self._applying.apply(self)

    @property
    def is_small(self) -> bool:
        """Whether it takes little time."""
        writes = self.changeset.writes
        count = len(writes) + len(self.changeset.current) + len(self.done_keys)
        return count <= _MOST_OBJECTS and sum(len(w.payload) for w in writes) <= _MOST_BYTES


class Applying:
    """Apply changesets, in whichever thread has the role of the serial one.

    Args:
        live: The space.
        queue: Makes commits durable.
        put: Submits a commit from the serial thread.
        nothing: Makes the commit that carries an outcome which stores nothing.
        tell: Tells what has settled; called in the loop.
    """

    def __init__(
        self,
        live: LiveSpace,
        queue: CommitQueue,
        put: Callable[[Commit], None],
        nothing: Callable[[Any], Commit],
        tell: Callable[[], None],
    ) -> None:
        self._live = live
        self._queue = queue
        self._put = put
        self._nothing = nothing
        self._tell = tell
        self._barred_until = 0.0

    def apply(self, application: Application) -> None:
        """Apply it in the serial thread."""
        self._put(self._decided(application, None))

    def at_turn_end(self, tasks: deque[Task | None]) -> None:
        """Apply all that waits, if this is the place for it. In the loop, which has the role."""
        if len(tasks) > _MOST_TASKS or not self._is_disk_quick():
            return
        if not all(isinstance(task, Application) and task.is_small for task in tasks):
            return
        began = time.perf_counter()
        while tasks:
            application = tasks[0]
            assert isinstance(application, Application)
            try:
                commit = self._decided(application, merge_plain_records)
            except NotPlainError:
                break
            tasks.popleft()
            self._queue.put(commit, wake=False)
        self._queue.drive()
        ended = time.perf_counter()
        if ended - began > _QUICK_S:
            self._barred_until = ended + _BARRED * (ended - began)
        self._tell()

    def _is_disk_quick(self) -> bool:
        stats = self._queue.stats
        if not stats.groups or stats.last_seconds > _QUICK_S:
            return False
        return not self._barred_until or time.perf_counter() > self._barred_until

    def _decided(self, application: Application, merge: Merge | None) -> Commit:
        """Give the changeset its place in the order, or its error.

        Raises:
            NotPlainError: ``merge`` has said so; nothing has happened.
        """
        changeset, waiting = application.changeset, application.waiting
        began = time.perf_counter()
        try:
            if changeset.key:
                known = self._live.ledger.outcome_of(changeset.key)
                if known is not None:
                    waiting.value = (known, [])
                    return self._nothing(waiting)
            commit, merged = self._live.apply(changeset, application.done_keys, merge)
        except NotPlainError:
            raise
        except BaseException as error:  # noqa: BLE001 - the application's code; told to the caller
            waiting.error = tellable(error)
            return self._nothing(waiting)
        waiting.value = (commit.tid, merged)
        commit.context = waiting
        commit.began = began
        return commit


def tellable(error: BaseException) -> BaseException:
    """Return ``error``, or what stands for it: the end of a process or of an iteration is not for a future to carry."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    told = RuntimeError(f"a body raised {type(error).__name__}")
    told.__cause__ = error
    return told
