r"""The files of blobs on their way into a commit and out of it. No objects here, and no threads.

Theory of operation
===================

Each writing makes a file of its own, known in its transaction by the digest of what is in it:

    write --close--> staged under its digest --prepare--> named in the commit --durable--> the store's
                          \--abort, the transaction ends without it--> gone

So a state of a blob, be it the present one or that at a savepoint, finds its file by the digest that it holds.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from hubbub.kernel import CorruptRecordError, Record, UnstorableError

BLOB_CLASS = "hubbub.Blob"
CHUNK_BYTES = 1 << 20
_SYNC_BYTES = 32 << 20
"""So often what is written is brought to the disk, so that the commit need not wait for much."""


class BlobFiles(Protocol):
    """Where the blob files of a connection are."""

    def stage(self) -> Path:
        """Return the path of a new empty file; see `hubbub.store.Store.stage`."""
        ...

    def unstage(self, name: str) -> None:
        """Remove a staged file that was not committed. Idempotent."""
        ...

    def open_blob(self, oid: int, tid: int) -> BinaryIO:
        """Open the file of the blob that ``oid`` had at record ``tid``.

        Raises:
            UnknownObjectError: If there is none.
            CorruptRecordError: If it is damaged.
        """
        ...


class StagedBlobs:
    """What one transaction has written into blobs.

    Args:
        files: Where files are.
    """

    def __init__(self, files: BlobFiles) -> None:
        self._files = files
        self._by_digest: dict[bytes, list[Path]] = {}
        self._named: set[str] = set()
        self.writing: set[BlobWriter] = set()

    def stage(self) -> Path:
        """Return a new empty file."""
        return self._files.stage()

    def add(self, digest: bytes, path: Path) -> None:
        """Take in a file that has been written."""
        self._by_digest.setdefault(digest, []).append(path)

    def drop(self, path: Path) -> None:
        """A file is not wanted."""
        self._files.unstage(path.name)

    def find(self, digest: bytes) -> Path | None:
        """Return the file with this digest, if it was written in this transaction."""
        paths = self._by_digest.get(digest)
        return paths[0] if paths else None

    def check_closed(self) -> None:
        """Check that nothing is still being written.

        Raises:
            UnstorableError: If a blob is.
        """
        for writer in self.writing:
            raise UnstorableError(
                writer.name, "is still being written to: close it before the commit"
            )

    def name_files(
        self,
        records: Iterable[Record],
        digest_of: Callable[[Record], bytes],
    ) -> dict[int, str]:
        """Return the names of the files that go with the blobs among ``records``, by oid.

        Args:
            records: Of blobs only.
            digest_of: Returns the digest in a record; empty for a blob without bytes.
        """
        named: dict[int, str] = {}
        used: set[Path] = set()
        for record in records:
            digest = digest_of(record)
            if not digest:
                continue
            path = self._unused(digest, used)
            if path is None:
                path = self._copied(digest, record)
            used.add(path)
            named[record.oid] = path.name
        self._named.update(named.values())
        return named

    def _unused(self, digest: bytes, used: set[Path]) -> Path | None:
        for path in self._by_digest.get(digest, ()):
            if path not in used:
                return path
        return None

    def _copied(self, digest: bytes, record: Record) -> Path:
        """Return a copy of what is staged, or of what the blob had before: each record has a file of its own."""
        path = self.stage()
        self.add(digest, path)
        source = self.find(digest)
        if source is not None and source != path:
            path.unlink()
            link_or_copy(source, path)
            return path
        with self._files.open_blob(record.oid, record.tid) as file, path.open("wb") as out:
            shutil.copyfileobj(file, out, CHUNK_BYTES)
        return path

    def end(self, *, is_committed: bool) -> None:
        """The transaction is over: what it has not committed goes."""
        for writer in list(self.writing):
            writer.discard()
        for paths in self._by_digest.values():
            for path in paths:
                if not (is_committed and path.name in self._named):
                    self._files.unstage(path.name)
        self._by_digest.clear()
        self._named.clear()


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` have what ``source`` has; it must not exist."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or one that has no links
        shutil.copyfile(source, target)


class BlobWriter(io.RawIOBase):
    """A file to write a blob's new bytes to. `close` makes them the blob's; an exception in its block drops them.

    Args:
        path: An empty file.
        name: Of the blob, for errors.
        done: Called with the digest and the size at the end.
        drop: Called if nothing becomes of it.
        begin_with: What the blob has, to append to.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        done: Callable[[BlobWriter, bytes, int], None],
        drop: Callable[[BlobWriter], None],
        begin_with: BinaryIO | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self.name = name
        self._done = done
        self._drop = drop
        self._file = path.open("wb", buffering=CHUNK_BYTES)
        self._digest = hashlib.sha256()
        self._size = 0
        self._unsynced = 0
        if begin_with is not None:
            while data := begin_with.read(CHUNK_BYTES):
                self.write(data)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        self._checkClosed()
        count = self._file.write(data)
        self._digest.update(data)
        self._size += count
        self._unsynced += count
        if self._unsynced >= _SYNC_BYTES:
            self._sync()
        return count

    def take(self, source: Path) -> None:
        """Write what the file ``source`` has, before anything else is written. On the same disk it is not copied."""
        self._checkClosed()
        with source.open("rb") as file:
            try:
                linked = self.path.with_suffix(".linked")
                os.link(source, linked)
            except OSError:  # another disk, or one that has no links
                shutil.copyfileobj(file, self, CHUNK_BYTES)
                return
            linked.replace(self.path)
            self._file.close()
            self._file = self.path.open("ab", buffering=CHUNK_BYTES)
            while data := file.read(CHUNK_BYTES):
                self._digest.update(data)
                self._size += len(data)

    def _checkClosed(self) -> None:  # noqa: N802 - as in `io`
        if self.closed:
            raise ValueError("the blob's file is closed")

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._unsynced = 0

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        """End the writing: what was written is the blob's now, in this transaction."""
        if self.closed:
            return
        try:
            self._file.flush()
            if self._size > CHUNK_BYTES:
                self._sync()
        except BaseException:
            self.discard()
            raise
        self._file.close()
        super().close()
        self._done(self, self._digest.digest(), self._size)

    def discard(self) -> None:
        """Forget what was written. Idempotent."""
        if not self.closed:
            self._file.close()
            super().close()
            self._drop(self)

    def __exit__(self, exc_type: object, *_: object) -> None:
        if exc_type is not None:
            self.discard()
        else:
            self.close()

    def __del__(self) -> None:
        # Not closed: nobody says that this is all.
        if not self.closed:
            self.discard()


class BlobReader(io.RawIOBase):
    """A file to read a blob from. Read from the beginning to the end without a gap, it checks the digest (ST6)."""

    def __init__(self, file: BinaryIO, size: int, digest: bytes, oid: int, tid: int) -> None:
        super().__init__()
        self._file = file
        self._size = size
        self._wanted = digest
        self._where = oid, tid
        self._digest = hashlib.sha256()
        self._hashed = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int:
        place = self._file.tell()
        view = memoryview(buffer).cast("B")
        count = int(self._file.readinto(view))  # type: ignore[attr-defined]
        is_damaged = place + count > self._size if count else bool(view) and place < self._size
        if count and place == self._hashed:
            self._digest.update(view[:count])
            self._hashed += count
            if self._hashed == self._size:
                is_damaged = is_damaged or self._digest.digest() != self._wanted
        if is_damaged:
            oid, tid = self._where
            raise CorruptRecordError(
                f"the blob of object {oid:#x} is damaged: restore its file from a backup",
                oid=oid,
                tid=tid,
            )
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
