"""A graph for each connection."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Any

import pytest

from hubbub.flow import (
    Component,
    Graphline,
    Peer,
    Pipeline,
    Runner,
    Server,
    SimpleServer,
    TCPClient,
)
from hubbub.kernel import AddressInUseError, ConfigurationError
from tests.unit.flow.net.parts import Collect, Feed, Gate, start, until, within


def shout(line: str) -> str:
    return line.upper()


async def ask(port: int, *lines: str) -> list[str]:
    """Send lines, say the end, return all that is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("".join(line + "\n" for line in lines).encode())
    writer.write_eof()
    answer = await within(10, reader.read())
    writer.close()
    await writer.wait_closed()
    return answer.decode().splitlines()


async def test_each_connection_has_a_graph_of_its_own() -> None:
    made: list[Component] = []

    def protocol() -> Component:
        made.append(Pipeline(shout, str.strip))
        return made[-1]

    async with Runner() as runner:
        server = SimpleServer(protocol, 0)
        runner.start(server)
        answers = await asyncio.gather(*(ask(server.port, f"hello {n}", "bye") for n in range(10)))
        assert answers == [[f"HELLO {n}", "BYE"] for n in range(10)]
        assert len(made) == 10 == server.accepted
        await until(lambda: not server.connections)


async def test_everything_sent_before_the_end_is_answered() -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: shout, 0)
        runner.start(server)
        lines = [f"line {n} {'x' * 50}" for n in range(20_000)]
        assert await ask(server.port, *lines) == [line.upper() for line in lines]


async def test_a_server_listens_on_loopback_unless_it_is_told_otherwise() -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: shout, 0)
        runner.start(server)
        assert server.address == f"127.0.0.1:{server.port}"
        everywhere = SimpleServer(lambda: shout, 0, host="0.0.0.0")
        runner.start(everywhere)
        assert everywhere.address.startswith("0.0.0.0:")


async def test_a_protocol_that_takes_an_argument_is_told_the_peer() -> None:
    peers: list[Peer] = []

    def protocol(peer: Peer) -> Any:
        peers.append(peer)
        return lambda line: f"{peer}: {line}"

    async with Runner() as runner:
        server = Server(protocol, 0)
        runner.start(server)
        (answer,) = await ask(server.port, "hello")
        assert answer == f"{peers[0]}: hello"
        assert peers[0].host == "127.0.0.1"
        assert str(peers[0]) == f"127.0.0.1:{peers[0].port}"
        silent = Server(lambda greeting="hi": lambda line: f"{greeting} {line}", 0)
        runner.start(silent)
        assert await ask(silent.port, "ann") == ["hi ann"]


async def test_optional_arguments_of_a_simple_servers_protocol_are_its_own() -> None:
    async with Runner() as runner:
        servers = [SimpleServer(lambda k=k: lambda line: f"{k} {line}", 0) for k in ("one", "two")]
        runner.start(*servers)
        assert [await ask(server.port, "line") for server in servers] == [
            ["one line"],
            ["two line"],
        ]


def test_what_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(
        ConfigurationError, match=r"called with nothing.*a Server gives it the peer"
    ):
        SimpleServer(lambda peer: shout, 0)
    with pytest.raises(ConfigurationError, match=r"write 'lambda: ...' before it"):
        SimpleServer(Pipeline(shout), 0)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="a port or at a path=: say one"):
        SimpleServer(lambda: shout)
    with pytest.raises(ConfigurationError, match="max_connections"):
        SimpleServer(lambda: shout, 0, max_connections=0)
    with pytest.raises(ConfigurationError, match="limit_bytes"):
        SimpleServer(lambda: shout, 0, limit_bytes=0)


async def test_a_port_that_is_taken_is_told_before_anything_runs() -> None:
    async with Runner() as runner:
        first = SimpleServer(lambda: shout, 0)
        runner.start(first)
        with pytest.raises(
            AddressInUseError, match=rf"{first.address} is taken.*choose another port, or 0"
        ):
            runner.start(SimpleServer(lambda: shout, first.port))
        # What was to start with it has let its own port go.
        free = SimpleServer(lambda: shout, 0)
        with pytest.raises(AddressInUseError):
            runner.start(free, SimpleServer(lambda: shout, first.port))
        runner.start(SimpleServer(lambda: shout, free.port))


async def test_a_graph_that_fails_ends_its_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def picky(line: str) -> str:
        if line == "bad":
            raise ValueError("no such line")
        return line

    async with Runner() as runner:
        server = SimpleServer(lambda: picky, 0)
        runner.start(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"first\n")
        assert await reader.readline() == b"first\n"
        with caplog.at_level(logging.WARNING):
            assert await ask(server.port, "good", "bad") in (["good"], [])
            await until(lambda: server.failed == 1)
        assert "no such line" in caplog.text
        assert "127.0.0.1:" in caplog.text
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()
        await writer.wait_closed()


