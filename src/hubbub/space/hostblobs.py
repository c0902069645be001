"""The blob files of a host, those of commits that are not on the disk yet included."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, cast

from hubbub.kernel import Commit


class HostBlobs:
    """Give the host's connections their files (a `hubbub.space.blobfiles.BlobFiles`). Of the serial thread.

    A file moves into its place while its commit is written. So that commands can read it before that, it is held open
    from when its commit is decided until it settles.

    Args:
        store: Where records and files are, a `hubbub.store.Store`.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._staged: dict[str, Path] = {}
        self._pending: dict[tuple[int, int], BinaryIO] = {}

    @property
    def has_pending(self) -> bool:
        """Whether there are blobs of commits that have not settled."""
        return bool(self._pending)

    def stage(self) -> Path:
        path: Path = self._store.stage()
        self._staged[path.name] = path
        return path

    def unstage(self, name: str) -> None:
        self._staged.pop(name, None)
        self._store.unstage(name)

    def open_blob(self, oid: int, tid: int) -> BinaryIO:
        pending = self._pending.get((oid, tid))
        if pending is not None:
            return cast("BinaryIO", _OfPending(pending))
        path: Path = self._store.blob(oid, tid)
        return path.open("rb", buffering=0)

    def appended(self, commit: Commit) -> None:
        """Take note of a commit with blobs that is about to be written."""
        for oid, name in commit.blobs.items():
            path = self._staged.pop(name, None)
            if path is not None:
                self._pending[oid, commit.tid] = path.open("rb", buffering=0)

    def settled(self, tid: int) -> None:
        """Commits up to ``tid`` are durable: their files are in their places."""
        for key in [key for key in self._pending if key[1] <= tid]:
            self._pending.pop(key).close()

    def rolled_back(self, tid: int) -> None:
        """Commits above ``tid`` are gone, and their files."""
        self.settled(tid)
        for file in self._pending.values():
            file.close()
        self._pending.clear()


class _OfPending:
    """Another reader of an open file, at a place of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = os.dup(file.fileno())
        self._place = 0

    def fileno(self) -> int:
        return self._descriptor

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._place
        elif whence == os.SEEK_END:
            offset += os.fstat(self._descriptor).st_size
        self._place = max(0, offset)
        return self._place

    def readinto(self, view: memoryview) -> int:
        count = os.preadv(self._descriptor, [view], self._place)
        self._place += count
        return count

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()
