"""What the first bytes of a file tell: whether it is a space, and one that can be read."""

from __future__ import annotations

import struct
from pathlib import Path

from hubbub.kernel import StoreError
from hubbub.store.tables import APPLICATION_ID, FORMAT_VERSION


def look_at_main_file(path: Path, create: bool) -> None:
    """Look whether there is a space at ``path``, before anything is opened or changed.

    Only while no connection is open: closing a file of ours would drop SQLite's POSIX locks on it.

    Raises:
        StoreError: If it is something else, a newer one, or not all there; or if there is none and ``create`` is false.
    """
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        head = b""
    except OSError as error:
        raise StoreError(f"the space {path} can't be read: {error.strerror}") from error
    if not head:
        for log in (_beside(path, "-wal"), _beside(path, "-log")):
            if log.exists() and log.stat().st_size:
                raise StoreError(
                    f"{path} is missing or empty, but its log {log.name} is there: put the file back, or "
                    f"move the log away"
                )
        if not create:
            raise StoreError(f"{path} is empty: there is no space in it")
    elif not head.startswith(b"SQLite format 3\0"):
        raise StoreError(f"{path} is not a Hubbub space")
    elif not _beside(path, "-journal").exists():  # else the head may be half written
        version, application = struct.unpack(">I4xI", head[60:72])
        check_format(path, application, version)


def check_format(path: Path, application: int, version: int) -> None:
    """Check that an SQLite file is a space that can be read.

    Raises:
        StoreError: If not.
    """
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file, but not a Hubbub space")
    if version > FORMAT_VERSION:
        raise StoreError(
            f"the space {path} has format version {version}; this Hubbub reads up to {FORMAT_VERSION}: "
            f"install a newer one"
        )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