async def test_a_protocol_that_raises_ends_its_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def protocol() -> Any:
        raise RuntimeError("no database")

    async with Runner() as runner:
        server = SimpleServer(protocol, 0)
        runner.start(server)
        assert await ask(server.port, "hello") == []
        assert "no database" in caplog.text
        await until(lambda: not server.connections)
        assert server.failed == 1


@pytest.mark.parametrize(
    "data, reason", [(b"ok\n\xff\n", "no UTF-8"), (b"ok\n" + b"x" * 100_000, "longer than")]
)
async def test_bytes_that_are_no_item_end_their_connection_only(
    data: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: shout, 0)
        runner.start(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(data)
        await within(10, reader.read())
        writer.close()
        assert reason in caplog.text
        assert await ask(server.port, "next") == ["NEXT"]


async def test_what_came_before_the_bad_bytes_is_given() -> None:
    got = Collect()
    async with Runner() as runner:
        server = SimpleServer(lambda: got, 0)
        runner.start(server)
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"one\ntwo\n\xff\nthree\n")
        await until(lambda: got.done)
        assert got.items == ["one", "two"]
        writer.close()


async def test_more_connections_than_allowed_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: shout, 0, max_connections=2)
        runner.start(server)
        two = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await until(lambda: server.connections == 2)
        with caplog.at_level(logging.WARNING):
            assert await ask(server.port) == []
        assert "all the connections that it may (max_connections=2)" in caplog.text
        assert server.refused == 1
        for reader, writer in two:
            writer.write(b"here\n")
            assert await reader.readline() == b"HERE\n"
            writer.close()
        await until(lambda: server.connections == 0)
        assert await ask(server.port, "room again") == ["ROOM AGAIN"]


class Say(Component):
    """Send something, and stay."""

    inboxes = {}

    def __init__(self, what: str) -> None:
        self._what = what

    async def main(self) -> None:
        await self.send(self._what)
        await asyncio.Event().wait()


