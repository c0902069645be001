"""Merges by classes themselves: of the application's (`merge`, `_p_resolveConflict`), and of attributes one by one.

A merge runs where the class is known (SP3), in whichever process commits: nothing is imported for it, and no other
object can be looked into. Whatever goes wrong in it is a conflict that says what it was; nothing is stored then (ST4).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from hubbub.kernel import (
    CorruptRecordError,
    Record,
    SchemaError,
    UnstorableError,
    oid_bytes,
    oid_from_bytes,
)
from hubbub.space.indexed import PLACES, Indexed
from hubbub.space.reading import decode_state
from hubbub.space.schema import schema_of, take_stamp
from hubbub.space.states import class_for, current_record
from hubbub.space.writing import encode_state, encode_value

State = dict[str, Any]
Hook = Callable[[State, State, State], Any]

_hooks: dict[type, Hook | None] = {}


def hook_of(cls: type) -> Hook | None:
    """Return what merges the states of objects of ``cls``, or None."""
    if cls not in _hooks:
        _hooks[cls] = _find_hook(cls)
    return _hooks[cls]


def _find_hook(cls: Any) -> Hook | None:
    found = inspect.getattr_static(cls, "merge", None)
    if isinstance(found, (staticmethod, classmethod)):
        hook: Hook = cls.merge
        return hook
    if hasattr(cls, "_p_resolveConflict"):

        def resolve(old: State, committed: State, new: State) -> Any:
            # As ZODB does: an object of the class, without any state.
            return cls.__new__(cls)._p_resolveConflict(old, committed, new)

        return resolve
    return None


def merge_by_class(
    cls: type, hook: Hook, old: Record, committed: Record, new: Record
) -> tuple[bytes, tuple[int, ...]] | str:
    """Return what ``hook`` makes of three records, or why that is nothing; see `hubbub.space.containers.merge`."""
    known: dict[int, Any] = {}

    def object_of(oid: int, name: str) -> Any:
        if oid not in known:
            known[oid] = _ghost(class_for(name), oid)
        return known[oid]

    schema = schema_of(cls)
    stamp = {} if schema is None else schema.stamp
    states = []
    try:
        for record in (old, committed, new):
            # Never a mixture: each as the class has it now (SP7).
            state = decode_state(current_record(record).payload, object_of).value
            if take_stamp(state) != stamp:
                return "a record is of a newer version of its class than there is here"
            states.append(state)
    except CorruptRecordError as error:
        return f"a record could not be read: {error}"
    except SchemaError as error:
        return f"a record does not fit its class as it is here: {error}"
    try:
        merged = hook(*states)
    except Exception as error:  # noqa: BLE001 - the application's code; its own error is the conflict's reason
        return f"its merge raised {type(error).__name__}: {error}"
    if merged is None:
        return "its class could not merge the two changes"
    if type(merged) is not dict or not all(type(name) is str for name in merged):
        return f"its merge returned a {type(merged).__name__} instead of a dict of attributes"
    try:
        payload, refs, _ = encode_state(merged, _known_oid, cls.__qualname__, stamp)
    except UnstorableError as error:
        return f"its merge returned what can't be stored: {error}"
    if issubclass(cls, Indexed):
        why = _breaks_indexes(states[0], states[1], states[2], merged)
        if why is not None:
            return why
    return payload, refs


def _breaks_indexes(old: State, committed: State, new: State, merged: State) -> str | None:
    """Return why collections could not follow what a merge has made of a member, or None.

    Each of the two transactions has put into the indexes what it has seen itself.
    """
    if not any(PLACES in state for state in (old, committed, new)):
        return None
    if not _form(old, PLACES) == _form(committed, PLACES) == _form(new, PLACES):
        return "one of the two put it into a collection"
    for name in dict.fromkeys((*old, *committed, *new, *merged)):
        before, theirs, ours, outcome = (_form(s, name) for s in (old, committed, new, merged))
        allowed = {theirs, ours}
        if len(allowed) == 2:
            allowed.discard(before)
        if outcome not in allowed:
            return f"its merge left {name!r} as neither made it, and a collection may index it"
    return None


def _ghost(cls: Any, oid: int) -> Any:
    """Return what stands for another object in a merge: it can be moved and compared, not looked into."""
    ghost = cls.__new__(cls)
    ghost._p_oid = oid_bytes(oid)
    return ghost


def _known_oid(obj: Any) -> int:
    oid = obj._p_oid
    if oid is None:
        raise UnstorableError(
            repr(obj), "is a new object; a merge can only move those that were there"
        )
    return oid_from_bytes(oid)


def _merge_attributes(old: State, committed: State, new: State) -> State:
    """Merge two transactions' changes of an object attribute by attribute: ``merge = hubbub.merge_attributes``.

    An attribute that one of them has set, or deleted, is as that one left it; also one that both have set to the same
    value. If both have made something else of it they conflict.

    Only for classes whose attributes have nothing to do with one another: each transaction has seen one half of what
    comes out.

    Args:
        old: The attributes that both began with.
        committed: What the first made of them.
        new: What the second would make of them.

    Raises:
        ValueError: Naming the first attribute that both have changed. The merge is a conflict then.
    """
    merged = dict(committed)
    for name in dict.fromkeys((*old, *committed, *new)):
        before, theirs, ours = (_form(state, name) for state in (old, committed, new))
        if ours == before:
            continue
        if theirs not in (before, ours):
            raise ValueError(f"both changed {name!r}")
        if ours is None:
            merged.pop(name, None)
        else:
            merged[name] = new[name]
    return merged


def _form(state: State, name: str) -> bytes | None:
    """Return an attribute as it is stored: two are the same if their bytes are. None if there is none."""
    if name not in state:
        return None
    return encode_value(state[name], _known_oid, name)[0]


merge_attributes = staticmethod(_merge_attributes)
