r"""Put a transaction's new keys where they belong in a B-tree whose leaves were split meanwhile (ST4, SP6).

Theory of operation
===================

Who adds a key to a B-tree writes a leaf and relies on the node above it, its *parent*. When somebody else has split a
leaf, the parent has changed, and often the leaf has too: by nodes that is a conflict, by keys it is none.

    read        parent [A  k  B]          new: B + x       (or B split by us: parent [A k B m C], new leaf C)
    committed   parent [A  k  B  j  D]    B and D share what was in B
    stored      parent as committed       D + x, if x >= j; else B + x

It is certain that x belongs there: the parent has only got children, so each old child's range is that of the children
that now stand in its place. Everything else stays a conflict: a child or the whole tree gone (a `clear` beside an
insert), a key that both have added, one that was changed or deleted here, a split of the parent itself.
A leaf that was not split is left to the merge of leaves; one that we have split is split anew as it is now, so that
leaves stay small though many add to the same one. Only plain keys are looked at, so no code of the application's
runs.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from hubbub.kernel import Changeset, ConflictError, CorruptRecordError, Record, UnknownObjectError
from hubbub.space.classes import find_class
from hubbub.space.containers.appended import items_behind, part_count
from hubbub.space.leaves import array_head
from hubbub.space.reading import note_references
from hubbub.space.trees import read_children, split_parts, tree_base
from hubbub.space.writing import SIMPLE

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

Latest = Callable[[int], "Record | None"]
At = Callable[[int, int], Record]


class _Unfit(Exception):  # noqa: N818 - a way out, not an error
    """This can't be done by keys."""


class _Inner:
    """A node right above leaves: children, and the key at which each but the first begins."""

    __slots__ = ("children", "first", "keys", "packed_keys")

    def __init__(self, record: Record) -> None:
        parts = split_parts(record.payload)
        if len(parts) != 4 or _decode(parts[0]) != 0:
            raise _Unfit
        self.packed_keys = parts[1]
        self.keys = _plain(parts[1])
        self.children = list(read_children(_decode(parts[2])))
        self.first = _decode(parts[3])

    def has_grown_from(self, old: _Inner) -> bool:
        """Whether it is ``old`` with children added."""
        if self.children[: len(old.children)] == old.children:
            return self.keys[: len(old.keys)] == old.keys
        mine = iter(zip((None, *self.keys), self.children, strict=True))
        pairs = zip((None, *old.keys), old.children, strict=True)
        return self.children[0] == old.children[0] and all(pair in mine for pair in pairs)

    def child_for(self, key: Any) -> int:
        return self.children[bisect_right(self.keys, key)]

    def add(self, key: Any, raw: Any, child: int) -> None:
        place = bisect_right(self.keys, key)
        self.keys.insert(place, key)
        keys = split_parts(self.packed_keys)
        keys.insert(place, raw)
        self.packed_keys = msgspec.Raw(_encode(keys))
        self.children.insert(place + 1, child)

    def record_after(self, now: Record) -> Record:
        """Return its record, as a change of what is stored ``now``."""
        packed = struct.pack(f">{len(self.children)}Q", *self.children)
        refs = tuple(dict.fromkeys((*self.children, self.first)))
        payload = _encode([0, self.packed_keys, packed, self.first])
        return Record(now.oid, now.tid, now.class_name, refs, payload)


