"""What can be told of a ZODB data record without its classes: which class it is of, and what it refers to (SP3)."""

from __future__ import annotations

import pickletools
import re

from ZODB.serialize import referencesf

from hubbub.kernel import oid_from_bytes

PREFIX = "zodb:"
"""Class names of ZODB's records begin with this: what they hold is a pickle."""

OPAQUE = PREFIX + "?"
"""Class name of a record that is no pickle as far as can be told: nothing is known of what it refers to."""

BLOB = PREFIX + "ZODB.blob.Blob"

_LEADING_GLOBAL = re.compile(rb"(?:\x80.)?\(?c([^\n]{1,200})\n([^\n]{1,200})\n", re.DOTALL)
_STRINGS = frozenset(
    ("SHORT_BINUNICODE", "BINUNICODE", "UNICODE", "SHORT_BINSTRING", "BINSTRING", "STRING")
)
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
)
_MOST_OPERATIONS = 12


def class_name_of(data: bytes) -> str:
    """Return the class name under which a record of the pickle ``data`` is stored. Imports and runs nothing."""
    found = _LEADING_GLOBAL.match(data)
    if found is not None:
        module, name = (part.decode("utf-8", "replace") for part in found.groups())
        return f"{PREFIX}{module}.{name}"
    names: list[str] = []
    try:
        for number, (operation, value, _) in enumerate(pickletools.genops(data)):
            if operation.name in _STRINGS:
                names.append(str(value))
            if len(names) == 2:
                return f"{PREFIX}{names[0]}.{names[1]}"
            if number == _MOST_OPERATIONS:
                break
    except _FAILURES:
        pass
    return OPAQUE


def references_of(data: bytes) -> tuple[int, ...] | None:
    """Return the oids that the pickle ``data`` refers to, each once, in order; None if it is no such pickle.

    As ZODB has it, references that are weak or lead to another database are none.
    """
    try:
        found = referencesf(data)
    except Exception:  # noqa: BLE001 - any bytes may come, and an unpickler fails on them in any way
        return None
    if any(len(oid) != 8 for oid in found):
        return None
    return tuple(dict.fromkeys(map(oid_from_bytes, found)))


def described(data: bytes) -> tuple[str, tuple[int, ...]]:
    """Return the class name and the references of a record with the pickle ``data``."""
    refs = references_of(data)
    if refs is None:
        return OPAQUE, ()
    return class_name_of(data), refs
