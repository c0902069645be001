"""The states of B-tree nodes, written so that a merge need not decode values (design, section 7).

    bucket       [items]  or  [items, oid of the next bucket]
    tree         []                                              empty
                 [items]                                         all in one bucket, which has no record of its own
                 [kind, keys, oids of the children, oid of the first bucket]
                                                                 kind 0: children are buckets, 1: they are trees

``items`` is key, value, key, value...; of a set, its keys. The oids of children are 8 bytes each in one byte string. It
is the same for all of `BTrees`: the class that the record names says which it is.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from hubbub.kernel import (
    CorruptRecordError,
    Record,
    UnstorableError,
    oid_bytes,
    oid_from_bytes,
)
from hubbub.space.blame import Refusal
from hubbub.space.classes import class_name, register
from hubbub.space.leaves import ONE_PART, KnownLeaves, array_head
from hubbub.space.reading import ObjectOf, Reader, read
from hubbub.space.states import UNSHAREABLE, use_codec_finder
from hubbub.space.writing import SIMPLE, Encoded, RefOf, Writer, encode_value, encode_with

_encode = msgspec.msgpack.Encoder().encode
_ONE_PART = bytes((ONE_PART,))

split_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
"""Cut a node's payload into its parts, each still encoded."""


def read_children(packed: bytes) -> tuple[int, ...]:
    """Return the oids of a tree's children as its payload has them."""
    if len(packed) % 8:
        raise CorruptRecordError("a B-tree's list of children is cut off")
    return struct.unpack(f">{len(packed) // 8}Q", packed)


def _blamed(obj: Any, items: Any, step: int, ref_of: RefOf, error: Exception) -> Exception:
    """Return the error for the first item of ``items`` that can't be stored."""
    name = type(obj).__qualname__
    shown = getattr(type(obj), "shown_key", repr)
    for index in range(0, len(items), step):
        for part in items[index : index + step]:
            encode_value(part, ref_of, f"{name}[{shown(items[index])}]")
    return UnstorableError(name, str(error))


class _Node:
    """What buckets and trees have in common."""

    def __init__(self, step: int) -> None:
        self.step = step  # 2 for mappings, 1 for sets

    def _with_items(self, obj: Any, items: Any, rest: list[int], ref_of: RefOf) -> Encoded:
        if SIMPLE.issuperset(map(type, items)):
            try:
                return _encode((items, *rest)), tuple(rest), False
            except (OverflowError, UnicodeEncodeError):
                pass

        def pack(writer: Writer) -> Any:
            packed = [writer.nested(items), *rest]
            writer.refs.update(dict.fromkeys(rest))
            return packed

        try:
            return encode_with(pack, ref_of)
        except (Refusal, UnstorableError) as error:
            raise _blamed(obj, items, self.step, ref_of, error) from None


