"""Merge two transactions' changes of one object, where its class can (ST4).

A merge takes three records: the one that both began with (old), the one that was committed first (committed), and the
one that is to be committed now (new). What comes out has both changes, or nothing comes out and the reason is a text.

* B-tree nodes: by key. Keys are decoded; values stay as they are encoded, and are equal if their bytes are.
* `Log`: what was added now comes behind what was added first.
* `Counter` and `BTrees.Length`: what both have added is added up.
* A class that defines ``merge(old, committed, new)`` as a static or class method: it gets three dicts of attributes and
  returns one, or None if it can't tell. References in them may be moved and compared, not looked into.
  ``_p_resolveConflict(self, old, committed, new)``, as in ZODB, is the same.
* All else conflicts.
"""

from __future__ import annotations

from typing import Any

import msgspec
from BTrees.Interfaces import BTreesConflictError
from BTrees.Length import Length

from hubbub.kernel import CorruptRecordError, HubbubError, Record
from hubbub.space.classes import find_class
from hubbub.space.containers.appended import merge_appended
from hubbub.space.containers.classmerge import hook_of, merge_by_class
from hubbub.space.containers.counter import Counter, merge_counts
from hubbub.space.containers.log import Log
from hubbub.space.containers.logmerge import merge_logs
from hubbub.space.reading import note_references, read
from hubbub.space.trees import split_parts, tree_base
from hubbub.space.writing import SIMPLE

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
    base = tree_base(cls)
    try:
        if base is not None:
            return _merge_nodes(base, old, committed, new, plain_only)
        if issubclass(cls, Log):
            return merge_logs(old, committed, new)
        if issubclass(cls, (Counter, Length)):
            return merge_counts(old, committed, new)
        hook = hook_of(cls)
        if hook is not None:
            if plain_only:
                raise NotPlainError
            return merge_by_class(cls, hook, old, committed, new)
    except (CorruptRecordError, msgspec.DecodeError, ValueError, TypeError, LookupError) as error:
        return f"a record could not be read: {error}"
    if callable(getattr(cls, "merge", None)):
        return (
            "objects of its class can't be merged: its merge is neither a static nor a class method"
        )
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
    split = [split_parts(record.payload) for record in (old, committed, new)]
    if not is_tree and len({tuple(map(bytes, parts[1:])) for parts in split}) > 1:
        return _REASONS[0]  # as C would say, and nothing need be decoded for it
    for parts in split:
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
    return _payload(
        items,
        following,
        tokens,
        is_set=is_set,
        has_objects=has_objects,
        has_value_refs=has_value_refs,
    )


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
    has_objects: bool,
    has_value_refs: bool,
) -> Merged:
    """Return the record of a merged bucket."""
    refs: dict[int, None] = {}
    keys = items if is_set else items[::2]
    # What has no token is a number that C keeps as such.
    raw: list[Any] = [tokens.get(id(key), key) for key in keys]
    if not is_set:
        # Values of other trees than those of objects are themselves: numbers, and bytes of an fsBTree.
        values = [msgspec.Raw(v) for v in items[1::2]] if has_objects else items[1::2]
        if has_value_refs:
            for value in values:
                note_references(value, refs)
        raw = [part for pair in zip(raw, values, strict=True) for part in pair]
    oids = [bucket.oid for bucket in following]
    refs.update(dict.fromkeys(oids))
    return _encode([raw, *oids]), tuple(refs)
