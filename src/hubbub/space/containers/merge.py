"""Merge two transactions' changes of one object, where its class can (ST4).

A merge takes three records: the one that both began with (old), the one that was committed first (committed), and the
one that is to be committed now (new). What comes out has both changes, or nothing comes out and the reason is a text.

* B-tree nodes: by key. Keys are decoded; values stay as they are encoded, and are equal if their bytes are.
* `Log`: what was added now comes behind what was added first.
* A class that defines ``merge(old, committed, new)`` as a static or class method: it gets three dicts of attributes and
  returns one, or None if it can't tell. References in them may be moved, not looked into.
* All else conflicts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from BTrees.Interfaces import BTreesConflictError

from hubbub.kernel import (
    CorruptRecordError,
    HubbubError,
    Record,
    SchemaError,
    oid_bytes,
    oid_from_bytes,
)
from hubbub.space.classes import find_class
from hubbub.space.containers.appended import merge_appended
from hubbub.space.containers.log import Log
from hubbub.space.containers.logmerge import merge_logs
from hubbub.space.reading import decode_state, note_references, read
from hubbub.space.schema import schema_of, take_stamp
from hubbub.space.states import class_for, current_record
from hubbub.space.trees import split_parts
from hubbub.space.writing import SIMPLE, encode_state

Merged = tuple[bytes, tuple[int, ...]] | str
"""Payload and the oids that it refers to; or why there is none."""

_REASONS = (
    "a bucket was split",
    "both changed the same key",
    "one changed and one deleted the same key",
    "one changed and one deleted the same key",
    "both added or deleted the same key",
    "both deleted the same key",
    "both added the same key",
    "both deleted the same key, or one changed it",
    "both deleted the same key, or one changed it",
    "both deleted the same key, or one changed it",
    "a bucket was emptied",
    "a bucket was emptied",
    "a bucket was emptied",
    "the first key of a bucket was deleted",
)

_encode = msgspec.msgpack.Encoder().encode
_split_items = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class NotPlainError(Exception):
    """A merge would run code of the application's."""


def merge_records(old: Record, committed: Record, new: Record) -> Merged:
    """Return the payload and refs of the record that has both changes, or say why that can't be had.

    Args:
        old: What both transactions began with.
        committed: What the first of them made of it.
        new: What the second would make of it.
    """
    return _merge(old, committed, new, plain_only=False)


def merge_plain_records(old: Record, committed: Record, new: Record) -> Merged:
    """As `merge_records`, where no code of the application's may run: its merges, and comparisons of its keys.

    Raises:
        NotPlainError: If that would have to.
    """
    return _merge(old, committed, new, plain_only=True)


def _merge(old: Record, committed: Record, new: Record, *, plain_only: bool) -> Merged:
    name = new.class_name
    cls = find_class(name)
    if cls is None:
        return "its class is not known here"
    for other in (old.class_name, committed.class_name):
        # One that was renamed since is the same.
        if other != name and find_class(other) is not cls:
            return "its class was changed"
    base = next((base for base in cls.__mro__ if base.__module__.startswith("BTrees.")), None)
    try:
        if base is not None:
            return _merge_nodes(base, old, committed, new, plain_only)
        if issubclass(cls, Log):
            return merge_logs(old, committed, new)
        if hasattr(cls, "merge"):
            if plain_only:
                raise NotPlainError
            return _merge_states(cls, old, committed, new)
    except (CorruptRecordError, msgspec.DecodeError, ValueError, TypeError, LookupError) as error:
        return f"a record could not be read: {error}"
    return "objects of its class can't be merged"


# --- B-trees ----------------------------------------------------------------------------------------------------------


class _Interned(dict[int, object]):
    """Oid -> the one object that stands for it in this merge: C compares following buckets by identity."""

    def __missing__(self, oid: int) -> object:
        self[oid] = _NextBucket(oid)
        return self[oid]


class _NextBucket:
    __slots__ = ("oid",)

    def __init__(self, oid: int) -> None:
        self.oid = oid


