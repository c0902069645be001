"""Which attributes the code of a class relies on, as far as that can be told without running it (SP7).

An attribute is expected if the class or a base annotates it in its body, or its ``__init__`` sets it whatever its
arguments are. It is missing from a record that does not have it, unless the class has a default or a property of that
name. A list or the like in the class is no default: it is one for all objects, and its changes are not stored. Where
there is no source text only annotations count.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import persistent

_absent: Any = object()
_MUTABLE = frozenset((list, dict, set, bytearray))


def expected_attributes(cls: type) -> frozenset[str]:
    """Return the names of the attributes that every object of ``cls`` should have and the class has no default for."""
    names: set[str] = set()
    for base in cls.__mro__:
        if base is persistent.Persistent:
            break
        annotations = _annotations(base)
        names.update(name for name, kind in annotations.items() if not _is_of_class(kind))
    names.update(_set_by_init(cls))
    return frozenset(
        name for name in names if name[:3] not in ("_v_", "_p_") and not _has_default(cls, name)
    )


def _has_default(cls: type, name: str) -> bool:
    found = inspect.getattr_static(cls, name, _absent)
    return found is not _absent and type(found) not in _MUTABLE


def _annotations(cls: type) -> dict[str, Any]:
    """Return what the body of ``cls`` itself annotates."""
    if sys.version_info >= (3, 14):
        # They are made when they are asked for; as text nothing has to be there that they name.
        from annotationlib import Format, get_annotations

        return get_annotations(cls, format=Format.STRING)
    found: dict[str, Any] = vars(cls).get("__annotations__", {})
    return found


def _is_of_class(annotation: Any) -> bool:
    text = annotation if isinstance(annotation, str) else repr(annotation)
    return "ClassVar" in text


def _set_by_init(cls: type) -> Iterator[str]:
    init = cls.__init__  # type: ignore[misc]
    if not inspect.isfunction(init):
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):
        return
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef) or not function.args.args:
        return
    yield from _always_set(function.body, function.args.args[0].arg)


def _always_set(body: Sequence[ast.stmt], me: str) -> Iterator[str]:
    """Yield what the statements set on ``me`` in any case: those in branches and loops may not run."""
    for statement in body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            if isinstance(statement, ast.AnnAssign) and statement.value is None:
                continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                for node in ast.walk(target):
                    if (
                        isinstance(node, ast.Attribute)
                        and isinstance(node.ctx, ast.Store)
                        and isinstance(node.value, ast.Name)
                        and node.value.id == me
                    ):
                        yield node.attr
        elif isinstance(statement, ast.With):
            yield from _always_set(statement.body, me)
        elif isinstance(statement, (ast.Return, ast.Raise)):
            return
