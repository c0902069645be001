"""The commit queue over a store that blocks and fails when it is told to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from hubbub.kernel import (
    ClosedError,
    Commit,
    DiskFullError,
    LocalProtocolError,
    OutcomeUnknownError,
    Tid,
)
from hubbub.store import CommitQueue, MemoryStore, Settled
from tests.conformance.store.building import commit, tid

WAIT_S = 20


class ScriptedStore(MemoryStore):
    """Blocks in `write` while the gate is closed, and raises what stands in ``errors``."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.errors: list[BaseException] = []
        self.groups: list[list[int]] = []
        self.threads: list[str] = []

    def write(self, commits: Sequence[Commit]) -> None:
        self.groups.append([c.tid for c in commits])
        self.threads.append(threading.current_thread().name)
        self.entered.release()
        assert self.gate.wait(WAIT_S)
        if self.errors:
            raise self.errors.pop(0)
        super().write(commits)

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=WAIT_S)


class Told:
    """Collects what is settled; lets a test wait for a number of commits."""

    def __init__(self) -> None:
        self.parts: list[Settled] = []
        self.arrived = threading.Condition()
        self.also: Callable[[Settled], None] | None = None

    def __call__(self, settled: Settled) -> None:
        with self.arrived:
            self.parts.append(settled)
            self.arrived.notify_all()
        if self.also is not None:
            self.also(settled)

    @property
    def fates(self) -> list[tuple[int, object]]:
        return [(c.tid - tid(0), part.error) for part in self.parts for c in part.commits]

    def wait(self, count: int) -> list[tuple[int, object]]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.fates) >= count, WAIT_S)
        return self.fates


class Rig:
    def __init__(self, **options: int) -> None:
        self.store = ScriptedStore()
        self.told = Told()
        self.queue = CommitQueue(self.store, self.told, **options)

    def hold(self, number: int = 1) -> None:
        """Put one commit and wait until the writer is inside the store with it."""
        self.store.gate.clear()
        self.queue.put(commit(number, [1]))
        self.store.wait_entered()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.store.gate.set()
    made.queue.close()


def nothing(number: int) -> Commit:
    return commit(number)


@pytest.mark.rule("ST3")
def test_all_who_wait_while_the_disk_is_busy_share_one_write(rig: Rig) -> None:
    rig.hold()
    for number in range(2, 12):
        rig.queue.put(commit(number, [number]))
    rig.store.gate.set()
    rig.queue.wait_settled(tid(11), WAIT_S)
    assert [len(group) for group in rig.store.groups] == [1, 10]
    assert (rig.queue.stats.groups, rig.queue.stats.commits) == (2, 11)
    assert rig.queue.stats.bytes == sum(e.byte_count for e in rig.store.feed())
    assert rig.queue.stats.last_seconds > 0


@pytest.mark.rule("ST3")
def test_a_group_is_bounded_in_bytes_and_a_larger_commit_still_goes() -> None:
    rig = Rig(limit_bytes=3000)
    rig.hold()
    for number in range(2, 8):
        rig.queue.put(commit(number, [number], size=1000))
    rig.queue.put(commit(8, [8], size=50_000))
    rig.store.gate.set()
    rig.queue.wait_settled(tid(8), WAIT_S)
    rig.queue.close()
    assert [len(group) for group in rig.store.groups] == [1, 3, 3, 1]
    assert rig.told.fates == [(n, None) for n in range(1, 9)]


@pytest.mark.rule("ST2")
def test_nothing_is_told_before_the_write_has_returned(rig: Rig) -> None:
    rig.hold()
    rig.queue.put(nothing(2))
    assert (rig.told.parts, rig.queue.durable_tid) == ([], 0)
    with pytest.raises(TimeoutError):
        rig.queue.wait_settled(tid(1), 0)
    rig.store.gate.set()
    assert rig.told.wait(2) == [(1, None), (2, None)]
    assert rig.queue.durable_tid == tid(2)


@pytest.mark.rule("ST2")
def test_what_stores_nothing_waits_for_those_before_it_but_not_for_those_behind(rig: Rig) -> None:
    rig.hold()
    rig.queue.put(nothing(2))
    rig.queue.put(commit(3, [1]))
    seen_entered: list[bool] = []
    rig.told.also = lambda settled: seen_entered.append(len(rig.store.groups) == 2)
    rig.store.gate.set()
    assert rig.told.wait(3) == [(1, None), (2, None), (3, None)]
    rig.queue.wait_settled(tid(3), WAIT_S)
    assert seen_entered == [False, False, True]


