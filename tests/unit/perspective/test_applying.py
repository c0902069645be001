"""Commits of peers (`hubbub.perspective.applying`): which thread runs them, and that the order stays one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, Self

import pytest

from hubbub.kernel import Changeset, Commit, DiskFullError, Label, Record
from hubbub.perspective import applying
from hubbub.perspective.host import Host, Outcome
from hubbub.space.codec import encode_state
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore

merged_in: list[int] = []


class Counter(Persistent, name="tests.applying.Counter"):
    """Merges by adding."""

    @staticmethod
    def merge(
        old: dict[str, Any], committed: dict[str, Any], new: dict[str, Any]
    ) -> dict[str, Any]:
        merged_in.append(threading.get_ident())
        return {"number": committed["number"] + new["number"] - old["number"]}


class NotingStore(MemoryStore):
    """Notes which thread writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written_in: list[int] = []
        self.failure: Exception | None = None

    def write(self, commits: Sequence[Commit]) -> None:
        self.written_in.append(threading.get_ident())
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        super().write(commits)


class World:
    def __init__(self) -> None:
        self.store = NotingStore()
        self.host = Host(self.store)
        self.host.start()

    async def __aenter__(self) -> Self:
        await self.commit(1)  # the first write shows that the disk is quick
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.host.close()

    def begin(self, oid: int, tid: int = 0, number: int = 0) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        payload, refs, _ = encode_state({"number": number}, lambda _: 0, "Counter")
        record = Record(oid, tid, "tests.applying.Counter", refs, payload)
        self.host.apply(Changeset(tid, [record], label=Label()), (), future.set_result)
        return future

    async def commit(self, oid: int, tid: int = 0, number: int = 0) -> Outcome:
        outcome = await asyncio.wait_for(self.begin(oid, tid, number), 10)
        while self.host.serial._role.locked():  # the thread is about to sleep
            await asyncio.sleep(0)
        return outcome


@pytest.fixture(autouse=True)
def any_disk_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "_QUICK_S", 1000.0)
    merged_in.clear()


@pytest.mark.rule("ST2")
async def test_where_the_disk_is_quick_the_loop_applies_commits_itself() -> None:
    async with World() as world:
        outcome = await world.commit(11)
        assert world.store.written_in[-1] == threading.get_ident()
        # It is durable when it is told, and queries see it.
        assert world.store.last_tid == outcome.tid == world.host.ledger.absorbed_tid


@pytest.mark.rule("ST3")
async def test_all_that_came_in_one_turn_is_one_group() -> None:
    async with World() as world:
        outcomes = await asyncio.gather(*(world.begin(oid) for oid in range(11, 31)))
        assert len(world.store.written_in) == 2
        tids = [outcome.tid for outcome in outcomes]
        assert tids == sorted(set(tids))


@pytest.mark.rule("PE8")
async def test_a_merge_of_the_applications_never_runs_in_the_loop() -> None:
    async with World() as world:
        first = await world.commit(11, number=1)
        await world.commit(11, first.tid, 2)
        assert not merged_in
        behind = world.begin(11, first.tid, 4), world.begin(12)
        merged, other = await asyncio.gather(*behind)
        assert merged.value[1] == [11]
        assert merged_in
        assert threading.get_ident() not in merged_in
        assert merged.tid < other.tid  # what came behind it did not overtake it


@pytest.mark.rule("SP6")
async def test_a_commit_behind_a_command_waits_for_it() -> None:
    async with World() as world:
        order: list[str] = []
        gate = threading.Event()

        def body(_: Any) -> None:
            gate.wait(10)
            order.append("command")

        world.host.run(body, None, Label())
        committed = world.begin(11)
        committed.add_done_callback(lambda _: order.append("commit"))
        gate.set()
        await asyncio.wait_for(committed, 10)
        await asyncio.sleep(0)
        assert order == ["command", "commit"]
        assert world.store.written_in[-1] != threading.get_ident()


@pytest.mark.rule("PE8")
async def test_a_slow_disk_is_waited_for_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World() as world:
        monkeypatch.setattr(applying, "_QUICK_S", 0.0)
        await world.commit(11)
        assert world.store.written_in[-1] != threading.get_ident()


@pytest.mark.rule("PE8")
async def test_one_slow_write_bars_the_loop_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World() as world:
        monkeypatch.setattr(applying, "_BARRED", 1e9)
        real = world.host.queue.drive

        def slow() -> bool:
            monkeypatch.setattr(applying, "_QUICK_S", -1.0)
            return real()

        monkeypatch.setattr(world.host.queue, "drive", slow)
        await world.commit(11)
        assert world.store.written_in[-1] == threading.get_ident()
        monkeypatch.setattr(world.host.queue, "drive", real)
        monkeypatch.setattr(applying, "_QUICK_S", 1000.0)
        await world.commit(12)
        assert world.store.written_in[-1] != threading.get_ident()


@pytest.mark.rule("PE8")
async def test_a_large_commit_is_left_to_the_serial_thread() -> None:
    async with World() as world:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        records = [Record(oid, 0, "t", (), b"x") for oid in range(100, 300)]
        world.host.apply(Changeset(0, records, label=Label()), (), future.set_result)
        assert (await asyncio.wait_for(future, 10)).error is None
        assert world.store.written_in[-1] != threading.get_ident()


@pytest.mark.rule("ST5")
async def test_a_write_that_fails_in_the_loop_fails_its_group_and_writing_resumes() -> None:
    async with World() as world:
        world.store.failure = DiskFullError("no room")
        outcomes = await asyncio.gather(world.begin(11), world.begin(12))
        assert [type(outcome.error) for outcome in outcomes] == [DiskFullError, DiskFullError]
        assert world.store.written_in[-1] == threading.get_ident()
        again = await world.commit(11)
        assert again.error is None
        assert world.host.ledger.load(11).tid == again.tid


async def test_errors_and_repeats_are_answered_without_the_thread() -> None:
    async with World() as world:
        first = await world.commit(11)
        conflict = await world.commit(11)  # it was made by both
        assert type(conflict.error).__name__ == "ConflictError"
        assert world.host.ledger.load(11).tid == first.tid
