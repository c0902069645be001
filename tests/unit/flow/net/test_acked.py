"""Items with numbers, over real connections: sent again until they are handled."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

from hubbub.flow import (
    Backoff,
    Component,
    Duplex,
    FanOut,
    Pipeline,
    Position,
    Runner,
    SimpleServer,
    SingleServer,
    TCPClient,
)
from hubbub.flow.net.acked import Acked
from hubbub.flow.net.frames import PREFACE
from hubbub.kernel import ConfigurationError
from tests.unit.flow.net.parts import Collect, Feed, Gate, grown, start, until, within

SOON = Backoff(first_s=0.01, most_s=0.05)


class Relay:
    """A wire between a client and a server that a test can cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.back_open = True
        self.connections = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._came, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, far_writer]
        for pair in ((reader, far_writer, False), (far_reader, writer, True)):
            task = asyncio.create_task(self._carry(*pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: bool
    ) -> None:
        try:
            while data := await reader.read(1000):
                if not back or self.back_open:
                    writer.write(data)
                    await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            pass

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            await asyncio.wait([task])


async def test_a_client_ends_when_everything_has_been_handled() -> None:
    gate, got = Gate(), Collect()
    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        start(runner, server, gate, got)
        client = start(
            runner, [f"{n}" for n in range(300)], TCPClient("127.0.0.1", server.port, acked=True)
        )
        for _ in range(299):
            gate.open.release()
        await got.count(299)
        assert not client.is_over
        gate.open.release()
        await within(10, client.wait())
        assert got.items == [f"{n}" for n in range(300)]


@pytest.mark.parametrize("kind", [SimpleServer, SingleServer])
async def test_cuts_lose_and_double_nothing(kind: Any) -> None:
    got, feed = Collect(), Feed()
    async with Runner() as runner:
        if kind is SingleServer:
            server: Any = SingleServer(0, acked=True)
            start(runner, server, got)
        else:
            server = SimpleServer(lambda: got.items.append, 0, acked=True)
            runner.start(server)
        relay = Relay(server.port)
        await relay.open()
        client = TCPClient("127.0.0.1", relay.port, acked=True, reconnect=SOON)
        running = start(runner, feed, client)
        sent = []
        for cut in range(1, 8):
            batch = [f"{cut}/{n}" for n in range(500)]
            sent += batch
            feed.put(*batch)
            await grown(got.items, len(sent) - 400)
            relay.cut()
        feed.end()
        await within(10, running.wait())
        assert got.items == sent
        assert relay.connections >= 7
        await relay.close()


async def test_what_was_handled_but_not_said_to_be_is_not_given_again() -> None:
    got = Collect()
    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        start(runner, server, got)
        relay = Relay(server.port)
        await relay.open()
        feed = Feed()
        client = TCPClient("127.0.0.1", relay.port, acked=True, reconnect=SOON)
        running = start(runner, feed, client)
        await until(lambda: client.is_connected)
        feed.put("first")
        await until(lambda: client.speech.settled and got.items)
        relay.back_open = False  # no word of what is handled comes back
        feed.put("second", "third")
        await got.count(3)
        relay.cut()
        relay.back_open = True
        feed.end()
        await within(10, running.wait())
        assert got.items == ["first", "second", "third"]
        await relay.close()


async def test_a_graph_that_dies_leaves_nothing_handled() -> None:
    """The first graph for the connection dies with half of it; the next one gets what it has not handled."""
    got: list[str] = []
    dies = True

    def picky(line: str) -> None:
        nonlocal dies
        if dies and line == "50":
            dies = False
            raise ValueError("a bad day")
        got.append(line)

    async with Runner() as runner:
        server = SimpleServer(lambda: picky, 0, acked=True)
        runner.start(server)
        client = TCPClient("127.0.0.1", server.port, acked=True, reconnect=SOON)
        await within(10, start(runner, [f"{n}" for n in range(200)], client).wait())
        assert sorted(set(got), key=int) == [f"{n}" for n in range(200)]


async def test_a_process_that_starts_anew_gets_all_that_was_not_handled() -> None:
    async with Runner() as runner:
        gate, got = Gate(), Collect()
        server = SingleServer(0, acked=True)
        first = start(runner, server, gate, got)
        client = TCPClient("127.0.0.1", server.port, acked=True, reconnect=SOON)
        running = start(runner, [f"{n}" for n in range(1000)], client)
        for _ in range(100):
            gate.open.release()
        await got.count(100)
        await until(lambda: client.speech._numbering.floor > 100)
        first.stop()  # nobody says goodbye
        await first.wait()
        again = Collect()
        start(runner, SingleServer(server.port, acked=True), again)
        await within(10, running.wait())
        assert again.items == [f"{n}" for n in range(100, 1000)]


async def test_items_carry_their_positions() -> None:
    seen: list[Position] = []

    class Sink(Component):
        outboxes = {}

        async def main(self) -> None:
            while True:
                for tracked in await self.inbox.take():
                    seen.extend(token.position for token in tracked.tokens)
                    tracked.release()

    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        start(runner, server, Sink())
        client = TCPClient(
            "127.0.0.1", server.port, acked=True, origin="machine-a", first_number=41
        )
        await within(10, start(runner, ["one", "two", "three"], client).wait())
        assert [(p.origin, p.number) for p in seen] == [("machine-a", n) for n in (41, 42, 43)]
        assert all(41 <= p.floor <= p.number for p in seen)


@pytest.mark.rule("FL1")
async def test_what_is_on_its_way_is_bounded() -> None:
    gate = Gate()
    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        start(runner, server, gate, Collect())
        client = TCPClient("127.0.0.1", server.port, acked=True, window=10)
        running = start(runner, [f"{n}" for n in range(500)], client)
        await until(lambda: gate.taken == 1)
        await until(lambda: len(client.speech._numbering) == 10)
        for _ in range(500):
            gate.open.release()
            assert len(client.speech._numbering) <= 10
        await within(10, running.wait())


async def test_both_directions_are_numbered() -> None:
    got = Collect()
    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        runner.start(Duplex(server, str.upper))
        relay = Relay(server.port)
        await relay.open()
        feed = Feed()
        client = TCPClient("127.0.0.1", relay.port, acked=True, reconnect=SOON)
        running = start(runner, feed, client, got)
        sent = []
        for cut in range(1, 5):
            batch = [f"a{cut}/{n}" for n in range(100)]
            sent += batch
            feed.put(*batch)
            await grown(got.items, len(sent) - 50)
            relay.cut()
        await within(10, got.count(len(sent)))
        feed.end()
        await within(10, running.wait())
        assert got.items == [line.upper() for line in sent]
        await relay.close()


async def test_an_item_is_handled_when_the_next_machine_has_handled_it() -> None:
    """A to B to C: B forwards numbered, too; A hears only when C is done."""
    gate, got = Gate(), Collect()
    async with Runner() as runner:
        c = SingleServer(0, acked=True)
        start(runner, c, gate, got)
        b = SingleServer(0, acked=True)
        start(runner, b, TCPClient("127.0.0.1", c.port, acked=True))
        a = TCPClient("127.0.0.1", b.port, acked=True)
        running = start(runner, ["far"], a)
        await until(lambda: gate.taken == 1)
        assert len(a.speech._numbering) == 1
        gate.open.release()
        await within(10, running.wait())
        assert got.items == ["far"]


@pytest.mark.parametrize("framing", ["raw", "length", "msgpack", "lines"])
async def test_every_framing_can_be_numbered(framing: str) -> None:
    items: dict[str, list[Any]] = {
        "raw": [b"", b"\x00\xff", b"x" * 100_000],
        "length": [b"", b"\x00" * 70_000, b"end"],
        "msgpack": [{"a": [1, 2.5, None]}, "text", b"bytes"],
        "lines": ["", "grüße", "x" * 60_000],
    }
    got = Collect()
    async with Runner() as runner:
        server = SimpleServer(lambda: lambda item: item, 0, framing=framing, acked=True)
        runner.start(server)
        client = TCPClient("127.0.0.1", server.port, framing=framing, acked=True)
        await within(10, start(runner, items[framing], client, got).wait())
        assert got.items == items[framing]


async def test_a_server_that_is_full_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: lambda line: line, 0, acked=True, max_connections=1)
        runner.start(server)
        first = TCPClient("127.0.0.1", server.port, acked=True)
        start(runner, first, Collect())
        await until(lambda: first.is_connected and server.connections)
        with caplog.at_level(logging.WARNING):
            start(runner, TCPClient("127.0.0.1", server.port, acked=True), Collect())
            await until(
                lambda: "refuses the connection: this server has all the connections" in caplog.text
            )


