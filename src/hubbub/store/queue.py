"""The group commit: whoever waits when the disk is free shares one fsync (ST3).

Theory of operation
===================

One thread submits, in tid order, and never waits. Whoever holds the *turn* takes the oldest commits that wait, writes
them, tells their fate, and looks again; that is the queue's own writer thread, or the submitting thread in `drive`, or
in `put` when nothing waits and there is nothing to write. There is one turn, so fates are told in order, one at a time.

    put --> waiting --> taken as a group --> store.write --> on_settled(error=None)
                |                                |
                |                                v fails (ST5)
                +------- all that waits -------> on_settled(error), queue FAILED

    RUNNING --a write fails--> FAILED     each put is failed with the same error; its fate is fixed when it is put
    FAILED  --resume()------> RUNNING     the submitter has rolled its memory back

After `OutcomeUnknownError` the queue writes no more: the first durable commit after `resume` fails with it again, and
commits that store nothing settle. One lock guards it all; it is never held while the store writes or a callback runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from hubbub.kernel import (
    ClosedError,
    Commit,
    HubbubError,
    LocalProtocolError,
    OutcomeUnknownError,
    Tid,
    tid_text,
)
from hubbub.store.base import Store

_log = logging.getLogger("hubbub.store")

_COMMIT_OVERHEAD_BYTES = 200  # so that a million tiny commits are not one group
_REMEMBERED_FAILURES = 10_000


class Settled(msgspec.Struct, frozen=True):
    """The fate of some commits, in tid order.

    Attributes:
        commits: What was settled; never empty.
        error: None when they are durable, else why none of them is. One failure may be told in several parts, each
            with the same error object.
    """

    commits: Sequence[Commit]
    error: HubbubError | None = None


class QueueStats(msgspec.Struct, frozen=True):
    """What a queue has written since it was made.

    Attributes:
        groups: Successful writes to the store.
        commits: Durable commits in them.
        bytes: Payload bytes in them.
        last_seconds: How long the last write took.
    """

    groups: int = 0
    commits: int = 0
    bytes: int = 0
    last_seconds: float = 0.0


class CommitQueue:
    """Write commits in groups and tell, in order, what became of each.

    Args:
        store: Where durable commits go. The queue is its only writer; closing it is its owner's business.
        on_settled: Called with each `Settled`, in order, on the thread that has the turn, without any lock. It may
            call any method but `close` and `wait_settled`. If it raises, that is logged and counts as told.
        limit_bytes: A group ends when it has reached this size; a single commit may be larger.
    """

    def __init__(
        self,
        store: Store,
        on_settled: Callable[[Settled], None],
        *,
        limit_bytes: int = 4 << 20,
    ) -> None:
        self._store = store
        self._on_settled = on_settled
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._work_waits = threading.Condition(self._lock)
        self._turn_ended = threading.Condition(self._lock)
        self._waiting: deque[tuple[Commit, HubbubError | None]] = deque()
        self._has_turn = False
        self._is_closed = False
        self._failure: HubbubError | None = None
        self._doubt: OutcomeUnknownError | None = None
        self._durable_tid = store.last_tid
        self._settled_tid: int = self._durable_tid
        self._newest_tid: int = self._durable_tid
        self._failed: dict[int, HubbubError] = {}
        self._doomed = 0  # put after a failure, fate not told yet
        self._turn_thread: int | None = None
        self._stats = QueueStats()
        self._thread = threading.Thread(target=self._run, name="hubbub-writer", daemon=True)
        self._thread.start()

    # --- the submitting thread ---------------------------------------------------------------------------------------

    def put(self, commit: Commit, *, wake: bool = True) -> None:
        """Submit ``commit``. Never waits for the disk.

        If it stores nothing and nothing waits, it is settled before this returns.

        Args:
            commit: Its tid must be above that of the one before (after `resume`: above `durable_tid`), or equal to
                it if it has no records: an outcome that only has to wait for what it may have seen.
            wake: False leaves the writer thread asleep; the submitter then calls `drive` at once.

        Raises:
            ClosedError: If the queue is closed.
            LocalProtocolError: If the tid does not follow. In both cases nothing has changed.
        """
        with self._lock:
            if self._is_closed:
                raise ClosedError("the commit queue is closed")
            if commit.tid < self._newest_tid or (commit.tid == self._newest_tid and commit.records):
                raise LocalProtocolError(
                    f"commit {tid_text(commit.tid)} was put behind {tid_text(self._newest_tid)}"
                )
            self._newest_tid = commit.tid
            if self._failed:
                self._failed.pop(commit.tid, None)  # a tid may be used again after a rollback
            self._waiting.append((commit, self._failure))
            self._doomed += self._failure is not None
            if self._has_turn:
                return  # whoever has it looks again
            if len(self._waiting) > 1 or (commit.is_durable and self._failure is None):
                if wake:
                    self._work_waits.notify()
                return
            self._has_turn = True
        self._take_turn(once=True)

    def drive(self) -> bool:
        """Write one group of what waits in this thread, if nobody writes now.

        Returns:
            Whether this thread did it. If not, nothing waits or the thread that has the turn will see to it.
        """
        with self._lock:
            if self._has_turn or not self._waiting:
                return False
            self._has_turn = True
        self._take_turn(once=True)
        return True

    def resume(self) -> None:
        """Take commits again after a failure: the submitter has rolled its memory back to `durable_tid`.

        What was put before this call gets the old error, and has been told so when this returns (unless it is called
        in `on_settled`), so that an error told later is a new one. Without a failure nothing happens.
        """
        with self._lock:
            if self._failure is None:
                return
            if self._turn_thread != threading.get_ident():
                self._turn_ended.wait_for(lambda: not self._doomed)
            self._failure = None
            self._newest_tid = self._durable_tid

    # --- anybody -----------------------------------------------------------------------------------------------------

    @property
    def durable_tid(self) -> Tid:
        """Everything up to this tid has settled without an error; set before `on_settled` hears of it."""
        return self._durable_tid

    @property
    def failure(self) -> HubbubError | None:
        """What every commit is failed with until `resume`, or None."""
        return self._failure

    @property
    def is_busy(self) -> bool:
        """Whether somebody writes or tells a fate just now."""
        return self._has_turn

    @property
    def stats(self) -> QueueStats:
        """What has been written so far."""
        return self._stats

    def wait_settled(self, tid: int, timeout_s: float | None = None) -> None:
        """Wait until the commit ``tid`` is settled and its `on_settled` has returned.

        Raises:
            HubbubError: The commit's own error, if it was not stored.
            TimeoutError: If it is not settled after ``timeout_s`` seconds. It still may be.
        """
        with self._lock:
            is_settled = self._turn_ended.wait_for(
                lambda: tid in self._failed or tid <= self._settled_tid, timeout_s
            )
            error = self._failed.get(tid)
        if not is_settled:
            raise TimeoutError(f"commit {tid_text(tid)} is not settled after {timeout_s} s")
        if error is not None:
            raise error

    def close(self) -> None:
        """Settle everything that waits, then end the writer thread. Idempotent. The store stays open."""
        with self._lock:
            self._is_closed = True
            self._work_waits.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # --- whoever has the turn ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                while self._has_turn or not self._waiting:
                    if self._is_closed and not self._has_turn:
                        return
                    self._work_waits.wait()
                self._has_turn = True
            try:
                self._take_turn(once=False)
            except BaseException:  # noqa: BLE001 - logged; a thread's exceptions end here
                # What was in hand has been told; the rest must not be lost with this thread.
                _log.exception("the commit queue's writer goes on after an error")

    def _take_turn(self, *, once: bool) -> None:
        """Work off what waits; gives the turn back, whatever happens."""
        self._turn_thread = threading.get_ident()
        try:
            while True:
                with self._lock:
                    group, error = self._take()
                if not group:
                    return
                self._work_off(group, error)
                if once:
                    return
        finally:
            with self._lock:
                self._has_turn = False
                self._turn_thread = None
                if self._waiting or self._is_closed:
                    self._work_waits.notify()

    def _take(self) -> tuple[list[Commit], HubbubError | None]:
        """Take the longest run that shares its fate: failed already, or nothing to write, or one group."""
        waiting = self._waiting
        group: list[Commit] = []
        if not waiting:
            return group, None
        first, error = waiting[0]
        only_memory = error is None and not first.is_durable
        size = 0
        while waiting and waiting[0][1] is error and size < self._limit_bytes:
            commit = waiting[0][0]
            if only_memory and commit.is_durable:
                break
            waiting.popleft()
            group.append(commit)
            if error is None:
                size += _COMMIT_OVERHEAD_BYTES
                for record in commit.records:
                    size += len(record.payload)
                for _, _, value in commit.rows:
                    if value is not None:
                        size += len(value)
        return group, error

    def _work_off(self, group: list[Commit], error: HubbubError | None) -> None:
        interrupt: BaseException | None = None
        doomed = len(group) if error is not None else 0
        durable = [commit for commit in group if commit.is_durable] if error is None else []
        if durable:
            error, interrupt = self._write(durable)
        with self._lock:
            if error is None:
                self._durable_tid = group[-1].tid
            elif durable:
                # It fails for the first time: all that waits goes with it, and what comes until `resume`.
                self._failure = error
                group.extend(commit for commit, _ in self._waiting)
                self._waiting.clear()
        try:
            self._on_settled(Settled(group, error))
        except Exception:  # noqa: BLE001 - the caller's code; logged
            _log.exception("telling the fate of %d commits failed", len(group))
        finally:
            self._mark_settled(group, error, doomed)
        if interrupt is not None:
            raise interrupt

    def _write(self, durable: list[Commit]) -> tuple[HubbubError | None, BaseException | None]:
        """Write a group; returns its error, and what else has to go on upwards once its fate is told."""
        if self._doubt is not None:
            # An object of its own for each failure: see `Settled.error`.
            return OutcomeUnknownError(str(self._doubt)), None
        started = time.perf_counter()
        try:
            self._store.write(durable)
        except OutcomeUnknownError as error:
            self._doubt = error
            return error, None
        except HubbubError as error:
            return error, None
        except BaseException as error:  # noqa: BLE001 - told as an unknown outcome
            _log.exception("the store failed in a way that it should not")
            self._doubt = OutcomeUnknownError(f"writing to the store failed: {error!r}")
            self._doubt.__cause__ = error
            return self._doubt, None if isinstance(error, Exception) else error
        before = self._stats
        self._stats = QueueStats(
            before.groups + 1,
            before.commits + len(durable),
            before.bytes + sum([len(r.payload) for commit in durable for r in commit.records]),
            time.perf_counter() - started,
        )
        return None, None

    def _mark_settled(self, group: list[Commit], error: HubbubError | None, doomed: int) -> None:
        with self._lock:
            self._doomed -= doomed
            if error is None:
                self._settled_tid = group[-1].tid
            else:
                self._failed.update((commit.tid, error) for commit in group)
                while len(self._failed) > _REMEMBERED_FAILURES:
                    del self._failed[next(iter(self._failed))]
            self._turn_ended.notify_all()
