"""Items to bytes and back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.flow import FramingError, Length, Lines, MessagePack, Raw
from hubbub.flow.net.framing import Framing, framing_of, fresh
from hubbub.kernel import ConfigurationError

lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def in_pieces(framing: Framing, data: bytes, cuts: list[int]) -> list[Any]:
    """Feed ``data`` in pieces of these lengths, and then the rest."""
    items = []
    for cut in cuts:
        items += framing.feed(data[:cut])
        data = data[cut:]
    return items + framing.feed(data) + framing.end()


cuts = st.lists(st.integers(0, 9), max_size=30)


@given(st.lists(lines, max_size=10), cuts)
def test_lines_come_back_however_the_stream_is_cut(items: list[str], pieces: list[int]) -> None:
    data = b"".join(map(Lines().encode, items))
    assert in_pieces(Lines(), data, pieces) == items


@given(st.lists(st.binary(max_size=20), max_size=10), cuts)
def test_frames_come_back_however_the_stream_is_cut(items: list[bytes], pieces: list[int]) -> None:
    data = b"".join(map(Length().encode, items))
    assert in_pieces(Length(), data, pieces) == items


@given(st.lists(values, max_size=6), cuts)
def test_values_come_back_however_the_stream_is_cut(items: list[Any], pieces: list[int]) -> None:
    data = b"".join(map(MessagePack().encode, items))
    assert in_pieces(MessagePack(), data, pieces) == items


@given(st.lists(st.binary(max_size=20), max_size=10), cuts)
def test_raw_bytes_come_back_in_order(items: list[bytes], pieces: list[int]) -> None:
    data = b"".join(map(Raw().encode, items))
    assert b"".join(in_pieces(Raw(), data, pieces)) == data


def test_carriage_returns_belong_to_the_end_of_a_line() -> None:
    assert Lines().feed(b"a\r\nb\n\r\n") == ["a", "b", ""]
    assert Lines().encode("a\r\n") == Lines().encode("a\n") == Lines().encode("a") == b"a\n"


def test_a_last_line_needs_no_end() -> None:
    framing = Lines()
    assert framing.feed(b"one\ntwo") == ["one"]
    assert framing.end() == ["two"]
    assert framing.end() == []


def test_the_longest_line_is_allowed_and_no_longer_one() -> None:
    framing = Lines(limit_bytes=4)
    assert framing.feed(b"1234\r\n12") == ["1234"]
    assert framing.feed(b"34\n") == ["1234"]
    with pytest.raises(
        FramingError, match="a line is longer than 4 bytes; allow more with limit_bytes"
    ) as at_once:
        framing.feed(b"ok\n12345\n")
    assert at_once.value.items == ["ok"]
    with pytest.raises(FramingError, match="longer than 4 bytes"):
        Lines(limit_bytes=4).feed(b"123456")  # nobody waits for its end
    piecemeal = Lines(limit_bytes=4)
    with pytest.raises(FramingError, match="longer than 4 bytes"):
        for _ in range(10):
            piecemeal.feed(b"1")
    with pytest.raises(FramingError, match="longer than 4 bytes"):
        framing.encode("12345")


def test_bytes_that_are_no_utf_8_are_told_apart_from_the_lines_before() -> None:
    with pytest.raises(FramingError, match=r"no UTF-8.*say framing='raw' or 'length'") as caught:
        Lines().feed(b"good\n\xff\xfe\nafter\n")
    assert caught.value.items == ["good"]
    with pytest.raises(FramingError, match="no UTF-8"):
        framing = Lines()
        framing.feed(b"\xe2\x82")
        framing.end()


def test_what_is_no_line_is_not_sent() -> None:
    with pytest.raises(
        FramingError, match="'lines' sends str, not dict: make a text of it, or say framing="
    ):
        Lines().encode({})
    with pytest.raises(FramingError, match="line feed in it"):
        Lines().encode("a\nb")
    with pytest.raises(FramingError, match="can't send this text"):
        Lines().encode("\ud800")


def test_frames_have_a_limit_both_ways() -> None:
    with pytest.raises(FramingError, match="a frame is longer than 3 bytes"):
        Length(limit_bytes=3).encode(b"1234")
    with pytest.raises(FramingError, match="a frame is longer than 3 bytes") as caught:
        Length(limit_bytes=3).feed(Length().encode(b"1") + b"\xff\xff\xff\xff")
    assert caught.value.items == [b"1"]
    with pytest.raises(FramingError, match="'length' sends bytes, not str"):
        Length().encode("text")


def test_a_stream_that_ends_inside_a_frame_says_so() -> None:
    framing = Length()
    framing.feed(b"\x00\x00\x00\x05abc")
    with pytest.raises(FramingError, match="in the middle of a frame, 7 bytes into it"):
        framing.end()


class Reading(msgspec.Struct):
    level: int


def test_messages_can_be_checked_against_a_type() -> None:
    framing = MessagePack(kind=Reading)
    data = framing.encode(Reading(3))
    assert fresh(framing).feed(data) == [Reading(3)]
    with pytest.raises(FramingError, match="no such MessagePack") as caught:
        fresh(framing).feed(data + MessagePack().encode({"level": "high"}))
    assert caught.value.items == [Reading(3)]
    with pytest.raises(FramingError, match="no such MessagePack"):
        MessagePack().feed(b"\x00\x00\x00\x01\xc1")
    with pytest.raises(FramingError, match="'msgpack' can't send object"):
        MessagePack().encode(object())
    with pytest.raises(FramingError, match="longer than 5 bytes"):
        MessagePack(limit_bytes=5).encode("longer")


def test_raw_chunks_have_a_limit() -> None:
    assert Raw(limit_bytes=2).feed(b"12345") == [b"12", b"34", b"5"]
    assert Raw().encode(bytearray(b"1")) == b"1"
    with pytest.raises(FramingError, match="'raw' sends bytes, not str"):
        Raw().encode("text")


def test_a_copy_shares_nothing_of_the_stream() -> None:
    framing = framing_of("lines")
    one, other = fresh(framing), fresh(framing)
    one.feed(b"half a ")
    assert other.feed(b"line\n") == ["line"]
    assert one.feed(b"line\n") == ["half a line"]


def test_a_framing_that_is_none_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match="no framing 'json'; there are 'lines', 'raw', 'length', 'msgpack'"
    ):
        framing_of("json")
    with pytest.raises(ConfigurationError, match="make an object of it"):
        framing_of(Lines)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="it has no encode"):
        framing_of(object())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="at least 1"):
        Lines(limit_bytes=0)
    assert framing_of(custom := Lines()) is custom
