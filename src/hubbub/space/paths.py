"""How people name an object: by its way from the root, such as ``root['rooms']['lobby'].messages``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from hubbub.kernel import HubbubError, Record
from hubbub.space.classes import find_class
from hubbub.space.containers.map import Entry
from hubbub.space.opaque import OpaqueReference, OpaqueReferences
from hubbub.space.reading import read
from hubbub.space.trees import split_parts
from hubbub.space.unknown import UnknownValue

_MAPS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))


def path_of(records: Iterable[Record], last: int) -> str:
    """Return the way along ``records``: from the root on each refers to the next, and the last one to ``last``."""
    chain = list(records)
    path = "root"
    shown_key: Callable[[Any], str] = repr
    followers = [*(record.oid for record in chain), last][1:]
    for record, following in zip(chain, followers, strict=True):
        cls = find_class(record.class_name)
        if hasattr(cls, "_bucket_type"):
            # The buckets below have its keys, and a class of their own.
            shown_key = getattr(cls, "shown_key", repr)
        try:
            path += _step(record, following, shown_key)
        except (HubbubError, msgspec.MsgspecError, LookupError):
            path += "..."
    return path


def _step(record: Record, oid: int, shown_key: Callable[[Any], str]) -> str:
    references = OpaqueReferences()
    if record.payload[0] in _MAPS:
        state = read(lambda reader: reader.state_as_stored(record.payload), references).value
        for name, value in state.items():
            found = _way_to(value, oid)
            if found is not None:
                return f".{name}{found}"
        return "..."
    if record.class_name.startswith("hubbub.Log"):
        return "[...]" if record.class_name == "hubbub.Log" else ""
    parts = split_parts(record.payload)
    if not 1 <= len(parts) <= 2:
        # An inner node: the keys are in the leaves.
        return ""
    items = read(lambda reader: reader.read_tuple(parts[0]), references).value
    if record.class_name == "hubbub.List":
        return _way_to(list(items), oid) or ""
    for key, value in zip(items[::2], items[1::2], strict=False):
        found = _way_to(value.value if type(value) is Entry else value, oid)
        if found is not None:
            key_text = repr(value.key) if type(value) is Entry else shown_key(key)
            return f"[{key_text}]{found}"
    # The reference to the next leaf, or a set's member.
    return ""


def _way_to(value: Any, oid: int) -> str | None:
    """Return how ``value`` leads to the object, or None if it does not."""
    if type(value) is OpaqueReference:
        return "" if value.oid == oid else None
    steps: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        steps = ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        steps = ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        steps = (("{...}", part) for part in value)
    elif isinstance(value, UnknownValue):
        steps = ((f".{name}", part) for name, part in value.hubbub_fields.items())
    elif isinstance(value, msgspec.Struct):
        steps = ((f".{name}", getattr(value, name)) for name in value.__struct_fields__)
    elif dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        steps = ((f".{name}", getattr(value, name)) for name in names)
    for step, part in steps:
        found = _way_to(part, oid)
        if found is not None:
            return step + found
    return None
