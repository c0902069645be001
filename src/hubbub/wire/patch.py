"""Patches: how one answer of a live query becomes the next one (LV2).

A patch is a list of operations on a top-level list or dict, applied in order:

    ["s", start, delete_count, [items]]   replace a slice of a list
    ["k", key, value]                     set a key of a dict; a new key goes to the end
    ["d", key]                            delete a key of a dict

Values are compared type for type: ``1``, ``1.0`` and ``True`` differ here, as do dicts in another order, because what
a client ends up with has to be what a fresh answer would have given it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import copysign
from typing import Any

import msgspec

from hubbub.kernel import RemoteProtocolError

Patch = list[list[object]]

_PLAIN = frozenset((str, int, bytes, bool, msgspec.Raw))


def diff(old: object, new: object) -> Patch | None:
    """Return a patch that turns ``old`` into ``new``, or None if a patch is not possible or carries nothing less.

    Takes time linear in both. For a list it finds one changed place, and a window that has moved (``recent(50)``: some
    dropped at one end, some added at the other); for a dict, the changed keys.

    Args:
        old: The answer before. It must not have been changed in place since: what is identical is taken as equal.
        new: The answer now.
    """
    if type(old) is list and type(new) is list:
        return _diff_lists(old, new)
    if type(old) is dict and type(new) is dict:
        return _diff_dicts(old, new)
    return None


def apply(value: object, patch: object) -> object:
    """Return what ``patch`` makes of ``value``, which is left as it is.

    Raises:
        RemoteProtocolError: If ``patch`` does not fit ``value``; code ``garbled``.
    """
    if type(value) is list:
        return _patched(list(value), patch, _apply_to_list)
    if type(value) is dict:
        return _patched(dict(value), patch, _apply_to_dict)
    raise _garbled(f"a patch for a {type(value).__name__}")


def _diff_lists(old: list[Any], new: list[Any]) -> Patch | None:
    shorter = min(len(old), len(new))
    start = 0
    while start < shorter and _same(old[start], new[start]):
        start += 1
    if start == len(old) == len(new):
        return []
    tail = 0
    while tail < shorter - start and _same(old[-1 - tail], new[-1 - tail]):
        tail += 1
    was, now = old[start : len(old) - tail], new[start : len(new) - tail]
    ahead = _overlap(was, now)
    behind = _overlap(now, was) if ahead < len(now) else 0
    if not max(ahead, behind):
        patch: Patch = [["s", start, len(was), now]]
    elif ahead >= behind:
        patch = [["s", start, len(was) - ahead, []], ["s", start + ahead, 0, now[ahead:]]]
    else:
        patch = [
            ["s", start + behind, len(was) - behind, []],
            ["s", start, 0, now[: len(now) - behind]],
        ]
    patch = [operation for operation in patch if operation[2] or operation[3]]
    carried = len(now) - max(ahead, behind)
    return patch if carried < len(new) else None


def _overlap(left: list[Any], right: list[Any]) -> int:
    """Return the length of the longest end of ``left`` that is a beginning of ``right`` (Knuth, Morris, Pratt)."""
    if not left or not right:
        return 0
    borders = [0] * len(right)
    length = 0
    for index in range(1, len(right)):
        while length and not _same(right[index], right[length]):
            length = borders[length - 1]
        if _same(right[index], right[length]):
            length += 1
        borders[index] = length
    length = 0
    for item in left:
        if length == len(right):
            length = borders[length - 1]
        while length and not _same(item, right[length]):
            length = borders[length - 1]
        if _same(item, right[length]):
            length += 1
    return length


def _diff_dicts(old: dict[Any, Any], new: dict[Any, Any]) -> Patch | None:
    # Other keys (1.5, a date, True beside 1) are written differently in JSON, or look equal and are not.
    if not all(type(key) is str or type(key) is int for keys in (old, new) for key in keys):
        return None
    deletions: Patch = [["d", key] for key in old if key not in new]
    settings: Patch = [
        ["k", key, value]
        for key, value in new.items()
        if key not in old or not _same(old[key], value)
    ]
    kept = [key for key in old if key in new]
    if not all(map(_equal, kept, new)):
        return None  # the order of what stays has changed; a patch can't say so
    if not deletions and not settings:
        return []
    if len(settings) >= len(new) or len(deletions) + len(settings) > len(new):
        return None
    return deletions + settings


def _equal(one: object, other: object) -> bool:
    return one == other


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same, type for type and all the way down."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _PLAIN:
        return bool(one == other)
    if kind is float:
        return bool(one == other and copysign(1, one) == copysign(1, other))
    if kind is list or kind is tuple:
        return len(one) == len(other) and all(map(_same, one, other))
    if kind is dict:
        return (
            len(one) == len(other)
            and all(map(_same, one, other))
            and all(map(_same, one.values(), other.values()))
        )
    if isinstance(one, msgspec.Struct):
        fields = one.__struct_fields__
        return all(_same(getattr(one, field), getattr(other, field)) for field in fields)
    # Sets, dates, decimals: equal ones can still be written differently (another time zone, 1.0 and 1.00).
    return bool(one == other) and repr(one) == repr(other)


def _patched(value: Any, patch: object, step: Callable[[Any, Any], None]) -> object:
    if not isinstance(patch, list):
        raise _garbled(f"a patch that is a {type(patch).__name__}")
    for operation in patch:
        try:
            step(value, operation)
        except (TypeError, ValueError, LookupError) as error:
            raise _garbled(f"patch operation {operation!r:.80}") from error
    return value


def _apply_to_list(value: list[Any], operation: list[Any]) -> None:
    name, start, count, items = operation
    if name != "s" or not 0 <= start <= start + count <= len(value) or type(items) is not list:
        raise ValueError(name)
    value[start : start + count] = items


def _apply_to_dict(value: dict[Any, Any], operation: list[Any]) -> None:
    if operation[0] == "k":
        _, key, item = operation
        value[key] = item
    elif operation[0] == "d":
        _, key = operation
        del value[key]
    else:
        raise ValueError(operation[0])


def _garbled(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{what} does not fit the answer before", code="garbled")