async def test_a_client_takes_the_place_of_its_own_dead_connection() -> None:
    got = Collect()
    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        start(runner, server, got)
        relay = Relay(server.port)
        await relay.open()
        feed = Feed()
        client = TCPClient("127.0.0.1", relay.port, acked=True, reconnect=SOON, origin="machine-a")
        start(runner, feed, client)
        feed.put("one")
        await got.count(1)
        # The network swallows the client's end: the server still holds the old connection.
        (near, _) = relay._writers
        near.transport.abort()
        feed.put("two")
        await within(10, got.count(2))
        assert server.accepted == 2
        assert server.refused == 0
        await relay.close()


async def test_somebody_else_does_not_take_that_place(caplog: pytest.LogCaptureFixture) -> None:
    async with Runner() as runner:
        server, got = SingleServer(0, acked=True), Collect()
        start(runner, server, got)
        feed = Feed()
        start(runner, feed, TCPClient("127.0.0.1", server.port, acked=True))
        feed.put("mine")
        await got.count(1)
        start(runner, ["theirs"], TCPClient("127.0.0.1", server.port, acked=True, reconnect=SOON))
        await until(lambda: server.refused)
        feed.put("mine again")
        await got.count(2)
        feed.end()
        await within(10, got.count(3))
        assert got.items == ["mine", "mine again", "theirs"]


