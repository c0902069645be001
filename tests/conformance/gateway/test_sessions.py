"""One suite of sessions for all transports (GW1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hubbub import Limits
from tests.conformance.gateway.application import Served, served
from tests.conformance.gateway.users import KINDS, User, Watched, user_of

pytestmark = pytest.mark.rule("GW1")

ROOM = [{"name": "room"}]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def hub() -> AsyncIterator[Served]:
    limits = Limits(heartbeat_s=0.4, grace_s=30, max_connections_per_address=1000)
    async with served(limits) as running:
        yield running


async def test_login_says_who_one_is(hub: Served, kind: str) -> None:
    user = User(hub, kind)
    welcome = await user.login("ann")
    assert (welcome["t"], welcome["name"], welcome["resumed"]) == ("welcome", "ann", False)
    assert welcome["heartbeat_s"] == 0.4
    assert (await user.call("whoami"))["value"] == "ann"
    await user.close()


async def test_a_refused_login_says_why(hub: Served, kind: str) -> None:
    async with user_of(hub, kind, "ann"):
        other = User(hub, kind)
        fault = await other.login("ann")
        assert (fault["t"], fault["kind"], fault["code"]) == ("fault", "login_failed", "name_taken")
        await other.close()


async def test_a_command_returns_its_value_and_tid(hub: Served, kind: str) -> None:
    async with user_of(hub, kind) as user:
        result = await user.call("say", text="hello")
        assert result["value"] == 1
        assert len(result["tid"]) == 16


async def test_a_refusal_crosses_as_it_is(hub: Served, kind: str) -> None:
    async with user_of(hub, kind) as user:
        error = (await user.call("say", ""))["error"]
        assert error == {"kind": "refused", "code": "empty", "message": "Say something."}
        error = (await user.call("say", 7))["error"]
        assert (error["kind"], "text" in error["message"]) == ("invalid", True)
        error = (await user.call("nothing"))["error"]
        assert (error["kind"], error["code"]) == ("not_allowed", "undeclared")


async def test_a_failure_is_a_number(hub: Served, kind: str) -> None:
    async with user_of(hub, kind) as user:
        error = (await user.call("fail"))["error"]
        assert error["kind"] == "internal"
        assert error["incident"]
        assert "not for their eyes" not in str(error)


async def test_a_watch_follows_by_patches(hub: Served, kind: str) -> None:
    async with user_of(hub, kind, "ann") as ann, user_of(hub, kind, "bob") as bob:
        for number in range(8):
            await bob.call("say", f"a line of some length, number {number}")
        await ann.send({"t": "watch", "id": 1, "name": "recent", "target": ROOM})
        watched = Watched(ann, 1)
        lines = [f"a line of some length, number {number}" for number in range(8)]
        await watched.until(lines)
        assert watched.patches == 0
        await bob.call("say", "one more")
        await watched.until([*lines, "one more"])
        assert watched.patches == 1
        await ann.send({"t": "unwatch", "id": 1})
        await bob.call("say", "unseen")
        assert (await ann.call("whoami"))["value"] == "ann"
        assert not [m for m in ann.messages if m["t"] == "answer"]


async def test_a_stream_brings_items_in_order(hub: Served, kind: str) -> None:
    async with user_of(hub, kind) as user:
        await user.send({"t": "watch", "id": 1, "name": "lines"})
        await user.call("whoami")
        await user.call("whoami")
        await user.call("publish", "x", times=5)
        items = [(await user.expect("item", id=1))["value"] for _ in range(5)]
        assert items == ["x0", "x1", "x2", "x3", "x4"]


async def test_the_host_calls_the_mind(hub: Served, kind: str) -> None:
    async with user_of(hub, kind, "ann", mind=True) as user:
        await user.call("poke")
        poked = await user.expect("mind")
        assert (poked["method"], poked.get("id", 0)) == ("poked", 0)
        await user.send({"t": "call", "id": user.next_call, "name": "ask", "args": ["why?"]})
        asked = await user.expect("mind")
        assert (asked["method"], asked["args"]) == ("answer", ["why?"])
        await user.send({"t": "reply", "id": asked["id"], "value": "because"})
        assert (await user.expect("result", id=user.next_call))["value"] == "because"


@pytest.mark.rule("PE6")
async def test_a_session_goes_on_after_a_cut(hub: Served, kind: str) -> None:
    async with user_of(hub, kind, "ann") as ann, user_of(hub, kind, "bob") as bob:
        await ann.send({"t": "watch", "id": 1, "name": "recent", "target": ROOM})
        watched = Watched(ann, 1)
        await watched.until([])
        await ann.cut()
        await bob.call("say", "while you were away")
        welcome = await ann.resume()
        assert (welcome["resumed"], welcome["session"]) == (True, ann.session)
        await watched.until(["while you were away"])
        await bob.call("say", "and now")
        await watched.until(["while you were away", "and now"])


@pytest.mark.rule("PE4", "PE6")
async def test_a_repeated_call_runs_once(hub: Served, kind: str) -> None:
    async with user_of(hub, kind) as user:
        call = {"t": "call", "id": 1, "name": "say", "args": ["once"]}
        await user.send(call)
        await asyncio.sleep(0.05)
        await user.cut()
        user.messages.clear()
        seen = user.seen
        await user.resume()
        user.next_call = 2
        await user.send(call)
        if not seen:
            assert (await user.expect("result", id=1))["value"] == 1
        await user.send({"t": "watch", "id": 1, "name": "recent", "target": ROOM})
        await Watched(user, 1).until(["once"])


async def test_what_was_not_acknowledged_is_delivered_again(hub: Served, kind: str) -> None:
    async with user_of(hub, kind) as user:
        await user.call("say", "a")
        await user.call("say", "b")
        # As if the last delivery had been lost on its way.
        await user.cut()
        user.seen -= 1
        await user.resume()
        assert (await user.expect("result", id=2))["value"] == 2
        assert user.repeats == 0


async def test_a_lost_session_is_a_clear_fault(hub: Served, kind: str) -> None:
    user = User(hub, kind)
    user.session, user.secret, user.epoch = "0123456789abcdef", "wrong", "x"
    fault = await user.resume()
    assert (fault["t"], fault["code"]) == ("fault", "session_lost")
    await user.close()


async def test_a_session_that_logs_out_is_gone(hub: Served, kind: str) -> None:
    user = User(hub, kind)
    await user.login("ann")
    await user.call("whoami")
    await user.send({"t": "bye"})
    if kind in ("ws", "asgi", "sse", "tcp"):
        assert (await user.expect("closing"))["reason"] == "ended"
    await user.until_ended()
    await user.cut()
    fault = await user.resume()
    assert fault["code"] == "session_lost"
    await user.close()


@pytest.mark.rule("PE8")
async def test_heartbeats_go_on_while_a_body_blocks(hub: Served, kind: str) -> None:
    async with user_of(hub, kind, "ann") as ann, user_of(hub, kind, "bob") as bob:
        await bob.send({"t": "call", "id": 1, "name": "block", "args": [1.5]})
        await asyncio.sleep(0.05)
        loop = asyncio.get_running_loop()
        for number in (1, 2, 3):
            began = loop.time()
            await ann.send({"t": "ping", "n": number})
            await ann.expect("pong", n=number, timeout_s=1)
            assert loop.time() - began < 0.5
        assert not any(m["t"] == "result" for m in bob.messages)
        await bob.expect("result", id=1)
        # Both are still there, although the block lasted longer than the silence that counts as broken.
        assert (await ann.call("whoami"))["value"] == "ann"


async def test_an_idle_connection_has_signs_of_life(hub: Served, kind: str) -> None:
    if kind == "poll":
        return  # its answers are the signs
    async with user_of(hub, kind, alive=False) as user:
        await user.signs_of_life(2, timeout_s=5)


async def test_a_silent_client_is_let_go(hub: Served, kind: str) -> None:
    if kind == "poll":
        return  # each poll is a sign of life
    async with user_of(hub, kind, alive=False) as user:
        await user.until_ended(timeout_s=3)
        (session,) = hub.hub.portal.sessions
        for _ in range(100):
            if session.state.name == "DETACHED":
                break
            await asyncio.sleep(0.01)
        assert session.state.name == "DETACHED"
        await user.cut()
        assert (await user.resume())["resumed"]


async def test_draining_tells_everybody_to_come_back(hub: Served, kind: str) -> None:
    async with user_of(hub, kind) as user:
        await user.call("say", "last words")
        await hub.drain()
        closing = await user.expect("closing")
        assert closing["reason"] == "drain"
        await user.until_ended()


async def test_a_newer_connection_replaces_the_older(hub: Served, kind: str) -> None:
    async with user_of(hub, kind, "ann") as ann:
        twin = User(hub, kind)
        twin.session, twin.secret, twin.epoch = ann.session, ann.secret, ann.epoch
        assert (await twin.resume())["resumed"]
        assert (await ann.expect("closing"))["reason"] == "replaced"
        assert (await twin.call("whoami"))["value"] == "ann"
        await twin.close()


async def test_two_users_do_not_mix(hub: Served, kind: str) -> None:
    async with user_of(hub, kind, "ann") as ann, user_of(hub, kind, "bob") as bob:
        results: list[Any] = await asyncio.gather(
            *(u.call("whoami") for u in (ann, bob) for _ in range(10))
        )
        assert [r["value"] for r in results] == ["ann"] * 10 + ["bob"] * 10


@pytest.mark.rule("PE6")
async def test_a_session_goes_on_after_a_restart_of_the_host(tmp_path: Path, kind: str) -> None:
    data = str(tmp_path / "space.hub")
    async with served(data=data) as before:
        user = User(before, kind)
        await user.login("ann")
        await user.call("say", "stored")
        await user.cut()
    async with served(data=data) as after:
        user.served = after
        user.messages.clear()
        epoch = user.epoch
        welcome = await user.resume()
        assert (welcome["resumed"], welcome["name"], user.epoch != epoch) == (True, "ann", True)
        await user.send({"t": "watch", "id": 1, "name": "recent", "target": ROOM})
        await Watched(user, 1).until(["stored"])
        await user.close()
