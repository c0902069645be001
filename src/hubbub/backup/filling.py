"""Fill an empty store with commits, many at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from hubbub.backup.commits import BlobPiece
from hubbub.kernel import (
    Commit,
    CorruptRecordError,
    DiskFullError,
    Label,
    StoreError,
    Tid,
    tid_text,
)
from hubbub.store.base import Store, StoredCommit

GROUP_BYTES = 8 << 20
"""About so many bytes of payload become durable at once."""

_RECORD_BYTES = 200  # what a record costs beside its payload while it waits


class Filler:
    """Write commits as they are into a store that nobody else writes to.

    Args:
        store: Where to. It has nothing newer.

    Attributes:
        records, commits, blobs: How many were taken.
        last: The tid of the newest.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[Commit] = []
        self._bytes = 0
        self._staged: dict[int, Path] = {}
        self._blob: BlobFile | None = None
        self.records = self.commits = self.blobs = 0
        self.last = 0

    def add(self, commit: StoredCommit) -> None:
        """Take a commit; what was staged before belongs to it.

        Raises:
            HubbubError: As `Store.write`.
        """
        if self._blob is not None:
            raise CorruptRecordError(
                f"the blob of object {self._blob.oid:#x} is not whole", tid=commit.tid
            )
        staged, self._staged = self._staged, {}
        blobs = {oid: path.name for oid, path in staged.items()}
        self._waiting.append(Commit(commit.tid, commit.label, commit.records, blobs=blobs))
        self._bytes += sum(len(record.payload) + _RECORD_BYTES for record in commit.records)
        self.records += len(commit.records)
        self.commits += 1
        self.blobs += len(blobs)
        self.last = commit.tid
        if self._bytes >= GROUP_BYTES:
            self.flush()

    def add_piece(self, piece: BlobPiece) -> None:
        """Take a piece of a blob of the next commit.

        Raises:
            CorruptRecordError: It does not follow the one before.
            DiskFullError, StoreError: It can't be written.
        """
        blob = self._blob
        if blob is None:
            path = self._store.stage()
            self._staged[piece.oid] = path
            blob = self._blob = BlobFile(path, piece.oid)
        blob.add(piece)
        if blob.is_whole:
            blob.close()
            self._blob = None

    def add_file(self, oid: int, file: Path) -> None:
        """Take a whole blob of the next commit out of ``file``, which stays.

        Raises:
            DiskFullError, StoreError: It can't be copied.
        """
        path = self._store.stage()
        self._staged[oid] = path
        copy_file(file, path)

    def add_rows(self, rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Write keyed rows. Raises as `Store.write`."""
        self.flush()
        tid = Tid(self.last)
        self._store.write(
            [Commit(tid, Label(), (), [(kind, key, value) for kind, key, value in rows])]
        )

    def flush(self) -> None:
        """Write what waits. Raises as `Store.write`."""
        if self._waiting:
            self._store.write(self._waiting)
            self._waiting = []
            self._bytes = 0

    def close(self) -> None:
        """Let go of a blob that is not whole. Idempotent."""
        if self._blob is not None:
            self._blob.close()
            self._blob = None


def copy_file(file: Path, path: Path) -> None:
    """Copy the file of a blob to ``path``, which is there.

    Raises:
        DiskFullError, StoreError: It can't be copied.
    """
    try:
        shutil.copyfile(file, path)
    except OSError as error:
        raise _unwritable(path, error) from error


class BlobFile:
    """A blob that is being written, piece by piece.

    Args:
        path: Where to.
        oid: Whose.
    """

    def __init__(self, path: Path, oid: int) -> None:
        self.oid = oid
        self._path = path
        self._file: BinaryIO = path.open("wb")
        self._offset = 0
        self._size = -1

    def add(self, piece: BlobPiece) -> None:
        """Write the next piece. Raises as `Filler.add_piece`."""
        if (piece.oid, piece.offset) != (self.oid, self._offset) or piece.size not in (
            self._size,
            piece.size if self._size < 0 else -1,
        ):
            raise CorruptRecordError(
                f"a piece of the blob of object {piece.oid:#x} at tid {tid_text(piece.tid)} is missing",
                oid=piece.oid,
                tid=piece.tid,
            )
        try:
            self._file.write(piece.data)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._size = piece.size
        self._offset += len(piece.data)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there."""
        return self._offset == self._size

    def close(self) -> None:
        """Close the file. Raises as `Filler.add_piece`."""
        try:
            self._file.close()
        except OSError as error:
            raise _unwritable(self._path, error) from error


def _unwritable(path: Path, error: OSError) -> StoreError | DiskFullError:
    if error.errno in (28, 122):
        return DiskFullError(f"there is no room for the blob {path}: make room and try again")
    return StoreError(f"the blob {path} can't be written: {error.strerror}")
