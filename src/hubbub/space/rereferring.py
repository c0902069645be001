"""Put other oids into a payload, without knowing its class: for sub-graphs that move to another space.

References stand in a payload in three ways, and nowhere else:

* as an extension of the value codec, at any depth (`hubbub.space.codec`);
* in the nodes of B-trees: the next bucket, the children (`hubbub.space.trees`);
* in the parts of a log (`hubbub.space.containers.parts`).

The last two are told by the shape of the payload, which no other container has. What was found is compared with the
oids that the record names beside its payload: if that is not the same, the payload is of a kind that is not known here,
and nothing is guessed. Weak references are extensions, too, and are not named beside it: what they refer to need not
come along.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from hubbub.kernel import CorruptRecordError, Record, UnstorableError
from hubbub.space.shapes import KINDS
from hubbub.space.writing import FROZENSET, PAIRS, REF, SET, TUPLE, WEAK_REF

NewOid = Callable[[int], int]
"""Returns the oid to put in place of another."""

_encode = msgspec.msgpack.Encoder().encode
_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_whole = msgspec.msgpack.Decoder(int).decode
_decode_bytes = msgspec.msgpack.Decoder(bytes).decode
_number = struct.Struct(">Q")
_NESTED = frozenset((TUPLE, PAIRS, *KINDS))
_SETS = frozenset((SET, FROZENSET))
_WEAK_CODE = bytes((WEAK_REF,))
_LOG_NODE = "hubbub.LogNode"


class Rereferrer:
    """Rewrites the references of one record after the other. Not for two threads at once.

    Args:
        new_oid: Gives the oid to put in place of each.
        weak_oid: The same for weak references; None: ``new_oid`` gives them.
    """

    def __init__(self, new_oid: NewOid, weak_oid: NewOid | None = None) -> None:
        self._new_oid = new_oid
        self._weak_oid = weak_oid or new_oid
        self._seen: set[int] = set()
        self._decode = msgspec.msgpack.Decoder(Any, ext_hook=self._extension).decode

    def rewritten(self, record: Record) -> Record:
        """Return ``record`` with other oids in its payload and beside it. Its own oid and tid stay.

        Raises:
            UnstorableError: Its payload is of a kind that is not known here.
            CorruptRecordError: Its payload is damaged.
        """
        if not record.refs and _WEAK_CODE not in record.payload:
            return record
        self._seen.clear()
        try:
            payload = self._payload(record.class_name, record.payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, struct.error) as error:
            raise CorruptRecordError(
                f"the payload of object {record.oid:#x} of class {record.class_name} can't be decoded ({error})",
                oid=record.oid,
                tid=record.tid,
            ) from error
        if self._seen != set(record.refs):
            raise UnstorableError(
                f"object {record.oid:#x} of class {record.class_name}",
                "refers to others in a way that is not known here, so it can't be moved to another space",
            )
        refs = tuple(map(self._new_oid, record.refs))
        return Record(record.oid, record.tid, record.class_name, refs, payload)

    # --- by shape -----------------------------------------------------------------------------------------------------

    def _payload(self, class_name: str, payload: bytes) -> bytes:
        if not _is_array(payload):
            return _encode(self._decode(payload))
        parts = _split(payload)
        if class_name == _LOG_NODE:
            return _encode([self._part(part) for part in parts])
        shape = "".join(map(_kind, parts))
        if shape == "ai":  # a bucket and the next one
            return _encode([self._decode(parts[0]), self._whole(parts[1])])
        if shape == "iabi":  # kind, keys, children, first bucket
            kind, keys, children, first = parts
            return _encode(
                [
                    self._decode(kind),
                    self._decode(keys),
                    self._children(children),
                    self._whole(first),
                ]
            )
        if shape == "iiia":  # the head of a log: start, first, end, parts
            inside = [self._part(part) for part in _split(parts[3])]
            return _encode([*parts[:3], inside])
        return _encode([self._decode(part) for part in parts])

    def _part(self, part: msgspec.Raw) -> list[Any]:
        """Rewrite a part of a log: ``[level, length, newest, oid]``, or ``[times, items]``."""
        pieces = _split(part)
        if len(pieces) == 4:
            return [*pieces[:3], self._whole(pieces[3])]
        return [self._decode(piece) for piece in pieces]

    def _whole(self, oid: msgspec.Raw) -> int:
        return self._met(_decode_whole(oid))

    def _children(self, packed: msgspec.Raw) -> bytes:
        data = _decode_bytes(packed)
        oids = struct.unpack(f">{len(data) // 8}Q", data)
        return struct.pack(f">{len(oids)}Q", *map(self._met, oids))

    def _met(self, oid: int) -> int:
        self._seen.add(oid)
        return self._new_oid(oid)

    # --- in values ----------------------------------------------------------------------------------------------------

    def _extension(self, code: int, data: memoryview) -> Ext:
        if code == REF:
            if len(data) < 9:
                raise CorruptRecordError("a reference is cut off")
            return Ext(REF, _number.pack(self._met(_number.unpack_from(data)[0])) + bytes(data[8:]))
        if code == WEAK_REF:
            if len(data) < 9:
                raise CorruptRecordError("a weak reference is cut off")
            oid = self._weak_oid(_number.unpack_from(data)[0])
            return Ext(WEAK_REF, _number.pack(oid) + bytes(data[8:]))
        if code in _SETS:
            # Their items are in the order of their bytes.
            items = sorted(_encode(self._decode(item)) for item in _split(data))
            return Ext(code, _encode([msgspec.Raw(item) for item in items]))
        if code in _NESTED:
            return Ext(code, _encode(self._decode(data)))
        return Ext(code, bytes(data))


def _is_array(payload: bytes) -> bool:
    return 0x90 <= payload[0] <= 0x9F or payload[0] in (0xDC, 0xDD)


def _kind(raw: msgspec.Raw) -> str:
    """Return ``a`` for an array, ``b`` for bytes, ``i`` for a whole number that is not negative, else ``-``."""
    first = memoryview(raw)[0]
    if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
        return "a"
    if 0xC4 <= first <= 0xC6:
        return "b"
    if first < 0x80 or 0xCC <= first <= 0xCF:
        return "i"
    return "-"
