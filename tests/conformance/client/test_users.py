"""Users of a whole hub, over the wire in a process: calls, watches, streams, minds, and what restarts do to them."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import msgspec
import pytest

import hubbub
from hubbub.kernel import (
    InvalidArgumentsError,
    LimitError,
    NotAllowedError,
    OutcomeUnknownError,
    Refused,
    RemoteError,
)
from hubbub.perspective.avatar import Avatar, Mind
from hubbub.perspective.checkers import Anonymous, Passwords
from hubbub.perspective.client import ClientState, Reference
from hubbub.perspective.declarations import action, command, query, stream, view
from hubbub.perspective.realm import Realm
from hubbub.space import context
from hubbub.space.persistent import Persistent
from hubbub.space.presence import Presence
from hubbub.testing import TestHub

Period = Annotated[float, msgspec.Meta(ge=0.05, le=3600)]


class Line(msgspec.Struct, frozen=True):
    author: str
    text: str
    at: float


class Room(Persistent):
    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.lines: tuple[Line, ...] = ()
        self.here: Presence[str] = Presence()
        self.runs = 0

    @view
    def recent(self, limit: int = 50) -> list[Line]:
        return list(self.lines[-limit:])

    @view
    def names(self) -> dict[str, str]:
        return dict(self.here)

    @view
    def time(self) -> tuple[float, int]:
        return hubbub.now(), len(self.lines)

    @command
    def post(self, who: Member, text: str) -> int:
        self.lines = (*self.lines, Line(who.name, text, hubbub.now()))
        return len(self.lines)

    @command
    def guarded(self, who: Guard) -> None:
        """For nobody here."""


class Member(Avatar):
    def __init__(self, name: str, rooms: Rooms) -> None:
        self.name = name
        self.rooms = rooms
        self.ticks = 0

    def connected(self, session) -> None:
        self.rooms.log = (*self.rooms.log, f"+{self.name}")

    def disconnected(self, session) -> None:
        self.rooms.log = (*self.rooms.log, f"-{self.name}")

    @query
    def room(self, name: str = "main") -> Room:
        return self.rooms.rooms[name]

    @query
    def all_rooms(self) -> list[Room]:
        return list(self.rooms.rooms.values())

    @query
    def pair(self) -> tuple[int, Line]:
        return (1, Line("a", "b", 0.5))

    @query
    def whoami(self) -> str:
        return self.name

    @command
    def open_room(self, name: str) -> Room:
        room = Room(name)
        self.rooms.rooms = {**self.rooms.rooms, name: room}
        return room

    @command
    def say(self, text: str) -> int:
        if not text:
            raise Refused("empty", "Say something.")
        hubbub.publish("lines", f"{self.name}: {text}")
        self.minds.heard(text)
        return self.rooms.rooms["main"].post(self, text)

    @command
    def say_and_fail(self, text: str) -> None:
        self.say(text)
        raise Refused("changed_my_mind")

    @command
    def crash(self) -> None:
        raise RuntimeError("secret inside")

    @command
    def flood(self, count: int) -> None:
        for number in range(count):
            hubbub.publish("numbers", number)

    @command
    def start(self, period: Period) -> None:
        self.timer = context.required("start").session.every(period, self.tick)

    @command
    def set_period(self, period: Period) -> None:
        self.timer.period = period

    def tick(self) -> None:
        self.minds.tick(hubbub.now())

    @command(durable=False)
    def enter(self, mood: str) -> None:
        self.rooms.rooms["main"].here[self] = mood

    @stream()
    def lines(self):
        return hubbub.subscribe("lines")

    @stream(items=4, when_full="lag")
    def numbers(self):
        return hubbub.subscribe("numbers")

    @stream(items=4, when_full="disconnect")
    def strict(self):
        return hubbub.subscribe("numbers")

    @action(timeout_s=5)
    async def ask(self, method: str, number: int) -> list:
        return [await mind.call(method, number, timeout_s=2.0) for mind in self.minds]

    @action()
    async def later(self, text: str) -> int:
        await asyncio.sleep(0)
        return await self.run(self.say, text)

    def undeclared(self) -> str:
        return "never"


class Guard(Avatar):
    pass


class Rooms(Persistent):
    def __init__(self) -> None:
        self.rooms = {"main": Room()}
        self.log: tuple[str, ...] = ()


class House(Realm):
    def request_avatar(self, root, who):
        return Member(who.name, root["rooms"])


def setup(root) -> None:
    root.setdefault("rooms", Rooms())


hub = hubbub.Hub(House(), checkers=[Anonymous()], setup=setup)


class Me(Mind):
    def __init__(self) -> None:
        self.calls: list = []

    def heard(self, text: str) -> None:
        self.calls.append(text)

    def tick(self, at: float) -> None:
        self.calls.append(at)

    def double(self, number: int) -> int:
        return number * 2

    async def later(self, number: int) -> int:
        await asyncio.sleep(0)
        return number * 3

    def broken(self, number: int) -> int:
        raise ValueError("my own secret")

    def refusing(self, number: int) -> int:
        raise Refused("no", "Not now.")

    def _private(self, number: int) -> int:
        return number


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


# --- calls ------------------------------------------------------------------------------------------------------------


async def test_a_command_a_query_and_values_type_for_type() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        assert await ann.say("hi") == 1
        assert await ann.say(text="again") == 2
        assert await ann["say"]("third") == 3
        assert await ann.pair() == (1, Line("a", "b", 0.5))
        assert ann.identity.startswith("anon")
        lines = await ann.room().recent(limit=2)
        assert type(lines[0]) is Line
        assert texts(lines) == ["again", "third"]
        assert lines[0].at == t.clock.now() or abs(lines[0].at - t.clock.now()) < 1


@pytest.mark.rule("PE2")
async def test_a_refusal_crosses_as_it_is_and_anything_else_as_a_number(caplog) -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        with pytest.raises(Refused) as refused:
            await ann.say("")
        assert (refused.value.code, refused.value.message) == ("empty", "Say something.")
        with pytest.raises(RemoteError) as failed:
            await ann.crash()
        assert failed.value.code == "internal"
        assert "secret" not in str(failed.value)
        assert failed.value.incident in caplog.text
        assert "secret inside" in caplog.text


@pytest.mark.rule("PE1")
async def test_only_what_is_declared_with_arguments_that_fit() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        for bad in (ann.undeclared, ann.tick, ann.connected, ann.room().lines, ann.nothing):
            with pytest.raises(NotAllowedError) as refused:
                await bad()
            assert refused.value.code == "undeclared"
        with pytest.raises(InvalidArgumentsError):
            await ann.say(7)
        with pytest.raises(InvalidArgumentsError):
            await ann.say()
        with pytest.raises(InvalidArgumentsError):
            await ann.say(txt="x")
        with pytest.raises(InvalidArgumentsError, match="can't be sent"):
            await ann.say(object())
        with pytest.raises(NotAllowedError) as refused:
            await ann.room().guarded()
        assert refused.value.code == "wrong_avatar"
        assert await ann.room().recent() == []


async def test_a_call_that_is_never_awaited_warns() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        with pytest.warns(RuntimeWarning, match="was not called"):
            ann.say("hi")
        assert await ann.room().recent() == []


async def test_references_are_proxies_of_the_same_object() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        room = await ann.room()
        assert isinstance(room, Reference)
        assert room == await ann.room("main")
        assert await room.post("one") == 1
        assert texts(await room.recent()) == ["one"]
        other = await ann.open_room("side")
        assert other != room
        assert await other.post("two") == 1
        assert set(await ann.all_rooms()) == {room, other}
        assert texts(await ann.room("side").recent()) == ["two"]


@pytest.mark.rule("PE6")
async def test_a_reference_finds_its_object_again_after_a_restart_and_never_another() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        made = await ann.open_room("side")
        main = await ann.room()
        watch = main.recent.watch()
        assert await anext(watch) == []
        await t.kill_and_restart()
        assert await main.post("by way of the query") == 1
        assert texts(await anext(watch)) == ["by way of the query"]
        with pytest.raises(NotAllowedError) as lost:
            await made.post("x")
        assert lost.value.code == "unknown_reference"
        (await ann.room("side")), (await ann.room())
        with pytest.raises(NotAllowedError):
            await made.post("x")
        assert texts(await ann.room("side").recent()) == []


# --- watching ---------------------------------------------------------------------------------------------------------


@pytest.mark.rule("LV1", "LV2")
async def test_watches_are_shared_patched_and_skip_what_nobody_took() -> None:
    async with TestHub(hub) as t:
        ann, bob = await t.login("ann"), await t.login("bob")
        watches = [ann.room().recent.watch(), bob.room().recent.watch()]
        for watch in watches:
            assert await anext(watch) == []
        runs = t.hub.host.queries.runs
        for number in range(5):
            await ann.say(f"line {number}")
        assert t.hub.host.queries.runs == runs + 5, "one run for both"
        for watch in watches:
            assert texts(await anext(watch)) == [f"line {n}" for n in range(5)], "the newest, once"
        await ann.say("one more")
        assert texts(await anext(watches[0]))[-1] == "one more"
        watches[1].close()
        with pytest.raises(StopAsyncIteration):
            await anext(watches[1])


async def test_changing_an_answer_changes_nothing_else() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        for number in range(10):
            await ann.say(f"line {number}")
        async with ann.room().recent.watch() as watch:
            (await anext(watch)).clear()
            await ann.say("more")
            assert len(await anext(watch)) == 11


@pytest.mark.rule("LV1")
async def test_a_watched_now_is_the_time_of_its_tid() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        watch = ann.room().time.watch()
        await anext(watch)
        await t.advance(10)
        await ann.say("x")
        at, count = await anext(watch)
        assert count == 1
        assert at == (await ann.room().recent())[-1].at


async def test_a_watch_of_what_is_not_there_ends_with_the_reason() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        with pytest.raises(NotAllowedError):
            await anext(ann.nothing.watch())
        with pytest.raises(InvalidArgumentsError):
            await anext(ann.room().recent.watch(limit="x"))
        with pytest.raises(NotAllowedError, match=r"\.stream\(\)"):
            watch = ann.lines.watch()
            await ann.say("x")
            await anext(watch)
        with pytest.raises(NotAllowedError, match=r"\.watch\(\)"):
            await anext(ann.whoami.stream())


async def test_a_watch_that_nobody_holds_is_ended() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        async for _ in ann.room().recent.watch():
            break
        await t.settle()
        assert len(t.hub.host.queries) == 0


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("PE3")
async def test_a_stream_carries_what_was_committed_in_order_and_nothing_else() -> None:
    async with TestHub(hub) as t:
        ann, bob = await t.login("ann"), await t.login("bob")
        lines = bob.lines.stream()
        await t.settle()
        await ann.say("one")
        with pytest.raises(Refused):
            await ann.say_and_fail("never")
        await ann.say("two")
        assert [await anext(lines), await anext(lines)] == ["ann: one", "ann: two"]
        lines.close()
        assert [item async for item in lines] == []


@pytest.mark.rule("PE5")
async def test_a_stream_that_is_too_fast_lags_with_a_gap_or_ends() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        gaps: list[str] = []
        lagging, strict = ann.numbers.stream(on_gap=gaps.append), ann.strict.stream()
        await t.settle()
        await ann.flood(20)
        await t.settle()
        await ann.flood(1)
        seen = [await anext(lagging)]
        while seen[-1] != 0 or len(seen) == 1:
            seen.append(await anext(lagging))
        assert lagging.gaps == 1
        assert gaps == ["lag"]
        with pytest.raises(LimitError) as ended:
            async for _ in strict:
                pass
        assert ended.value.code == "too_slow"


@pytest.mark.rule("PE6")
async def test_after_a_restart_a_stream_says_gap_and_goes_on() -> None:
    async with TestHub(hub) as t:
        gaps: list[str] = []
        mind_gaps: list[str] = []
        ann = await t.login("ann", mind=Me(), on_gap=mind_gaps.append)
        lines = ann.lines.stream(on_gap=gaps.append)
        await t.settle()
        await ann.say("one")
        assert await anext(lines) == "ann: one"
        await t.kill_and_restart()
        await ann.say("two")
        assert await anext(lines) == "ann: two"
        assert (gaps, lines.gaps, mind_gaps) == (["restart"], 1, ["restart"])


# --- minds ------------------------------------------------------------------------------------------------------------


async def test_a_mind_is_called_and_answers() -> None:
    async with TestHub(hub) as t:
        me = Me()
        ann = await t.login("ann", mind=me)
        await ann.say("hi")
        assert me.calls == ["hi"]
        assert await ann.ask("double", 4) == [8]
        assert await ann.ask("later", 4) == [12]


async def test_a_mind_that_fails_tells_no_more_than_that(caplog) -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann", mind=Me())
        for method in ("broken", "absent", "_private", "__init__", "calls"):
            with pytest.raises(RemoteError):
                await ann.ask(method, 4)
        assert "my own secret" in caplog.text
        with pytest.raises(Refused) as refused:
            await ann.ask("refusing", 4)
        assert refused.value.code == "no"


async def test_a_mind_may_call_the_hub_itself() -> None:
    class Echo(Mind):
        async def heard(self, text: str) -> None:
            if len(text) < 4:
                await holder[0].say(text + "!")

    async with TestHub(hub) as t:
        holder = [await t.login("ann", mind=Echo())]
        await holder[0].say("a")
        await t.settle()
        assert texts(await holder[0].room().recent()) == ["a", "a!", "a!!", "a!!!"]


async def test_an_action_runs_commands() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        assert await ann.later("from an action") == 1


@pytest.mark.rule("PE3")
async def test_a_mind_hears_nothing_of_what_was_aborted() -> None:
    async with TestHub(hub) as t:
        me = Me()
        ann = await t.login("ann", mind=me)
        with pytest.raises(Refused):
            await ann.say_and_fail("never")
        await ann.say("ever")
        assert me.calls == ["ever"]


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_connected_and_disconnected_run_once_each() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        t.cut(ann)
        assert await ann.whoami() == "ann"
        await ann.close()
        assert ann.state is ClientState.CLOSED
        bob = await t.login("bob")
        t.disconnect(bob)
        await t.advance(59)
        assert await t.read(lambda root: root["rooms"].log) == ("+ann", "-ann", "+bob")
        await t.advance(3)
        assert (await t.read(lambda root: root["rooms"].log))[3:] == ("-bob",)
        await t.reconnect(bob)
        with pytest.raises(NotAllowedError) as lost:
            await bob.wait_closed(5)
        assert lost.value.code == "session_lost"


@pytest.mark.rule("PE6")
async def test_a_session_resumes_where_it_stood() -> None:
    async with TestHub(hub) as t:
        states: list[ClientState] = []
        me = Me()
        ann, bob = await t.login("ann", mind=me, on_state=states.append), await t.login("bob")
        watch, lines = ann.room().recent.watch(), ann.lines.stream()
        await t.settle()
        t.disconnect(ann)
        waiting = asyncio.ensure_future(ann.say("from afar"))
        await bob.say("meanwhile")
        await t.advance(30)
        assert not waiting.done()
        assert ann.state is ClientState.RECONNECTING
        await t.reconnect(ann)
        assert await waiting == 2
        assert texts(await anext(watch)) == ["meanwhile", "from afar"]
        assert [await anext(lines), await anext(lines)] == ["bob: meanwhile", "ann: from afar"]
        assert lines.gaps == 0
        assert me.calls == ["from afar"]
        assert states == [ClientState.OPEN, ClientState.RECONNECTING, ClientState.OPEN]


@pytest.mark.rule("PE4")
@pytest.mark.parametrize("lose_replies", [False, True])
async def test_a_call_in_flight_when_the_host_is_killed_runs_once(lose_replies: bool) -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        assert await ann.say("first") == 1
        flying = [asyncio.ensure_future(ann.say(f"flying {n}")) for n in range(3)]
        await asyncio.sleep(0)
        await t.kill_and_restart(lose_replies=lose_replies)
        assert await asyncio.gather(*flying) == [2, 3, 4]
        assert texts(await ann.room().recent()) == ["first", "flying 0", "flying 1", "flying 2"]
        await t.kill_and_restart()
        assert len(await ann.room().recent()) == 4


@pytest.mark.rule("PE4")
async def test_a_call_whose_session_is_lost_has_an_unknown_outcome() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        flying = asyncio.ensure_future(ann.say("flying"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        t.disconnect(ann)
        await t.advance(100)
        await t.reconnect(ann)
        with pytest.raises(OutcomeUnknownError):
            await flying


async def test_giving_up_a_call_leaves_the_session_in_order() -> None:
    async with TestHub(hub) as t:
        ann = await t.login("ann")
        flying = asyncio.ensure_future(ann.say("flying"))
        await asyncio.sleep(0)
        flying.cancel()
        unsent = asyncio.ensure_future(ann.say("unsent"))
        await asyncio.sleep(0)
        t.cut(ann)
        unsent.cancel()
        await t.settle()
        assert await ann.whoami() == "ann"


class Stored(Avatar, Persistent):
    """One for each user, whatever connection they come by."""

    max_sessions = 1

    def __init__(self, name: str) -> None:
        self.name, self.greetings = name, 0

    @command
    def greet(self) -> str:
        self.greetings += 1
        return f"<{self.greetings}>hello {self.name}"


class Taking(Stored):
    on_limit = "replace"


class Caching(Realm):
    def __init__(self, cls: type[Stored]) -> None:
        self.cls = cls

    def request_avatar(self, root, who):
        return root.setdefault(who.id, self.cls(who.name))


async def test_one_session_at_a_time_refuses_the_second() -> None:
    async with TestHub(hubbub.Hub(Caching(Stored), checkers=[Passwords()])) as t:
        ann = await t.login("ann", "secret")
        assert await ann.greet() == "<1>hello ann"
        with pytest.raises(LimitError) as full:
            await t.login("ann", "secret")
        assert full.value.code == "too_many_sessions"
        with pytest.raises(hubbub.LoginFailedError):
            await t.login("ann", "wrong")
        await ann.close()
        again = await t.login("ann", "secret")
        assert await again.greet() == "<2>hello ann"
        await t.kill_and_restart()
        assert await again.greet() == "<3>hello ann"


async def test_one_session_at_a_time_replaces_the_first() -> None:
    async with TestHub(hubbub.Hub(Caching(Taking), checkers=[Passwords()])) as t:
        first = await t.login("ann")
        await first.greet()
        second = await t.login("ann")
        assert await second.greet() == "<2>hello ann"
        with pytest.raises(hubbub.ClosedError) as replaced:
            await first.wait_closed(5)
        assert replaced.value.code == "replaced"


async def test_timers_go_with_the_clock_and_end_with_the_session() -> None:
    async with TestHub(hub) as t:
        me = Me()
        ann = await t.login("ann", mind=me)
        await ann.start(1.0)
        began = t.clock.now()
        await t.advance(3.5)
        assert [round(at - began, 3) for at in me.calls] == [1.0, 2.0, 3.0]
        await ann.set_period(0.5)
        me.calls.clear()
        await t.advance(1.25)
        assert len(me.calls) == 2
        await ann.close()
        me.calls.clear()
        await t.advance(100)
        assert me.calls == []


async def test_presence_goes_with_its_session() -> None:
    async with TestHub(hub) as t:
        ann, bob = await t.login("ann"), await t.login("bob")
        watch = bob.room().names.watch()
        await ann.enter("glad")
        await bob.enter("sad")
        assert await anext(watch) == {"ann": "glad", "bob": "sad"}
        async with bob.room().names.changes() as changes:
            assert (await anext(changes)).whole
            t.disconnect(ann)
            await t.advance(62)
            change = await anext(changes)
            assert (change.value, change.deleted, change.whole) == ({"bob": "sad"}, {"ann"}, False)
        assert await anext(watch) == {"bob": "sad"}


async def test_a_hub_can_be_tested_again_and_remembers_nothing(caplog) -> None:
    for _ in range(2):
        async with TestHub(hub) as t:
            ann = await t.login("ann")
            assert await ann.say("hi") == 1
    assert not hub.is_running
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
