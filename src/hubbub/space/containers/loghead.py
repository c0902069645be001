"""How the head of a log is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from hubbub.kernel import Record, UnstorableError
from hubbub.space.blame import Refusal
from hubbub.space.containers.parts import (
    Inline,
    Part,
    encoded_inline,
    items_of,
    packed_part,
    read_part,
)
from hubbub.space.leaves import array_head
from hubbub.space.reading import ObjectOf, Reader, read
from hubbub.space.states import UNSHAREABLE
from hubbub.space.trees import split_parts
from hubbub.space.writing import Encoded, RefOf, Writer, encode_value, encode_with

_encode = msgspec.msgpack.Encoder().encode
_PARTS = frozenset((Part,))
_OIDS = frozenset((int,))
_decode_end = msgspec.msgpack.Decoder(tuple[int, int, int, msgspec.Raw]).decode
_FOUR = b"\x94"


class Front:
    """All parts of a head but the last, encoded: they stay the same while items are added to that.

    Attributes:
        parts: The row of parts that it is for, the last included; another row is another tuple.
        encoded: The beginning of the array of parts.
        refs: What it refers to.
    """

    __slots__ = ("encoded", "parts", "refs")

    def __init__(self, parts: tuple[Any, ...], encoded: bytes, refs: tuple[int, ...]) -> None:
        self.parts = parts
        self.encoded = encoded
        self.refs = refs


def front_of(state: dict[str, Any]) -> Front | None:
    """Return what is known of the parts in ``state`` but the last.

    Returns:
        None unless the last one is inline and all others are stored: as they are in most heads.
    """
    parts: tuple[Any, ...] = state["_parts"]
    front: Front | None = state.get("_v_front")
    if front is not None and front.parts is parts:
        return front
    if not parts or type(parts[-1]) is not Inline:
        return None
    sealed = parts[:-1]
    if not _PARTS.issuperset(map(type, sealed)):
        return None
    if not _OIDS.issuperset([type(part.ref) for part in sealed]):
        return None
    front = state["_v_front"] = _front(parts, sealed)
    return front


def end_of(record: Record) -> int:
    """Return the position behind the last item of the log that ``record`` is of."""
    return _decode_end(record.payload)[2]


def _front_with_new(parts: tuple[Any, ...], ref_of: RefOf) -> Front | None:
    """As `front_of`, where some of the sealed parts are new objects. Not to be kept: these may lose their oids."""
    sealed = parts[:-1]
    if not _PARTS.issuperset(map(type, sealed)):
        return None
    stored = [
        part if type(part.ref) is int else part._replace(ref=ref_of(part.ref)) for part in sealed
    ]
    return _front(parts, stored)


def _front(parts: tuple[Any, ...], stored: Sequence[Part]) -> Front:
    encoded = array_head(len(parts)) + b"".join(map(_encode, stored))
    return Front(parts, encoded, tuple(dict.fromkeys([part.ref for part in stored])))


class HeadCodec:
    """Payload: ``[start, first, end, parts]``.

    Memo: the same, decoded; inline items as (times, items, the array of items as it is).
    """

    def encode(self, obj: Any, ref_of: RefOf) -> Encoded:
        obj._p_activate()
        return self._encode_known(obj.__dict__, ref_of) or self._encode_any(obj, ref_of)

    def _encode_known(self, state: dict[str, Any], ref_of: RefOf) -> Encoded | None:
        """Encode a head whose parts are sealed but the last, of which the items are encoded. None for any other."""
        parts: tuple[Any, ...] = state["_parts"]
        last = parts[-1] if parts else None
        items = encoded_inline(last) if type(last) is Inline else None
        if items is None:
            return None
        front = front_of(state) or _front_with_new(parts, ref_of)
        if front is None:
            return None
        # An array of four, of which msgspec writes the first three.
        numbers = _encode((state["_start"], state["_first"], state["_end"]))
        return b"".join((_FOUR, numbers[1:], front.encoded, items)), front.refs, False

    def _encode_any(self, obj: Any, ref_of: RefOf) -> Encoded:
        def pack(writer: Writer) -> Any:
            parts = [packed_part(part, writer) for part in obj._parts]
            return [obj._start, obj._first, obj._end, parts]

        try:
            return encode_with(pack, ref_of)
        except (Refusal, UnstorableError) as error:
            for part in obj._parts:
                for item in part.items if isinstance(part, Inline) else ():
                    encode_value(item, ref_of, f"{type(obj).__qualname__} item")
            raise UnstorableError(type(obj).__qualname__, str(error)) from None

    def fill(self, obj: Any, record: Record, object_of: ObjectOf) -> bool:
        memo = record.memo
        has_mutable = False
        if memo is None or memo is UNSHAREABLE:
            decoded = read(lambda reader: self._read(reader, record.payload), object_of)
            memo = decoded.value
            has_mutable = decoded.has_mutable
            record.memo = memo if decoded.is_shareable else UNSHAREABLE
        start, first, end, parts = memo
        is_final = record.memo is memo
        whole = [
            part if type(part) is Part else _inline(*part, is_final=is_final) for part in parts
        ]
        obj.__setstate__({"_start": start, "_first": first, "_end": end, "_parts": tuple(whole)})
        return has_mutable

    def _read(self, reader: Reader, payload: bytes) -> tuple[int, int, int, tuple[Any, ...]]:
        start, first, end, parts = split_parts(payload)
        whole = tuple(read_part(raw, reader) for raw in split_parts(parts))
        return reader.value(start), reader.value(first), reader.value(end), whole


def _inline(times: Any, items: Any, array: msgspec.Raw, *, is_final: bool) -> Inline:
    packed = items_of(array)
    return Inline(list(times), list(items), len(packed), packed if is_final else None)
