"""From parts that came out of upgrade steps to bytes, with what they say about versions (SP7)."""

from __future__ import annotations

from typing import Any

from hubbub.kernel import UnstorableError, UpgradeFailedError
from hubbub.space.opaque import OpaqueReference
from hubbub.space.schema import Schema
from hubbub.space.writing import Encoded, encode_state


def encode_parts(schema: Schema, parts: dict[str, Any]) -> Encoded:
    """Encode parts that came out of upgrade steps: nothing that is not read back as it is, and no new object (SP7).

    Raises:
        UpgradeFailedError: Naming the part that can't be stored.
    """
    try:
        return encode_state(parts, _refuse_object, schema.class_name, schema.stamp)
    except UnstorableError as error:
        newest = max(schema.stamp.values(), default=1)
        raise UpgradeFailedError(schema.class_name, newest - 1, newest, str(error)) from error


def _refuse_object(obj: Any) -> int:
    if type(obj) is OpaqueReference:
        # A weak one.
        return obj.oid
    raise UnstorableError(
        repr(obj), "is a persistent object: a step can't make one, only a transaction can"
    )
