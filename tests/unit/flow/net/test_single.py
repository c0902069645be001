"""One connection at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from hubbub.flow import Duplex, Graphline, Pipeline, Runner, SingleServer, TCPClient
from hubbub.kernel import AddressInUseError
from tests.unit.flow.net.parts import Collect, Feed, Gate, start, until, within


async def test_what_one_peer_after_the_other_sends_leaves_by_its_outbox() -> None:
    got, server = Collect(), SingleServer(0)
    async with Runner() as runner:
        runner.start(Graphline(events=server, got=got, linkages=["events -> got"]))
        for name in ("ann", "bob"):
            client = start(
                runner, [f"{name} {n}" for n in range(300)], TCPClient("127.0.0.1", server.port)
            )
            await within(5, client.wait())
        assert got.items == [f"{name} {n}" for name in ("ann", "bob") for n in range(300)]
        assert server.accepted == 2


async def test_the_peers_connection_ends_when_all_it_sent_has_been_handled() -> None:
    gate, got, server = Gate(), Collect(), SingleServer(0)
    async with Runner() as runner:
        start(runner, server, gate, got)
        client = start(runner, ["one", "two"], TCPClient("127.0.0.1", server.port))
        await until(lambda: gate.taken)
        gate.open.release()
        await got.count(1)
        assert not client.is_over
        gate.open.release()
        await within(5, client.wait())
        assert got.items == ["one", "two"]


async def test_a_question_is_answered_after_the_end_of_the_questions() -> None:
    got, server = Collect(), SingleServer(0)
    async with Runner() as runner:
        runner.start(Duplex(server, str.upper))
        client = start(runner, ["a", "b"], TCPClient("127.0.0.1", server.port), got)
        await within(5, client.wait())
        assert got.items == ["A", "B"]


async def test_a_second_peer_is_refused_while_there_is_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got, server = Collect(), SingleServer(0)
    async with Runner() as runner:
        start(runner, server, got)
        _, first = await asyncio.open_connection("127.0.0.1", server.port)
        await until(lambda: server.is_connected)
        with caplog.at_level(logging.WARNING):
            reader, second = await asyncio.open_connection("127.0.0.1", server.port)
            assert await within(5, reader.read()) == b""
        assert "one connection at a time" in caplog.text
        assert server.refused == 1
        first.write(b"still here\n")
        await within(5, got.count(1))
        first.close()
        second.close()


@pytest.mark.rule("FL1", "FL2")
async def test_what_it_is_to_send_waits_for_somebody() -> None:
    server = SingleServer(0)
    async with Runner() as runner:
        running = start(runner, [f"{n}" for n in range(500)], server)
        await until(lambda: server.running.box_of(server, "inbox").full)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await within(5, reader.read()) == b"".join(b"%d\n" % n for n in range(500))
        writer.close()
        await within(5, running.wait())


async def test_bad_bytes_end_the_connection_and_not_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got, server = Collect(), SingleServer(0)
    async with Runner() as runner:
        start(runner, server, got)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"good\n\xff\n")
        assert await within(5, reader.read()) == b""
        writer.close()
        await until(lambda: not server.is_connected)
        await within(5, start(runner, ["next"], TCPClient("127.0.0.1", server.port)).wait())
        assert got.items == ["good", "next"]
        assert "no UTF-8" in caplog.text


@pytest.mark.rule("FL2")
async def test_asked_to_finish_it_takes_nothing_more_and_hands_on_what_came() -> None:
    gate, got, server = Gate(), Collect(), SingleServer(0)
    async with Runner() as runner:
        running = start(runner, server, gate, got)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"one\ntwo\n")
        await until(lambda: gate.taken)
        running.finish()
        gate.open.release()
        gate.open.release()
        assert await within(5, reader.read()) == b""
        writer.close()
        await within(10, running.wait())
        assert got.items == ["one", "two"]


async def test_asked_to_finish_it_says_what_its_feeders_still_have() -> None:
    feed, gate, server = Feed(), Gate(), SingleServer(0)
    async with Runner() as runner:
        running = start(runner, feed, gate, server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        feed.put("one", "two")
        await until(lambda: gate.taken and len(gate._inbox) != 0)
        running.finish()
        gate.open.release()
        gate.open.release()
        assert await within(5, reader.read()) == b"one\ntwo\n"
        writer.close()
        await within(10, running.wait())


async def test_a_ring_of_a_server_and_a_worker_finishes() -> None:
    server = SingleServer(0)
    async with Runner() as runner:
        running = runner.start(Duplex(server, str.upper))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"ONE\n"
        running.finish()
        assert await within(5, reader.read()) == b""
        writer.close()
        await within(10, running.wait())


async def test_a_port_that_is_taken_is_told() -> None:
    async with Runner() as runner:
        server = SingleServer(0)
        start(runner, server, Collect())
        with pytest.raises(AddressInUseError, match="choose another port, or 0"):
            runner.start(Pipeline(SingleServer(server.port), Collect()))


async def test_stopped_it_cuts_off_also_those_who_have_not_said_who_they_are() -> None:
    server = SingleServer(0, acked=True)
    async with Runner() as runner:
        running = start(runner, server, Collect())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.readline() == b"\xffhubbub/1 flow\n"
        running.stop()
        await within(5, running.wait())
        with contextlib.suppress(ConnectionResetError):
            await within(5, reader.read())
        writer.close()
