"""The frames of `acked=True`, as spec/wire-flow.md has them (sans-I/O).

A line of text first, so that whoever expected something else sees what this is; then frames: four bytes of length, the
most significant first, and a MessagePack array whose first element says what it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import msgspec

from hubbub.kernel import RemoteProtocolError

PREFACE = b"\xffhubbub/1 flow\n"
"""What each side says first. No UTF-8 begins so: who expects lines takes it for none of them."""

BOTH_SIDES = "say acked=True on both sides, or on none"
"""What helps where only one side numbers."""

Ranges = list[tuple[int, int]]
"""Numbers: from and to, both included."""


class Hello(msgspec.Struct, array_like=True, tag="hello", frozen=True):
    """Who numbers what comes, and from where on it may come again."""

    origin: str
    floor: int


class Item(msgspec.Struct, array_like=True, tag="item", frozen=True):
    """An item. ``body`` is what the framing makes of it."""

    number: int
    floor: int
    body: bytes


class Handled(msgspec.Struct, array_like=True, tag="handled", frozen=True):
    """These have been handled, and need not be sent again."""

    numbers: Ranges


class Again(msgspec.Struct, array_like=True, tag="again", frozen=True):
    """These were lost on this side after they had come: send them again."""

    numbers: Ranges


class Alive(msgspec.Struct, array_like=True, tag="alive", frozen=True):
    """A sign of life."""

    floor: int


class End(msgspec.Struct, array_like=True, tag="end", frozen=True):
    """This side sends no more items, and all that it sent are handled."""


class Refusal(msgspec.Struct, array_like=True, tag="refusal", frozen=True):
    """This connection is not wanted."""

    reason: str


Message = Hello | Item | Handled | Again | Alive | End | Refusal

_HEAD = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def frame(message: Message) -> bytes:
    """Return ``message`` as a frame."""
    body = _encode(message)
    return _HEAD.pack(len(body)) + body


class Frames:
    """Cut a stream into messages.

    Args:
        limit_bytes: The longest frame.
    """

    __slots__ = ("_begun", "_limit", "_rest")

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._rest = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that ``data`` completes.

        Raises:
            RemoteProtocolError: If what came is none of them. Nothing can be fed any more.
        """
        rest = self._rest
        rest += data
        if not self._begun and not self._begin():
            return []
        at, end = 0, len(rest)
        messages: list[Message] = []
        while end - at >= _HEAD.size:
            (length,) = _HEAD.unpack_from(rest, at)
            if length > self._limit:
                raise RemoteProtocolError(
                    f"a frame of {length} bytes came, and {self._limit} are allowed: "
                    "allow more with the framing's limit_bytes, on both sides"
                )
            if end - at - _HEAD.size < length:
                break
            at += _HEAD.size
            try:
                messages.append(_decode(memoryview(rest)[at : at + length]))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise RemoteProtocolError(f"a frame came that is none: {error}") from None
            at += length
        del rest[:at]
        return messages

    def _begin(self) -> bool:
        rest = self._rest
        if not PREFACE.startswith(bytes(rest[: len(PREFACE)])):
            raise RemoteProtocolError(
                f"the other side does not number what it sends ({bytes(rest[:20])!r} came): "
                f"{BOTH_SIDES}"
            )
        if len(rest) < len(PREFACE):
            return False
        del rest[: len(PREFACE)]
        self._begun = True
        return True


def ranges(numbers: Iterable[int]) -> Ranges:
    """Return ``numbers`` as ranges, in order."""
    found: list[Any] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [(first, last) for first, last in found]
