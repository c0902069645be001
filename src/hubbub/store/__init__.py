"""Records kept durably, committed in groups.

`Store` is the interface; `MemoryStore` and `SQLiteStore` fill it; `CommitQueue` lets everybody who waits share one
fsync.
"""

from __future__ import annotations

import os

from hubbub.kernel import StoreError
from hubbub.store.base import Damage, FeedEntry, PackReport, Store, StoreStats
from hubbub.store.feeding import feed_piece
from hubbub.store.lock import Owner, SideFile
from hubbub.store.memory import MemoryStore
from hubbub.store.queue import CommitQueue, QueueStats, Settled
from hubbub.store.sqlite import SQLiteStore
from hubbub.store.wal import WalReport, examine_wal

__all__ = [
    "CommitQueue",
    "Damage",
    "FeedEntry",
    "MemoryStore",
    "Owner",
    "PackReport",
    "QueueStats",
    "SQLiteStore",
    "Settled",
    "SideFile",
    "Store",
    "StoreStats",
    "WalReport",
    "examine_wal",
    "feed_piece",
    "open_store",
]


def open_store(
    url_or_path: str | os.PathLike[str], *, create: bool = True, copies_apart: bool = False
) -> Store:
    """Open the store that ``url_or_path`` names: ``memory:``, or the path of a file.

    Args:
        url_or_path: Where the records are.
        create: Make the space if there is none yet.
        copies_apart: As for `SQLiteStore`.

    Raises:
        StoreError: If it names no store that can be opened here; the message says what would do.
    """
    name = os.fspath(url_or_path)
    if name == "memory:":
        return MemoryStore()
    if not name:
        raise StoreError("an empty name is no space: give a path, or memory:")
    if "://" in name or name.startswith("memory:"):
        raise StoreError(f"{name!r} is no store that can be opened here: give a path, or memory:")
    path = os.path.expanduser(name)  # noqa: PTH111 - no Path for a plain name
    return SQLiteStore(path, create=create, copies_apart=copies_apart)
