from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from hubbub import AddressInUseError, ConfigurationError
from hubbub.gateway import Listener, tcp, user_connection
from hubbub.gateway.admission import Admission
from hubbub.gateway.doorkeeper import Doorkeeper, OpenSpace
from hubbub.wire.frames import PREFACE_USER, FrameReader, frame
from tests.conformance.gateway.application import Served, served


@pytest.fixture
async def hub() -> AsyncIterator[Served]:
    async with served() as running:
        yield running


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def said_to(hub: Served, data: bytes) -> bytes:
    host, _, port = hub.tcp.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(-1), 5)
    await close(writer)
    return answer


async def messages_to(hub: Served, data: bytes) -> list[Any]:
    return [msgspec.msgpack.decode(p) for p in FrameReader(1 << 20).feed(await said_to(hub, data))]


async def test_a_browser_is_told_where_it_is(hub: Served):
    answer = await said_to(hub, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert body.startswith(b"This is a Hubbub port: use hubbub.login('hub://127.0.0.1:")
    assert body.count(b"\n") == 1


@pytest.mark.parametrize(
    "data", [b"hello?\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00", b"x" * 100]
)
async def test_garbage_gets_one_readable_line(hub: Served, data):
    answer = await said_to(hub, data)
    assert answer.startswith(b"This is a Hubbub port")
    assert answer.count(b"\n") == 1


async def test_silence_gets_the_same(hub: Served, monkeypatch):
    monkeypatch.setattr(tcp, "HELLO_S", 0.05)
    assert (await said_to(hub, b"hubbub/1 u")).startswith(b"This is a Hubbub port")


async def test_silence_after_the_preface(hub: Served, monkeypatch):
    monkeypatch.setattr(user_connection, "HELLO_S", 0.05)
    (fault,) = await messages_to(hub, PREFACE_USER)
    assert (fault["t"], "hello" in fault["message"]) == ("fault", True)


async def test_a_preface_may_come_in_pieces(hub: Served):
    host, _, port = hub.tcp.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    everything = (
        PREFACE_USER
        + frame(msgspec.msgpack.encode({"t": "hello"}))
        + frame(msgspec.msgpack.encode({"t": "call", "id": 1, "name": "whoami"}))
    )
    for byte in everything:
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    frames = FrameReader(1 << 20)
    found: list[Any] = []
    while len(found) < 2:
        found += frames.feed(await reader.read(1000))
    assert [msgspec.msgpack.decode(f)["t"] for f in found] == ["welcome", "result"]
    await close(writer)


async def test_the_first_message_is_hello(hub: Served):
    (fault,) = await messages_to(hub, PREFACE_USER + frame(msgspec.msgpack.encode({"t": "ping"})))
    assert (fault["t"], fault["code"]) == ("fault", "garbled")


async def test_a_taken_port_says_what_to_do(hub: Served):
    with pytest.raises(AddressInUseError, match=f"{hub.tcp.address} is taken.*--listen"):
        await Listener(hub.hub.portal).start(hub.tcp.address, authenticated=True)


async def test_a_unix_socket(hub: Served, tmp_path):
    listener = Listener(hub.hub.portal)
    await listener.start(str(tmp_path / "hub.sock"), authenticated=False)
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "hub.sock"))
    writer.write(PREFACE_USER + frame(msgspec.msgpack.encode({"t": "hello"})))
    (welcome,) = FrameReader(1 << 20).feed(await reader.read(1000))
    assert msgspec.msgpack.decode(welcome)["t"] == "welcome"
    await close(writer)
    await listener.close()
    assert not (tmp_path / "hub.sock").exists()


@pytest.mark.rule("GW2")
async def test_the_space_is_never_handed_to_the_network_without_a_token(hub: Served):
    listener = Listener(hub.hub.portal, host=hub.hub.host)
    for public in (False, True):
        with pytest.raises(ConfigurationError):
            await listener.start("0.0.0.0:0", authenticated=True, public=public)
    space = OpenSpace(portal=hub.hub.portal, host=hub.hub.host)
    with_token = Listener(doorkeeper=Doorkeeper([space], Admission(secret="x")))
    await with_token.start("0.0.0.0:0", authenticated=True)
    await with_token.close()


async def test_peers_can_be_turned_away(hub: Served):
    listener = Listener(hub.hub.portal)
    await listener.start("127.0.0.1:0", authenticated=False)
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"hubbub/1 peer\n")
    assert await reader.read(-1) == b"This hub takes no peers.\n"
    await close(writer)
    await listener.close()
