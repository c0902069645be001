"""Sessions that end at a bad moment: what is left of them is nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hubbub.kernel import ClosedError, DiskFullError, LimitError, OutcomeUnknownError
from hubbub.perspective.avatar import Avatar, LiveSession
from hubbub.perspective.checkers import Anonymous
from hubbub.perspective.declarations import command, query
from hubbub.perspective.identity import Identity
from hubbub.perspective.realm import Realm
from hubbub.perspective.stored_sessions import CALL, SESSION
from hubbub.space.persistent import Persistent
from hubbub.space.presence import Presence
from hubbub.space.root import Root
from hubbub.wire import session as wire
from tests.unit.perspective.small_hub import SmallHub, User

LEFT: list[str] = []


class Room(Persistent):
    def __init__(self) -> None:
        self.here: Presence[int] = Presence()
        self.count = 0

    @command
    def add(self) -> int:
        self.count += 1
        return self.count


class Single(Avatar, Persistent):
    max_sessions = 1
    angry = False

    def __init__(self, name: str, room: Room) -> None:
        self.name = name
        self._room = room

    def connected(self, session: LiveSession) -> None:
        self._room.here[self] = 1

    def disconnected(self, session: LiveSession) -> None:
        LEFT.append(session.id)
        if Single.angry:
            raise RuntimeError("an avatar's own mistake")

    @command(durable=False)
    def leave(self) -> None:
        self._room.here.pop(self.name, None)

    @command(durable=False)
    def enter(self) -> None:
        self._room.here[self] = 2

    @command
    def save(self) -> None:
        self._room.count += 1

    @query
    def room(self) -> Room:
        return self._room


class Replaced(Single):
    on_limit = "replace"


class Fleeting(Avatar):
    def __init__(self, name: str) -> None:
        self.name = name
        self._v_cache = "as large as it gets"

    @query
    def own_name(self) -> str:
        return self.name


class Stored(Realm):
    avatar: type[Single] = Single

    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        room = root.setdefault("room", Room())
        return root.setdefault(who.name, self.avatar(who.name, room))


class Replacing(Stored):
    avatar = Replaced


class Sharing(Realm):
    """All sessions of a name share one avatar, which is in the host's memory only."""

    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        avatars = root.setdefault("avatars", Presence())
        if who.name not in avatars:
            avatars[who.name] = Fleeting(who.name)
        return avatars[who.name]


