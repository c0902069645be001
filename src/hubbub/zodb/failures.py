"""Hubbub's errors as those that an application of ZODB's knows and handles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import transaction.interfaces
from ZODB import POSException

from hubbub.kernel import (
    BrokenError,
    HubbubError,
    ReadOnlyError,
    SnapshotGoneError,
    TransientError,
    UnknownObjectError,
    oid_bytes,
)


class StorageTransientError(POSException.StorageError, transaction.interfaces.TransientError):
    """Nothing was stored; the transaction may succeed when it is tried again. ``__cause__`` is Hubbub's own error."""


class DisconnectedError(StorageTransientError):
    """The host is gone, and did not come back in time. Certainly nothing was stored."""


def translated(error: HubbubError) -> Exception:
    """Return ``error`` as an exception of ZODB's."""
    if isinstance(error, UnknownObjectError):
        return POSException.POSKeyError(oid_bytes(error.oid))
    if isinstance(error, ReadOnlyError):
        return POSException.ReadOnlyError(str(error))
    if isinstance(error, SnapshotGoneError):
        return POSException.ReadConflictError(str(error))
    if isinstance(error, BrokenError):
        return DisconnectedError(str(error))
    if isinstance(error, TransientError):
        return StorageTransientError(str(error))
    return POSException.StorageError(f"{error.code}: {error}")


@contextmanager
def told_to_zodb() -> Iterator[None]:
    """Let Hubbub's errors leave the block as ZODB's."""
    try:
        yield
    except HubbubError as error:
        raise translated(error) from error
