"""Plain HTTP calls, as curl makes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from hubbub import Gateway, Limits
from tests.conformance.gateway.application import Served, served

Web = httpx.AsyncClient


@pytest.fixture
async def hub() -> AsyncIterator[Served]:
    limits = Limits(max_message_bytes=10_000, heartbeat_s=0.3)
    async with served(limits) as running:
        yield running


@pytest.fixture
async def web(hub: Served) -> AsyncIterator[Web]:
    async with httpx.AsyncClient(base_url=hub.url, timeout=20) as client:
        yield client


async def test_a_command_by_json_form_or_curls_mixture(web: Web):
    assert (await web.post("api/say", json={"text": "hi"})).json() == 1
    assert (await web.post("api/say", data={"text": "hi"})).json() == 2
    curl = {"content-type": "application/x-www-form-urlencoded"}
    assert (await web.post("api/say", content=b'{"text": "hi"}', headers=curl)).json() == 3
    response = await web.post("api/say", json=["hi"])
    assert (response.status_code, response.json()) == (200, 4)
    assert len(response.headers["hubbub-tid"]) == 16


async def test_text_that_looks_like_a_number_stays_text_where_text_is_wanted(web: Web):
    await web.post("api/say", data={"text": "20"})
    await web.post("api/say", data={"text": "[1]"})
    await web.post("api/say", data={"text": "null"})
    assert (await web.get("api/room.recent?limit=2")).json() == ["[1]", "null"]
    assert (await web.get("api/room.recent?limit=x")).status_code == 400
    assert (await web.post("api/say", json={"text": 20})).status_code == 400


@pytest.mark.rule("PE2")
@pytest.mark.parametrize(
    "path, body, status, code",
    [
        ("say", b'{"text": ""}', 422, "empty"),
        ("say", b'{"text": 1}', 400, "invalid"),
        ("say", b"{", 400, "invalid"),
        ("say", b"3", 400, "invalid"),
        ("nothing", b"{}", 404, "undeclared"),
        ("room.nothing", b"{}", 404, "undeclared"),
        ("_hidden.__class__", b"{}", 404, "undeclared"),
        ("a-b", b"{}", 404, "undeclared"),
        ("fail", b"{}", 500, "internal"),
        ("say", b'{"text": "' + b"x" * 10_000 + b'"}', 413, "too_large"),
    ],
)
async def test_errors_have_a_fitting_status(web: Web, path, body, status, code):
    response = await web.post(
        f"api/{path}", content=body, headers={"content-type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert {"kind", "code", "message"} <= response.json().keys()
    assert ("incident" in response.json()) == (status == 500)


async def test_other_bodies_are_not_taken(web: Web):
    assert (await web.post("api/say", files={"text": b"x"})).status_code == 415


async def test_get_never_runs_a_command(web: Web):
    assert (await web.get("api/say?text=hi")).status_code == 404
    assert (await web.get("api/room.recent")).json() == []


async def test_who_calls_is_a_name_at_most(web: Web):
    assert (await web.get("api/whoami?name=ann")).json() == "ann"
    assert (await web.get("api/whoami", headers={"hubbub-name": "bob"})).json() == "bob"
    assert (await web.get("api/whoami")).json().startswith("guest")
    assert (await web.get("api/whoami", headers={"authorization": "Basic ?"})).status_code == 401
    response = await web.get("api/whoami", headers={"authorization": "Digest x"})
    assert response.status_code == 401
    # A browser would remember what it answers to that, and send it along by itself (GW2).
    assert "www-authenticate" not in response.headers


async def test_nothing_is_left_behind(hub: Served, web: Web):
    await web.post("api/say", json={"text": "x"})
    await web.get("api/room.recent")
    await web.get("api/nothing")
    await web.get("api/lines?wait=0.01")
    assert hub.hub.portal.sessions == []
    assert len(hub.tcp.connections) == 0


async def test_a_long_poll_answers_when_something_changes(web: Web):
    first = await web.get("api/room.recent")
    tid = first.headers["hubbub-tid"]
    waiting = asyncio.create_task(web.get(f"api/room.recent?wait=10&after={tid}"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await web.post("api/publish", json={"text": "does not matter"})
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await web.post("api/say", json={"text": "news"})
    response = await asyncio.wait_for(waiting, 5)
    assert (response.json(), response.headers["hubbub-tid"] != tid) == (["news"], True)
    # Whoever stands at an older answer is answered at once.
    assert (await web.get(f"api/room.recent?wait=10&after={tid}")).json() == ["news"]


async def test_a_long_poll_ends_with_the_wait(web: Web):
    first = await web.get("api/room.recent")
    tid = first.headers["hubbub-tid"]
    again = await web.get(f"api/room.recent?wait=0.1&after={tid}")
    assert (again.status_code, again.json(), again.headers["hubbub-tid"]) == (200, [], tid)
    assert (await web.get("api/room.recent?wait=soon")).status_code == 400


async def test_a_stream_is_collected_during_the_wait(web: Web):
    waiting = asyncio.create_task(web.get("api/lines?wait=0.5"))
    await asyncio.sleep(0.2)
    await web.post("api/publish", json={"text": "x", "times": 2})
    assert (await waiting).json() == ["x0", "x1"]
    assert (await web.get("api/lines")).json() == []


async def test_a_named_queue_keeps_what_comes_between_polls(web: Web):
    assert (await web.get("api/lines?client=k1")).json() == []
    await web.post("api/publish", json={"text": "a"})
    await web.post("api/publish", json={"text": "b"})
    assert (await web.get("api/lines?client=k1&wait=5")).json() == ["a0", "b0"]
    assert (await web.get("api/lines?client=k1&wait=0.05")).json() == []
    assert (await web.get("api/lines?client=other")).json() == []


@pytest.mark.rule("PE5")
async def test_a_named_queue_that_overflows_says_so(web: Web):
    assert (await web.get("api/few?client=k")).json() == []
    await web.post("api/publish", json={"text": "x", "times": 10})
    response = await web.get("api/few?client=k&wait=5")
    said = response.status_code == 429 or response.headers.get("hubbub-gap") == "too_slow"
    assert said, (response.status_code, response.text)
    assert (await web.get("api/few?client=k")).json() == []


async def test_a_named_queue_ends_with_its_grace_time():
    async with served(Limits(grace_s=0.1)) as hub, httpx.AsyncClient(base_url=hub.url) as web:
        await web.get("api/lines?client=k")
        (session,) = hub.hub.portal.sessions
        for _ in range(200):
            if not hub.hub.portal.sessions:
                break
            await asyncio.sleep(0.01)
        assert session.state.name == "ENDED"
        assert len(hub.tcp.connections) == 0


async def test_answers_can_be_followed(hub: Served, web: Web):
    headers = {"accept": "text/event-stream"}
    async with web.stream("GET", "api/room.recent", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.aiter_lines()
        assert json.loads((await _next(lines, "data: "))[6:]) == []
        for number in range(10):
            await web.post("api/say", json={"text": f"a longer line {number}"})
        while len(json.loads((await _next(lines, "data: "))[6:])) < 10:
            pass
        await _next(lines, ":")
    for _ in range(200):
        if not hub.hub.portal.sessions:
            break
        await asyncio.sleep(0.01)
    assert hub.hub.portal.sessions == []


async def test_a_stream_can_be_followed(web: Web):
    headers = {"accept": "text/event-stream"}
    async with web.stream("GET", "api/lines", headers=headers) as response:
        await web.post("api/publish", json={"text": "x", "times": 2})
        lines = response.aiter_lines()
        assert [await _next(lines, "data: ") for _ in range(2)] == ['data: "x0"', 'data: "x1"']
    assert (await web.get("api/nothing", headers=headers)).status_code == 404


async def test_they_can_be_switched_off():
    async with (
        served(gateway=Gateway(calls=False)) as hub,
        httpx.AsyncClient(base_url=hub.url) as web,
    ):
        response = await web.post("api/say", json={"text": "x"})
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def _next(lines: AsyncIterator[str], start: str) -> str:
    async with asyncio.timeout(5):
        async for line in lines:
            if line.startswith(start):
                return line
    raise AssertionError("the stream has ended")
