"""Attacks on the web port that need no login: endless heads, silence, clients that never read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import websockets

from hubbub import Gateway, Limits
from hubbub.gateway import WebServer, serving, web_protocols
from hubbub.gateway.requests import Asked
from hubbub.perspective.session import Session
from hubbub.wire.frames import PREFACE_USER, FrameReader, frame
from tests.conformance.gateway.application import Served, served

UPGRADE = (
    b"GET /_hub/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


@pytest.fixture
async def hub() -> AsyncIterator[Served]:
    async with served() as running:
        yield running


@contextlib.asynccontextmanager
async def connected(
    hub: Served,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = hub.web.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def sent_until_cut(
    hub: Served, begin: bytes, again: bytes, limit: int = 4 << 20
) -> tuple[int, bytes]:
    """Send ``again`` until the host has enough of it; return how much that was, and what the host said."""
    async with connected(hub) as (reader, writer):
        writer.write(begin)
        sent = 0
        said = b""
        with contextlib.suppress(OSError):
            while sent < limit and not reader.at_eof():
                writer.write(again)
                sent += len(again)
                await writer.drain()
                await asyncio.sleep(0)
            said = await asyncio.wait_for(reader.read(100), 1)
        return sent, said


@pytest.mark.rule("PE7")
@pytest.mark.parametrize(
    "begin, again",
    [
        (b"GET / HTTP/1.1\r\nX: ", b"a" * 20_000),
        (b"GET / HTTP/1.1\r\n", b"a:b\r\n" * 2000),
        (b"GET /", b"a" * 20_000),
        (b"GET / HTTP/1.1\r\nX", b"x" * 20_000),
        (b"POST /_hub/open HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"e" * 20_000),
        (b"POST /_hub/open HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a:b\r\n" * 2000),
    ],
    ids=["one header", "many headers", "url", "header name", "chunk extension", "trailers"],
)
async def test_a_head_without_end_is_cut_off(hub: Served, begin: bytes, again: bytes) -> None:
    sent, _ = await sent_until_cut(hub, begin, again)
    assert sent < 1 << 20
    async with httpx.AsyncClient(base_url=hub.url) as web:
        assert (await web.get("api/whoami")).status_code == 200


@pytest.mark.rule("PE7")
@pytest.mark.parametrize(
    "said",
    [b"", b"GET / HT", b"POST /_hub/open HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{"],
    ids=["nothing", "half a head", "half a body"],
)
async def test_silence_on_the_web_port_ends(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(web_protocols, "HELLO_S", 0.05)
    monkeypatch.setattr(web_protocols, "BODY_S", 0.05)
    monkeypatch.setattr(serving, "CHECK_S", 0.02)
    async with served() as hub, connected(hub) as (reader, writer):
        writer.write(said)
        await asyncio.wait_for(reader.read(-1), 1)
        assert not hub.web.sockets or await gone(hub)


async def gone(hub: Served, many: int = 0) -> bool:
    async with asyncio.timeout(1):
        while len(hub.web.sockets) > many:
            await asyncio.sleep(0.005)
    return True


async def test_an_answer_is_not_cut_short_by_the_time_for_its_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_protocols, "HELLO_S", 0.05)
    monkeypatch.setattr(web_protocols, "BODY_S", 0.05)
    monkeypatch.setattr(serving, "CHECK_S", 0.02)
    async with served() as hub, httpx.AsyncClient(base_url=hub.url) as web:
        answer = await web.get("api/lines", params={"wait": 0.3})
        assert answer.json() == []


@pytest.mark.rule("PE7")
async def test_a_body_that_is_too_large_does_not_go_on_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_protocols, "LINGER_S", 0.05)
    monkeypatch.setattr(serving, "CHECK_S", 0.02)
    async with served(Limits(max_message_bytes=1000)) as small, connected(small) as (_, writer):
        writer.write(b"POST /_hub/open HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):  # and not TimeoutError
            async with asyncio.timeout(1.5):
                while True:
                    writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.001)


@pytest.mark.rule("PE5")
async def test_requests_that_are_sent_ahead_are_not_queued_without_end(hub: Served) -> None:
    sent, _ = await sent_until_cut(hub, b"", b"GET /x HTTP/1.1\r\n\r\n" * 1000)
    assert sent < 1 << 20


@pytest.mark.rule("PE7")
async def test_one_address_can_not_have_all_sockets() -> None:
    async with (
        served(Limits(max_connections_per_address=3)) as hub,
        contextlib.AsyncExitStack() as s,
    ):
        pairs = [await s.enter_async_context(connected(hub)) for _ in range(7)]
        refused = await asyncio.wait_for(pairs[6][0].read(-1), 1)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert len(hub.web.sockets) == 6
        pairs[0][1].transport.abort()
        assert await gone(hub, 5)
        async with httpx.AsyncClient(base_url=hub.url) as web:
            assert (await web.get("api/whoami")).status_code == 200


async def test_a_trusted_proxy_is_not_one_address() -> None:
    limits = Limits(max_connections_per_address=1)

    async def app(scope: object, receive: object, send: object) -> None:
        """Never asked."""

    web = WebServer(app, limits, Gateway(trusted_proxies=["127.0.0.1"]))
    await web.start("127.0.0.1:0", authenticated=False)
    try:
        host, _, port = web.address.rpartition(":")
        writers = [(await asyncio.open_connection(host, int(port)))[1] for _ in range(5)]
        async with asyncio.timeout(1):
            while len(web.sockets) < 5:
                await asyncio.sleep(0.005)
        for writer in writers:
            writer.transport.abort()
    finally:
        await web.close()


@pytest.mark.rule("PE5")
async def test_pongs_that_nobody_reads_do_not_pile_up(hub: Served) -> None:
    async with connected(hub) as (reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.write(UPGRADE + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        (protocol,) = [
            p
            for p in hub.web._server.server_state.connections
            if isinstance(p, web_protocols.BoundedWebSocket)
        ]
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        ping = b"\x89\xfd\0\0\0\0" + b"p" * 125
        for _ in range(150):
            writer.write(ping * 500)
            await writer.drain()
        assert protocol.transport.get_write_buffer_size() < 1 << 20


@pytest.mark.parametrize(
    "more", [b"X: " + b"a" * 9000, b"\r\n".join(b"A%d: b" % n for n in range(150))]
)
async def test_an_upgrade_that_fails_leaves_nothing_behind(hub: Served, more: bytes) -> None:
    async with connected(hub) as (reader, writer):
        writer.write(UPGRADE + more + b"\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(-1), 1)).startswith(b"HTTP/1.1 400 ")
    assert await gone(hub)
    assert not hub.web._server.server_state.connections


@pytest.mark.rule("PE7")
@pytest.mark.parametrize("kind", ["http", "ws"])
async def test_who_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(web_protocols, "STUCK_S", 0.1)
    monkeypatch.setattr(web_protocols, "LINGER_S", 0.1)
    monkeypatch.setattr(serving, "CHECK_S", 0.02)
    async with served(Limits(max_message_bytes=8 << 20)) as hub:
        async with httpx.AsyncClient(base_url=hub.url) as web:
            await web.post("api/say", json={"text": "x" * (7 << 20)})
        await gone(hub)
        host, _, port = hub.web.address.rpartition(":")
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, (host, int(port)))
        try:
            if kind == "http":
                await loop.sock_sendall(
                    raw, b"GET /api/room.recent HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                )
            else:
                await loop.sock_sendall(raw, UPGRADE + b"\r\n")
                assert (await loop.sock_recv(raw, 1000)).startswith(b"HTTP/1.1 101 ")
                call = {"t": "call", "id": 1, "name": "recent", "target": [{"name": "room"}]}
                for message in ({"t": "hello"}, call):
                    text = json.dumps(message).encode()
                    head = bytes([0x81, 0x80 | len(text)])
                    await loop.sock_sendall(raw, head + b"\0\0\0\0" + text)
            await asyncio.sleep(0.1)  # the answer has to be on its way
            assert await gone(hub)
        finally:
            raw.close()


async def test_a_request_that_is_broken_off_is_no_incident(
    hub: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(hub) as (_, writer):
        writer.write(b"POST /_hub/open HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{")
        await asyncio.sleep(0.02)
    assert await gone(hub)
    await asyncio.sleep(0)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


@pytest.mark.rule("PE7")
def test_a_form_with_one_name_a_hundred_thousand_times_takes_linear_time() -> None:
    began = time.perf_counter()
    asked = Asked.of_body(b"a=1&" * 100_000, "application/x-www-form-urlencoded")
    assert time.perf_counter() - began < 1.5
    assert asked.kwargs == {"a": [1] * 100_000}


@pytest.mark.rule("PE8")
@pytest.mark.parametrize("way", ["ws", "send"])
async def test_a_huge_batch_does_not_hold_up_others(
    hub: Served, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest time for which nobody else had a turn is far below what the whole batch takes."""
    batch = "[" + ",".join(['{"t":"unwatch","id":1}'] * 40_000) + "]"
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with (
        httpx.AsyncClient(base_url=hub.url) as web,
        websockets.connect(hub.url.replace("http", "ws") + "_hub/ws") as socket_,
    ):
        await socket_.send('{"t":"hello"}')
        await socket_.recv()
        (welcome,) = (await web.post("_hub/open", json={"t": "hello"})).json()
        session = {name: welcome[name] for name in ("session", "secret")}
        body = f'{{"session":"{session["session"]}","secret":"{session["secret"]}","messages":{batch}}}'
        receive, between = Session.receive, []

        def counted(session: Session, message: Any) -> None:
            between.append(turns)
            receive(session, message)

        monkeypatch.setattr(Session, "receive", counted)
        task = asyncio.create_task(others())
        if way == "ws":
            await socket_.send(batch)
            await socket_.send('{"t":"ping","n":7}')
            while json.loads(await socket_.recv()).get("n") != 7:
                pass
        else:
            assert (await web.post("_hub/send", content=body)).status_code == 200
        task.cancel()
        assert len(set(between)) > 100


async def test_a_session_of_the_other_form_is_not_carried_over_http(hub: Served) -> None:
    host, _, port = hub.tcp.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE_USER + frame(msgspec.msgpack.encode({"t": "hello"})))
    (data,) = FrameReader(1 << 20).feed(await reader.read(2000))
    welcome = msgspec.msgpack.decode(data)
    place = {name: welcome[name] for name in ("session", "secret", "cursor")}
    async with httpx.AsyncClient(base_url=hub.url) as web:
        for endpoint in ("send", "poll", "events"):
            answer = await web.post(f"_hub/{endpoint}", json=place)
            assert answer.status_code == 400
            assert answer.json()[0]["code"] == "wrong_form"
    writer.transport.abort()


@pytest.mark.rule("PE7")
async def test_credentials_of_plain_calls_are_bounded_too(hub: Served) -> None:
    async with httpx.AsyncClient(base_url=hub.url) as web:
        for given in (
            {"params": {"name": "a" * 20_000}},
            {"auth": ("ann", "p" * 20_000)},
            {"headers": {"authorization": "Bearer " + "t" * 20_000}},
        ):
            answer = await web.get("api/whoami", **given)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["code"]) == (401, "garbled")