class OneEach(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return Fleeting(who.name)


@pytest.fixture(autouse=True)
def _calm() -> Iterator[None]:
    LEFT.clear()
    Single.angry = False
    yield
    Single.angry = False


async def here(hub: SmallHub) -> list[str]:
    return await hub.hub.read(lambda root: sorted(root["room"].here))


@pytest.mark.rule("PE6")
async def test_what_was_to_be_stored_of_a_session_does_not_outlive_its_log_out() -> None:
    async with SmallHub(Stored()) as hub:
        ann = await hub.login("ann")
        ann.call(1, "save")
        await hub.rest()
        ann.taken()
        # Its row is to be written anew, with somebody's next commit.
        ann.session.receive(wire.Ack(ann.session.cursor))
        ann.session.receive(wire.Bye())
        await hub.rest()
        assert hub.store.rows(SESSION) == []
        assert hub.store.rows(CALL) == []


@pytest.mark.rule("PE3")
async def test_a_presence_that_becomes_known_after_the_log_out_is_forgotten() -> None:
    async with SmallHub(Stored()) as hub:
        ann = await hub.login("ann")
        ann.call(1, "leave")
        await hub.rest()
        hub.hub.portal._seats[ann.session.id].presences.clear()
        ann.call(2, "enter")
        ann.session.receive(wire.Bye())
        await hub.rest()
        assert await here(hub) == []


@pytest.mark.rule("PE6")
async def test_an_avatar_that_fails_while_it_is_told_does_not_keep_its_session() -> None:
    async with SmallHub(Stored()) as hub:
        ann = await hub.login("ann")
        Single.angry = True
        ann.session.receive(wire.Bye())
        await hub.rest()
        Single.angry = False
        assert await here(hub) == []
        again = await hub.login("ann")
        assert [key.decode() for key, _ in hub.store.rows(SESSION)] == [again.session.id]


@pytest.mark.rule("ST5")
async def test_a_session_that_ends_while_the_disk_is_full_is_gone_when_there_is_room() -> None:
    async with SmallHub(Stored()) as hub:
        ann = await hub.login("ann")
        hub.store.fail += [DiskFullError("full"), DiskFullError("still full")]
        ann.session.receive(wire.Bye())
        await hub.advance(5)
        assert await here(hub) == []
        assert hub.store.rows(SESSION) == []
        assert len(LEFT) == 3  # twice in a transaction that was dropped
        await hub.login("ann")


@pytest.mark.rule("ST5")
async def test_a_session_that_ends_after_a_failed_fsync_leaves_memory_at_least() -> None:
    async with SmallHub(Stored()) as hub:
        ann = await hub.login("ann")
        hub.store.fail.append(OutcomeUnknownError("the fsync failed"))
        ann.session.receive(wire.Bye())
        await hub.rest()
        assert await here(hub) == []


async def test_a_login_whose_client_has_gone_is_undone() -> None:
    async with SmallHub(Stored()) as hub:
        await hub.login("zoe")
        hub.store.gate.clear()
        login = asyncio.create_task(hub.login("ann"))
        await asyncio.sleep(0.05)
        login.cancel()
        await asyncio.wait([login])
        hub.store.gate.set()
        await hub.rest()
        assert await here(hub) == ["zoe"]
        await hub.login("ann", key="another")
        assert len(hub.store.rows(SESSION)) == 2


@pytest.mark.rule("PE6")
async def test_a_resume_whose_client_has_gone_leaves_the_session_for_the_next_one() -> None:
    hub = SmallHub(Stored())
    async with hub:
        ann = await hub.login("ann")
    hub.store._is_closed = False
    async with hub:
        hello = wire.Hello(session=ann.session.id, secret=ann.session.secret)
        hub.store.gate.clear()
        first = asyncio.create_task(hub.hub.portal.open(hello, "msgpack", "", User()))
        await asyncio.sleep(0.05)
        first.cancel()
        second = asyncio.create_task(hub.hub.portal.open(hello, "msgpack", "", User()))
        await asyncio.sleep(0.05)
        hub.store.gate.set()
        session, _ = await second
        assert session.id == ann.session.id
        entries = await hub.hub.read(lambda root: root["ann"].sessions)
        assert [entry.id for entry in entries] == [ann.session.id]


class SlowAnonymous(Anonymous):
    def released(self, identity: Identity) -> None:
        super().released(identity)
        time.sleep(0.05)  # the serial order is faster than the loop


@pytest.mark.rule("ST2")
async def test_a_session_that_is_replaced_before_its_login_was_told_ends_as_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with SmallHub(Replacing(), SlowAnonymous()) as hub:
        await hub.login("zoe")
        hub.store.gate.clear()
        logins = [asyncio.create_task(hub.login("ann")) for _ in range(2)]
        await asyncio.sleep(0.05)
        hub.store.gate.set()
        first, second = await asyncio.gather(*logins, return_exceptions=True)
        await hub.rest()
        assert isinstance(first, ClosedError)
        assert isinstance(second, User)
        assert len(LEFT) == 1
        assert await here(hub) == ["ann", "zoe"]
    assert not [entry for entry in caplog.records if entry.levelno >= logging.ERROR]


async def test_a_newcomer_does_not_push_out_who_is_about_to_come_in() -> None:
    async with SmallHub(Stored()) as hub:
        await hub.login("zoe")
        hub.store.gate.clear()
        logins = [asyncio.create_task(hub.login("ann")) for _ in range(2)]
        await asyncio.sleep(0.05)
        hub.store.gate.set()
        first, second = await asyncio.gather(*logins, return_exceptions=True)
        assert isinstance(first, User)
        assert isinstance(second, LimitError)


async def test_nothing_of_a_call_is_run_or_stored_once_its_session_has_ended() -> None:
    async with SmallHub(Stored()) as hub:
        ann = await hub.login("ann")
        ann.call(1, "add", target=["room"])  # looked up first
        ann.session.receive(wire.Bye())
        await hub.rest()
        await hub.hub.run(lambda root: root.update(other=1))
        assert hub.store.rows(CALL) == []
        assert await hub.hub.read(lambda root: root["room"].count) == 0


async def test_a_plain_call_does_not_take_an_avatar_from_those_who_share_it() -> None:
    async with SmallHub(Sharing()) as hub:
        ann = await hub.login("ann")
        plain = await hub.login("ann", transient=True)
        plain.session.receive(wire.Bye())
        await hub.rest()
        ann.call(1, "own_name")
        await hub.rest()
        assert ann.values() == ["ann"]


async def test_the_host_forgets_avatars_with_their_last_session() -> None:
    async with SmallHub(OneEach()) as hub:
        for _ in range(3):
            ann = await hub.login("ann")
            ann.call(1, "own_name")
            await hub.rest()
            ann.session.receive(wire.Bye())
            await hub.rest()
        host = hub.hub.host
        kept: Any = host.ledger._ephemerals
        assert kept == {}
        host.live._live._cache.minimize()
        assert host.live._live._volatile == {}
