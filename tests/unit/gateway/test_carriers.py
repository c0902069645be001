from __future__ import annotations

import asyncio

import pytest

from hubbub import LimitError
from hubbub.gateway.carriers import Connections, Heartbeat, WaitingCarrier, joined, split_messages
from hubbub.gateway.http_session import cursor_after
from hubbub.wire import session as wire


async def test_a_carrier_remembers_that_it_was_woken():
    carrier = WaitingCarrier()
    carrier.wake()
    carrier.wake()
    await carrier.wait()
    assert not await carrier.wait_for(0.01)
    asyncio.get_running_loop().call_later(0.01, carrier.wake)
    assert await carrier.wait_for(5)


async def test_the_first_closing_counts():
    carrier = WaitingCarrier()
    carrier.close(wire.Closing("drain"))
    carrier.close(wire.Closing("ended"))
    assert await carrier.wait_for(5)
    assert carrier.closing == wire.Closing("drain")


async def test_a_heartbeat_beats_and_notices_silence():
    beats: list[int] = []
    silent = asyncio.Event()
    heart = Heartbeat(0.04, lambda: beats.append(1), silent.set)
    await asyncio.wait_for(silent.wait(), 5)
    assert 1 <= len(beats) <= 4
    heart.stop()


async def test_who_is_heard_is_not_silent():
    silent: list[int] = []
    heart = Heartbeat(0.04, lambda: None, lambda: silent.append(1))
    for _ in range(20):
        await asyncio.sleep(0.01)
        heart.heard()
    assert not silent
    heart.stop()


@pytest.mark.rule("PE7")
def test_connections_are_counted_by_address():
    doors = Connections(3, 2)
    doors.enter("a")
    with doors.hold("a"):
        with pytest.raises(LimitError) as caught:
            doors.enter("a")
        assert caught.value.code == "address_full"
        doors.enter("b")
        with pytest.raises(LimitError) as caught:
            doors.enter("c")
        assert caught.value.code == "host_full"
    doors.enter("a")
    for address in "aab":
        doors.leave(address)
    assert len(doors) == 0


def test_messages_come_alone_or_in_arrays():
    assert split_messages(b'{"t":"ping"}') == [b'{"t":"ping"}']
    assert split_messages(b' [{"a":1}, {"b":[2]}]') == [b'{"a":1}', b'{"b":[2]}']
    assert split_messages(b"[]") == []
    assert split_messages(b"[{") == [b"[{"]
    assert joined([b"1", b"2"]) == b"[1,2]"


def test_the_cursor_follows_what_was_sent():
    result = wire.encode(wire.Result(7, 1), "json")
    lagged = wire.encode(wire.Lagged("new.0"), "json")
    pong = wire.encode(wire.Pong(9), "json")
    assert cursor_after([result], "old.3") == "old.7"
    assert cursor_after([lagged], "old.3") == "new.0"
    assert cursor_after([pong], "old.3") == "old.3"