class Buckets(_Node):
    """Codec of leaf nodes. Memo: (items, oid of the next or None)."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self._leaves = KnownLeaves()

    def encode(self, obj: Any, ref_of: RefOf) -> Encoded:
        items, *rest = obj.__getstate__()
        oids = [ref_of(following) for following in rest]
        if obj._p_oid is None or SIMPLE.issuperset(map(type, items)):
            return self._with_items(obj, items, oids, ref_of)
        oid = oid_from_bytes(obj._p_oid)
        if not rest:
            return self._last(obj, oid, items, ref_of)
        first = self._leaves.split(oid, items, *oids)
        if first is None:
            return self._with_items(obj, items, oids, ref_of)
        return b"".join((b"\x92", array_head(len(items)), first, _encode(*oids))), (*oids,), False

    def _last(self, obj: Any, oid: int, items: tuple[Any, ...], ref_of: RefOf) -> Encoded:
        """Encode a leaf that no other follows: what has come behind it, where the rest is known."""
        before, count = self._leaves.unread(oid, items) or (b"", 0)
        used: list[Writer] = []

        def pack(writer: Writer) -> Any:
            used.append(writer)
            return writer.nested(items[count:])

        try:
            packed, refs, has_mutable = encode_with(pack, ref_of)
        except (Refusal, UnstorableError) as error:
            raise _blamed(obj, items, self.step, ref_of, error) from None
        head = array_head(len(items))
        leaf = b"".join((_ONE_PART, head, before, packed[len(array_head(len(items) - count)) :]))
        if not (count or has_mutable or used[-1].has_refs):
            self._leaves.remember(oid, leaf, items)
        return leaf, refs, has_mutable

    def fill(self, obj: Any, record: Record, object_of: ObjectOf) -> bool:
        memo = record.memo
        cls = type(obj)
        has_mutable = False
        if memo is None:
            memo = self._grown(record, object_of)
        if memo is None or memo is UNSHAREABLE:
            decoded = read(lambda reader: self._read(reader, record.payload), object_of)
            memo = decoded.value
            has_mutable = decoded.has_mutable
            if decoded.is_shareable:
                self._keep(record, memo)
            else:
                record.memo = UNSHAREABLE
        items, following = memo
        if following is None:
            _set_state(obj, (items,))
        else:
            _set_state(obj, (items, _checked(object_of(following, class_name(cls)), cls)))
        return has_mutable

    def _grown(self, record: Record, object_of: ObjectOf) -> Any:
        """Return the memo of a leaf that is known but for what stands behind that; None if it is another."""
        known = self._leaves.read(record.oid, record.payload)
        if known is None:
            return None
        first, rest = known
        decoded = read(lambda reader: reader.read_tuple(rest), object_of)
        items = first + decoded.value
        if not decoded.is_shareable or len(items) % self.step:
            return None
        self._keep(record, (items, None))
        return record.memo

    def _keep(self, record: Record, memo: tuple[tuple[Any, ...], int | None]) -> None:
        record.memo = memo
        items, following = memo
        if following is None and not SIMPLE.issuperset(map(type, items)):
            self._leaves.remember(record.oid, record.payload, items)

    def _read(self, reader: Reader, payload: bytes) -> tuple[tuple[Any, ...], int | None]:
        parts = split_parts(payload)
        following = reader.value(parts[1]) if len(parts) > 1 else None
        if not 1 <= len(parts) <= 2 or type(following) not in (int, type(None)):
            raise CorruptRecordError("a bucket has parts that don't belong to it")
        items = reader.read_tuple(parts[0])
        if len(items) % self.step:
            raise CorruptRecordError("a bucket has a key without a value")
        return items, following


class Trees(_Node):
    """Codec of trees and their inner nodes. Memo: None, or (items,), or (kind, keys, child oids, first bucket)."""

    def __init__(self, step: int, bucket: type) -> None:
        super().__init__(step)
        self.bucket = bucket

    def encode(self, obj: Any, ref_of: RefOf) -> Encoded:
        state = obj.__getstate__()
        if state is None:
            return b"\x90", (), False
        if len(state) == 1:
            return self._with_items(obj, state[0][0][0], [], ref_of)
        nodes, first = state
        children, keys = nodes[::2], nodes[1::2]
        kind = int(type(children[0]) is not self.bucket)
        jar = obj._p_jar or ref_of
        packed_oids = b"".join(
            [
                child._p_oid if child._p_jar is jar else oid_bytes(ref_of(child))
                for child in children
            ]
        )
        oids = read_children(packed_oids)
        first_oid = ref_of(first)

        def pack(writer: Writer) -> Any:
            packed = [kind, writer.nested(keys), packed_oids, first_oid]
            writer.refs.update(dict.fromkeys((*oids, first_oid)))
            return packed

        try:
            return encode_with(pack, ref_of)
        except (Refusal, UnstorableError) as error:
            raise _blamed(obj, keys, 1, ref_of, error) from None

    def fill(self, obj: Any, record: Record, object_of: ObjectOf) -> bool:
        memo = record.memo
        has_mutable = False
        if memo is None or memo is UNSHAREABLE:
            decoded = read(lambda reader: self._read(reader, record.payload), object_of)
            memo = decoded.value
            has_mutable = decoded.has_mutable
            record.memo = memo if decoded.is_shareable else UNSHAREABLE
        if not memo:
            _set_state(obj, None)
        elif len(memo) == 1:
            _set_state(obj, ((memo,),))
        else:
            kind, keys, oids, first = memo
            bucket = self.bucket
            child = type(obj) if kind else bucket
            name = class_name(child)
            nodes: list[Any] = [None] * (2 * len(oids) - 1)
            jar = obj._p_jar
            if jar is None:
                children = [object_of(oid, name) for oid in oids]
            else:
                children = jar.get_all(oids, child)
            nodes[::2] = children
            for node in children if set(map(type, children)) != {child} else ():
                _checked(node, child)
            nodes[1::2] = keys
            head = _checked(object_of(first, class_name(bucket)), bucket)
            _set_state(obj, (tuple(nodes), head))
        return has_mutable

    def _read(self, reader: Reader, payload: bytes) -> tuple[Any, ...]:
        parts = split_parts(payload)
        if not parts:
            return ()
        if len(parts) == 1:
            items = reader.read_tuple(parts[0])
            if len(items) % self.step:
                raise CorruptRecordError("a B-tree has a key without a value")
            return (items,)
        kind, packed, first = (reader.value(parts[index]) for index in (0, 2, 3))
        keys, oids = reader.read_tuple(parts[1]), read_children(packed)
        if len(parts) != 4 or not oids or len(keys) != len(oids) - 1 or type(first) is not int:
            raise CorruptRecordError("a B-tree's node has keys and children that don't fit")
        return kind, keys, oids, first


def _checked(node: Any, cls: type) -> Any:
    # B-trees trust the type of a node in C, where a wrong one is a crash.
    if type(node) is not cls:
        raise CorruptRecordError(f"a B-tree refers to a {type(node)} where a {cls} should be")
    return node


def _set_state(obj: Any, state: Any) -> None:
    try:
        obj.__setstate__(state)
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptRecordError(f"a B-tree's node can't be read: {error}") from error


def is_tree_class(cls: type) -> bool:
    """Tell whether ``cls`` is one of the classes of `BTrees`, not based on one."""
    module = cls.__module__
    return module.startswith("BTrees.") and module.endswith("BTree")


_bases: dict[type, Any] = {}


def tree_base(cls: type) -> Any:
    """Return the class of `BTrees` that ``cls`` is or is based on, or None."""
    try:
        return _bases[cls]
    except KeyError:
        found = _bases[cls] = next(filter(is_tree_class, cls.__mro__), None)
        return found


def _tree_codec(cls: type) -> Buckets | Trees | None:
    """Return the codec of a class of `BTrees`, whichever family it is of."""
    if not is_tree_class(cls):
        return None
    register(cls)
    step = 1 if cls.__name__.endswith("Set") else 2
    bucket: type | None = getattr(cls, "_bucket_type", None)
    return Buckets(step) if bucket is None else Trees(step, bucket)


use_codec_finder(_tree_codec)
