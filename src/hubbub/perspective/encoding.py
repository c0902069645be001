"""Values to bytes for users: plain JSON for browsers, the value codec in MessagePack for our own client.

A persistent object in a result becomes a reference: a number that means something in that session only, never an oid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import persistent

from hubbub.kernel import UnstorableError
from hubbub.space.codec import UnknownValue, encode_value

RefOf = Callable[[Any], int]

_NOTHING = {"msgpack": b"\xc0", "json": b"null"}


def no_references(obj: Any) -> int:
    """Refuse a reference where an answer is shared by several users.

    Raises:
        UnstorableError: Always.
    """
    raise UnstorableError(
        f"<{type(obj).__qualname__}>",
        "an answer that is watched, published or sent to a mind can't hold references; return plain values",
    )


def encode(value: Any, form: str, ref_of: RefOf = no_references) -> bytes:
    """Return ``value`` as bytes of ``form``.

    Args:
        value: What a command, query or view returned.
        form: ``json`` or ``msgpack``.
        ref_of: Gives the session's number for a persistent object.

    Raises:
        UnstorableError: If it holds what can't be sent.
    """
    if value is None:
        return _NOTHING[form]
    if form == "msgpack":
        return encode_value(value, ref_of, "answer")[0]

    def hook(obj: Any) -> Any:
        if isinstance(obj, persistent.Persistent):
            return {"$ref": ref_of(obj)}
        if isinstance(obj, UnknownValue):
            return obj.fields
        if isinstance(obj, range):
            return list(obj)
        return str(obj)

    try:
        return msgspec.json.encode(value, enc_hook=hook)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableError("answer", f"can't be written as JSON: {error}") from None
