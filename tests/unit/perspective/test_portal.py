"""The portal: who gets in, who comes back, and what is left when they are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec import Raw

from hubbub.app import Hub
from hubbub.kernel import (
    Commit,
    DiskFullError,
    FakeClock,
    LimitError,
    LoginFailedError,
    NotAllowedError,
    Refused,
)
from hubbub.perspective.alarms import FakeAlarms
from hubbub.perspective.avatar import Avatar, LiveSession
from hubbub.perspective.checkers import Anonymous
from hubbub.perspective.declarations import command
from hubbub.perspective.identity import Identity
from hubbub.perspective.realm import Realm
from hubbub.perspective.stored_sessions import CALL, SESSION
from hubbub.space.persistent import Persistent
from hubbub.space.root import Root
from hubbub.store import MemoryStore
from hubbub.wire import session as wire

EVENTS: list[str] = []


class Single(Avatar, Persistent):
    max_sessions = 1

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def connected(self, session: LiveSession) -> None:
        EVENTS.append(f"{self.name} connected")

    def disconnected(self, session: LiveSession) -> None:
        EVENTS.append(f"{self.name} disconnected")

    @command
    def add(self) -> int:
        self.count += 1
        return self.count


class SingleRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        if who.name == "mallory":
            raise Refused("banned", "Not you.")
        return root.setdefault(who.name, Single(who.name))


class Store(MemoryStore):
    fail: list[Exception] = []

    def write(self, commits: Sequence[Commit]) -> None:
        if self.fail:
            raise self.fail.pop(0)
        super().write(commits)


class Carrier:
    def __init__(self) -> None:
        self.closed: Any = None

    def wake(self) -> None:
        pass

    def close(self, message: Any) -> None:
        self.closed = message


class World:
    def __init__(self) -> None:
        EVENTS.clear()
        Store.fail = []
        self.store: MemoryStore = Store()
        self.hub = Hub(SingleRealm(), checkers=[Anonymous()])

    async def start(self) -> None:
        self.clock = FakeClock()
        self.alarms = FakeAlarms(self.clock)
        await self.hub.start(self.store, clock=self.clock, alarms=self.alarms)

    async def restart(self) -> None:
        await self.hub.stop()
        self.store = self.store.reopen()
        await self.start()

    async def login(self, name: str, key: str = "") -> tuple[Any, wire.Welcome, Carrier]:
        carrier = Carrier()
        credentials = {"name": name, "key": key or f"key of {name}"}
        session, welcome = await self.hub.portal.open(
            wire.Hello(credentials=credentials), "json", "", carrier
        )
        return session, welcome, carrier

    async def resume(self, welcome: wire.Welcome, secret: str = "") -> tuple[Any, wire.Welcome]:
        hello = wire.Hello(
            session=welcome.session, secret=secret or welcome.secret, cursor=welcome.cursor
        )
        return await self.hub.portal.open(hello, "json", "", Carrier())

    async def pass_time(self, seconds: float) -> None:
        until = self.clock.now() + seconds
        while (fire := self.alarms.next_due(until)) is not None:
            fire()
            await self.idle()
        self.clock.advance(max(0.0, until - self.clock.now()))
        await self.idle()

    async def idle(self) -> None:
        await self.hub.host.call(lambda connection: None, wire_label())

    async def rows(self, kind: str) -> int:
        await self.hub.run(lambda root: root.__setitem__("touch", root.get("touch", 0) + 1))
        return len(self.store.rows(kind))


def wire_label() -> Any:
    from hubbub.kernel import Label

    return Label(command="idle")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.start()
    yield world
    await world.hub.stop()


async def test_a_full_avatar_refuses_the_next_session_while_the_first_is_connected(
    world: World,
) -> None:
    await world.login("ann")
    with pytest.raises(LimitError) as caught:
        await world.login("ann")
    assert caught.value.code == "too_many_sessions"


@pytest.mark.rule("PE6")
async def test_a_session_without_a_connection_gives_way_to_its_own_user(world: World) -> None:
    session, welcome, carrier = await world.login("ann")
    session.detach(carrier)
    await world.login("ann")
    await world.idle()
    assert EVENTS == ["ann connected", "ann connected", "ann disconnected"]
    with pytest.raises(NotAllowedError) as caught:
        await world.resume(welcome)
    assert caught.value.code == "session_lost"


@pytest.mark.rule("PE6")
async def test_the_grace_time_ends_a_session_once_and_leaves_nothing_stored(world: World) -> None:
    session, _, carrier = await world.login("ann")
    assert await world.rows(SESSION) == 1
    session.receive(wire.Call(id=1, name="add"))
    await world.idle()
    assert await world.rows(CALL) == 1
    session.detach(carrier)
    await world.pass_time(59)
    assert EVENTS == ["ann connected"]
    await world.pass_time(5)
    assert EVENTS == ["ann connected", "ann disconnected"]
    assert (await world.rows(SESSION), await world.rows(CALL)) == (0, 0)
    await world.login("ann", "another key")


@pytest.mark.rule("PE6", "PE4")
async def test_a_stored_session_resumes_after_a_restart_and_does_not_count_before(
    world: World,
) -> None:
    session, welcome, _ = await world.login("ann")
    session.receive(wire.Call(id=1, name="add"))
    await world.idle()
    await world.restart()
    resumed, again = await world.resume(welcome)
    assert (again.session, again.resumed) == (welcome.session, True)
    assert again.cursor.partition(".")[0] != welcome.cursor.partition(".")[0]
    resumed.receive(wire.Call(id=1, name="add"))
    (result,) = [m for m in _taken(resumed) if isinstance(m, wire.Result)]
    assert bytes(result.value) == b"1"  # type: ignore[arg-type]
    resumed.receive(wire.Call(id=2, name="add", args=Raw(b"[]")))
    await world.idle()
    (result,) = [m for m in _taken(resumed) if isinstance(m, wire.Result)]
    assert bytes(result.value) == b"2"  # type: ignore[arg-type]


async def test_a_place_taken_meanwhile_is_not_given_back(world: World) -> None:
    _, welcome, _ = await world.login("ann")
    await world.restart()
    await world.login("ann")
    with pytest.raises(LimitError):
        await world.resume(welcome)
    await world.hub.stop()
    assert len(world.store.reopen().rows(SESSION)) >= 1


async def test_a_name_taken_meanwhile_ends_the_stored_session(world: World) -> None:
    _, welcome, _ = await world.login("ann")
    await world.restart()
    await world.login("ann", "another key")
    with pytest.raises(LoginFailedError) as caught:
        await world.resume(welcome)
    assert caught.value.code == "name_taken"
    assert await world.rows(SESSION) == 1
    with pytest.raises(NotAllowedError):
        await world.resume(welcome)


@pytest.mark.rule("PE6")
async def test_two_connections_that_resume_at_once_get_one_session(world: World) -> None:
    _, welcome, _ = await world.login("ann")
    await world.restart()
    (one, _), (two, _) = await asyncio.gather(world.resume(welcome), world.resume(welcome))
    assert one is two
    one.receive(wire.Call(id=1, name="add"))
    await world.idle()
    assert [m.error for m in _taken(one) if isinstance(m, wire.Result)] == [None]
    assert EVENTS.count("ann connected") == 2


@pytest.mark.rule("ST5", "PE6")
async def test_a_full_disk_at_a_resume_does_not_lose_the_session(world: World) -> None:
    _, welcome, _ = await world.login("ann")
    await world.restart()
    Store.fail.append(DiskFullError("full"))
    world.store.__class__ = Store
    with pytest.raises(DiskFullError):
        await world.resume(welcome)
    _, again = await world.resume(welcome)
    assert again.session == welcome.session


async def test_a_wrong_secret_resumes_nothing(world: World) -> None:
    _, welcome, _ = await world.login("ann")
    for _ in range(2):
        with pytest.raises(NotAllowedError):
            await world.resume(welcome, "guessed")
        await world.restart()


async def test_a_stored_session_that_nobody_resumes_is_forgotten(world: World) -> None:
    await world.login("ann")
    await world.restart()
    assert await world.rows(SESSION) == 1
    await world.pass_time(61)
    assert await world.rows(SESSION) == 0


@pytest.mark.rule("PE2")
async def test_the_realms_own_no_crosses_and_frees_the_name(world: World) -> None:
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            await world.login("mallory", "a new key each time")
        assert caught.value.code == "banned"
    with pytest.raises(Refused):
        await world.login("mallory", "another")


def _taken(session: Any) -> list[Any]:
    messages = [wire.decode_to_client(data, "json") for data in session.take(1 << 20)]
    newest = max((m.n for m in messages if hasattr(m, "n")), default=0)
    if newest:
        session.receive(wire.Ack(cursor=session.cursor))
    return messages
