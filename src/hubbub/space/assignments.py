"""Assignments that change nothing: ``room.visits += 1`` and ``room.tags |= {"x"}`` (ST4).

Python adds to the counter or set in place, and then puts it where it is already. `persistent` takes that for a change
of the room: it would be written, and two who count would conflict there. So the container says that it was used like
this, and the objects that hold it are compared with what they were. No other objects are, and none in other
transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from persistent import Persistent

from hubbub.kernel import Record, UnstorableError
from hubbub.space.reading import ObjectOf
from hubbub.space.states import encode_object, is_same_state

_NEW = b"\0" * 8
_set_changed = Persistent._p_changed.__set__


class _Source(Protocol):
    def load(self, oid: int) -> Record: ...


def drop_unchanged(
    assigned: Iterable[Any],
    changed: dict[int, Any],
    source: _Source,
    object_of: ObjectOf,
    known_oid: Callable[[Any], int],
) -> None:
    """Take objects that are as they were out of ``changed``.

    Args:
        assigned: Containers that were put where they are. Only objects that hold one as an attribute are looked at.
        changed: Oid to object.
        source: Where their records are.
        object_of: Gives objects by oid and class name.
        known_oid: Gives oids of stored objects; `UnstorableError` for others.
    """
    known = {id(part) for part in assigned}
    for oid, obj in list(changed.items()):
        parts = getattr(obj, "__dict__", {}).values()
        if obj._p_serial == _NEW or known.isdisjoint(map(id, parts)):
            continue
        try:
            payload, _ = encode_object(obj, known_oid)
        except UnstorableError:
            continue  # it refers to something new, or the commit will say what is wrong
        if is_same_state(obj, payload, source.load(oid), object_of, known_oid):
            _set_changed(obj, False)
            del changed[oid]
