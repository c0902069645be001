"""What a log is made of: items at its head, sealed chunks, and nodes over these.

Theory of operation
===================

A log is a row of *parts*. Chunks (level 0) and nodes (level n, over parts of level n - 1) are objects of their own,
written once and never changed, so only the head can conflict. The newest items are *inline* in the head.

    [node 2] [node 1] [node 1] [chunk] [chunk] [chunk] inline items
       '--- each FANOUT parts of one level become one part of the next ---'

A part knows how many items it has, not where it begins: so parts that one transaction has added can be put behind those
that another has added meanwhile.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from hubbub.kernel import CorruptRecordError, Record, UnstorableError, oid_from_bytes
from hubbub.space.blame import Refusal
from hubbub.space.leaves import array_head
from hubbub.space.persistent import Persistent
from hubbub.space.reading import ObjectOf, Reader, read
from hubbub.space.states import UNSHAREABLE, use_codec
from hubbub.space.trees import split_parts
from hubbub.space.writing import Encoded, RefOf, Writer, encode_value, encode_with

FANOUT = 16

_encode = msgspec.msgpack.Encoder().encode
_time = struct.Struct(">Bd").pack
_FLOAT = 0xCB  # what a float begins with in MessagePack


class Part(NamedTuple):
    """A sealed part.

    Attributes:
        level: 0 for a chunk of items, else a node of parts of the level below.
        length: How many items it has.
        newest: The latest time of any of its items.
        ref: Its oid, or the object itself while it is new.
    """

    level: int
    length: int
    newest: float
    ref: Any


_decode_part = msgspec.msgpack.Decoder(Part).decode
_ARRAY_OF_FOUR = 0x94


class Inline:
    """Items that are in the head itself.

    Attributes:
        times: When each was added.
        items: The items.
        byte_count: About how many bytes they take.
        packed: The items as they are stored, one behind the other; None if they have to be encoded each time, because
            one of them refers to an object or can be changed in place.
        packed_times: The times likewise.
    """

    __slots__ = ("byte_count", "items", "packed", "packed_times", "times")

    level = -1

    def __init__(
        self,
        times: list[float],
        items: list[Any],
        byte_count: int,
        packed: bytearray | None = None,
    ) -> None:
        self.times = times
        self.items = items
        self.byte_count = byte_count
        self.packed = packed
        self.packed_times = bytearray(b"".join([_time(_FLOAT, time) for time in times]))

    def add(self, time: float, item: Any, data: bytes, *, is_final: bool) -> None:
        """Add ``item``, which is ``data`` when it is stored. ``is_final``: that stays so."""
        self.times.append(time)
        self.items.append(item)
        self.byte_count += len(data)
        self.packed_times += _time(_FLOAT, time)
        if not is_final:
            self.packed = None
        elif self.packed is not None:
            self.packed += data

    @property
    def length(self) -> int:
        """How many items it has."""
        return len(self.items)

    @property
    def newest(self) -> float:
        """The latest time of any of its items."""
        return max(self.times)


class Chunk(Persistent, name="hubbub.LogChunk"):
    """Items of a log, sealed."""

    def __init__(self, times: tuple[float, ...] = (), items: tuple[Any, ...] = ()) -> None:
        self.times = times
        self.items = items


class Node(Persistent, name="hubbub.LogNode"):
    """Parts of a log, sealed."""

    def __init__(self, parts: tuple[Part, ...] = ()) -> None:
        self.parts = parts

    def hubbub_detach(self, lost: Mapping[int, Any]) -> None:
        """See `by_object`."""
        self.parts = by_object(self.parts, lost)


def sealed(times: list[float], items: list[Any], packed: bytearray | None = None) -> Part:
    """Return a new chunk of ``items``; ``packed`` as in `Inline`."""
    chunk = Chunk(tuple(times), tuple(items))
    chunk._v_packed = packed
    return Part(0, len(items), max(times), chunk)


def by_oid(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return ``parts`` with oids for objects that have one by now, so that they need not stay in memory.

    New objects are among the last parts; the look ends at the first one that is known by its oid.
    """
    known: list[Any] | None = None
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        if type(part) is Part:
            ref = part.ref
            if type(ref) is int or ref._p_oid is None:
                break
            if known is None:
                known = list(parts)
            known[index] = part._replace(ref=oid_from_bytes(ref._p_oid))
    return parts if known is None else tuple(known)


def by_object(parts: tuple[Any, ...], lost: Mapping[int, Any]) -> tuple[Any, ...]:
    """Return ``parts`` with the objects themselves for those that are about to lose their oid, by which it is known."""
    return tuple(
        part._replace(ref=lost[part.ref])
        if type(part) is Part and type(part.ref) is int and part.ref in lost
        else part
        for part in parts
    )


def folded(parts: list[Any], begin: int) -> list[Any]:
    """Return ``parts`` with full rows of one level at their end made into nodes, leaving those before ``begin``."""
    parts = list(parts)
    end = len(parts)
    while end > begin and isinstance(parts[end - 1], Inline):
        end -= 1
    while end - begin >= FANOUT:
        row = parts[end - FANOUT : end]
        level = row[-1].level
        if any(part.level != level for part in row):
            break
        newest = max(part.newest for part in row)
        count = sum(part.length for part in row)
        parts[end - FANOUT : end] = [Part(level + 1, count, newest, Node(tuple(row)))]
        end -= FANOUT - 1
    return parts


