"""Plain WebSocket frames, against the library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from hubbub.gateway.web_frames import FrameCutter, text_frame, text_of

frames = st.builds(
    Frame,
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT]),
    st.binary(max_size=100),
    st.booleans(),
)


def by_client(frame: Frame) -> bytes:
    return frame.serialize(mask=True)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_client_of_the_library_reads_our_frames(size: int) -> None:
    client = ClientProtocol(parse_uri("ws://x/"))
    request = client.connect()
    client.send_request(request)
    server = ServerProtocol()
    server.receive_data(b"".join(client.data_to_send()))
    (asked,) = server.events_received()
    server.send_response(server.accept(asked))  # type: ignore[arg-type]
    client.receive_data(b"".join(server.data_to_send()))
    client.events_received()
    client.receive_data(text_frame(b"m" * size))
    (frame,) = client.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, bytes(frame.data), frame.fin) == (Opcode.TEXT, b"m" * size, True)


@given(st.lists(frames, max_size=5), st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_frames_are_cut_however_they_arrive(sent: list[Frame], sizes: list[int]) -> None:
    data = b"".join(map(by_client, sent))
    cutter = FrameCutter(1 << 20)
    found: list[tuple[int, bytes]] = []
    while data:
        size = sizes.pop(0) if sizes else len(data)
        found += cutter.feed(data[:size])
        data = data[size:]
    assert len(found) == len(sent)
    for (start, whole), frame in zip(found, sent, strict=True):
        assert bool(start) == (frame.opcode is Opcode.TEXT and frame.fin)
        if start:
            assert text_of(whole, start) == frame.data


@pytest.mark.parametrize("size", [10, 1000, 100_000])
def test_large_frames_are_cut_too(size: int) -> None:
    data = by_client(Frame(Opcode.TEXT, b"m" * size)) * 3
    cutter = FrameCutter(1 << 20)
    found = [one for n in range(0, len(data), 777) for one in cutter.feed(data[n : n + 777])]
    assert [text_of(whole, start) for start, whole in found] == [b"m" * size] * 3


@pytest.mark.rule("PE5")
def test_a_frame_over_the_limit_is_passed_on_and_not_kept() -> None:
    data = by_client(Frame(Opcode.TEXT, b"m" * 1001))
    cutter = FrameCutter(1000)
    assert cutter.feed(data[:50]) == [(0, data[:50])]
    assert cutter.feed(data[50:]) == [(0, data[50:])]


def test_a_frame_without_a_mask_is_not_a_plain_one() -> None:
    data = Frame(Opcode.TEXT, b"m").serialize(mask=False)
    assert FrameCutter(1000).feed(data) == [(0, data)]


def test_the_same_text_gets_the_same_frame_and_another_one_its_own() -> None:
    text, other = b"hello", b"world"
    first = text_frame(text)
    assert text_frame(text) is first
    assert text_frame(other) == b"\x81\x05world"
    assert text_frame(text) == b"\x81\x05hello"
    assert text_frame(b"") == b"\x81\x00"
