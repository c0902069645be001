"""One side numbers its items, the other does not; and what a client says that is not to connect again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Any

import pytest

from hubbub.flow import (
    Backoff,
    ComponentFailedError,
    Pipeline,
    Runner,
    SimpleServer,
    SingleServer,
    TCPClient,
)
from hubbub.flow.net.acked import Acked
from hubbub.flow.net.frames import PREFACE, Hello, frame
from hubbub.flow.net.framing import framing_of
from hubbub.kernel import BrokenError, FramingError
from tests.unit.flow.net.parts import Collect, grown, start, until, within
from tests.unit.flow.net.test_client import Far

BOTH = "say acked=True on both sides"


async def broken(*parts: Any) -> BrokenError:
    """Run a graph that has to fail because its connection breaks."""
    with pytest.raises(ComponentFailedError) as caught:
        await within(10, Pipeline(*parts))
    cause = caught.value.__cause__
    assert isinstance(cause, BrokenError)
    assert cause.__cause__ is not None
    return cause


async def test_a_server_that_never_says_hello_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Acked, "hello_s", 0.05)
    far = Far()
    await far.open()
    client = TCPClient("127.0.0.1", far.port, acked=True, reconnect=None)
    assert BOTH in str(await broken(["one"], client))
    await far.close()


async def test_or_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Acked, "hello_s", 0.05)
    far = Far()
    await far.open()
    async with Runner() as runner:
        client = TCPClient(
            "127.0.0.1", far.port, acked=True, reconnect=Backoff(first_s=0.01, most_s=0.05)
        )
        start(runner, ["one"], client)
        await far.take(3)
    assert BOTH in caplog.text
    await far.close()


async def test_a_client_that_never_says_hello_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Acked, "hello_s", 0.05)
    async with Runner() as runner:
        server = SimpleServer(lambda: str.upper, 0, acked=True)
        single = SingleServer(0, acked=True)
        runner.start(server)
        start(runner, single, Collect())
        for there in (server, single):
            reader, writer = await asyncio.open_connection("127.0.0.1", there.port)
            assert (await within(10, reader.readline())) == PREFACE
            with contextlib.suppress(ConnectionResetError):
                while await within(10, reader.read(1000)):
                    pass
            writer.close()
        await until(lambda: not server.connections)
        assert server.failed == 1


@pytest.mark.parametrize("framing", ["lines", "length", "msgpack"])
async def test_a_plain_server_gets_no_item_of_a_numbering_client(
    framing: str, caplog: pytest.LogCaptureFixture
) -> None:
    got = Collect()
    async with Runner() as runner:
        server = SimpleServer(lambda: got.items.append, 0, framing=framing)
        runner.start(server)
        client = TCPClient("127.0.0.1", server.port, framing=framing, acked=True, reconnect=None)
        assert BOTH in str(await broken([b"one"] if framing == "length" else ["one"], client))
        await until(lambda: not server.connections)
    assert got.items == []
    assert f"numbers what it sends: {BOTH}" in caplog.text


async def test_a_plain_client_gets_no_item_of_a_numbering_server() -> None:
    got = Collect()
    async with Runner() as runner:
        server = SimpleServer(lambda: str.upper, 0, acked=True)
        runner.start(server)
        error = await broken(TCPClient("127.0.0.1", server.port, reconnect=None), got)
        assert BOTH in str(error)
        assert "UTF-8" not in str(error)
    assert got.items == []


@pytest.mark.parametrize("framing", ["lines", "length", "msgpack"])
def test_no_preface_is_an_item(framing: str) -> None:
    for at in range(len(PREFACE)):
        made = framing_of(framing)
        with pytest.raises(FramingError, match=BOTH):
            made.feed(PREFACE[:at])
            made.feed(PREFACE[at:])


async def test_told_not_to_reconnect_it_fails_where_all_is_said_and_the_connection_breaks() -> None:
    far = Far()
    await far.open()

    async def reset() -> None:
        reader, writer = await far.take()
        assert await reader.read() == b"one\ntwo\n"
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    resetting = asyncio.create_task(reset())
    client = TCPClient("127.0.0.1", far.port, reconnect=None)
    assert "broke" in str(await broken(["one", "two"], client))
    await resetting
    await far.close()


async def test_told_not_to_reconnect_it_fails_where_not_all_is_handled() -> None:
    far = Far()
    await far.open()

    async def hang_up() -> None:
        reader, writer = await far.take()
        writer.write(PREFACE + frame(Hello("far", 1)))
        await reader.readuntil(b"one")
        writer.close()

    hanging_up = asyncio.create_task(hang_up())
    client = TCPClient("127.0.0.1", far.port, acked=True, reconnect=None)
    assert "not handled all" in str(await broken(["one"], client))
    await hanging_up
    await far.close()


@pytest.mark.parametrize("acked", [False, True])
@pytest.mark.parametrize("kind", [SimpleServer, SingleServer])
async def test_told_not_to_reconnect_it_ends_well_where_all_goes_well(
    kind: Any, acked: bool
) -> None:
    got = Collect()
    async with Runner() as runner:
        if kind is SingleServer:
            server: Any = SingleServer(0, acked=acked)
            start(runner, server, got)
        else:
            server = SimpleServer(lambda: got.items.append, 0, acked=acked)
            runner.start(server)
        lines = [f"{n}" for n in range(2000)]
        client = TCPClient("127.0.0.1", server.port, acked=acked, reconnect=None)
        await within(10, start(runner, lines, client).wait())
        await grown(got.items, 2000)
        assert got.items == lines
