r"""Old states of persistent objects become those that their class has now: from bytes to bytes (SP7).

Theory of operation
===================

An upgrade is a function of one record and nothing else. Its steps see plain values and opaque references, and what
they return is encoded at once: so it holds nothing that could not be stored, an object that wakes from an old record
is what it would be if the record had been rewritten, and every connection and process makes the same of it.

    payload --current--> attributes
       \--older--> opaque attributes --steps--> payload of today --> attributes
"""

from __future__ import annotations

from typing import Any

from hubbub.space.opaque import OpaqueReferences
from hubbub.space.reading import ObjectOf, StateDecoder, decode_state
from hubbub.space.schema import Schema
from hubbub.space.stamping import encode_parts
from hubbub.space.writing import SIMPLE, are_stored


def upgraded_payload(schema: Schema, payload: bytes) -> tuple[bytes, tuple[int, ...]]:
    """Return what ``payload`` becomes, defaults included, and the oids that it refers to then.

    Raises:
        CorruptRecordError: If it is damaged.
        SchemaError: If it is newer than the class, or a step fails.
    """
    state = schema.upgraded(decode_state(payload, OpaqueReferences()).value)
    for name, default in schema.defaults.items():
        if name not in state:
            state[name] = default.make()
    encoded, refs, _ = encode_parts(schema, state)
    return encoded, refs


class VersionedDecoder:
    """Decodes states of a class that counts versions or declares defaults, as `StateDecoder`. Threads may share it."""

    __slots__ = ("_decode", "_defaults", "_schema")

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._defaults = schema.defaults
        self._decode = StateDecoder(schema.class_name, stamped=True).decode

    def decode(self, data: bytes, object_of: ObjectOf) -> tuple[dict[str, Any], bool]:
        """Return a new dict of attributes, and whether it holds a plain mutable value.

        Raises:
            CorruptRecordError: If ``data`` is damaged.
            SchemaError: If it is newer than the class, or a step fails.
        """
        state, has_mutable = self._decode(data, object_of)
        if not self._take_current_stamp(state):
            payload, _ = upgraded_payload(self._schema, data)
            state, has_mutable = self._decode(payload, object_of)
            self._take_current_stamp(state)
        for name, default in self._defaults.items():
            if name not in state:
                value = state[name] = default.make()
                has_mutable = has_mutable or type(value) not in SIMPLE
        return state, has_mutable

    def _take_current_stamp(self, state: dict[str, Any]) -> bool:
        """Take out of ``state`` what it says about versions; tell whether they are those of today."""
        for name, version in self._schema.stamp.items():
            if state.pop(name, 1) != version:
                return False
        # Another one is of a class that counts no more.
        return are_stored(state)