async def test_a_graph_without_an_inbox_hears_nothing_but_the_end() -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: Say("news"), 0)
        runner.start(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.readline() == b"news\n"
        noise = b"\xff is not looked at\n"
        writer.write(noise * 1000)
        (served,) = server._connections
        await until(lambda: served.received == 1000 * len(noise))
        writer.write_eof()
        assert await within(10, reader.read()) == b""
        writer.close()
        await until(lambda: not server.connections)


async def test_a_graph_without_an_outbox_says_nothing() -> None:
    got = Collect()
    async with Runner() as runner:
        server = SimpleServer(lambda: got, 0)
        runner.start(server)
        assert await ask(server.port, "one", "two") == []
        assert got.items == ["one", "two"]


async def test_a_graph_that_ends_closes_its_connection_after_all_is_said() -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: [f"line {n}" for n in range(1000)], 0)
        runner.start(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        answer = await within(10, reader.read())
        assert answer.decode().splitlines() == [f"line {n}" for n in range(1000)]
        writer.close()


async def test_a_peer_that_is_cut_off_ends_its_graph() -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: Say("hello"), 0)
        runner.start(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        writer.transport.abort()
        await until(lambda: server.connections == 0)


@pytest.mark.rule("FL1")
async def test_a_graph_that_does_not_read_stops_its_peer() -> None:
    gate = Gate()
    async with Runner() as runner:
        server = SimpleServer(lambda: gate, 0)
        runner.start(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        line = b"x" * 1000 + b"\n"
        sent = 0
        writer.transport.set_write_buffer_limits(high=0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    writer.write(line * 1000)
                    sent += 1000
                    await writer.drain()
        (served,) = server._connections
        assert served.received < sent * len(line)
        assert served._in is not None
        assert len(served._in) <= served._in.limit_items
        for _ in range(sent):
            gate.open.release()
        writer.write_eof()
        answer = await within(30, reader.read())
        assert answer.count(b"\n") == sent
        writer.close()


@pytest.mark.rule("FL1")
async def test_a_peer_that_does_not_read_stops_its_graph() -> None:
    made = 0

    def source() -> Any:
        nonlocal made
        while True:
            made += 1
            yield "x" * 10_000

    async with Runner() as runner:
        server = SimpleServer(lambda: source, 0)
        runner.start(server)
        sock = socket.create_connection(("127.0.0.1", server.port))
        before = -1
        while before != made:
            before = made
            await asyncio.sleep(0.1)
        assert 0 < made < 5000
        (served,) = server._connections
        assert served._transport.get_write_buffer_size() < 2_000_000
        sock.close()
        await until(lambda: not server.connections)


@pytest.mark.rule("FL1")
async def test_what_waits_for_a_peer_is_bounded_in_bytes() -> None:
    large = b"x" * 100_000

    def source() -> Any:
        while True:
            yield large

    async with Runner() as runner:
        server = SimpleServer(lambda: source, 0, framing="length", limit_bytes=250_000)
        runner.start(server)
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            await until(lambda: server.connections)
            (served,) = server._connections
            assert served._out is not None
            out = served._out
            # Full, and nothing moves: before that a sender may just have its turn.
            await until(lambda: served._paused and out.waiting_writers and out.full)
            assert 250_000 <= out.waiting_bytes <= 350_000
            assert len(out) <= 4
            # All goes on when it reads.
            assert len(await asyncio.to_thread(sock.recv, 10_000)) > 0
        await until(lambda: not server.connections)


@pytest.mark.rule("FL2")
async def test_asked_to_finish_it_works_off_what_came_and_says_it() -> None:
    gate = Gate()
    async with Runner() as runner:
        server = SimpleServer(lambda: Pipeline(gate, shout), 0)
        running = runner.start(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"one\ntwo\nthree\n")
        await until(lambda: gate.taken == 1)
        running.finish()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(3):
            gate.open.release()
        assert await within(10, reader.read()) == b"ONE\nTWO\nTHREE\n"
        writer.close()
        await within(10, running.wait())


async def test_asked_to_finish_before_it_has_begun_it_ends() -> None:
    async with Runner() as runner:
        server = SimpleServer(lambda: shout, 0)
        running = runner.start(server)
        running.finish()
        await within(5, running.wait())
        again = SimpleServer(lambda: shout, server.port)
        runner.start(again).stop()


async def test_stopped_it_cuts_all_off_and_leaves_nothing_behind() -> None:
    ended = asyncio.Event()

    class Stay(Component):
        async def main(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    async with Runner() as runner:
        server = SimpleServer(Stay, 0)
        running = runner.start(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await until(lambda: server.connections)
        running.stop()
        await within(5, running.wait())
        assert ended.is_set()
        with pytest.raises(ConnectionResetError):
            assert await within(5, reader.read()) == b""
            raise ConnectionResetError
        writer.close()


async def test_an_item_is_encoded_once_for_all_connections() -> None:
    class Counting:
        encoded = 0

        def encode(self, item: Any) -> bytes:
            Counting.encoded += 1
            return str(item).encode() + b"\n"

        def feed(self, data: bytes) -> list[Any]:
            return data.decode().split()

        def end(self) -> list[Any]:
            return []

    class Ear(Component):
        inboxes = {}

        def __init__(self) -> None:
            self.queue: asyncio.Queue[Any] = asyncio.Queue()
            ears.append(self)

        async def main(self) -> None:
            while True:
                await self.send(await self.queue.get())

    ears: list[Ear] = []
    async with Runner() as runner:
        server = SimpleServer(Ear, 0, framing=Counting())
        runner.start(server)
        connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
        await until(lambda: len(ears) == 20)
        item = "the same"
        for ear in ears:
            ear.queue.put_nowait(item)
        for reader, _ in connections:
            assert await reader.readline() == b"the same\n"
        assert Counting.encoded == 1
        for _, writer in connections:
            writer.close()


@pytest.mark.parametrize("framing", ["raw", "length", "msgpack", "lines"])
async def test_every_framing_goes_both_ways(framing: str) -> None:
    items: dict[str, list[Any]] = {
        "raw": [b"\x00\xff"],
        "length": [b"", b"\x00" * 70_000, b"end"],
        "msgpack": [{"a": [1, 2.5, None]}, "text", b"bytes"],
        "lines": ["", "grüße", "x" * 60_000],
    }
    got = Collect()
    async with Runner() as runner:
        server = SimpleServer(lambda: lambda item: item, 0, framing=framing)
        runner.start(server)
        client = start(
            runner, items[framing], TCPClient("127.0.0.1", server.port, framing=framing), got
        )
        await within(10, client.wait())
        assert got.items == items[framing]


async def test_a_path_serves_like_a_port(tmp_path: Any) -> None:
    path = tmp_path / "a.sock"
    got = Collect()
    async with Runner() as runner:
        server = Server(lambda peer: lambda line: f"{peer}: {line}", path=path)
        running = runner.start(server)
        assert server.address == str(path)
        assert path.stat().st_mode & 0o777 == 0o600
        client = start(runner, ["hello"], TCPClient(path=path), got)
        await within(10, client.wait())
        assert got.items == ["a local process: hello"]
        with pytest.raises(AddressInUseError, match="choose another path="):
            runner.start(SimpleServer(lambda: shout, path=path))
        running.finish()
        await within(5, running.wait())
        assert not path.exists()


async def test_a_socket_left_behind_is_replaced_and_a_file_is_not(tmp_path: Any) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(os.fspath(tmp_path / "left.sock"))
    left.close()
    (tmp_path / "file").write_text("precious")
    async with Runner() as runner:
        runner.start(SimpleServer(lambda: shout, path=tmp_path / "left.sock"))
        with pytest.raises(ConfigurationError, match="not a socket"):
            runner.start(SimpleServer(lambda: shout, path=tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "precious"


async def test_a_server_stands_in_a_graph_as_any_component() -> None:
    async with Runner() as runner:
        feed, got = Feed(), Collect()
        server = SimpleServer(lambda: shout, 0)
        graph = Graphline(server=server, feed=feed, got=got, linkages=["feed -> got"])
        running = runner.start(graph)
        assert await ask(server.port, "hello") == ["HELLO"]
        running.finish()
        await within(5, running.wait())
