"""Polls that our own server takes itself, beside those that go through the ASGI app: nobody can tell them apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from hubbub import Limits
from hubbub.gateway import Gateway, WebServer, create_app
from hubbub.gateway.carriers import BATCH, Connections
from hubbub.gateway.direct_polls import BODY_BYTES
from tests.conformance.gateway.application import Served, served


class Client:
    """One user's requests, to a server that takes polls itself or to one that does not."""

    def __init__(self, web: httpx.AsyncClient, hub: Served) -> None:
        self.web, self.hub = web, hub
        self.place: dict[str, Any] = {}

    async def open(self) -> None:
        (welcome,) = (await self.web.post("_hub/open", json={"t": "hello"})).json()
        self.place = {key: welcome[key] for key in ("session", "secret", "cursor")}

    async def poll(
        self, *messages: dict[str, Any], headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        body = {**self.place, "messages": messages, **more}
        return await self.web.post("_hub/poll", json=body, headers=headers)

    async def parked(self) -> None:
        """Wait until a poll is parked."""
        (session,) = self.hub.hub.portal.sessions
        while not session.is_attached:
            await asyncio.sleep(0.001)

    @property
    def connections(self) -> int:
        return len(Connections.of(self.hub.hub.portal))


@asynccontextmanager
async def client(
    *, direct: bool, limits: Limits | None = None, gateway: Gateway | None = None
) -> AsyncIterator[Client]:
    async with served(limits, gateway) as hub:
        app = create_app(hub.hub)
        if not direct:
            app.direct_polls = None
        server = WebServer(app, hub.hub.limits, gateway)
        await server.start("127.0.0.1:0", authenticated=False)
        try:
            async with httpx.AsyncClient(base_url=server.url) as web:
                user = Client(web, hub)
                await user.open()
                yield user
        finally:
            hub.hub.portal.drain()
            await server.close(timeout_s=2)


both = pytest.mark.parametrize("direct", [True, False], ids=["direct", "asgi"])


def call(call_id: int, name: str, *args: Any) -> dict[str, Any]:
    return {"t": "call", "id": call_id, "name": name, "args": list(args)}


@both
@pytest.mark.rule("GW1")
async def test_a_poll_answers_at_once_later_or_when_its_time_is_over(direct: bool):
    async with client(direct=direct) as user:
        response = await user.poll()
        assert (response.status_code, response.json()) == (200, [])
        (result,) = (await user.poll(call(1, "whoami"), wait_s=20)).json()
        assert (result["t"], result["n"], user.connections) == ("result", 1, 0)
        (again,) = (await user.poll(wait_s=20)).json()  # the same cursor, the same answer
        assert again == result
        user.place["cursor"] = user.place["cursor"].replace(".0", ".1")
        assert (await user.poll(wait_s=0.01)).json() == []
        assert (user.connections, user.hub.hub.portal.sessions[0].is_attached) == (0, False)


@both
async def test_the_head_of_an_answer(direct: bool):
    async with client(direct=direct, gateway=Gateway(origins=["https://friend.example"])) as user:
        own = f"http://{user.web.base_url.netloc.decode()}"
        for origin in (None, own, "https://friend.example", own):
            response = await user.poll(headers={"origin": origin} if origin else None)
            head = dict(response.headers)
            assert head.pop("date")
            named = {
                "access-control-allow-origin": origin,
                "access-control-expose-headers": "hubbub-tid, hubbub-gap",
                "vary": "Origin",
            }
            assert head == {
                "content-type": "application/json",
                "cache-control": "no-store",
                "x-content-type-options": "nosniff",
                "content-length": "2",
                **(named if origin else {}),
            }


@both
@pytest.mark.rule("GW2")
async def test_pages_that_may_not_come_do_not_poll(direct: bool):
    async with client(direct=direct) as user:
        for _ in range(2):
            response = await user.poll(
                call(1, "say", "x"), headers={"origin": "https://evil.example"}
            )
            assert (response.status_code, response.json()["code"]) == (403, "foreign_origin")
        # What is an origin's own host is judged with the host that it asked for.
        netloc = user.web.base_url.netloc.decode()
        headers = {"origin": f"http://{netloc}", "host": "elsewhere.example"}
        assert (await user.poll(headers=headers)).status_code == 403
        assert (await user.poll(headers={"origin": f"http://{netloc}"})).status_code == 200
        assert (await user.poll(headers=headers)).status_code == 403
        assert user.hub.hub.portal.sessions[0].kept_calls() == []


@both
@pytest.mark.rule("GW2")
async def test_the_address_of_who_polls_behind_a_proxy(direct: bool):
    limits = Limits(max_connections_per_address=1)
    gateway = Gateway(trusted_proxies=["127.0.0.1"])
    async with client(direct=direct, limits=limits, gateway=gateway) as user:
        first = asyncio.create_task(user.poll(wait_s=20, headers={"x-forwarded-for": "1.2.3.4"}))
        await user.parked()
        refused = await user.poll(headers={"x-forwarded-for": "1.2.3.4"})
        assert (refused.status_code, refused.json()[0]["code"]) == (429, "address_full")
        assert (await user.poll(headers={"x-forwarded-for": "1.2.3.5"})).status_code == 200
        (closing,) = (await first).json()
        assert (closing["t"], closing["reason"]) == ("closing", "replaced")


@both
async def test_what_is_no_poll_of_ours(direct: bool):
    async with client(direct=direct, limits=Limits(max_message_bytes=2000)) as user:
        for change, status, code in (
            ({"secret": "guess"}, 410, "session_lost"),
            ({"session": "nobody"}, 410, "session_lost"),
            ({"cursor": ""}, 400, "garbled"),
            ({"cursor": "?"}, 400, "garbled"),
            ({"messages": [{"t": "nonsense"}]}, 400, "garbled"),
            ({"messages": [{"t": "ack", "cursor": "?"}]}, 400, "garbled"),
            ({"pad": "x" * 3000}, 413, "too_large"),
        ):
            said: dict[str, Any] = {**user.place, "messages": [], **change}
            response = await user.web.post("_hub/poll", json=said)
            (fault,) = response.json()
            assert (response.status_code, fault["t"], fault["code"]) == (status, "fault", code)
        response = await user.web.post("_hub/poll", content=b"{nonsense")
        assert (response.status_code, response.json()[0]["code"]) == (400, "garbled")
        assert (await user.web.get("_hub/poll")).status_code == 405
        gone_by = (await user.poll(cursor="elsewhere.5")).json()
        assert gone_by == [{"t": "closing", "reason": "resume", "retry_s": 0.05}]
        assert user.connections == 0


@both
@pytest.mark.rule("PE5")
async def test_many_or_large_messages_are_taken_as_well(direct: bool):
    async with client(direct=direct) as user:
        pings = [{"t": "ping", "n": number} for number in range(BATCH + 1)]
        (pong,) = (await user.poll(*pings)).json()
        assert pong == {"t": "pong", "n": BATCH}
        (result,) = (await user.poll(call(1, "say", "x" * (3 * BODY_BYTES)), wait_s=20)).json()
        assert result["value"] == 1


@both
@pytest.mark.rule("PE6")
async def test_a_client_that_goes_away_leaves_nothing_behind(direct: bool):
    async with client(direct=direct) as user:
        gone = asyncio.create_task(user.poll(wait_s=20))
        await user.parked()
        assert user.connections == 1
        gone.cancel()
        while user.hub.hub.portal.sessions[0].is_attached:
            await asyncio.sleep(0.001)
        assert user.connections == 0
        (result,) = (await user.poll(call(1, "whoami"), wait_s=20)).json()
        assert result["n"] == 1


@both
async def test_whoever_is_parked_is_told_of_the_end(direct: bool):
    async with client(direct=direct) as user:
        waiting = asyncio.create_task(user.poll(wait_s=20))
        await user.parked()
        user.hub.hub.portal.drain()
        assert (await waiting).json() == [{"t": "closing", "reason": "drain", "retry_s": 0.5}]
        assert user.connections == 0


@both
async def test_a_goodbye_in_a_poll(direct: bool):
    async with client(direct=direct) as user:
        (closing,) = (await user.poll({"t": "bye"}, wait_s=20)).json()
        assert (closing["t"], closing["reason"]) == ("closing", "ended")
        response = await user.poll()
        assert (response.status_code, response.json()[0]["code"]) == (410, "session_lost")


@both
async def test_polls_in_pieces_behind_each_other_and_for_the_last_time(direct: bool):
    async with client(direct=direct) as user:
        body = httpx.Request("POST", "http://x", json={**user.place, "wait_s": 0.01}).content
        head = b"POST /_hub/poll HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(body)
        request = head + b"\r\n" + body
        last = head + b"connection: close\r\n\r\n" + body
        asks = head + b"expect: 100-continue\r\n\r\n"
        reader, writer = await asyncio.open_connection(
            user.web.base_url.host, user.web.base_url.port
        )
        for piece in (request[:9], request[9:-7], request[-7:] + request + request):
            writer.write(piece)
            await asyncio.sleep(0.005)
        for _ in range(3):
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"connection" not in answer
            assert await reader.readexactly(2) == b"[]"
        writer.write(asks)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        await reader.readuntil(b"[]")
        writer.write(last)
        answer = await reader.read()
        assert b"connection: close" in answer
        assert answer.endswith(b"\r\n\r\n[]")
        writer.close()
        assert user.connections == 0


class Wire:
    """One connection that polls with the same head, byte for byte."""

    def __init__(self, user: Client) -> None:
        self.user = user

    async def open(self) -> None:
        base = self.user.web.base_url
        self.reader, self.writer = await asyncio.open_connection(base.host, base.port)

    def request(self, wait_s: int, *, session: str = "", host: str = "x") -> bytes:
        place = {**self.user.place, **({"session": session} if session else {})}
        body = httpx.Request("POST", "http://x", json={**place, "wait_s": wait_s}).content
        head = f"POST /_hub/poll HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    async def answer(self) -> tuple[int, bytes, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        return int(head.split()[1]), head, await self.reader.readexactly(size)


@pytest.fixture(params=[True, False], ids=["direct", "asgi"])
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    async with client(direct=request.param) as user:
        wire = Wire(user)
        await wire.open()
        for _ in range(3):
            wire.writer.write(wire.request(0))
            status, _, body = await wire.answer()
            assert (status, body) == (200, b"[]")
        yield wire
        wire.writer.close()


async def test_polls_with_the_same_head_wait_and_are_answered_in_order(wire: Wire):
    wire.writer.write(wire.request(9))
    await wire.user.parked()
    # What comes behind it, of whatever head, has its turn when that was answered.
    wire.writer.write(wire.request(0, host="y") + wire.request(0))
    (session,) = wire.user.hub.hub.portal.sessions
    session.mind_call(0, "told", b"[]", b"{}")
    bodies = [(await wire.answer())[2] for _ in range(3)]
    assert b'"told"' in bodies[0]
    assert bodies == [bodies[0]] * 3  # nothing was acknowledged
    wire.writer.write(wire.request(0))
    assert (await wire.answer())[2] == bodies[0]
    assert wire.user.connections == 0


async def test_the_same_head_in_pieces(wire: Wire):
    request = wire.request(0)
    for cut in (9, -7):
        for piece in (request[:cut], request[cut:] + request):
            wire.writer.write(piece)
            await asyncio.sleep(0.005)
        assert [(await wire.answer())[2] for _ in range(2)] == [b"[]"] * 2


async def test_the_same_head_of_a_session_that_is_lost(wire: Wire):
    wire.writer.write(wire.request(0, session="?" * len(wire.user.place["session"])))
    status, _, body = await wire.answer()
    assert status == 410
    assert b"session_lost" in body
    wire.writer.write(wire.request(0))
    assert (await wire.answer())[2] == b"[]"


@pytest.mark.rule("PE6")
async def test_a_client_that_goes_away_while_the_same_head_waits(wire: Wire):
    wire.writer.write(wire.request(9))
    await wire.user.parked()
    assert wire.user.connections == 1
    wire.writer.close()
    while wire.user.connections:
        await asyncio.sleep(0.001)
