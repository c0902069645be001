"""A WebSocket that is carried without ASGI: what may come besides whole text frames (GW1)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from hubbub import Limits
from hubbub.gateway.carriers import Connections
from tests.conformance.gateway.application import OTHER_SERVER, Served, served


@pytest.fixture
async def hub() -> AsyncIterator[Served]:
    limits = Limits(max_message_bytes=2000, max_connections_per_address=1000, heartbeat_s=0.5)
    async with served(limits) as running:
        yield running


@pytest.fixture(params=["", "?" + OTHER_SERVER])
async def socket(hub: Served, request: pytest.FixtureRequest) -> AsyncIterator[ClientConnection]:
    url = hub.url.replace("http", "ws") + "_hub/ws" + request.param
    async with websockets.connect(url, compression=None) as socket:
        yield socket


async def login(socket: ClientConnection) -> Any:
    await socket.send('{"t":"hello"}')
    welcome = json.loads(await socket.recv())
    assert welcome["t"] == "welcome"
    return welcome


async def pong(socket: ClientConnection, n: int) -> None:
    async with asyncio.timeout(5):
        while json.loads(await socket.recv()) != {"t": "pong", "n": n}:
            pass


async def test_messages_right_behind_the_hello_are_acted_on(socket: ClientConnection) -> None:
    await socket.send('{"t":"hello"}')
    for n in range(1, 4):
        await socket.send(f'{{"t":"ping","n":{n}}}')
    assert json.loads(await socket.recv())["t"] == "welcome"
    await pong(socket, 3)


async def test_fragments_arrays_and_pings_may_come_in_between(socket: ClientConnection) -> None:
    await login(socket)
    await socket.send(['{"t":"pi', 'ng",', '"n":1}'])
    await pong(socket, 1)
    await (await socket.ping())
    await socket.send('[{"t":"ping","n":2},{"t":"ping","n":3}]')
    await pong(socket, 3)
    await socket.send('{"t":"call","id":1,"name":"say","args":["\u00e4\u00f6\u00fc"]}')
    async with asyncio.timeout(5):
        while json.loads(await socket.recv())["t"] != "result":
            pass


@pytest.mark.parametrize(
    "what, code", [(b"binary", "garbled"), ("x" * 2001, "too_large"), ("{", "garbled")]
)
async def test_what_is_wrong_is_told_and_the_connection_closed(
    socket: ClientConnection, what: str | bytes, code: str
) -> None:
    await login(socket)
    await socket.send(what)
    async with asyncio.timeout(5):
        while (message := json.loads(await socket.recv()))["t"] != "fault":
            pass
    assert message["code"] == code
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_text_that_is_none_is_refused(socket: ClientConnection) -> None:
    await login(socket)
    await socket.send(b'{"t":"ping\xff"}', text=True)
    with pytest.raises(websockets.ConnectionClosed) as closed:
        while True:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007


async def test_a_frame_far_over_the_limit_is_cut_off(socket: ClientConnection) -> None:
    await login(socket)
    await socket.send("x" * 20_000)
    with pytest.raises(websockets.ConnectionClosed) as closed:
        while True:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


@pytest.mark.rule("PE6", "PE7")
async def test_whoever_leaves_is_not_counted_and_may_come_back(
    hub: Served, socket: ClientConnection
) -> None:
    welcome = await login(socket)
    connections = Connections.of(hub.hub.portal)
    assert len(connections) == 1
    await socket.close()
    async with asyncio.timeout(5):
        while len(connections):
            await asyncio.sleep(0.005)
    (session,) = hub.hub.portal.sessions
    assert not session.is_attached
    url = hub.url.replace("http", "ws") + "_hub/ws"
    async with websockets.connect(url, compression=None) as second:
        again = {name: welcome[name] for name in ("session", "secret", "cursor")}
        await second.send(json.dumps({"t": "hello", **again}))
        assert json.loads(await second.recv())["resumed"]


@pytest.mark.rule("PE6")
async def test_a_socket_that_is_replaced_is_told(hub: Served, socket: ClientConnection) -> None:
    welcome = await login(socket)
    url = hub.url.replace("http", "ws") + "_hub/ws"
    async with websockets.connect(url, compression=None) as second:
        again = {name: welcome[name] for name in ("session", "secret", "cursor")}
        await second.send(json.dumps({"t": "hello", **again}))
        assert json.loads(await second.recv())["resumed"]
        async with asyncio.timeout(5):
            while (message := json.loads(await socket.recv()))["t"] != "closing":
                pass
        assert message["reason"] == "replaced"
        await second.send('{"t":"ping","n":5}')
        await pong(second, 5)


async def test_signs_of_life_are_given_and_silence_is_noticed(socket: ClientConnection) -> None:
    await login(socket)
    async with asyncio.timeout(10):
        assert json.loads(await socket.recv()) == {"t": "pong"}
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await socket.recv()
