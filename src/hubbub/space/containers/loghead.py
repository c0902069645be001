"""How the head of a log is stored."""

from __future__ import annotations

from typing import Any

from hubbub.kernel import Record, UnstorableError
from hubbub.space.blame import Refusal
from hubbub.space.containers.parts import Inline, Part, packed_part, read_part
from hubbub.space.reading import ObjectOf, Reader, read
from hubbub.space.states import UNSHAREABLE
from hubbub.space.trees import split_parts
from hubbub.space.writing import Encoded, RefOf, Writer, encode_value, encode_with


class HeadCodec:
    """Payload: ``[start, first, end, parts]``. Memo: the same, decoded; inline items as (times, items, size)."""

    def encode(self, obj: Any, ref_of: RefOf) -> Encoded:
        obj._p_activate()

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
        whole = [
            part if type(part) is Part else Inline(list(part[0]), list(part[1]), part[2])
            for part in parts
        ]
        obj.__setstate__({"_start": start, "_first": first, "_end": end, "_parts": tuple(whole)})
        return has_mutable

    def _read(self, reader: Reader, payload: bytes) -> tuple[int, int, int, tuple[Any, ...]]:
        start, first, end, parts = split_parts(payload)
        whole = tuple(read_part(raw, reader) for raw in split_parts(parts))
        return reader.value(start), reader.value(first), reader.value(end), whole
