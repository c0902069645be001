"""A ZODB transaction's user, description and extension, as a label; and back, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from ZODB._compat import _protocol, dumps

from hubbub.kernel import Label

COMMAND = "zodb"
"""What made a commit, in its label."""

NORMAL = " "
PACKED = "p"
"""A transaction's status in ZODB: its records may be gone, and it can't be undone."""


class Extra(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a label says beside user and description.

    Attributes:
        user: The user's bytes, if they are no text.
        description: The description's bytes, if they are no text.
        extension: The pickle of the extension, as ZODB gave it.
        status: The status that a copied transaction had.
        copied: Oid to tid: objects whose data is that of an older transaction, after an undo.
    """

    user: bytes = b""
    description: bytes = b""
    extension: bytes = b""
    status: str = NORMAL
    copied: dict[int, int] = {}


NO_EXTRA = Extra()

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Extra).decode


class Meta(msgspec.Struct, frozen=True):
    """What ZODB knows of a transaction."""

    user: bytes
    description: bytes
    extension: bytes
    status: str
    copied: Mapping[int, int]


def _text(data: bytes | str) -> str | None:
    if isinstance(data, str):  # against the interface, but some do so
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _extension_of(transaction: Any) -> bytes:
    try:
        found: bytes = transaction.extension_bytes
    except AttributeError:
        # Storages that keep it in memory have it as a dict only.
        extension = transaction.extension
        found = dumps(extension, _protocol) if extension else b""
    return found


def label_of(transaction: Any, status: str, copied: dict[int, int]) -> Label:
    """Return the label of a transaction that ZODB commits.

    Args:
        transaction: Its meta data (``IStorageTransactionMetaData``).
        status: Its status; not blank only if it is copied.
        copied: As `Extra.copied`.
    """
    user, note = _text(transaction.user), _text(transaction.description)
    extra = Extra(
        b"" if user is not None else transaction.user,
        b"" if note is not None else transaction.description,
        _extension_of(transaction),
        status,
        copied,
    )
    return Label(
        identity=user or "",
        command=COMMAND,
        note=note or "",
        extra=b"" if extra == NO_EXTRA else _encode(extra),
    )


def meta_of(label: Label) -> Meta:
    """Return what ZODB is told of a commit with this label, whoever made it."""
    extra = NO_EXTRA
    if label.command == COMMAND and label.extra:
        extra = _decode(label.extra)
    return Meta(
        extra.user or label.identity.encode(),
        extra.description or label.note.encode(),
        extra.extension,
        extra.status,
        extra.copied,
    )
