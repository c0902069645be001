"""What is stored of sessions, so that a user resumes after the host was killed (PE4, PE6)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

from hubbub.kernel import Row
from hubbub.store.base import Store

SESSION = "session"
"""Row kind: session id -> `StoredSession`."""

CALL = "call"
"""Row kind: session id, a zero byte and the call's id (8 bytes) -> `StoredCall`."""


class StoredSession(msgspec.Struct, omit_defaults=True):
    """One session as it is stored.

    Attributes:
        identity_id, name, claims, address: Whom the checker vouched for.
        secret_hash: SHA-256 of the secret that resumes it.
        form: Its messages' form.
        mind: Whether the user has a mind.
        checker: Which checker vouched.
        pruned_to: Calls up to this id are answered and acknowledged.
    """

    identity_id: str
    name: str
    secret_hash: bytes
    form: str
    mind: bool = False
    checker: str = ""
    pruned_to: int = 0
    claims: dict[str, Any] = {}
    address: str = ""


class StoredCall(msgspec.Struct, array_like=True):
    """The result of a call that the user may not have yet."""

    tid: str
    value: bytes


_encode = msgspec.msgpack.Encoder().encode
_session = msgspec.msgpack.Decoder(StoredSession)
_call = msgspec.msgpack.Decoder(StoredCall)


def hash_secret(secret: str) -> bytes:
    """Return what is stored of a session's secret."""
    return hashlib.sha256(secret.encode()).digest()


def is_secret(secret: str, secret_hash: bytes) -> bool:
    """Tell, in constant time, whether ``secret`` is the one that was hashed."""
    return hmac.compare_digest(hash_secret(secret), secret_hash)


def session_row(session_id: str, stored: StoredSession | None) -> Row:
    """Return the row that stores a session; None deletes it."""
    return (SESSION, session_id.encode(), None if stored is None else _encode(stored))


def call_prefix(session_id: str) -> bytes:
    """Return what the keys of all calls of one session begin with; a call's id follows, in 8 bytes."""
    return session_id.encode() + b"\0"


def call_key(session_id: str, call_id: int) -> bytes:
    """Return the key of a call's row."""
    return call_prefix(session_id) + call_id.to_bytes(8, "big")


def call_value(value: bytes, tid_text: str) -> bytes:
    """Return the value of a call's row: a `StoredCall`."""
    return _encode((tid_text, value))


def load_sessions(
    store: Store,
) -> tuple[dict[str, tuple[StoredSession, dict[int, StoredCall]]], list[Row]]:
    """Return the stored sessions with their unacknowledged results, and rows that delete what belongs to no session."""
    sessions: dict[str, tuple[StoredSession, dict[int, StoredCall]]] = {
        key.decode(): (_session.decode(value), {}) for key, value in store.rows(SESSION)
    }
    orphans: list[Row] = []
    for key, value in store.rows(CALL):
        name, _, number = key.partition(b"\0")
        found = sessions.get(name.decode())
        if found is None:
            orphans.append((CALL, key, None))
        else:
            found[1][int.from_bytes(number, "big")] = _call.decode(value)
    return sessions, orphans
