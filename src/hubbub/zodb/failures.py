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
    found: Exception
    if isinstance(error, UnknownObjectError):
        found = POSException.POSKeyError(oid_bytes(error.oid))
    elif isinstance(error, ReadOnlyError):
        found = POSException.ReadOnlyError(str(error))
    elif isinstance(error, SnapshotGoneError):
        found = POSException.ReadConflictError(str(error))
    elif isinstance(error, BrokenError):
        found = DisconnectedError(str(error))
    elif isinstance(error, TransientError):
        found = StorageTransientError(str(error))
    else:
        found = POSException.StorageError(f"{error.code}: {error}")
    return found


@contextmanager
def told_to_zodb() -> Iterator[None]:
    """Let Hubbub's errors leave the block as ZODB's."""
    try:
        yield
    except HubbubError as error:
        raise translated(error) from error
