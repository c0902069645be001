"""Items to bytes and back: what a stream of bytes is cut into (sans-I/O).

=============  =========================  ==========================================================
``"lines"``    ``str``                    UTF-8, each ended by a line feed; CR LF is accepted
``"raw"``      ``bytes``                  whatever comes, in chunks; what is sent together may arrive apart
``"length"``   ``bytes``                  four bytes of length, the most significant first, and so many bytes
``"msgpack"``  what MessagePack can hold  as ``length``, each a MessagePack value
=============  =========================  ==========================================================

Or an object with the three methods of `Framing`. Each connection gets a copy of it, made before anything was fed. If it
has ``limit_bytes``, that is the longest item.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from hubbub.flow.net.frames import BOTH_SIDES, PREFACE
from hubbub.kernel import ConfigurationError, FramingError

LINE_BYTES = 1 << 16
"""The longest line, unless told otherwise."""

FRAME_BYTES = 1 << 20
"""The longest frame, unless told otherwise."""


class Framing(Protocol):
    """How items become bytes, and bytes items. `encode` keeps no state: one object encodes for many connections."""

    def encode(self, item: Any) -> bytes:
        """Return ``item`` as bytes.

        Raises:
            FramingError: If it can't be framed so. Nothing has changed.
        """
        ...

    def feed(self, data: bytes) -> list[Any]:
        """Return the items that ``data`` completes.

        Raises:
            FramingError: If what came is none; its ``items`` are those before the fault. Nothing can be fed any more.
        """
        ...

    def end(self) -> list[Any]:
        """Return what the end of the stream completes.

        Raises:
            FramingError: If the stream ended in the middle of an item.
        """
        ...


class Lines:
    """Lines of text. A line's end is no part of the item; a last line without one counts, too.

    Args:
        limit_bytes: The longest line.
    """

    __slots__ = ("_rest", "limit_bytes")

    def __init__(self, limit_bytes: int = LINE_BYTES) -> None:
        self.limit_bytes = _checked(limit_bytes)
        self._rest = bytearray()

    def encode(self, item: Any) -> bytes:
        if not isinstance(item, str):
            raise FramingError(
                f"framing 'lines' sends str, not {type(item).__name__}: make a text of it, "
                "or say framing='raw', 'length' or 'msgpack'"
            )
        if item.endswith("\n"):
            item = item[:-1]
        if item.endswith("\r"):
            item = item[:-1]
        if "\n" in item:
            raise FramingError(
                "framing 'lines' can't send a text with a line feed in it as one item: "
                "send its lines one by one, or say framing='msgpack'"
            )
        try:
            line: bytes = item.encode()
        except UnicodeEncodeError as error:
            raise FramingError(f"framing 'lines' can't send this text: {error}") from None
        if len(line) > self.limit_bytes:
            raise _too_long("a line", self.limit_bytes)
        return line + b"\n"

    def feed(self, data: bytes) -> list[Any]:
        rest = self._rest
        if rest:
            rest += data
            if b"\n" not in data:
                if len(rest) > self.limit_bytes + 1:
                    raise _too_long("a line", self.limit_bytes)
                return []
            data = bytes(rest)
            rest.clear()
        whole, newline, tail = data.rpartition(b"\n")
        if tail:
            rest += tail
        items = self._decode(whole) if newline else []
        if len(tail) > self.limit_bytes + 1:  # one more: it may be a carriage return
            raise _too_long("a line", self.limit_bytes, items)
        return items

    def end(self) -> list[Any]:
        last = bytes(self._rest)
        self._rest.clear()
        return self._decode(last) if last else []

    def _decode(self, whole: bytes) -> list[Any]:
        """Return lines, which are separated by line feeds."""
        if len(whole) <= self.limit_bytes:
            try:
                text = whole.decode()
            except UnicodeDecodeError:
                pass  # which line is at fault is found out below
            else:
                lines = text.split("\n")
                if "\r" in text:
                    return [line[:-1] if line.endswith("\r") else line for line in lines]
                return lines
        items: list[str] = []
        for line in whole.split(b"\n"):
            if line + b"\n" == PREFACE:
                raise _numbered(items)
            if line.endswith(b"\r"):
                line = line[:-1]
            if len(line) > self.limit_bytes:
                raise _too_long("a line", self.limit_bytes, items)
            try:
                items.append(line.decode())
            except UnicodeDecodeError as error:
                raise FramingError(
                    f"a line that came is no UTF-8: {error}; for bytes say framing='raw' or 'length'",
                    items=items,
                ) from None
        return items


class Raw:
    """Chunks of bytes, as they come.

    Args:
        limit_bytes: The longest chunk; longer ones are cut.
    """

    __slots__ = ("limit_bytes",)

    def __init__(self, limit_bytes: int = FRAME_BYTES) -> None:
        self.limit_bytes = _checked(limit_bytes)

    def encode(self, item: Any) -> bytes:
        return _bytes(item, "raw")

    def feed(self, data: bytes) -> list[Any]:
        if len(data) <= self.limit_bytes:
            return [data] if data else []
        return [data[at : at + self.limit_bytes] for at in range(0, len(data), self.limit_bytes)]

    def end(self) -> list[Any]:
        return []


class Length:
    """Frames of bytes, with their lengths in front.

    Args:
        limit_bytes: The longest frame.
    """

    __slots__ = ("_rest", "limit_bytes")

    _HEAD = struct.Struct(">I")

    def __init__(self, limit_bytes: int = FRAME_BYTES) -> None:
        self.limit_bytes = _checked(limit_bytes)
        self._rest = bytearray()

    def encode(self, item: Any) -> bytes:
        return self._framed(_bytes(item, "length"))

    def feed(self, data: bytes) -> list[Any]:
        rest = self._rest
        rest += data
        at, end, head = 0, len(rest), self._HEAD
        items: list[Any] = []
        try:
            while end - at >= head.size:
                (length,) = head.unpack_from(rest, at)
                if length > self.limit_bytes:
                    if rest.startswith(PREFACE[: head.size], at):
                        raise _numbered(items)
                    raise _too_long("a frame", self.limit_bytes, items)
                if end - at - head.size < length:
                    break
                at += head.size
                items.append(self._item(bytes(rest[at : at + length]), items))
                at += length
        finally:
            del rest[:at]
        return items

    def end(self) -> list[Any]:
        if self._rest:
            raise FramingError(
                f"the stream ended in the middle of a frame, {len(self._rest)} bytes into it"
            )
        return []

    def _framed(self, body: bytes) -> bytes:
        if len(body) > self.limit_bytes:
            raise _too_long("a frame", self.limit_bytes)
        return self._HEAD.pack(len(body)) + body

    def _item(self, body: bytes, before: list[Any]) -> Any:
        return body


class MessagePack(Length):
    """MessagePack values, with their lengths in front.

    Args:
        limit_bytes: The longest value.
        kind: What is expected: a class that `msgspec` knows, such as a Struct. What does not fit ends the connection.
    """

    __slots__ = ("_decoder", "_encoder")

    def __init__(self, limit_bytes: int = FRAME_BYTES, *, kind: Any = Any) -> None:
        super().__init__(limit_bytes)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(kind)

    def __deepcopy__(self, memo: dict[int, Any]) -> MessagePack:
        return MessagePack(self.limit_bytes, kind=self._decoder.type)

    def encode(self, item: Any) -> bytes:
        try:
            body = self._encoder.encode(item)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise FramingError(
                f"framing 'msgpack' can't send {type(item).__name__}: {error}"
            ) from None
        return self._framed(body)

    def _item(self, body: bytes, before: list[Any]) -> Any:
        try:
            return self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise FramingError(f"what came is no such MessagePack: {error}", items=before) from None


_NAMED: dict[str, Callable[[], Framing]] = {
    "lines": Lines,
    "raw": Raw,
    "length": Length,
    "msgpack": MessagePack,
}


def framing_of(framing: str | Framing) -> Framing:
    """Return the framing that is meant.

    Raises:
        ConfigurationError: If there is none of that name, or it has not the three methods.
    """
    if isinstance(framing, str):
        named = _NAMED.get(framing)
        if named is None:
            raise ConfigurationError(
                f"there is no framing {framing!r}; there are {', '.join(map(repr, _NAMED))}, "
                "or give an object with encode, feed and end"
            )
        return named()
    missing = [
        name for name in ("encode", "feed", "end") if not callable(getattr(framing, name, None))
    ]
    if missing or isinstance(framing, type):
        what = "make an object of it" if isinstance(framing, type) else f"it has no {missing[0]}"
        raise ConfigurationError(
            f"{framing!r} is no framing ({what}): give 'lines', 'raw', 'length', 'msgpack', "
            "or an object with encode, feed and end"
        )
    return framing


def fresh(framing: Framing) -> Framing:
    """Return a copy of ``framing`` for one more stream."""
    return copy.deepcopy(framing)


def _bytes(item: Any, name: str) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, bytearray | memoryview):
        return bytes(item)
    raise FramingError(
        f"framing {name!r} sends bytes, not {type(item).__name__}: encode it, or say framing='lines' or 'msgpack'"
    )


def _checked(limit_bytes: int) -> int:
    if limit_bytes < 1:
        raise ConfigurationError(f"limit_bytes has to be at least 1, not {limit_bytes}")
    return limit_bytes


def _numbered(items: list[Any]) -> FramingError:
    return FramingError(f"the other side numbers what it sends: {BOTH_SIDES}", items=items)


def _too_long(what: str, limit: int, items: list[Any] | None = None) -> FramingError:
    return FramingError(
        f"{what} is longer than {limit} bytes; allow more with limit_bytes, on both sides",
        items=items,
    )