def _merge_nodes(
    base: Any, old: Record, committed: Record, new: Record, plain_only: bool
) -> Merged:
    is_tree = hasattr(base, "_bucket_type")
    bucket: Any = base._bucket_type if is_tree else base
    is_set = bucket.__name__.endswith("Set")
    appended = merge_appended(old, committed, new, 1 if is_set else 2)
    if appended is not None:
        return appended, ()
    has_objects = bucket.__name__[1] == "O"
    interned = _Interned()
    tokens: dict[int, msgspec.Raw] = {}
    states: list[Any] = []
    for record in (old, committed, new):
        parts = split_parts(record.payload)
        if is_tree and len(parts) > 1:
            return "a node of a B-tree was changed by a split"
        if not parts:
            states.append(None)
            continue
        items = _items(parts[0], tokens, is_set=is_set, has_objects=has_objects)
        if plain_only and not SIMPLE.issuperset(map(type, items if is_set else items[::2])):
            raise NotPlainError
        following = [interned[msgspec.msgpack.decode(part)] for part in parts[1:]]
        state = (items, *following)
        states.append(((state,),) if is_tree else state)
    try:
        merged = base()._p_resolveConflict(*states)
    except BTreesConflictError as error:
        reason = error.args[-1]
        known = isinstance(reason, int) and 0 <= reason < len(_REASONS)
        return _REASONS[reason] if known else str(error)
    except (TypeError, ValueError, HubbubError) as error:
        return f"its keys can't be compared here: {error}"
    if merged is None:
        return b"\x90", ()
    items, *following = merged[0][0] if is_tree else merged
    has_value_refs = any(len(record.refs) > len(following) for record in (committed, new))
    return _payload(items, following, tokens, is_set=is_set, has_value_refs=has_value_refs)


def _items(
    part: Any, tokens: dict[int, msgspec.Raw], *, is_set: bool, has_objects: bool
) -> tuple[Any, ...]:
    """Return keys decoded and values as bytes, as the state of a bucket has them.

    ``tokens`` gets what stands for each in the payload, by `id`: what comes out of a merge are the same objects.
    """
    raw = _split_items(part)
    step = 1 if is_set else 2
    keys = read(lambda reader: reader.read_tuple(_encode(raw[::step])), _no_key).value
    tokens.update(zip(map(id, keys), raw[::step], strict=True))
    if is_set:
        return tuple(keys)
    items: list[Any] = [None] * len(raw)
    items[::2] = keys
    items[1::2] = map(bytes, raw[1::2]) if has_objects else map(msgspec.msgpack.decode, raw[1::2])
    return tuple(items)


def _no_key(_oid: int, name: str) -> Any:
    raise CorruptRecordError(f"a {name} is a key")


def _payload(
    items: Any,
    following: list[Any],
    tokens: dict[int, msgspec.Raw],
    *,
    is_set: bool,
    has_value_refs: bool,
) -> Merged:
    """Return the record of a merged bucket."""
    refs: dict[int, None] = {}
    keys = items if is_set else items[::2]
    # What has no token is a number that C keeps as such.
    raw: list[Any] = [tokens.get(id(key), key) for key in keys]
    if not is_set:
        values = [msgspec.Raw(v) if type(v) is bytes else v for v in items[1::2]]
        if has_value_refs:
            for value in values:
                note_references(value, refs)
        raw = [part for pair in zip(raw, values, strict=True) for part in pair]
    oids = [bucket.oid for bucket in following]
    refs.update(dict.fromkeys(oids))
    return _encode([raw, *oids]), tuple(refs)


# --- classes that merge themselves ------------------------------------------------------------------------------------


def _merge_states(cls: type, old: Record, committed: Record, new: Record) -> Merged:
    known: dict[int, Any] = {}

    def object_of(oid: int, name: str) -> Any:
        if oid not in known:
            known[oid] = _ghost(class_for(name), oid)
        return known[oid]

    try:
        # Never a mixture: each as the class has it now (SP7).
        records = [current_record(record) for record in (old, committed, new)]
    except SchemaError as error:
        return f"a record does not fit its class as it is here: {error}"
    schema = schema_of(cls)
    stamp = {} if schema is None else schema.stamp
    states = []
    for record in records:
        state = decode_state(record.payload, object_of).value
        if take_stamp(state) != stamp:
            return "a record is of a newer version of its class than there is here"
        states.append(state)
    merge: Callable[..., Any] = cls.merge  # type: ignore[attr-defined]
    merged = merge(*states)
    if not isinstance(merged, dict):
        return "its class could not merge the two changes"
    payload, refs, _ = encode_state(
        merged, lambda obj: oid_from_bytes(obj._p_oid), cls.__qualname__, stamp
    )
    return payload, refs


def _ghost(cls: Any, oid: int) -> Any:
    ghost = cls.__new__(cls)
    ghost._p_oid = oid_bytes(oid)
    return ghost
