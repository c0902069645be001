"""TestHub: what it promises to whoever tests an application with it."""

from __future__ import annotations

import asyncio
import time

import pytest

import hubbub
from hubbub import Avatar, Hub, Log, Map, Mind, Persistent, Realm, Refused, command, query, view
from hubbub.testing import TestHub, transaction


class Room(Persistent):
    def __init__(self) -> None:
        self.messages: Log[str] = Log()
        self.marks: Map[str, int] = Map()
        self.hours = 0

    @view
    def recent(self, limit: int = 50) -> list[str]:
        return self.messages.last(limit)

    @view
    def all_marks(self) -> Map[str, int]:
        return self.marks

    @view
    def log(self) -> Log[str]:
        return self.messages

    @command
    def mark(self, who: Member, key: str, value: int) -> None:
        self.marks[key] = value


class Member(Avatar):
    def __init__(self, name: str, room: Room) -> None:
        self.name, self._room = name, room

    @query
    def room(self) -> Room:
        return self._room

    @command
    def say(self, text: str) -> None:
        if not text:
            raise Refused("empty", "Say something.")
        self._room.messages.append(text)
        hubbub.publish("said", (text, hubbub.now()))

    @command
    def nap(self) -> None:
        time.sleep(0.001)


class Chat(Realm):
    def request_avatar(self, root, who):
        return Member(who.name, root.setdefault("room", Room()))


hub = Hub(Chat(), checkers=[hubbub.Anonymous()], setup=lambda root: root.setdefault("room", Room()))


@hub.every(3600)
def count_hours(root) -> None:
    root["room"].hours += 1


def test_methods_are_ordinary_methods() -> None:
    room = Room()
    with transaction() as t:
        t.now = 5.0
        Member("ann", room).say("hi")
        assert t.published == [("said", ("hi", 5.0))]
        assert len(t.notices) == 1
        assert t.minds_called == []
    assert room.recent() == ["hi"]
    with pytest.raises(hubbub.NoTransactionError):
        Member("ann", room).say("hi")


def test_a_unit_transaction_repeats_its_chance() -> None:
    seen = []
    for _ in range(2):
        with transaction(seed=3):
            seen.append((hubbub.unique(), hubbub.random().random(), hubbub.now()))
    assert seen[0] == seen[1]


def test_presence_in_a_unit_transaction() -> None:
    here: hubbub.Presence[int] = hubbub.Presence()
    with transaction():
        here["ann"] = 1
        assert dict(here) == {"ann": 1}
    assert dict(here) == {"ann": 1}


@pytest.mark.rule("PE6", "LV1")
async def test_live_and_restart() -> None:
    async with TestHub(hub) as t:
        ann, bob = await t.login("ann"), await t.login("bob")
        watch = bob.room().recent.watch()
        await ann.say("hi")
        assert (await anext(watch))[-1] == "hi"
        await t.advance(3600)
        await t.kill_and_restart()
        assert (await anext(watch))[-1] == "hi"
        with pytest.raises(Refused) as refused:
            await ann.say("")
        assert refused.value.code == "empty"


@pytest.mark.rule("LV3")
async def test_a_container_s_changes_come_without_a_rerun() -> None:
    async with TestHub(hub) as t:
        ann, bob = await t.login("ann"), await t.login("bob")
        for number in range(300):
            await ann.room().mark(f"key {number}", number)
        changes, log = bob.room().all_marks.changes(), bob.room().log.watch()
        first = await anext(changes)
        assert (first.whole, len(first.value)) == (True, 300)
        assert await anext(log) == []
        runs = t.hub.host.queries.runs
        await ann.room().mark("key 7", -7)
        await ann.room().mark("new", 1)
        change = await anext(changes)
        assert (change.set, change.whole) == ({"key 7": -7, "new": 1}, False)
        assert change.value == await t.read(lambda root: dict(root["room"].marks.items()))
        for number in range(100):
            await ann.say(f"line {number}")
        assert await anext(log) == [f"line {n}" for n in range(100)]
        assert t.hub.host.queries.runs == runs


async def test_time_stands_still_but_for_advance() -> None:
    async with TestHub(hub) as t:
        began = t.clock.now()
        await t.advance(3 * 3600 + 1)
        assert t.clock.now() == began + 3 * 3600 + 1
        assert await t.read(lambda root: root["room"].hours) == 3
        await t.kill_and_restart()
        assert t.clock.now() == began + 3 * 3600 + 1
        await t.advance(3600)
        assert await t.read(lambda root: root["room"].hours) == 4


@pytest.mark.rule("PE8")
async def test_dev_mode_refuses_what_blocks() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        with pytest.raises(hubbub.RemoteError):
            await ann.nap()


async def test_run_and_read() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        watch = ann.room().recent.watch()
        await t.run(lambda root: root["room"].messages.append("by hand"))
        assert await anext(watch) == ["by hand"]


async def test_not_two_at_a_time() -> None:
    async with TestHub(hub):
        with pytest.raises(hubbub.ConfigurationError, match="running already"):
            async with TestHub(hub):
                pass
        assert hub.is_running
    assert not hub.is_running


async def test_a_setup_that_fails_leaves_nothing_behind() -> None:
    def fail(root) -> None:
        raise ValueError("no")

    broken = Hub(Chat(), checkers=[hubbub.Anonymous()], setup=fail)
    declared = broken.checkers
    with pytest.raises(ValueError, match="no"):
        async with TestHub(broken):
            pass
    assert not broken.is_running
    assert broken.checkers is declared


async def test_the_same_test_runs_the_same_way() -> None:
    async def story() -> list:
        heard: list = []

        class Me(Mind):
            pass

        async with TestHub(hub) as t:
            users = [await t.login(name, mind=Me()) for name in ("ann", "bob", "cid")]
            watches = [user.room().recent.watch() for user in users]
            await asyncio.gather(*(user.say(f"{n}") for n in range(5) for user in users))
            await t.kill_and_restart()
            for watch in watches:
                heard.append(await anext(watch))
        return heard

    assert await story() == await story()
