"""The host when something fails that should not: everybody is told, and its threads go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubbub.app import Hub
from hubbub.kernel import Changeset, ClosedError, Commit, DiskFullError, FakeClock, Label
from hubbub.perspective.alarms import FakeAlarms
from hubbub.perspective.host import Host, Outcome
from hubbub.space import context
from hubbub.space.connection import Connection
from tests.unit.perspective.small_hub import SlowStore


class World:
    def __init__(self) -> None:
        self.store = SlowStore()
        self.host = Host(self.store, clock=FakeClock(), release=self._release)
        self.releases_fail = False

    def _release(self, commit: Commit) -> None:
        if self.releases_fail:
            raise RuntimeError("a notice that can't be sent")

    async def run(self, body: Any) -> Any:
        return await asyncio.wait_for(self.host.call(body, Label(command="test")), 5)

    async def read(self, body: Any) -> Any:
        return await asyncio.wait_for(self.host.read(body), 5)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.host.start()
    yield world
    world.store.gate.set()
    await world.host.close()


def put(connection: Connection) -> None:
    connection.root["a"] = 1


@pytest.mark.rule("PE2")
@pytest.mark.parametrize("error", [StopIteration, SystemExit, asyncio.CancelledError])
async def test_whatever_a_body_raises_its_caller_is_told_and_the_next_one_runs(
    world: World, error: type[BaseException]
) -> None:
    def body(connection: Connection) -> None:
        raise error

    with pytest.raises(RuntimeError, match=error.__name__):
        await world.run(body)
    with pytest.raises(RuntimeError, match=error.__name__):
        await world.read(body)
    assert await world.run(lambda connection: 5) == 5


@pytest.mark.rule("PE3")
async def test_a_notice_that_can_not_be_sent_keeps_nobody_waiting(world: World) -> None:
    def body(connection: Connection) -> None:
        connection.root["a"] = 1
        context.required("test").notices.append("notice")

    def fail(commits: object) -> None:
        raise ZeroDivisionError

    world.releases_fail = True
    world.host.on_settled(fail)
    await asyncio.gather(world.run(body), world.run(put))


@pytest.mark.rule("ST5")
async def test_rows_in_no_hurry_are_not_lost_with_the_commit_that_took_them(world: World) -> None:
    world.host.spare_rows["kind", b"key"] = b"value"
    world.store.fail.append(DiskFullError("full"))
    with pytest.raises(DiskFullError):
        await world.run(put)
    await world.run(put)
    assert world.store.row("kind", b"key") == b"value"


async def test_what_a_commit_says_of_a_row_is_newer_than_a_spare_one(world: World) -> None:
    def body(connection: Connection) -> None:
        context.required("test").rows.append(("kind", b"key", None))

    world.host.spare_rows["kind", b"key"] = b"value"
    await world.run(body)
    assert world.store.row("kind", b"key") is None


async def test_a_peers_commit_is_refused_when_the_host_has_closed() -> None:
    world = World()
    world.host.start()
    await world.host.close()
    told: list[Outcome] = []
    world.host.apply(Changeset(0, [], [], {}, Label(), b""), [], told.append)
    assert isinstance(told[0].error, ClosedError)


async def test_what_is_done_every_second_does_not_queue_up_behind_a_slow_body() -> None:
    hub = Hub()
    calls: list[int] = []
    gate = threading.Event()

    @hub.every(1)
    def tick(root: Any) -> None:
        calls.append(1)

    clock = FakeClock()
    alarms = FakeAlarms(clock)
    await hub.start(SlowStore(), clock=clock, alarms=alarms)
    try:
        slow = asyncio.create_task(hub.run(lambda root: gate.wait(10)))
        await asyncio.sleep(0)
        for _ in range(20):
            alarm = alarms.next_due(clock.now() + 1)
            assert alarm is not None
            alarm()
        gate.set()
        await slow
        await hub.run(lambda root: None)
        assert len(calls) == 1
    finally:
        gate.set()
        await hub.stop()