class _Leaf:
    """A leaf's keys, and all of its items still encoded."""

    __slots__ = ("following", "keys", "raw", "step")

    def __init__(self, record: Record, step: int) -> None:
        items, *following = split_parts(record.payload)
        self.step = step
        self.raw = split_parts(items)
        self.keys = _keys_of(self.raw, step)
        self.following = [bytes(raw) for raw in following]

    def items(self) -> dict[Any, list[Any]]:
        return _by_key(self.keys, self.raw, self.step)

    def add(self, key: Any, item: list[Any]) -> None:
        place = bisect_left(self.keys, key)
        if place < len(self.keys) and self.keys[place] == key:
            raise _Unfit  # both have added it
        self.keys.insert(place, key)
        self.raw[self.step * place : self.step * place] = item

    def cut_off(self, following: int) -> _Leaf:
        """Leave the first half here and return the second, which becomes the leaf ``following``."""
        half = len(self.keys) // 2
        second = _Leaf.__new__(_Leaf)
        second.step, second.following = self.step, self.following
        second.keys, second.raw = self.keys[half:], self.raw[self.step * half :]
        del self.keys[half:], self.raw[self.step * half :]
        self.following = [_encode(following)]
        return second

    def record(self, oid: int, tid: int, class_name: str, refs: Iterable[int]) -> Record:
        """Return its record. ``refs`` are those of its values, and perhaps others."""
        following = [_decode(raw) for raw in self.following]
        found: dict[int, None] = {}
        if self.step == 2 and not set(refs) <= set(following):
            for value in self.raw[1::2]:
                note_references(value, found)
        found.update(dict.fromkeys(following))
        payload = _encode([self.raw, *map(msgspec.Raw, self.following)])
        return Record(oid, tid, class_name, tuple(found), payload)


def _plain(packed: Any) -> list[Any]:
    """Return the keys in an encoded array."""
    keys: list[Any] = _decode(packed)
    if not SIMPLE.issuperset(map(type, keys)):
        raise _Unfit
    return keys


def _keys_of(raw: list[Any], step: int) -> list[Any]:
    keys = raw[::step]
    return _plain(array_head(len(keys)) + b"".join(keys))


def _by_key(keys: list[Any], raw: list[Any], step: int) -> dict[Any, list[Any]]:
    return {key: raw[step * n : step * n + step] for n, key in enumerate(keys)}


def _following(record: Record) -> list[bytes]:
    return [bytes(raw) for raw in split_parts(record.payload)[1:]]


def rebase(changeset: Changeset, latest: Latest, at: At) -> tuple[Changeset, list[int]] | None:
    """Return ``changeset`` as it is for the B-trees as they are now, and the oids that it does not write as it did.

    Args:
        changeset: What was found to conflict.
        latest: Returns the newest record of an object, or None.
        at: Returns the record of an object as of a tid.

    Returns:
        None if there is none. So it is where the changeset relies on what it writes: then it is to be serializable, and
        relies on all that it has read as it was.
    """
    relied_on = {oid for oid, _ in changeset.current}
    if any(write.oid in relied_on for write in changeset.writes):
        return None
    try:
        return _Rebase(changeset, latest, at).done()
    except (
        _Unfit,
        ConflictError,
        CorruptRecordError,
        UnknownObjectError,
        msgspec.DecodeError,
        TypeError,  # keys that can't be compared
        ValueError,
    ):
        return None


def _step_of(class_name: str) -> tuple[bool, int] | None:
    """Return whether it is a class of trees (else of leaves), and how many parts an item has; None if it is neither."""
    cls = find_class(class_name)
    base = None if cls is None else tree_base(cls)
    if base is None:
        return None
    is_tree = hasattr(base, "_bucket_type")
    leaf = base._bucket_type if is_tree else base
    return is_tree, 1 if leaf.__name__.endswith("Set") else 2


