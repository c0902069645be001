"""The host: what leaves it and when; what happens when the disk fails; bodies that block."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from hubbub.kernel import (
    BlockingError,
    Commit,
    DiskFullError,
    FakeClock,
    Label,
    OutcomeUnknownError,
    Refused,
)
from hubbub.perspective.host import Host, Outcome
from hubbub.space.connection import Connection
from hubbub.store import MemoryStore

LABEL = Label(command="test")


class SlowStore(MemoryStore):
    """A memory store whose writes wait, or fail, as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.fail: list[Exception] = []
        self.groups: list[int] = []

    def write(self, commits: Sequence[Commit]) -> None:
        assert self.gate.wait(10)
        self.groups.append(len(commits))
        if self.fail:
            raise self.fail.pop(0)
        super().write(commits)


class World:
    def __init__(self, **options: Any) -> None:
        self.store = SlowStore()
        self.released: list[Any] = []
        self.host = Host(
            self.store,
            clock=FakeClock(),
            release=lambda commit: self.released.extend(commit.notices),
            **options,
        )
        self.outcomes: list[tuple[Any, BaseException | None]] = []

    def run(self, body: Callable[[Connection], Any]) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            self.outcomes.append((outcome.value, outcome.error))
            future.set_result(outcome)

        self.host.run(body, done, LABEL)
        return future

    async def serial_idle(self) -> None:
        """Wait until every body submitted so far has run."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def task() -> None:
            loop.call_soon_threadsafe(done.set)

        self.host.serial.submit(task)
        await asyncio.wait_for(done.wait(), 10)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.host.start()
    yield world
    world.store.gate.set()
    await world.host.close()


def put(key: str, value: Any = 1) -> Callable[[Connection], Any]:
    def body(connection: Connection) -> int:
        connection.root[key] = value
        return len(connection.root)

    return body


def size(connection: Connection) -> int:
    return len(connection.root)


def refuse(connection: Connection) -> None:
    raise Refused("no", f"there are {len(connection.root)}")


@pytest.mark.rule("ST2")
async def test_no_reply_error_or_answer_that_could_have_seen_a_commit_leaves_before_its_fsync(
    world: World,
) -> None:
    world.store.gate.clear()
    writing = world.run(put("a"))
    reading = world.run(size)
    refusing = world.run(refuse)
    await world.serial_idle()
    assert world.outcomes == []
    assert await world.host.read(size) == 0
    world.store.gate.set()
    await asyncio.gather(writing, reading, refusing)
    values = [value for value, _ in world.outcomes]
    assert values == [1, 1, None]
    assert str(world.outcomes[2][1]) == "there are 1"


@pytest.mark.rule("ST3")
async def test_whoever_waits_shares_one_write(world: World) -> None:
    world.store.gate.clear()
    first = world.run(put("first"))
    await world.serial_idle()
    others = [world.run(put(str(n))) for n in range(20)]
    await world.serial_idle()
    world.store.gate.set()
    await asyncio.gather(first, *others)
    assert sum(world.store.groups) == 21
    assert len(world.store.groups) <= 3


@pytest.mark.rule("PE3")
async def test_what_is_sent_leaves_in_commit_order_when_durable_and_not_from_an_abort(
    world: World,
) -> None:
    from hubbub.space import context

    def send(what: str, *, fail: bool = False) -> Callable[[Connection], None]:
        def body(connection: Connection) -> None:
            connection.root[what] = 1
            context.required("test").notices.append(what)
            if fail:
                raise Refused("no")

        return body

    world.store.gate.clear()
    waiting = [world.run(send("a")), world.run(send("b", fail=True)), world.run(send("c"))]
    await world.serial_idle()
    assert world.released == []
    world.store.gate.set()
    await asyncio.gather(*waiting)
    assert world.released == ["a", "c"]


@pytest.mark.rule("ST5")
async def test_a_full_disk_fails_the_group_and_all_behind_it_and_then_writing_resumes(
    world: World,
) -> None:
    await world.run(put("before"))
    world.store.gate.clear()
    world.store.fail.append(DiskFullError("the disk is full"))
    first = world.run(put("lost"))
    await world.serial_idle()
    behind = [world.run(put("lost too")), world.run(size), world.run(refuse)]
    await world.serial_idle()
    world.store.gate.set()
    outcomes = await asyncio.gather(first, *behind)
    assert [type(outcome.error) for outcome in outcomes] == [DiskFullError] * 4
    assert (await world.run(size)).value == 1
    assert (await world.run(put("after"))).value == 2
    assert sorted(await world.host.read(lambda c: list(c.root))) == ["after", "before"]


@pytest.mark.rule("ST5")
async def test_after_a_failed_fsync_nothing_is_written_but_reading_goes_on(world: World) -> None:
    await world.run(put("before"))
    world.store.fail.append(OutcomeUnknownError("the fsync failed"))
    assert isinstance((await world.run(put("doubt"))).error, OutcomeUnknownError)
    assert isinstance((await world.run(put("more"))).error, OutcomeUnknownError)
    assert (await world.run(size)).value == 1
    assert await world.host.read(size) == 1


@pytest.mark.rule("SP6")
async def test_commands_run_in_one_order_which_is_tid_order(world: World) -> None:
    def append(number: int) -> Callable[[Connection], None]:
        def body(connection: Connection) -> None:
            connection.root["order"] = (*connection.root.get("order", ()), number)

        return body

    outcomes = await asyncio.gather(*(world.run(append(n)) for n in range(50)))
    assert await world.host.read(lambda c: c.root["order"]) == tuple(range(50))
    tids = [outcome.tid for outcome in outcomes]
    assert tids == sorted(set(tids))


@pytest.mark.rule("PE8")
async def test_a_body_that_blocks_delays_bodies_and_nothing_else_and_its_stack_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    def dawdle_in_the_sun(connection: Connection) -> str:
        assert release.wait(10)
        return "done"

    with caplog.at_level(logging.WARNING, "hubbub.serial"):
        slow = world.run(dawdle_in_the_sun)
        began = time.monotonic()
        while not caplog.records and time.monotonic() - began < 5:
            # The loop turns although the body does not end.
            await asyncio.sleep(0.01)
        assert not slow.done()
        release.set()
        assert (await slow).value == "done"
    assert "dawdle_in_the_sun" in caplog.text
    assert "use an action" in caplog.text


@pytest.mark.rule("PE8")
async def test_in_dev_mode_a_body_that_sleeps_or_connects_fails_at_once() -> None:
    import socket
    import subprocess

    world = World(dev_mode=True)
    world.host.start()
    try:
        for blocking in (
            lambda c: time.sleep(0.001),
            lambda c: socket.create_connection(("127.0.0.1", 1)),
            lambda c: subprocess.run(["true"], check=False),
        ):
            outcome = await world.run(blocking)
            assert isinstance(outcome.error, BlockingError)
            assert "action" in str(outcome.error)
        assert (await world.run(put("a"))).value == 1
    finally:
        await world.host.close()


async def test_closing_finishes_what_was_begun(world: World) -> None:
    waiting = [world.run(put(str(n))) for n in range(100)]
    await world.host.close()
    assert [(await w).error for w in waiting] == [None] * 100
    assert world.store.reopen().last_tid == (await waiting[-1]).tid
    late = world.run(put("late"))
    assert "shutting down" in str((await late).error)
