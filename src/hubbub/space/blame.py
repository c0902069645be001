"""Find the place in a value that can't be stored, for the error's path (SP2).

Encoding keeps no path: it would cost every commit for what hardly ever happens. So when something was refused, the
value is walked again: of each container's parts the first one that can't be encoded by itself is at fault.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from typing import Any

from hubbub.kernel import UnstorableError
from hubbub.space.shapes import UnfitError, shape_of
from hubbub.space.unknown import UnknownValue

MAX_DEPTH = 100
"""How deep a value may nest."""


class Refusal(Exception):  # noqa: N818 - an answer inside the codec, not an error that leaves it
    """This value can't be stored; says why, not where."""


def located(
    value: Any, path: str, error: Exception, attempt: Callable[[Any], object]
) -> UnstorableError:
    """Return the error to raise for ``value``, naming the innermost place at fault.

    Args:
        value: What was refused.
        path: Its own path.
        error: Why.
        attempt: Encodes a part by itself, raising `Refusal` or `UnstorableError` if it can't be.
    """
    above: list[Any] = []
    why = _reason(error)
    while True:
        above.append(value)
        for step, part in _parts(value):
            if any(part is outer for outer in above):
                return UnstorableError(path + step, "contains itself; a record is a tree")
            try:
                attempt(part)
            except (Refusal, UnstorableError) as inner:
                path, value, why = path + step, part, _reason(inner)
                break
        else:
            return UnstorableError(path, why)
        if len(above) > MAX_DEPTH:
            return UnstorableError(path, why)


def _reason(error: Exception) -> str:
    return error.why if isinstance(error, UnstorableError) else str(error)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    cls = type(value)
    if cls in (list, tuple):
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif cls is dict:
        for key, item in value.items():
            yield f"[key {reprlib.repr(key)}]", key
            yield f"[{reprlib.repr(key)}]", item
    elif cls in (set, frozenset):
        for item in value:
            yield f"[item {reprlib.repr(item)}]", item
    elif cls is UnknownValue:
        for name, item in value.hubbub_fields.items():
            yield f".{name}", item
    else:
        try:
            parts = shape_of(cls).parts(value)
        except UnfitError:
            return
        for name, item in parts.items():
            yield f".{name}", item
