r"""Commits of peers: in the serial order like all others, and where that is cheaper, run by the loop itself.

Theory of operation
===================

A peer's commit has no body: it is checked, numbered, written. Waking the serial thread for that, and being woken by it,
takes longer than doing it. So at the end of its turn the loop does it in the role of that thread (`SerialThread`):

    turn ends --nothing but small commits of peers wait, and the disk is quick--> all checked and numbered --> one write
       \--else--> ring for the thread                                             --> absorbed --> told

* No code of the application's runs in the loop (PE8). A commit that has to be merged by more than bytes and plain keys
  goes to the thread, and all behind it.
* What needs an object that a vote has reserved is put back (`put_back.py`).
* The loop waits for the disk meanwhile, and serves nobody. So the disk has to have been quick the last time, and a
  write that was slow all the same bars the next for ten times as long: at most a tenth of the time is lost so.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hubbub.kernel import Changeset, Commit, ReservedError
from hubbub.perspective.serial import Task
from hubbub.space.containers import NotPlainError, merge_plain_records
from hubbub.space.live import LiveSpace
from hubbub.store.ledger import Merge
from hubbub.store.queue import CommitQueue
from hubbub.store.votes import VOTE_S

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

    def decide(self, live: LiveSpace, merge: Merge | None) -> Commit | None:
        """Give it its place in the order and its value, once for its key; None if there is nothing to store.

        Raises:
            HubbubError: As `Ledger.commit_changeset`; nothing has happened.
        """
        changeset = self.changeset
        if changeset.key and self._is_known(live, changeset.key):
            return None
        commit, merged = live.apply(changeset, self.done_keys, merge)
        self.waiting.value = (commit.tid, merged)
        return commit

    def _is_known(self, live: LiveSpace, key: bytes) -> bool:
        """Take the first outcome, if this is a repeat."""
        known = live.ledger.outcome_of(key)
        if known is not None:
            self.waiting.value = (known, [])
        return known is not None


class Voting(Application):
    """One changeset that votes (see `hubbub.store.votes`); its value is the vote."""

    __slots__ = ()

    def decide(self, live: LiveSpace, merge: Merge | None) -> Commit | None:
        self.waiting.value = live.ledger.vote(self.changeset, VOTE_S, merge)
        return None


class Finishing(Application):
    """The good end of a vote; its value is as that of a changeset."""

    __slots__ = ("number",)

    def __init__(
        self,
        applying: Applying,
        number: int,
        key: bytes,
        done_keys: Sequence[bytes],
        waiting: Any,
    ) -> None:
        super().__init__(applying, Changeset(0, [], key=key), done_keys, waiting)
        self.number = number

    def decide(self, live: LiveSpace, merge: Merge | None) -> Commit | None:
        key = self.changeset.key
        if key and self._is_known(live, key):
            return None
        commit, merged = live.finish(self.number, self.done_keys, key)
        self.waiting.value = (commit.tid, merged)
        return commit


class Applying:
    """Apply changesets, in whichever thread has the role of the serial one.

    Args:
        live: The space.
        queue: Makes commits durable.
        put: Submits a commit from the serial thread.
        nothing: Makes the commit that carries an outcome which stores nothing.
        tell: Tells what has settled; called in the loop.
        put_back: Takes a task whose objects are reserved, to run it again; says whether it did.
    """

    def __init__(
        self,
        live: LiveSpace,
        queue: CommitQueue,
        put: Callable[[Commit], None],
        nothing: Callable[[Any], Commit],
        tell: Callable[[], None],
        put_back: Callable[[Task], bool],
    ) -> None:
        self._live = live
        self._queue = queue
        self._put = put
        self._nothing = nothing
        self._tell = tell
        self._put_back = put_back
        self._barred_until = 0.0

    def apply(self, application: Application) -> None:
        """Apply it in the serial thread."""
        commit = self._decided(application, None)
        if commit is not None:
            self._put(commit)

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
            if commit is not None:
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

    def _decided(self, application: Application, merge: Merge | None) -> Commit | None:
        """Give the application its place in the order, or its error. None: it was put back, and comes again.

        Raises:
            NotPlainError: ``merge`` has said so; nothing has happened.
        """
        waiting = application.waiting
        began = time.perf_counter()
        try:
            commit = application.decide(self._live, merge)
        except NotPlainError:
            raise
        except BaseException as error:  # noqa: BLE001 - the application's code; told to the caller
            if isinstance(error, ReservedError) and self._put_back(application):
                return None
            waiting.error = tellable(error)
            return self._nothing(waiting)
        if commit is None:
            return self._nothing(waiting)
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
