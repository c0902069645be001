"""Five thousand clients on one server with a backplane, slow ones among them."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

QUICK, SLOW = 4800, 200
LINE_BYTES = 1024
BATCH, BATCHES = 10, 30


def need_descriptors(number: int) -> None:
    """Raise this process's limit, or fail with the reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= number:
        return
    if hard != resource.RLIM_INFINITY and hard < number:
        pytest.fail(
            f"{number} open files are needed, and this machine allows {hard} (ulimit -Hn): "
            "the limit can't be raised from here"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


class Listener(asyncio.Protocol):
    """A quick client: checks what comes, in order."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._rest = b""
        self.lines = 0
        self.ended = False

    def data_received(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            number, _, filling = line.partition(b" ")
            assert int(number) == self.lines
            assert len(filling) + len(number) + 2 == LINE_BYTES
            self.lines += 1
            if self.lines % BATCH == 0:
                self._clients.has_a_batch()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True


class Clients:
    """All quick ones."""

    def __init__(self) -> None:
        self.all: list[Listener] = []
        self._batches = 0
        self._everybody = asyncio.Event()

    def has_a_batch(self) -> None:
        self._batches += 1
        if self._batches == len(self.all):
            self._everybody.set()

    async def everybody_has_it(self) -> None:
        await self._everybody.wait()
        self._everybody.clear()
        self._batches = 0


async def connect_slow(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def say(process: asyncio.subprocess.Process, words: str) -> None:
    assert process.stdin is not None
    process.stdin.write(words.encode() + b"\n")
    await process.stdin.drain()


async def look(process: asyncio.subprocess.Process) -> dict[str, Any]:
    await say(process, "look")
    assert process.stdout is not None
    told: dict[str, Any] = json.loads(await process.stdout.readline())
    return told


async def look_until(process: asyncio.subprocess.Process, key: str, value: int) -> dict[str, Any]:
    while (told := await look(process))[key] != value:
        await asyncio.sleep(0.05)
    return told


@pytest.mark.slow
@pytest.mark.rule("FL1", "PE5")
@pytest.mark.timeout(60)
async def test_the_quick_get_everything_and_the_slow_are_disconnected() -> None:
    need_descriptors(QUICK + SLOW + 200)
    loop = asyncio.get_running_loop()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("many_server.py")),
        str(QUICK + SLOW),
        str(LINE_BYTES),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    slow: list[socket.socket] = []
    clients = Clients()
    try:
        async with asyncio.timeout(55):
            assert process.stdout is not None
            began = json.loads(await process.stdout.readline())
            port = began["port"]
            slow += [await connect_slow(port) for _ in range(SLOW)]
            for _ in range(QUICK // 200):
                made = await asyncio.gather(
                    *(
                        loop.create_connection(lambda: Listener(clients), "127.0.0.1", port)
                        for _ in range(200)
                    )
                )
                clients.all += [listener for _, listener in made]
            idle = await look_until(process, "connections", QUICK + SLOW)
            for _ in range(BATCHES):
                await say(process, f"publish {BATCH}")
                await clients.everybody_has_it()
            ended = await look_until(process, "failed", SLOW)
            per_connection = (idle["bytes"] - began["bytes"]) // (QUICK + SLOW)
            grown = ended["bytes"] - idle["bytes"]
            print(
                f"{per_connection} bytes for a connection, {grown} more after {BATCH * BATCHES} lines"
            )
            assert all(listener.lines == BATCH * BATCHES for listener in clients.all)
            assert not any(listener.ended for listener in clients.all)
            assert per_connection < 40_000
            # What waits for a slow one is bounded: the transport, two boxes, and no more.
            assert grown < SLOW * 300_000
            await look_until(process, "connections", QUICK)
            process.stdin.close()  # type: ignore[union-attr]
            assert await process.wait() == 0
    finally:
        for sock in slow:
            sock.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
