"""Clients that break the rules, or just break: each hurts itself only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import websockets

from hubbub import Limits
from hubbub.wire.frames import PREFACE_USER, FrameReader, frame
from tests.conformance.gateway.application import Served, served
from tests.conformance.gateway.users import KINDS, User, user_of

LIMIT = 20_000


@pytest.fixture
async def hub() -> AsyncIterator[Served]:
    limits = Limits(
        max_message_bytes=LIMIT,
        heartbeat_s=5,
        backlog_items=200,
        backlog_bytes=200_000,
        max_connections_per_address=300,
    )
    async with served(limits) as running:
        yield running


@pytest.fixture
async def bystander(hub: Served) -> AsyncIterator[User]:
    async with user_of(hub, "ws", "bystander") as user:
        yield user
        assert (await user.call("whoami"))["value"] == "bystander"


async def tcp(hub: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = hub.tcp.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def said_by(reader: asyncio.StreamReader) -> list[Any]:
    data = await asyncio.wait_for(reader.read(-1), 5)
    return [msgspec.msgpack.decode(payload) for payload in FrameReader(1 << 30).feed(data)]


HELLO = PREFACE_USER + frame(msgspec.msgpack.encode({"t": "hello"}))


async def logged_in(hub: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await tcp(hub)
    writer.write(HELLO)
    assert FrameReader(1 << 20).feed(await reader.read(2000))
    return reader, writer


@pytest.mark.rule("PE7")
@pytest.mark.parametrize("kind", KINDS)
async def test_an_oversized_message(hub: Served, bystander: User, kind: str) -> None:
    async with user_of(hub, kind) as user:
        await user.send({"t": "call", "id": 1, "name": "say", "args": ["x" * LIMIT]})
        fault = await user.expect("fault")
        assert fault["code"] == "too_large"
        if kind in ("ws", "tcp"):
            await user.until_ended()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_that_makes_no_sense(hub: Served, bystander: User, kind: str) -> None:
    async with user_of(hub, kind) as user:
        await user.send({"t": "sing", "song": 1})
        assert (await user.expect("fault"))["code"] == "garbled"
        await user.cut()
        assert (await user.resume())["resumed"]


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\xff" * 30, b"\x91" * 5000])
async def test_garbled_frames(hub: Served, bystander: User, payload: bytes) -> None:
    reader, writer = await logged_in(hub)
    writer.write(frame(payload))
    (fault,) = await said_by(reader)
    assert (fault["t"], fault["code"]) == ("fault", "garbled")
    await close(writer)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 5000, '{"t":"call"}', "\x00", "[1,2]", '{"t":"hello"}']
)
async def test_garbled_text(hub: Served, bystander: User, text: str) -> None:
    async with websockets.connect(hub.url.replace("http", "ws") + "_hub/ws") as web:
        await web.send(json.dumps({"t": "hello"}))
        assert json.loads(await web.recv())["t"] == "welcome"
        await web.send(text)
        assert json.loads(await web.recv())["t"] == "fault"
        with pytest.raises(websockets.ConnectionClosed):
            await web.recv()


async def test_binary_and_nonsense_before_hello(hub: Served, bystander: User) -> None:
    for data in (b"binary", "[]", "{}", '[{"t":"hello"},{"t":"hello"}]', '{"t":"ping"}'):
        async with websockets.connect(hub.url.replace("http", "ws") + "_hub/ws") as web:
            await web.send(data)
            assert json.loads(await web.recv())["code"] == "garbled"


async def test_a_frame_that_claims_to_be_huge_is_refused_at_once(
    hub: Served, bystander: User
) -> None:
    reader, writer = await logged_in(hub)
    writer.write(b"\xff\xff\xff\xff")
    (fault,) = await said_by(reader)
    assert fault["code"] == "too_large"
    await close(writer)


async def test_half_a_frame_and_then_silence() -> None:
    limits = Limits(heartbeat_s=0.2)
    async with served(limits) as hub, user_of(hub, "tcp", "bystander") as other:
        reader, writer = await tcp(hub)
        writer.write(HELLO + b"\x00\x00\x00\x20half")
        data = await asyncio.wait_for(reader.read(-1), 5)  # welcome, heartbeats, and then the end
        assert data
        await close(writer)
        assert (await other.call("whoami"))["value"] == "bystander"
        for _ in range(100):
            if len(hub.tcp) == 1:
                break
            await asyncio.sleep(0.01)
        assert len(hub.tcp) == 1


@pytest.mark.rule("PE5")
@pytest.mark.parametrize("kind", ["ws", "tcp", "sse"])
async def test_a_slow_reader_lags_and_nobody_else_notices(
    hub: Served, bystander: User, kind: str
) -> None:
    """It watches a stream and reads nothing. What waits for it stays bounded; it is told that it lagged."""
    slow = User(hub, kind)
    await slow.login("slow")
    await slow.send({"t": "watch", "id": 1, "name": "lines"})
    await slow.call("whoami")
    await slow.call("whoami")
    # From here on nobody reads what arrives for it.
    transport = _transport(slow)
    transport.pause_reading()
    sock = transport.get_extra_info("socket")
    assert isinstance(sock, socket.socket) or hasattr(sock, "getsockopt")
    (session,) = [s for s in hub.hub.portal.sessions if s.identity.name == "slow"]
    text = "y" * 2000
    for _ in range(40):
        result = await bystander.call("publish", text, times=100)  # 8 MB in all
        assert "error" not in result
        await bystander.ack()
        items, size = session._backlog.held
        assert items <= 200
        assert size <= 200_000
    transport.resume_reading()
    gap = await slow.expect("gap", id=1)
    assert gap["reason"] == "lag"
    assert (await slow.call("whoami"))["value"] == "slow"
    await slow.close()


def _transport(user: User) -> Any:
    if user.kind == "ws":
        return user.link.socket.transport  # type: ignore[attr-defined]
    if user.kind == "tcp":
        return user.link.writer.transport  # type: ignore[attr-defined]
    # Of an HTTP client: the connection that the event stream has.
    for connection in user.link.web._transport._pool.connections:  # type: ignore[attr-defined]
        if not connection.is_idle():
            stream = connection._connection._network_stream
            return stream.get_extra_info("socket") and stream._stream._transport
    raise AssertionError("no event stream")


async def test_two_hundred_connections_opened_and_dropped(hub: Served, bystander: User) -> None:
    host, _, port = hub.tcp.address.rpartition(":")
    web_host, _, web_port = hub.web.address.rpartition(":")
    told = [b"", b"hub", PREFACE_USER, HELLO, HELLO + b"\x00\x00", b"GET /_hub/ws HTTP/1.1\r\n"]
    for number in range(200):
        at = (host, int(port)) if number % 4 else (web_host, int(web_port))
        _, writer = await asyncio.open_connection(*at)
        writer.write(told[number % len(told)])
        writer.transport.abort()
        await close(writer)
    assert (await bystander.call("say", "still here"))["value"] == 1
    for _ in range(300):
        if len(hub.tcp) == 0 and len(hub.tcp.connections) == 1:
            break
        await asyncio.sleep(0.01)
    assert (len(hub.tcp), len(hub.tcp.connections)) == (0, 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_many_users_come_and_go(hub: Served, bystander: User, kind: str) -> None:
    async def visit(number: int) -> None:
        user = User(hub, kind)
        await user.login(f"visitor {number}")
        assert (await user.call("whoami"))["value"] == f"visitor {number}"
        await user.cut()

    for start in range(0, 60, 20):
        await asyncio.gather(*(visit(start + n) for n in range(20)))
    for _ in range(300):
        if len(hub.tcp.connections) == 1:
            break
        await asyncio.sleep(0.01)
    assert len(hub.tcp.connections) == 1


@pytest.mark.rule("PE7")
async def test_too_many_connections_are_told_so() -> None:
    limits = Limits(max_connections_per_address=3)
    async with (
        served(limits) as hub,
        user_of(hub, "tcp") as one,
        user_of(hub, "ws"),
        user_of(hub, "sse"),
    ):
        await one.call("whoami")
        await asyncio.sleep(0.05)
        for kind in ("ws", "tcp"):
            user = User(hub, kind)
            fault = await user.login()
            assert (fault["t"], fault["kind"], fault["code"]) == ("fault", "limit", "address_full")
            await user.close()
        async with httpx.AsyncClient(base_url=hub.url) as web:
            response = await web.post("api/say", json={"text": "x"})
            assert (response.status_code, response.json()["code"]) == (429, "address_full")
        assert (await one.call("whoami"))["t"] == "result"
