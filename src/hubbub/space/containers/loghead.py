"""How the head of a log is stored."""

from __future__ import annotations

from typing import Any

import msgspec

from hubbub.kernel import Record, UnstorableError
from hubbub.space.blame import Refusal
from hubbub.space.containers.parts import (
    Inline,
    Part,
    array_head,
    array_of,
    items_of,
    packed_part,
    read_part,
)
from hubbub.space.reading import ObjectOf, Reader, read
from hubbub.space.states import UNSHAREABLE
from hubbub.space.trees import split_parts
from hubbub.space.writing import Encoded, RefOf, Writer, encode_value, encode_with

_encode = msgspec.msgpack.Encoder().encode
_PARTS = frozenset((Part,))
_OIDS = frozenset((int,))
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
    *sealed, last = parts or (None,)
    if type(last) is not Inline or not _PARTS.issuperset(map(type, sealed)):
        return None
    refs = [part.ref for part in sealed]
    if not _OIDS.issuperset(map(type, refs)):
        return None
    encoded = array_head(len(parts)) + b"".join(map(_encode, sealed))
    front = state["_v_front"] = Front(parts, encoded, tuple(dict.fromkeys(refs)))
    return front


class HeadCodec:
    """Payload: ``[start, first, end, parts]``.

    Memo: the same, decoded; inline items as (times, items, the array of items as it is).
    """

    def encode(self, obj: Any, ref_of: RefOf) -> Encoded:
        obj._p_activate()
        return self._encode_known(obj.__dict__) or self._encode_any(obj, ref_of)

    def _encode_known(self, state: dict[str, Any]) -> Encoded | None:
        """Encode a head whose parts are all stored and whose items are encoded: as most are. None for any other."""
        front = front_of(state)
        if front is None:
            return None
        last = front.parts[-1]
        items = array_of(last)
        if items is None:
            return None
        # An array of four, of which msgspec writes the first three.
        numbers = _encode((state["_start"], state["_first"], state["_end"]))
        rest = _encode((last.times, items))
        return b"".join((_FOUR, numbers[1:], front.encoded, rest)), front.refs, False

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
