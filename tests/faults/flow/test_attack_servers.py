"""Peers that mean no good, or can't help it: none of them costs anybody else anything."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from typing import Any

import pytest

from hubbub.flow import Runner, SimpleServer, TCPClient
from tests.unit.flow.net.parts import Collect, start, until, within


async def is_well(server: SimpleServer, **how: Any) -> None:
    """A proper client is served."""
    got = Collect()
    async with Runner() as runner:
        client = TCPClient("127.0.0.1", server.port, **how)
        await within(10, start(runner, [b"hello"], client, got).wait())
    assert got.items == [b"hello"]


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("framing", ["length", "msgpack"])
@pytest.mark.parametrize("acked", [False, True])
async def test_noise_ends_its_own_connection_only(framing: str, acked: bool) -> None:
    noise = random.Random(20261128)
    how = {"framing": framing, "acked": acked}
    async with Runner() as runner:
        server = SimpleServer(lambda: lambda item: item, 0, **how)  # type: ignore[arg-type]
        runner.start(server)
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            preface = b"\xffhubbub/1 flow\n" if acked and noise.random() < 0.8 else b""
            writer.write(preface + noise.randbytes(noise.randint(1, 3000)))
            with contextlib.suppress(OSError):
                await writer.drain()
            if noise.random() < 0.5:
                writer.transport.abort()
            else:
                writer.close()
        await is_well(server, **how)
        await until(lambda: not server.connections)


async def test_connections_that_come_and_go_leave_nothing_behind() -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: lambda item: item, 0, framing="raw", max_connections=50)
        runner.start(server)
        loop = asyncio.get_running_loop()
        for turn in range(300):
            sock = socket.socket()
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", server.port))
            if turn % 3 == 0:
                await loop.sock_sendall(sock, b"half a")
            if turn % 2:
                reset(sock)
            else:
                sock.close()
        await until(lambda: not server.connections)
        assert server.accepted + server.refused == 300
        await is_well(server, framing="raw")


@pytest.mark.rule("FL1")
async def test_a_flood_that_nobody_reads_does_not_fill_the_server() -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: lambda item: item, 0, framing="raw")
        runner.start(server)
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", server.port))
        flood = loop.create_task(loop.sock_sendall(sock, b"x" * (64 << 20)))
        await until(lambda: server.connections)
        (served,) = server._connections
        before = -1
        while (
            before != served.received
        ):  # until it stands still: echoes that nobody reads hold it up
            before = served.received
            await asyncio.sleep(0.2)
        assert served.received < 32 << 20
        assert not flood.done()
        await is_well(server, framing="raw")
        flood.cancel()
        await asyncio.wait([flood])
        reset(sock)
        await until(lambda: not server.connections)


async def test_a_peer_that_sends_byte_by_byte_is_served() -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: str.upper, 0)
        runner.start(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for byte in "grüße\nund ende".encode():
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
        assert (await within(10, reader.read())).decode() == "GRÜSSE\nUND ENDE\n"
        writer.close()