def test_what_stores_nothing_is_settled_at_once_in_the_callers_thread_when_nothing_waits(
    rig: Rig,
) -> None:
    threads: list[threading.Thread] = []
    rig.told.also = lambda settled: threads.append(threading.current_thread())
    rig.queue.put(nothing(1))
    assert rig.told.fates == [(1, None)]
    assert threads == [threading.current_thread()]
    assert (rig.store.groups, rig.queue.durable_tid) == ([], tid(1))


def test_an_outcome_may_carry_the_tid_of_the_commit_before_it_but_records_may_not(rig: Rig) -> None:
    rig.queue.put(commit(1, [1]))
    rig.queue.put(nothing(1))
    for wrong in (commit(1, [1]), nothing(0)):
        with pytest.raises(LocalProtocolError):
            rig.queue.put(wrong)
    assert rig.told.wait(2) == [(1, None), (1, None)]


@pytest.mark.rule("ST5")
def test_a_failed_write_fails_its_group_and_all_behind_it_with_the_same_error(rig: Rig) -> None:
    full = DiskFullError("no room")
    rig.store.errors.append(full)
    rig.hold()
    for number in (2, 3):
        rig.queue.put(commit(number, [1]))
    rig.queue.put(nothing(4))
    rig.store.gate.set()
    assert rig.told.wait(4) == [(n, full) for n in (1, 2, 3, 4)]
    rig.queue.put(commit(5, [1]))
    rig.queue.put(nothing(6))
    assert rig.told.wait(6) == [(n, full) for n in range(1, 7)]
    assert (len(rig.store.groups), rig.queue.durable_tid, rig.queue.failure) == (1, 0, full)
    for number in (1, 4, 5):
        with pytest.raises(DiskFullError):
            rig.queue.wait_settled(tid(number), WAIT_S)


@pytest.mark.rule("ST5")
def test_after_a_full_disk_writing_goes_on_once_the_submitter_has_rolled_back(rig: Rig) -> None:
    rig.store.errors.append(DiskFullError("no room"))
    rig.queue.put(commit(1, [1]))
    rig.told.wait(1)
    rig.queue.resume()
    rig.queue.put(commit(1, [1]))  # the clock stood still: the tid is used again
    rig.queue.wait_settled(tid(1), WAIT_S)
    assert rig.store.last_tid == rig.queue.durable_tid == tid(1)
    assert [error is None for _, error in rig.told.fates] == [False, True]


@pytest.mark.rule("ST5")
def test_after_an_unknown_outcome_commits_that_store_nothing_settle_and_the_others_fail(
    rig: Rig,
) -> None:
    rig.store.errors.append(OutcomeUnknownError("fsync failed"))
    rig.queue.put(commit(1, [1]))
    rig.told.wait(1)
    for attempt in range(2):
        rig.queue.resume()
        rig.queue.put(nothing(2 + attempt))
        rig.queue.put(commit(4, [1]))
        rig.told.wait(3 + 2 * attempt)
    errors = [part.error for part in rig.told.parts if part.error is not None]
    assert [n for n, error in rig.told.fates if error is None] == [2, 3]
    assert len(rig.store.groups) == 1  # the store is not asked again
    assert len({id(error) for error in errors}) == 3  # each failure is an object of its own
    assert {type(error) for error in errors} == {OutcomeUnknownError}


@pytest.mark.rule("ST5")
def test_what_is_put_while_a_failure_is_being_told_fails_too_and_is_told_before_resume_returns(
    rig: Rig,
) -> None:
    full = DiskFullError("no room")
    rig.store.errors.append(full)
    telling, go_on = threading.Event(), threading.Event()

    def slowly(settled: Settled) -> None:
        telling.set()
        assert go_on.wait(WAIT_S)

    rig.told.also = slowly
    rig.queue.put(commit(1, [1]))
    assert telling.wait(WAIT_S)
    rig.queue.put(commit(2, [1]))  # its submitter has not heard yet
    resumed = threading.Thread(target=rig.queue.resume)
    resumed.start()
    go_on.set()
    resumed.join(WAIT_S)
    assert rig.told.fates == [(1, full), (2, full)]
    rig.queue.put(commit(3, [1]))
    rig.queue.wait_settled(tid(3), WAIT_S)
    assert rig.store.last_tid == tid(3)


