"""Carriers of one socket: when they write, and what they act on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from hubbub.gateway.carriers import BATCH
from hubbub.gateway.socket_carrier import SocketCarrier, State
from hubbub.kernel import Limits
from hubbub.perspective.identity import Identity
from hubbub.perspective.session import Session
from hubbub.wire import session as wire


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_reading = True

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def abort(self) -> None:
        pass


class Desk:
    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


class Plain(SocketCarrier):
    form = "json"

    def pack(self, messages: Sequence[bytes]) -> bytes:
        return b" ".join(messages)

    def say_last(self, message: wire.Closing | wire.Fault) -> None:
        self._transport.write(wire.encode(message, "json"))

    def where(self) -> str:
        return "a test"


class Table:
    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.session = Session("s", "x", Identity("a:1", "a"), "json", Desk(), Limits(), "e1")
        self.carrier = Plain(transport)
        self.session.attach(self.carrier)
        self.carrier.begin(self.session, wire.Welcome("s", "x", "e1.0", False, "", "", 15, 60, 1))

    def mind(self, method: str) -> None:
        self.session.mind_call(0, method, b"[]", b"{}")

    def shown(self) -> list[list[str]]:
        """The methods of the calls in each write since the last time."""
        written, self.transport.written = self.transport.written, []
        return [[msgspec.json.decode(text)["method"] for text in data.split()] for data in written]


@pytest.fixture
async def table() -> Table:
    table = Table(Transport())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    table.transport.written.clear()
    return table


async def test_what_comes_in_one_turn_goes_out_in_one_write(table: Table) -> None:
    for method in ("a", "b", "c"):
        table.mind(method)
    assert table.shown() == []
    await asyncio.sleep(0)
    assert table.shown() == [["a", "b", "c"]]
    await asyncio.sleep(0)
    assert table.shown() == []


@pytest.mark.rule("PE5")
async def test_nothing_is_taken_for_a_client_that_does_not_read(table: Table) -> None:
    table.carrier.pause_writing()
    table.mind("a")
    await asyncio.sleep(0)
    assert table.shown() == []
    table.carrier.resume_writing()
    await asyncio.sleep(0)
    assert table.shown() == [["a"]]


async def test_once_it_is_closed_nothing_is_written_any_more(table: Table) -> None:
    table.session.close(wire.Closing("ended"))
    assert table.transport.written == [wire.encode(wire.Closing("ended"), "json")]
    table.carrier.wake()
    table.carrier.received([b"garbage"])
    await asyncio.sleep(0)
    assert len(table.transport.written) == 1
    assert table.carrier.state is State.CLOSING
    table.carrier.lost()
    table.carrier.lost()


async def test_garbage_ends_the_connection_and_not_the_session(table: Table) -> None:
    table.carrier.received([b'{"t":"ping"}', b"garbage", b'{"t":"bye"}'])
    fault = wire.decode_to_client(table.transport.written[-1], "json")
    assert isinstance(fault, wire.Fault)
    assert fault.code == "garbled"
    assert not table.session.is_attached


@pytest.mark.rule("PE7")
async def test_many_messages_are_acted_on_in_turns_and_in_order(table: Table) -> None:
    pings = [b'{"t":"ping","n":%d}' % n for n in range(1, 3 * BATCH)]
    table.carrier.received(pings)
    assert not table.transport.is_reading
    table.carrier.received([b'{"t":"ping","n":%d}' % (3 * BATCH)])
    for _ in range(6):
        await asyncio.sleep(0)
    assert table.transport.is_reading
    assert wire.decode_to_client(table.transport.written[-1], "json") == wire.Pong(3 * BATCH)