class _Rebase:
    def __init__(self, changeset: Changeset, latest: Latest, at: At) -> None:
        self._changeset = changeset
        self._latest = latest
        self._at = at
        self._writes: dict[int, Record] = {write.oid: write for write in changeset.writes}
        self._current: dict[int, int] = dict(changeset.current)
        self._moved: list[int] = []

    def done(self) -> tuple[Changeset, list[int]]:
        parents = list(self._current.items())
        parents += [(write.oid, write.tid) for write in self._changeset.writes if write.tid]
        is_any = False
        for oid, tid in parents:
            now = self._latest(oid)
            kind = _step_of(now.class_name) if now is not None else None
            if now is None or kind is None or not kind[0]:
                continue
            if now.tid != tid or oid in self._writes:  # others have split a leaf, or we have
                self._follow(self._at(oid, tid), now, kind[1])
                is_any = True
        if not is_any:
            raise _Unfit
        old = self._changeset
        changeset = Changeset(
            old.base,
            list(self._writes.values()),
            list(self._current.items()),
            old.changes,
            old.label,
            old.key,
        )
        return changeset, self._moved

    def _follow(self, read: Record, now: Record, step: int) -> None:
        """Take in that the parent has changed from what was ``read`` to what it is ``now``."""
        before, after = _Inner(read), _Inner(now)
        if not after.has_grown_from(before):
            raise _Unfit
        writes = self._writes
        leaves = [writes[oid] for oid in before.children if oid in writes]
        split_here = writes.pop(read.oid, None)
        made: list[Record] = []
        if split_here is not None:
            ours = _Inner(split_here)
            if split_here.class_name != read.class_name or not ours.has_grown_from(before):
                raise _Unfit
            known = set(before.children)
            made = [writes[oid] for oid in ours.children if oid not in known]
            self._moved.append(read.oid)
        else:
            leaves = [leaf for leaf in leaves if self._is_split(leaf)]
        self._current[read.oid] = now.tid
        added = self._taken_out(leaves, made, step)
        spare = [leaf.oid for leaf in made]
        full = 0
        if made:
            enough = max(part_count(leaf.payload) for leaf in (*leaves, *made)) // step
            full = 2 * enough - len(made)
        for oid, items in self._placed(added, after).items():
            self._store(oid, items, step, after, spare, full)
        if len(spare) < len(made):
            self._writes[read.oid] = after.record_after(now)
            del self._current[read.oid]

    def _is_split(self, write: Record) -> bool:
        now = self._latest(write.oid)
        if now is None:
            raise _Unfit
        if now.tid == write.tid:
            return False
        return _following(now) != _following(self._at(write.oid, write.tid))

    def _taken_out(
        self, leaves: Sequence[Record], made: Sequence[Record], step: int
    ) -> dict[Any, tuple[list[Any], Iterable[int]]]:
        """Take these leaves out of what is written, and return the items that are new in them, with what they, and
        perhaps others there, refer to."""
        if not all(leaf.tid for leaf in leaves) or any(leaf.tid for leaf in made):
            raise _Unfit
        written = (*leaves, *made)
        for write in written:
            del self._writes[write.oid]
            self._moved.append(write.oid)
        old = [self._at(leaf.oid, leaf.tid) for leaf in leaves]
        if len(old) == 1:  # what has been split off one leaf stands behind it
            added = items_behind(old[0].payload, [write.payload for write in written])
            if added is not None:
                raw = split_parts(added)
                items = _by_key(_keys_of(raw, step), raw, step)
                refs = {ref for write in written for ref in write.refs}
                refs.difference_update(*(map(_decode, _following(write)) for write in written))
                return {key: (item, refs) for key, item in items.items()}
        before: dict[Any, list[Any]] = {}
        after: dict[Any, tuple[list[Any], Iterable[int]]] = {}
        for record in old:
            before.update(_Leaf(record, step).items())
        for write in written:
            for key, item in _Leaf(write, step).items().items():
                after[key] = item, write.refs
        for key, item in before.items():
            found, _ = after.pop(key, (None, None))
            if found != item:
                raise _Unfit
        return after

    def _placed(
        self, added: dict[Any, tuple[list[Any], Iterable[int]]], parent: _Inner
    ) -> dict[int, dict[Any, tuple[list[Any], Iterable[int]]]]:
        placed: dict[int, dict[Any, tuple[list[Any], Iterable[int]]]] = {}
        for key, item in added.items():
            placed.setdefault(parent.child_for(key), {})[key] = item
        return placed

    def _store(
        self,
        oid: int,
        items: dict[Any, tuple[list[Any], Iterable[int]]],
        step: int,
        parent: _Inner,
        spare: list[int],
        full: int,
    ) -> None:
        """Add ``items`` to the leaf ``oid``; if it is ``full`` then, split it as long as there are ``spare`` leaves."""
        now = self._latest(oid)
        if now is None or oid in self._writes:
            raise _Unfit
        leaf = _Leaf(now, step)
        refs = set(now.refs)
        for key, (item, others) in items.items():
            leaf.add(key, item)
            refs.update(others)
        if spare and len(leaf.keys) >= full:
            following = spare.pop()
            second = leaf.cut_off(following)
            parent.add(second.keys[0], second.raw[0], following)
            self._writes[following] = second.record(following, 0, now.class_name, refs)
        self._writes[oid] = leaf.record(oid, now.tid, now.class_name, refs)
