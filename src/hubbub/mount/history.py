"""What the past tells: an object's revisions, the space's transactions, and what changed in an object between tids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec
import persistent

from hubbub.kernel import FeedGapError, Label, Tid, UnknownObjectError, oid_from_bytes, tid_time
from hubbub.mount.base import Mount
from hubbub.mount.workspace import Workspace
from hubbub.space.classes import class_name
from hubbub.space.containers import Log
from hubbub.space.placeholders import UnknownObject
from hubbub.store.base import FeedEntry

_PAGE = 100
_STEP = 60 << 32  # an hour, in tids
_MOST = 2_000


class Revision(msgspec.Struct, frozen=True):
    """One state of an object, as the history tells it.

    Attributes:
        tid: Which transaction wrote it.
        label: Who and what that was.
        class_name: The stored name of its class; empty if the transaction deleted it.
        byte_count: Bytes of the state.
    """

    tid: Tid
    label: Label
    class_name: str
    byte_count: int

    @property
    def time(self) -> float:
        """When it was committed, Unix time in seconds."""
        return tid_time(self.tid)


def oid_of(obj: Any) -> int:
    """Return the oid of an object, or the oid that ``obj`` is.

    Raises:
        UnknownObjectError: If it is not stored.
    """
    if isinstance(obj, int):
        return obj
    if isinstance(obj, persistent.Persistent) and obj._p_oid is not None:
        return oid_from_bytes(obj._p_oid)
    raise TypeError(f"{obj!r} has no history: give a stored object, or its oid")


def history(mount: Mount, oid: int, before: int | None) -> Iterator[Revision]:
    """Yield the kept revisions of an object, newest first."""
    upkeep = mount.upkeep
    end = mount.begin() + 1 if before is None else before
    while tids := upkeep.history(oid, end, _PAGE):
        for tid in tids:
            try:
                record = upkeep.revision(oid, tid)
            except UnknownObjectError:
                return  # packed away meanwhile, and all before it
            entry = upkeep.transaction(tid)
            label = Label() if entry is None else entry.label
            yield Revision(tid, label, record.class_name, len(record.payload))
        end = tids[-1]


def transactions(mount: Mount, after: int, before: int | None) -> Iterator[FeedEntry]:
    """Yield the transactions above ``after`` and below ``before``, in order."""
    end = mount.begin() + 1 if before is None else before
    while entries := mount.feed(after):
        for entry in entries:
            if entry.tid >= end:
                return
            yield entry
        after = entries[-1].tid


def transactions_backwards(mount: Mount, after: int, before: int | None) -> Iterator[FeedEntry]:
    """As `transactions`, newest first. The feed goes forwards only: it is read in stretches of fitting length."""
    end = mount.begin() + 1 if before is None else before
    oldest = next(iter(mount.feed(after, 1)), None)
    if oldest is None:
        return
    step = _STEP
    while end > oldest.tid:
        begin = max(end - step, oldest.tid) - 1
        try:
            entries = _stretch(mount, begin if begin >= oldest.tid else after, end)
        except FeedGapError:
            entries = _stretch(mount, after, end)
        if entries is None and step > 1:
            step //= 8
            continue
        entries = entries or []
        yield from reversed(entries)
        end = begin + 1
        if len(entries) < _MOST // 8:
            step *= 4


def _stretch(mount: Mount, after: int, end: int) -> list[FeedEntry] | None:
    """Return the transactions above ``after`` and below ``end``; None if they are too many at once."""
    found: list[FeedEntry] = []
    for entry in transactions(mount, after, end):
        found.append(entry)
        if len(found) > _MOST and end - after > 2:
            return None
    return found


# --- differences ------------------------------------------------------------------------------------------------------


class Reference(msgspec.Struct, frozen=True):
    """Stands for a persistent object where two states are compared.

    Attributes:
        oid: Which object.
        class_name: The stored name of its class.
    """

    oid: int
    class_name: str


class Missing(msgspec.Struct, frozen=True):
    """Stands for what is not there, before or after."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


class Difference(msgspec.Struct, frozen=True):
    """What changed in an object between two tids.

    Attributes:
        oid: Which object.
        class_name: The stored name of its class after, or before where it is gone.
        before: The earlier tid.
        after: The later tid.
        changes: (before, after) by the name of the attribute, the key, or the position; `MISSING` where there is
            nothing; persistent objects as `Reference`. Empty if nothing has changed.
    """

    oid: int
    class_name: str
    before: Tid
    after: Tid
    changes: dict[Any, tuple[Any, Any]]


def difference(mount: Mount, oid: int, before: int, after: int) -> Difference:
    """Compare an object at two tids.

    Raises:
        UnknownObjectError: If it is there at neither of them.
    """
    old_name, old = _contents(mount, oid, before)
    new_name, new = _contents(mount, oid, after)
    if not (old_name or new_name):
        raise UnknownObjectError(oid, after)
    changes = {
        key: (old.get(key, MISSING), new.get(key, MISSING))
        for key in (*old, *(key for key in new if key not in old))
        if key not in old or key not in new or not _is_same(old[key], new[key])
    }
    return Difference(oid, new_name or old_name, Tid(before), Tid(after), changes)


def _is_same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and bool(old == new)


def _contents(mount: Mount, oid: int, at: int) -> tuple[str, dict[Any, Any]]:
    """Return the class of an object and what is in it, by attribute, key or position; nothing where it is not there."""
    objects = Workspace(mount, at=at, read_only=True).objects
    try:
        obj = objects.root if oid == 0 else objects.get(oid)
        obj._p_activate()
    except UnknownObjectError:
        return "", {}
    name = class_name(type(obj))
    return name, {key: _plain(value) for key, value in _items(obj)}


def _items(obj: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(obj, UnknownObject):
        payload, _, state = obj.hubbub_record()
        yield from ({"(payload)": payload} if state is None else state).items()
    elif isinstance(obj, Log):
        yield from enumerate(obj, obj.first)
    elif isinstance(obj, Mapping) or hasattr(type(obj), "iteritems"):
        yield from obj.items()
    elif isinstance(obj, AbstractSet):
        yield from ((item, True) for item in obj)
    elif hasattr(type(obj), "__len__") and hasattr(type(obj), "__getitem__"):
        yield from enumerate(obj)
    else:
        state = obj.__getstate__() or {}
        yield from ((key, state[key]) for key in state if not key.startswith("_v_"))


def _plain(value: Any) -> Any:
    """Return ``value`` with references in place of persistent objects."""
    if isinstance(value, persistent.Persistent):
        return Reference(oid_of(value), class_name(type(value)))
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        return kind(_plain(item) for item in value)
    if kind is dict:
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