def opened(part: Part, jar: Any) -> Any:
    """Return the chunk or node that ``part`` stands for."""
    ref = part.ref
    if type(ref) is int:
        return jar.get(ref, "hubbub.LogNode" if part.level else "hubbub.LogChunk")
    return ref


def chunks(
    parts: Any, start: int, low: int, high: int, jar: Any, *, backwards: bool = False
) -> Iterator[tuple[int, Any]]:
    """Yield (position of its first item, `Chunk` or `Inline`) of all that has items in [low, high).

    Args:
        parts: Parts in order.
        start: Position of the first item of the first part.
        low: First position wanted.
        high: Position behind the last one wanted.
        jar: Where the parts' objects are.
        backwards: From the last to the first. Only what is yielded is woken.
    """
    spans: list[tuple[int, Any]] = []
    for part in parts:
        count = part.length
        if start < high and start + count > low:
            spans.append((start, part))
        start += count
    for begin, part in reversed(spans) if backwards else spans:
        if isinstance(part, Inline):
            yield begin, part
        elif part.level == 0:
            yield begin, opened(part, jar)
        else:
            node = opened(part, jar)
            yield from chunks(node.parts, begin, low, high, jar, backwards=backwards)


# --- how they are stored ----------------------------------------------------------------------------------------------


def packed_part(part: Any, writer: Writer) -> list[Any]:
    """Return a part in encodable form: ``[level, count, newest, oid]``, or ``[times, items]``."""
    if isinstance(part, Inline):
        return [part.times, array_of(part) or writer.nested(part.items)]
    ref = part.ref
    oid = ref if type(ref) is int else writer.ref_of(ref)
    writer.refs[oid] = None
    return [part.level, part.length, part.newest, oid]


def array_of(part: Inline) -> msgspec.Raw | None:
    """Return the encoded array of the items of ``part``, if they need not be encoded."""
    packed = part.packed
    if packed is None:
        return None
    return msgspec.Raw(array_head(len(part.items)) + packed)


def encoded_inline(part: Inline) -> bytes | None:
    """Return ``part`` as `packed_part` has it stored, if its items need not be encoded."""
    packed = part.packed
    if packed is None:
        return None
    head = array_head(len(part.items))
    return b"".join((b"\x92", head, part.packed_times, head, packed))


def items_of(array: msgspec.Raw) -> bytearray:
    """Return what is in an encoded array, without its head."""
    view = memoryview(array)
    head = {0xDC: 3, 0xDD: 5}.get(view[0], 1)
    return bytearray(view[head:])


def read_part(
    raw: Any, reader: Reader
) -> Part | tuple[tuple[float, ...], tuple[Any, ...], msgspec.Raw]:
    """Return what `packed_part` wrote: a part, or (times, items, the array of items as it is)."""
    if memoryview(raw)[0] == _ARRAY_OF_FOUR:
        part = _decode_part(raw)
        if type(part.ref) is not int:
            raise CorruptRecordError("a part of a log is not one")
        return part
    first, second = split_parts(raw)
    times, items = reader.read_tuple(first), reader.read_tuple(second)
    if len(times) != len(items) or not all(type(time) is float for time in times):
        raise CorruptRecordError("a log has items without a time")
    return times, items, second


class _ChunkCodec:
    """Payload: ``[times, items]``. Memo: (times, items)."""

    def encode(self, obj: Chunk, ref_of: RefOf) -> Encoded:
        items = obj.items
        # Once: what is kept of a chunk that is stored is its items.
        packed = obj.__dict__.pop("_v_packed", None)
        if packed is not None:
            inline = Inline(list(obj.times), list(items), 0, packed)
            return _encode((obj.times, array_of(inline))), (), False
        try:
            return encode_with(lambda writer: [obj.times, writer.nested(items)], ref_of)
        except (Refusal, UnstorableError) as error:
            for item in items:
                encode_value(item, ref_of, "Log item")
            raise UnstorableError("Log", str(error)) from None

    def fill(self, obj: Chunk, record: Record, object_of: ObjectOf) -> bool:
        memo = record.memo
        has_mutable = False
        if memo is None or memo is UNSHAREABLE:
            decoded = read(lambda reader: read_part(record.payload, reader), object_of)
            memo = decoded.value[:2]
            has_mutable = decoded.has_mutable
            record.memo = memo if decoded.is_shareable else UNSHAREABLE
        obj.__setstate__({"times": memo[0], "items": memo[1]})
        return has_mutable


class _NodeCodec:
    """Payload: an array of parts. Memo: a tuple of them."""

    def encode(self, obj: Node, ref_of: RefOf) -> Encoded:
        parts = obj.parts
        return encode_with(lambda writer: [packed_part(part, writer) for part in parts], ref_of)

    def fill(self, obj: Node, record: Record, object_of: ObjectOf) -> bool:
        if record.memo is None:
            decoded = read(
                lambda reader: tuple(read_part(raw, reader) for raw in split_parts(record.payload)),
                object_of,
            )
            record.memo = decoded.value
        obj.__setstate__({"parts": record.memo})
        return False


use_codec(Chunk, _ChunkCodec())
use_codec(Node, _NodeCodec())
