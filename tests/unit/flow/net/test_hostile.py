"""Peers that mean no good: they cost memory, work and log lines within bounds, and others nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from hubbub.flow import Component, Runner, SimpleServer, SingleServer, TCPClient
from hubbub.flow.net.acked import Acked
from hubbub.flow.net.frames import PREFACE, Again, Handled, Hello, Item, Message, frame
from hubbub.flow.net.framing import Length
from hubbub.flow.net.numbering import MOST_WINDOW, Arrivals, Numbering, Origins
from hubbub.flow.net.single import KNOCKING
from hubbub.flow.net.sparingly import Sparingly
from hubbub.kernel import FramingError, RemoteProtocolError
from tests.unit.flow.net.parts import Collect, start, until, within


def wire(numbering: Numbering) -> Acked:
    framing = Length()
    made = Acked(numbering, Origins(), framing.encode, framing)
    made.opened(lambda: None)
    return made


def hear(made: Acked, *messages: Message) -> None:
    made.feed(b"".join(map(frame, messages)))


def greeted() -> Acked:
    made = wire(Numbering("a"))
    made.feed(PREFACE + frame(Hello("b", 1)))
    made.pack([b"x" * 1000] * 100, 1 << 20)
    return made


def test_what_is_asked_for_again_and_again_is_said_once() -> None:
    made = greeted()
    for _ in range(100):
        hear(made, Again([(1, 100)]))
    assert len(made.reply()) < 110_000
    assert made.reply() == b""


@pytest.mark.parametrize("kind", [Again, Handled])
@pytest.mark.parametrize("numbers", [[(1, 50), (1, 50)], [(1, 50), (50, 60)], [(20, 20), (3, 3)]])
def test_a_frame_that_names_numbers_twice_is_refused(
    kind: type[Again | Handled], numbers: list[tuple[int, int]]
) -> None:
    with pytest.raises(FramingError, match="out of order, or twice"):
        hear(greeted(), kind(numbers))


def test_what_was_kept_goes_before_what_is_new() -> None:
    numbering = Numbering("a")
    for body in (b"1", b"2"):
        numbering.add(body)
    made = wire(numbering)
    made.feed(PREFACE + frame(Hello("b", 1)))
    data, _ = made.pack([b"3"], 1000)  # before anybody has asked for a reply
    assert data == b"".join(
        frame(Item(number, 1, body))
        for number, body in enumerate((b"1", b"2", Length().encode(b"3")), start=1)
    )
    assert made.reply() == b""


def test_what_nobody_hears_is_bounded() -> None:
    arrivals = Arrivals("a", MOST_WINDOW * 3)
    with pytest.raises(RemoteProtocolError, match="is not read"):
        for number in range(1, MOST_WINDOW * 2):
            assert not arrivals.take(number, 1)


async def hung_up(server: SimpleServer, writer: asyncio.StreamWriter) -> None:
    """Cut the peer off, and wait until both sides have noticed."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    await until(lambda: not server.connections)


class Tells(Component):
    """Says much, and reads on."""

    async def main(self) -> None:
        for _ in range(500):
            await self.send("x" * 2000)
        async for _ in self.inbox:
            pass


async def test_who_asks_and_does_not_read_fills_no_memory() -> None:
    async with Runner() as runner:
        server = SimpleServer(Tells, 0, acked=True)
        runner.start(server)
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(PREFACE + frame(Hello("evil", 1)))
        await until(lambda: server.connections)
        (served,) = server._connections
        wire: Any = served.wire
        await until(lambda: len(wire._numbering) > 100)
        before = served.received
        asked = frame(Again([(1, 100)])) * 2000
        writer.write(asked)
        await until(lambda: served.received == before + len(asked))
        assert served._transport.get_write_buffer_size() < 4 << 20
        await hung_up(server, writer)


async def test_after_a_fault_what_is_handled_is_said_to_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got = Collect()
    async with Runner() as runner:
        server = SimpleServer(lambda: got.items.append, 0, acked=True)
        runner.start(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        items = b"".join(frame(Item(number, 1, b"a\n")) for number in (1, 2, 3))
        writer.write(PREFACE + frame(Hello("b", 1)) + items + frame(Item(1, 9, b"a\n")))
        await within(10, reader.read())
        await hung_up(server, writer)
    assert got.items == ["a"] * 3
    assert "makes no sense here" in caplog.text
    assert "write_eof" not in caplog.text


async def test_those_who_never_say_who_they_are_give_way(caplog: pytest.LogCaptureFixture) -> None:
    got = Collect()
    async with Runner() as runner:
        server = SingleServer(0, acked=True)
        start(runner, server, got)
        silent = [
            await asyncio.open_connection("127.0.0.1", server.port) for _ in range(KNOCKING + 10)
        ]
        client = start(runner, ["hello"], TCPClient("127.0.0.1", server.port, acked=True))
        await within(10, client.wait())
        assert got.items == ["hello"]
        assert server.refused >= 10
        for _, writer in silent:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    assert caplog.text.count("it takes one connection at a time") < 10


def test_a_log_is_not_filled_by_strangers(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    told = Sparingly(logging.getLogger("hubbub.flow.net"), most=2, clock=lambda: now)
    for number in range(10):
        told.warning("bad %d", number)
    now = 1.5
    told.warning("bad again")
    assert [record.getMessage() for record in caplog.records] == [
        "bad 0",
        "bad 1",
        "8 more such warnings were left out",
        "bad again",
    ]