async def test_both_sides_have_to_speak_so(caplog: pytest.LogCaptureFixture) -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: lambda line: line, 0, acked=True)
        runner.start(server)
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(b"hello\n")
            await until(lambda: "say acked=True on both sides, or on none" in caplog.text)


async def test_whoever_is_silent_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Acked, "heartbeat_s", 0.05)
    async with Runner() as runner:
        server = SimpleServer(lambda: lambda line: line, 0, acked=True)
        runner.start(server)
        client = TCPClient("127.0.0.1", server.port, acked=True)
        start(runner, client, Collect())
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            await until(lambda: server.accepted == 2)
            await until(lambda: server.connections == 1)
            assert server.failed == 1
            assert sock.recv(1) == PREFACE[:1]
        assert client.connected == 1  # who speaks is not


async def test_an_origin_that_starts_again_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    got = Collect()
    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        start(runner, server, got)
        for _ in range(2):
            client = TCPClient("127.0.0.1", server.port, acked=True, origin="machine-a")
            await within(10, start(runner, ["same", "items"], client).wait())
        assert got.items == ["same", "items"]
        assert "'machine-a' numbers from 1 on again" in caplog.text


async def test_asked_to_finish_it_waits_for_what_is_on_its_way() -> None:
    gate, got, feed = Gate(), Collect(), Feed()
    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        start(runner, server, gate, got)
        running = start(runner, feed, TCPClient("127.0.0.1", server.port, acked=True))
        feed.put("one", "two")
        await until(lambda: gate.taken == 1)
        running.finish()
        gate.open.release()
        gate.open.release()
        await within(10, running.wait())
        assert got.items == ["one", "two"]


async def test_a_server_asked_to_finish_says_what_it_has_handled() -> None:
    gate, got = Gate(), Collect()
    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        there = start(runner, server, gate, got)
        client = TCPClient("127.0.0.1", server.port, acked=True, reconnect=SOON)
        running = start(runner, [f"{n}" for n in range(5000)], client)
        await until(lambda: gate.taken == 1)
        there.finish()
        for _ in range(5000):
            gate.open.release()
        await within(10, there.wait())
        handled = len(got.items)
        await until(lambda: client.speech._numbering.floor == handled + 1)
        again = Collect()
        start(runner, SingleServer(server.port, acked=True), again)
        await within(10, running.wait())
        assert got.items + again.items == [f"{n}" for n in range(5000)]


def test_what_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="are for acked=True"):
        TCPClient("127.0.0.1", 1, origin="machine-a")
    with pytest.raises(ConfigurationError, match="1 to 200 characters"):
        TCPClient("127.0.0.1", 1, acked=True, origin="")
    with pytest.raises(ConfigurationError, match="window 1 to"):
        TCPClient("127.0.0.1", 1, acked=True, window=0)


async def test_acknowledgements_reach_the_source_through_plain_parts() -> None:
    """A function, a fan-out, a nested pipeline: an item is handled when nothing of it is left anywhere."""
    got, other = Collect(), Collect()
    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        start(runner, server, str.strip, FanOut(got, Pipeline(str.upper, other)))
        client = TCPClient("127.0.0.1", server.port, acked=True)
        await within(10, start(runner, ["a ", "b "], client).wait())
        assert (got.items, other.items) == (["a", "b"], ["A", "B"])
