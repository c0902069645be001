"""Datagrams."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hubbub.flow import (
    Component,
    ComponentFailedError,
    Datagram,
    Duplex,
    FramingError,
    Pipeline,
    Runner,
    UDPPeer,
)
from hubbub.kernel import AddressInUseError, ConfigurationError
from tests.unit.flow.net.parts import Collect, Feed, start, until, within


async def test_datagrams_go_to_a_peer_and_its_answers_come_back() -> None:
    got, feed = Collect(), Feed()
    async with Runner() as runner:
        echo = UDPPeer(0, framing="lines")

        runner.start(Duplex(echo, lambda d: Datagram(d.item.upper(), d.address)))
        client = UDPPeer(to=("127.0.0.1", echo.port), framing="lines")
        start(runner, feed, client, got)
        feed.put("one")
        assert await within(5, got.count(1)) == ["ONE"]
        assert (client.sent, client.received, echo.received) == (1, 1, 1)


async def test_a_datagram_without_items_is_counted() -> None:
    got = Collect()
    async with Runner() as runner:
        peer = UDPPeer(0, framing="msgpack")
        start(runner, peer, got)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"\xff\xff", ("127.0.0.1", peer.port))
            await until(lambda: peer.unreadable == 1)
            sock.sendto(b"\x00\x00\x00\x01\x07", ("127.0.0.1", peer.port))
            assert await within(5, got.count(1)) == [
                Datagram(7, ("127.0.0.1", sock.getsockname()[1]))
            ]


async def test_what_the_graph_has_no_room_for_is_dropped_and_counted() -> None:
    class Never(Component):
        outboxes = {}

        async def main(self) -> None:
            await asyncio.Event().wait()

    async with Runner() as runner:
        peer = UDPPeer(0)
        start(runner, peer, Never())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(150):
                sock.sendto(b"flood", ("127.0.0.1", peer.port))
                await asyncio.sleep(0)
            await until(lambda: peer.received == 150)
        assert peer.dropped == 50


async def test_it_ends_with_its_inbox_or_when_it_is_asked_to() -> None:
    async with Runner() as runner:
        peer = UDPPeer(0)
        running = start(runner, peer, Collect())
        await within(5, start(runner, [b"1", b"2"], UDPPeer(to=("127.0.0.1", peer.port))).wait())
        running.finish()
        await within(5, running.wait())


async def test_what_can_not_be_sent_is_a_failure() -> None:
    with pytest.raises(ComponentFailedError, match="longer than limit_bytes=10") as caught:
        await within(5, Pipeline([b"x" * 11], UDPPeer(to=("127.0.0.1", 9), limit_bytes=10)))
    assert isinstance(caught.value.__cause__, FramingError)
    with pytest.raises(ComponentFailedError, match="has no to="):
        await within(5, Pipeline([b"x"], UDPPeer()))


async def test_a_port_that_is_taken_is_told() -> None:
    async with Runner() as runner:
        peer = UDPPeer(0)
        start(runner, peer, Collect())
        with pytest.raises(AddressInUseError, match="choose another port, or 0"):
            runner.start(Pipeline(UDPPeer(peer.port), Collect()))
    with pytest.raises(ConfigurationError, match="1 to 65507"):
        UDPPeer(limit_bytes=70_000)
