"""What a collection notes of its members, and what follows from a change of that for its indexes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, NamedTuple

from hubbub.kernel import NotUniqueError, UnstorableError
from hubbub.space.classes import register
from hubbub.space.containers.fieldindex import Spec
from hubbub.space.containers.keys import key_bytes
from hubbub.space.indexed import Indexed
from hubbub.space.persistent import Persistent
from hubbub.space.shapes import UnfitError, shape_of
from hubbub.space.writing import encode_value

_absent: Any = object()


class Row(NamedTuple):
    """A member, and its indexed attributes as the indexes have them: pairs of name and value. Never seen outside."""

    member: Any
    noted: tuple[tuple[str, Any], ...]


Row.__hubbub_name__ = "hubbub.CollectionRow"  # type: ignore[attr-defined]
register(Row)

Change = tuple[Any, "Row | None", "Row | None"]
"""A key with its row as it was and as it shall be."""


def moved_entries(
    collection: str, spec: Spec, changes: Iterable[Change]
) -> tuple[dict[bytes, Any], dict[bytes, Any]]:
    """Return the entries of an index that go and those that come, each with what it holds.

    Args:
        collection: What an error calls the collection.
        spec: The index.
        changes: What changes of the collection's rows.

    Raises:
        NotUniqueError: If the index is unique and would not be any more.
    """
    gone: dict[bytes, Any] = {}
    come: dict[bytes, Any] = {}
    for key, before, after in changes:
        data = key_bytes(key)
        for row, entries in ((before, gone), (after, come)):
            value = None if row is None else spec.value_in(dict(row.noted))
            if value is not None:
                entry = spec.entry_key(value, data)
                if entry in entries:
                    raise NotUniqueError(collection, spec.name, value, entries[entry][1], key)
                entries[entry] = (value, key)
    for entry in come.keys() & gone.keys():
        if form_of(come[entry]) == form_of(gone[entry]):
            del come[entry], gone[entry]
    if spec.is_unique:
        for entry, (value, key) in come.items():
            held = spec.entries.get(entry)
            if held is not None and entry not in gone:
                raise NotUniqueError(collection, spec.name, value, held[1], key)
    return gone, come


def check_member(member: Any) -> None:
    """Raise `TypeError` unless ``member`` is one whose changes are noticed, or that can't change."""
    if isinstance(member, Indexed):
        return
    try:
        if not isinstance(member, Persistent) and shape_of(type(member)).is_frozen:
            return
    except UnfitError:
        pass
    raise TypeError(
        f"a {type(member).__qualname__} can't be a member of a collection, whose indexes would not follow it: "
        "derive its class from hubbub.Indexed, or make it a frozen struct, dataclass or named tuple"
    )


def noted_of(member: Any, specs: Iterable[Spec]) -> tuple[tuple[str, Any], ...]:
    """Return the indexed attributes that ``member`` has, by name.

    Raises:
        UnstorableError: If one of them can't be in an index.
    """
    found = {}
    for spec in specs:
        for field in spec.fields:
            value = _attribute(member, field)
            if value is not None and field not in found:
                try:
                    key_bytes(value)
                except (TypeError, UnstorableError) as error:
                    raise UnstorableError(
                        f"{type(member).__qualname__}.{field}", f"can't be in an index: {error}"
                    ) from None
                found[field] = value
    return tuple(found.items())


def _attribute(member: Any, field: str) -> Any:
    """Return an attribute that is stored, or the class's default for it; None if there is neither."""
    if not isinstance(member, Indexed):
        return getattr(member, field, None)
    member._p_activate()
    value = member.__dict__.get(field, _absent)
    if value is _absent:
        value = inspect.getattr_static(type(member), field, None)
        if hasattr(type(value), "__get__"):
            # It may depend on other objects, whose changes nobody would notice.
            raise UnstorableError(
                f"{type(member).__qualname__}.{field}",
                "is computed; only what is stored can be indexed",
            )
    return value


def form_of(noted: Any) -> bytes:
    """Return what is noted as it is stored: two of the same bytes are the same, type and all."""
    return encode_value(noted, _no_oid)[0]


def _no_oid(obj: Any) -> int:
    raise UnstorableError(repr(obj), "is a persistent object; index its id or name")
