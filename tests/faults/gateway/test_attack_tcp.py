"""Attacks on the hub's own port, as a user: resets, greetings and calls that are too large."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub import Limits
from hubbub.gateway import tcp
from hubbub.gateway.user_connection import close_gently
from hubbub.kernel import RemoteProtocolError
from hubbub.perspective.session import Session
from hubbub.wire import peer
from hubbub.wire import session as wire
from hubbub.wire.frames import PREFACE_USER, FrameReader, frame
from tests.conformance.gateway.application import Served, served


async def open_tcp(hub: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = hub.tcp.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def messages(reader: asyncio.StreamReader) -> list[Any]:
    data = await asyncio.wait_for(reader.read(-1), 1)
    return [msgspec.msgpack.decode(payload) for payload in FrameReader(1 << 20).feed(data)]


class _Reset(asyncio.Transport):
    """A stream that the client has reset, before the loop has told anybody."""

    aborted = False

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        raise OSError(107, "Transport endpoint is not connected")

    def abort(self) -> None:
        self.aborted = True


async def test_a_client_that_is_reset_while_it_is_told_does_not_stop_the_teller() -> None:
    """It used to end `Portal.drain` halfway: nobody behind it was told, and the host did not close."""
    transport = _Reset()
    close_gently(transport).cancel()
    assert transport.aborted


@pytest.mark.rule("PE7")
@pytest.mark.parametrize(
    "hello",
    [
        {"t": "hello", "credentials": {"name": "a" + "\u0301" * 200_000 + "\u0323" * 200_000}},
        {"t": "hello", "credentials": {"k" * 20_000: "v"}},
        {"t": "hello", "credentials": {f"k{n}": "v" for n in range(50)}},
    ],
    ids=["value", "key", "many"],
)
async def test_credentials_are_bounded_before_anybody_looks_at_them(hello: Any) -> None:
    async with served() as hub:
        reader, writer = await open_tcp(hub)
        writer.write(PREFACE_USER + frame(msgspec.msgpack.encode(hello)))
        (fault,) = await messages(reader)
        assert fault["code"] == "garbled"
        writer.close()


@pytest.mark.rule("PE7")
def test_a_target_has_so_many_steps_and_no_more() -> None:
    step = {"name": "room"}
    for form, codec in (("json", msgspec.json), ("msgpack", msgspec.msgpack)):
        for kind in ("call", "watch"):
            message = {"t": kind, "id": 1, "name": "x", "target": [step] * wire.MAX_STEPS}
            wire.decode_to_host(codec.encode(message), form)
            message["target"] = [step] * (wire.MAX_STEPS + 1)
            with pytest.raises(RemoteProtocolError):
                wire.decode_to_host(codec.encode(message), form)


@pytest.mark.rule("PE7")
async def test_those_over_the_limit_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "_LINGERING", 3)
    async with served(Limits(max_connections_per_address=1)) as hub:
        pairs = [await open_tcp(hub) for _ in range(8)]
        told = 0
        for reader, _ in pairs[1:]:
            with contextlib.suppress(OSError):
                told += bool(await asyncio.wait_for(reader.read(-1), 1))
        assert told == 3
        for _, writer in pairs:
            writer.transport.abort()
        async with asyncio.timeout(1):
            while len(hub.tcp) or hub.tcp.lingering:
                await asyncio.sleep(0.005)


@pytest.mark.rule("PE8")
async def test_a_burst_of_small_messages_leaves_turns_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served() as hub:
        reader, writer = await open_tcp(hub)
        writer.write(PREFACE_USER + frame(msgspec.msgpack.encode({"t": "hello"})))
        await reader.read(2000)
        receive = Session.receive
        turns = 0
        seen: list[int] = []

        def counted(session: Session, message: wire.ToHost) -> None:
            seen.append(turns)
            receive(session, message)

        monkeypatch.setattr(Session, "receive", counted)

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        burst = frame(msgspec.msgpack.encode({"t": "unwatch", "id": 1})) * 20_000
        writer.write(burst + frame(msgspec.msgpack.encode({"t": "ping", "n": 7})))
        answers = FrameReader(1 << 20)
        async with asyncio.timeout(2):
            while not any(b"\x07" in payload for payload in answers.feed(await reader.read(2000))):
                pass
        task.cancel()
        assert len(seen) == 20_001
        assert max(seen.count(turn) for turn in set(seen)) <= 400
        writer.close()


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)
kinds = ["hello", "call", "watch", "unwatch", "cancel", "ack", "reply", "ping", "bye", "sing"]
fields = st.sampled_from(
    [
        "protocol",
        "checker",
        "credentials",
        "mind",
        "session",
        "secret",
        "cursor",
        "id",
        "name",
        "target",
        "ref",
        "args",
        "kwargs",
        "value",
        "error",
        "n",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(kinds), st.dictionaries(fields, plain, max_size=6))
def test_any_type_in_any_field_is_a_message_or_garbled(kind: str, given_: dict[str, Any]) -> None:
    with contextlib.suppress(RemoteProtocolError):
        wire.decode_to_host(msgspec.msgpack.encode({"t": kind, **given_}), "msgpack")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 40), st.lists(plain, max_size=8))
def test_any_array_is_a_peers_message_or_garbled(kind: int, members: list[Any]) -> None:
    data = msgspec.msgpack.encode([kind, *members])
    for decode in (peer.decode_to_host, peer.decode_to_peer):
        with contextlib.suppress(RemoteProtocolError):
            decode(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_frames_messages_or_garbled(data: bytes) -> None:
    for decode in (
        FrameReader(1000).feed,
        peer.decode_to_host,
        lambda d: wire.decode_to_host(d, "json"),
        lambda d: wire.decode_to_host(d, "msgpack"),
        lambda d: wire.decode_to_client(d, "msgpack"),
        lambda d: wire.plain_value(msgspec.Raw(d), "msgpack"),
    ):
        with contextlib.suppress(RemoteProtocolError):
            decode(data)
