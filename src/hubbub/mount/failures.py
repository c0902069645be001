"""Errors over the peer wire: which message becomes which error class, and back."""

from __future__ import annotations

import re

from hubbub.kernel import (
    BrokenError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    CorruptRecordError,
    DiskFullError,
    FeedGapError,
    HubbubError,
    JobStoppedError,
    LimitError,
    LoginFailedError,
    NotAllowedError,
    OutcomeUnknownError,
    PackedError,
    ReadOnlyError,
    Record,
    RemoteError,
    RemoteProtocolError,
    ReservedError,
    SnapshotGoneError,
    StoreError,
    TransientError,
    UndoError,
    UnknownObjectError,
)
from hubbub.store.votes import VOTE_GONE
from hubbub.wire import peer

_CLASSES: dict[str, type[HubbubError]] = {
    cls.code: cls
    for cls in (
        ConfigurationError,
        DiskFullError,
        FeedGapError,
        JobStoppedError,
        LimitError,
        LoginFailedError,
        NotAllowedError,
        OutcomeUnknownError,
        PackedError,
        ReadOnlyError,
        ReservedError,
        SnapshotGoneError,
        StoreError,
        TransientError,
        UndoError,
    )
}
_CLASSES[VOTE_GONE] = OutcomeUnknownError
UPLOAD_GONE = "upload_gone"
"""The code of the error that a host has lost what was uploaded to it: upload it again."""
_CLASSES[UPLOAD_GONE] = BrokenError
_CLASSES["protocol"] = RemoteProtocolError


def to_failed(call_id: int, error: BaseException) -> peer.Failed:
    """Return ``error`` as the answer to a call. What is not Hubbub's own crosses as ``internal`` only (PE2)."""
    if isinstance(error, ConflictError):
        # A peer could merge no better what the host knows as well as anybody.
        is_known = error.class_name.startswith(("hubbub.", "BTrees."))
        committed, base = (None, None) if is_known else (error.committed, error.base)
        return peer.Failed(
            call_id,
            error.code,
            error.message,
            error.oid,
            error.class_name,
            error.read_tid,
            error.committed_tid,
            committed.fields() if committed is not None else None,
            base.fields() if base is not None else None,
        )
    if isinstance(error, CorruptRecordError):
        return peer.Failed(call_id, error.code, error.message, error.oid or 0, "", error.tid or 0)
    if isinstance(error, UnknownObjectError):
        return peer.Failed(call_id, error.code, error.message, error.oid, "", error.at or 0)
    if isinstance(error, ClosedError):
        return peer.Failed(call_id, TransientError.code, error.message)
    if isinstance(error, HubbubError):
        return peer.Failed(call_id, error.code, error.message)
    return peer.Failed(call_id, RemoteError.code, "the host failed; the cause is in its log")


def from_failed(failed: peer.Failed) -> HubbubError:
    """Return the error that ``failed`` tells of."""
    if failed.kind == ConflictError.code:
        conflict = ConflictError(
            failed.oid, failed.class_name, failed.read_tid, failed.committed_tid
        )
        conflict.message = failed.message
        conflict.committed = Record(*failed.record) if failed.record else None
        conflict.base = Record(*failed.base) if failed.base else None
        return conflict
    if failed.kind == CorruptRecordError.code:
        return CorruptRecordError(
            failed.message, oid=failed.oid or None, tid=failed.read_tid or None
        )
    if failed.kind == UnknownObjectError.code:
        return UnknownObjectError(failed.oid, failed.read_tid or None)
    return from_kind(failed.kind, failed.message)


def from_kind(kind: str, message: str) -> HubbubError:
    """Return an error of the class that ``kind`` names."""
    cls = _CLASSES.get(kind)
    return RemoteError(message, code=kind) if cls is None else cls(message, code=kind)


_OLDER_HOST = re.compile(r"this host speaks version (\d+) of the peer protocol, not")
"""Hosts up to version 4 do not say what to do about it."""


def from_fault(fault: peer.Fault, address: str) -> HubbubError:
    """Return the error for a connection that the host ended."""
    older = _OLDER_HOST.match(fault.message)
    if older is not None:
        return RemoteProtocolError(
            f"{address}: this host speaks version {older[1]} of the peer protocol and this peer version "
            f"{peer.PROTOCOL}: upgrade the host's hubbub"
        )
    message = f"{address}: {fault.message}"
    if fault.kind in ("login_failed", "too_many_failures"):
        return LoginFailedError(f"{address} does not let us in: {fault.message}", code=fault.kind)
    if fault.kind == "tls":
        return ConfigurationError(message, code="tls")
    if fault.kind in _CLASSES or fault.kind == "unknown_space":
        return from_kind(fault.kind, message)
    return BrokenError(f"{address} ended the connection: {fault.message}")
