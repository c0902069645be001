"""What can be told of a ZODB data record without its classes: which class it is of, and what it refers to (SP3)."""

from __future__ import annotations

import pickletools
import re
import zlib
from binascii import unhexlify

from ZODB import POSException
from ZODB.serialize import referencesf

from hubbub.kernel import oid_from_bytes

PREFIX = "zodb:"
"""Class names of ZODB's records begin with this: what they hold is a pickle."""

OPAQUE = PREFIX + "?"
"""Class name of a record that is no pickle as far as can be told: nothing is known of what it refers to."""

UNNAMED = PREFIX + "(unnamed)"
"""Class name of a record whose class can't be named."""

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


def _named(module: str, name: str) -> str:
    found = f"{PREFIX}{module}.{name}"
    # Hosts refuse names that would command a terminal.
    return found if len(found) < 1000 and found.isprintable() else UNNAMED


def class_name_of(data: bytes) -> str:
    """Return the class name under which a record of the pickle ``data`` is stored. Imports and runs nothing."""
    found = _LEADING_GLOBAL.match(data)
    if found is not None:
        module, name = (part.decode("utf-8", "replace") for part in found.groups())
        return _named(module, name)
    names: list[str] = []
    try:
        for number, (operation, value, _) in enumerate(pickletools.genops(data)):
            if operation.name in _STRINGS:
                names.append(str(value))
            if len(names) == 2:
                return _named(names[0], names[1])
            if number == _MOST_OPERATIONS:
                break
    except _FAILURES:
        pass
    return UNNAMED


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


def plain(data: bytes) -> bytes:
    """Return the pickle in a data record that a wrapper has transformed, where that can be told from the record.

    Wrappers mark what they transform by a full stop, with which no pickle begins, and a letter.

    Raises:
        StorageError: It is transformed in another way. What it refers to would not be known, and a pack would collect
            that.
    """
    mark = data[:2]
    try:
        if mark == b".z":
            return zlib.decompress(data[2:])
        if mark == b".h":
            return unhexlify(data[2:])
    except (zlib.error, ValueError):
        return data
    if mark[:1] == b"." and mark[1:].isalpha():
        raise POSException.StorageError(
            f"a data record is transformed ({mark!r}), and what it refers to can't be seen: put the storage into the "
            "wrapper that has transformed it"
        )
    return data


def described(data: bytes) -> tuple[str, tuple[int, ...]]:
    """Return the class name and the references of a record with the pickle ``data``.

    Raises:
        StorageError: As `plain`.
    """
    data = plain(data)
    refs = references_of(data)
    if refs is None:
        return OPAQUE, ()
    return class_name_of(data), refs


def is_blob(data: bytes | None) -> bool:
    """Tell whether a data record is that of a blob."""
    return bool(data) and class_name_of(plain(data or b"")) == BLOB