@pytest.mark.rule("ST5")
def test_an_error_that_no_store_should_raise_counts_as_an_unknown_outcome(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.store.errors.append(ZeroDivisionError())
    rig.queue.put(commit(1, [1]))
    rig.told.wait(1)
    assert isinstance(rig.queue.failure, OutcomeUnknownError)
    assert "ZeroDivisionError" in str(rig.queue.failure)


def test_a_listener_that_raises_loses_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def fail(settled: Settled) -> None:
        raise RuntimeError("listener")

    rig.told.also = fail
    with caplog.at_level(logging.ERROR):
        for number in range(1, 6):
            rig.queue.put(commit(number, [1]) if number % 2 else nothing(number))
        rig.queue.wait_settled(tid(5), WAIT_S)
    assert rig.told.fates == [(n, None) for n in range(1, 6)]
    assert "RuntimeError: listener" in caplog.text


def test_a_listener_that_ends_the_thread_does_not_end_the_writer(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    def leave(settled: Settled) -> None:
        raise SystemExit

    rig.told.also = leave
    rig.queue.put(commit(1, [1]))
    rig.told.wait(1)
    rig.told.also = None
    rig.queue.put(commit(2, [1]))
    rig.queue.wait_settled(tid(2), WAIT_S)


def test_a_listener_may_put_more(rig: Rig) -> None:
    def more(settled: Settled) -> None:
        newest = settled.commits[-1].tid - tid(0)
        if newest < 6:
            rig.queue.put(commit(newest + 1, [1]) if newest % 2 else nothing(newest + 1))

    rig.told.also = more
    rig.queue.put(nothing(1))
    assert rig.told.wait(6) == [(n, None) for n in range(1, 7)]


def test_the_submitter_can_write_in_its_own_thread(rig: Rig) -> None:
    assert rig.queue.drive() is False
    rig.queue.put(commit(1, [1]), wake=False)
    rig.queue.put(commit(2, [1]), wake=False)
    assert rig.queue.drive() is True
    assert rig.store.threads == [threading.current_thread().name]
    assert rig.told.fates == [(1, None), (2, None)]
    rig.queue.put(commit(3, [1]))
    rig.queue.wait_settled(tid(3), WAIT_S)


def test_who_drives_while_the_writer_writes_leaves_it_to_the_writer(rig: Rig) -> None:
    rig.hold()
    rig.queue.put(commit(2, [1]), wake=False)
    assert rig.queue.drive() is False
    rig.store.gate.set()
    rig.queue.wait_settled(tid(2), WAIT_S)
    assert rig.store.threads == ["hubbub-writer"] * 2


def test_an_interrupt_in_a_driven_write_goes_upwards_after_its_fate_is_told(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.store.errors.append(KeyboardInterrupt())
    rig.queue.put(commit(1, [1]), wake=False)
    with pytest.raises(KeyboardInterrupt):
        rig.queue.drive()
    assert isinstance(rig.told.fates[0][1], OutcomeUnknownError)


def test_close_settles_what_waits_and_then_refuses(rig: Rig) -> None:
    rig.hold()
    for number in range(2, 50):
        rig.queue.put(commit(number, [1]))
    closing = threading.Thread(target=rig.queue.close)
    closing.start()
    rig.store.gate.set()
    closing.join(WAIT_S)
    assert rig.told.fates == [(n, None) for n in range(1, 50)]
    with pytest.raises(ClosedError):
        rig.queue.put(commit(50, [1]))
    rig.queue.close()


def test_no_commit_is_lost_or_told_twice_however_the_store_fails() -> None:
    rig = Rig(limit_bytes=2000)
    put: list[Tid] = []
    numbers = iter(range(1, 10_000))
    for round_number in range(60):
        if round_number % 7 == 3:
            rig.store.errors.append(DiskFullError("no room"))
        for _ in range(round_number % 5 + 1):
            number = next(numbers)
            one = commit(number, [number] if number % 3 else [])
            rig.queue.put(one, wake=number % 4 != 0)
            put.append(one.tid)
        if round_number % 3 == 0:
            rig.queue.drive()
        if rig.queue.failure is not None:
            rig.queue.resume()
    rig.queue.close()
    assert [n for n, _ in rig.told.fates] == [t - tid(0) for t in put]
    stored = {e.tid - tid(0) for e in rig.store.feed()}
    assert stored == {n for n, error in rig.told.fates if error is None and n % 3}
