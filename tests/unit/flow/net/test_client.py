"""A connection that is made again whenever it breaks."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

from hubbub.flow import (
    Backoff,
    Component,
    ComponentFailedError,
    Duplex,
    FramingError,
    Pipeline,
    Runner,
    SimpleServer,
    TCPClient,
)
from hubbub.kernel import BrokenError, ConfigurationError
from tests.unit.flow.net.parts import Collect, Feed, start, until, within

SOON = Backoff(first_s=0.01, most_s=0.05)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Far:
    """A plain asyncio server whose connections a test holds in its hands."""

    def __init__(self) -> None:
        self.connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._came, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append((reader, writer))

    async def take(self, number: int = 1) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await until(lambda: len(self.connections) >= number)
        return self.connections[number - 1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for _, writer in self.connections:
            writer.transport.abort()


async def test_it_sends_what_comes_in_and_gives_what_arrives() -> None:
    got = Collect()
    async with Runner() as runner:
        server = SimpleServer(lambda: str.upper, 0)
        runner.start(server)
        lines = [f"line {n}" for n in range(5000)]
        running = start(runner, lines, TCPClient("127.0.0.1", server.port), got)
        await within(10, running.wait())
        assert got.items == [line.upper() for line in lines]


async def test_without_a_linked_inbox_it_only_listens() -> None:
    far, got = Far(), Collect()
    await far.open()
    async with Runner() as runner:
        running = start(runner, TCPClient("127.0.0.1", far.port), got)
        reader, writer = await far.take()
        writer.write(b"one\ntwo\n")
        await got.count(2)
        assert not reader.at_eof()
        running.finish()
        await within(5, running.wait())
        assert await reader.read() == b""
        assert got.items == ["one", "two"]
    await far.close()


@pytest.mark.rule("FL1", "FL2")
async def test_nothing_in_its_inbox_is_lost_while_there_is_nobody() -> None:
    got, port = Collect(), free_port()
    async with Runner() as runner:
        client = TCPClient("127.0.0.1", port, reconnect=SOON)
        running = start(runner, [f"{n}" for n in range(1000)], client)
        await until(lambda: client.running.box_of(client, "inbox").full)
        runner.start(SimpleServer(lambda: got, port))
        await within(10, running.wait())
        assert await within(5, got.count(1000)) == [f"{n}" for n in range(1000)]
        assert client.connected == 1


async def test_it_connects_again_when_the_connection_breaks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    far, feed, got = Far(), Feed(), Collect()
    await far.open()
    async with Runner() as runner:
        client = TCPClient("127.0.0.1", far.port, reconnect=SOON)
        running = start(runner, feed, client, got)
        for number in range(1, 4):
            reader, writer = await far.take(number)
            feed.put(f"to {number}")
            assert await reader.readline() == f"to {number}\n".encode()
            writer.write(f"from {number}\n".encode())
            await got.count(number)
            if number == 1:
                writer.close()  # an end in good order
            else:
                writer.transport.abort()
        reader, writer = await far.take(4)
        feed.put("last")
        feed.end()
        assert await reader.read() == b"last\n"
        writer.close()
        await within(5, running.wait())
        assert got.items == ["from 1", "from 2", "from 3"]
        assert client.connected == 4
    await far.close()


async def test_after_its_last_item_it_reads_until_the_other_side_ends() -> None:
    far, got = Far(), Collect()
    await far.open()
    async with Runner() as runner:
        running = start(runner, ["question"], TCPClient("127.0.0.1", far.port), got)
        reader, writer = await far.take()
        assert await reader.read() == b"question\n"
        for n in range(3):
            writer.write(f"answer {n}\n".encode())
            await got.count(n + 1)
        assert not running.is_over
        writer.close()
        await within(5, running.wait())
        assert got.items == ["answer 0", "answer 1", "answer 2"]
    await far.close()


async def test_asked_to_finish_it_says_what_waits_and_is_not_held_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hubbub.flow.net.connection.LINGER_S", 0.1)
    far, feed = Far(), Feed()
    await far.open()
    async with Runner() as runner:
        running = start(runner, feed, TCPClient("127.0.0.1", far.port))
        reader, _ = await far.take()  # which never ends from its side
        feed.put("last words")
        assert await reader.readline() == b"last words\n"
        running.finish()
        await within(5, running.wait())
    await far.close()


async def test_a_ring_of_a_client_and_a_worker_finishes() -> None:
    class Double(Component):
        async def main(self) -> None:
            async for line in self.inbox:
                await self.send(line * 2)

    far = Far()
    await far.open()
    async with Runner() as runner:
        running = runner.start(Duplex(TCPClient("127.0.0.1", far.port), Double()))
        reader, writer = await far.take()
        writer.write(b"ab\ncd\n")
        assert await reader.readexactly(10) == b"abab\ncdcd\n"
        running.finish()
        assert await within(5, reader.read()) == b""
        writer.close()
        await within(10, running.wait())
    await far.close()


@pytest.mark.rule("FL3")
async def test_told_not_to_reconnect_it_fails_where_nobody_answers() -> None:
    port = free_port()
    async with Runner() as runner:
        running = runner.start(TCPClient("127.0.0.1", port, reconnect=None))
        with pytest.raises(
            ComponentFailedError, match=f"can't connect to 127.0.0.1:{port}"
        ) as caught:
            await within(5, running.wait())
        assert isinstance(caught.value.__cause__, BrokenError)
        await until(lambda: not runner._roots)
        runner._failure = None


async def test_told_not_to_reconnect_it_ends_with_the_other_side() -> None:
    far, got = Far(), Collect()
    await far.open()
    async with Runner() as runner:
        running = start(runner, TCPClient("127.0.0.1", far.port, reconnect=None), got)
        _, writer = await far.take()
        writer.write(b"all there is\n")
        writer.close()
        await within(5, running.wait())
        assert got.items == ["all there is"]
    await far.close()


@pytest.mark.rule("FL3")
async def test_an_item_that_can_not_be_framed_is_a_failure() -> None:
    far = Far()
    await far.open()
    with pytest.raises(ComponentFailedError) as caught:
        await within(5, Pipeline(["fine", {"not": "a line"}], TCPClient("127.0.0.1", far.port)))
    assert isinstance(caught.value.__cause__, FramingError)
    reader, _ = await far.take()
    assert await reader.read() == b"fine\n"
    await far.close()


async def test_bytes_that_are_no_item_break_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    far, got = Far(), Collect()
    await far.open()
    async with Runner() as runner:
        start(runner, TCPClient("127.0.0.1", far.port, reconnect=SOON), got)
        _, writer = await far.take()
        writer.write(b"good\n\xff\n")
        _, again = await far.take(2)
        again.write(b"better\n")
        assert await within(5, got.count(2)) == ["good", "better"]
        assert "no UTF-8" in caplog.text
    await far.close()


@pytest.mark.rule("FL1")
async def test_a_graph_that_does_not_read_stops_the_other_side() -> None:
    far = Far()
    await far.open()

    class Never(Component):
        outboxes = {}

        async def main(self) -> None:
            await asyncio.Event().wait()

    async with Runner() as runner:
        client = TCPClient("127.0.0.1", far.port)
        start(runner, client, Never())
        _, writer = await far.take()
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    writer.write(b"x" * 999 + b"\n")
                    sent += 1000
                    await writer.drain()
        assert client._connection is not None
        assert client._connection.received < sent
    await far.close()


async def test_while_it_can_not_connect_it_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    port, tries = free_port(), 0

    class Counted(TCPClient):
        async def _connect(self, targets: Any) -> Any:
            nonlocal tries
            tries += 1
            return await super()._connect(targets)

    async with Runner() as runner:
        with caplog.at_level(logging.WARNING):
            running = start(runner, Counted("127.0.0.1", port, reconnect=SOON), Collect())
            await until(lambda: tries > 5)
        assert caplog.text.count(f"can't connect to 127.0.0.1:{port}") == 1
        running.finish()
        await within(5, running.wait())


async def test_nobody_who_answers_is_given_up_after_a_while() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        filling = [socket.socket() for _ in range(3)]
        for sock in filling:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        client = TCPClient("127.0.0.1", port, reconnect=None, connect_timeout_s=0.2)
        try:
            with pytest.raises(ComponentFailedError, match=r"no answer in 0\.2 s"):
                await within(5, client)
        finally:
            for sock in filling:
                sock.close()


def test_what_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="a host and a port, or to a path="):
        TCPClient("127.0.0.1")
    with pytest.raises(ConfigurationError, match="a host and a port, or to a path="):
        TCPClient("127.0.0.1", 1, path="/tmp/x")
    with pytest.raises(ConfigurationError, match="no framing"):
        TCPClient("127.0.0.1", 1, framing="json")
