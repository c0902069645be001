"""The blobs of a host, in files here: those to be uploaded, and a cache of those that were downloaded.

Theory of operation
===================

    stage --written--> upload, in pieces --commit--> in the cache: it need not come back
    blob --in the cache--> its file
      '--else--> pieces --into <name>.part--> all there --> in the cache         a broken download goes on at its end

The cache is bounded in bytes. What is open, or was given away within the last minute, is kept all the same.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from hubbub.kernel import DiskFullError, HubbubError, RemoteProtocolError, StoreError
from hubbub.mount.failures import UPLOAD_GONE
from hubbub.wire import peer
from hubbub.wire.peer_asking import PIECE_BYTES

_KEPT_S = 60.0


class RemoteBlobs:
    """Blob files of one mount. Any thread.

    Args:
        ask_all: Asks the host many things, several at a time.
        tell: Sends a message that has no answer.
        folder: Where files are kept from one run to the next; None: in a temporary folder.
        limit_bytes: About how many bytes the cache may have.
    """

    def __init__(
        self,
        ask_all: Callable[[Iterable[Any]], Iterator[Any]],
        tell: Callable[[Any], None],
        folder: str | os.PathLike[str] | None,
        limit_bytes: int,
    ) -> None:
        self._ask_all = ask_all
        self._tell = tell
        self._kept = None if folder is None else Path(folder)
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}
        self._made: Path | None = None
        self._staging: Path | None = None
        self._sizes: dict[str, int] = {}
        self._used: dict[str, float] = {}
        self._doubted: set[str] = set()
        self._open: dict[str, int] = {}
        self._uploaded: set[str] = set()
        self._begun: set[str] = set()

    # --- to the host --------------------------------------------------------------------------------------------------

    def stage(self, suffix: str = "") -> Path:
        """Return the path of a new empty file."""
        self._folder()
        assert self._staging is not None
        try:
            descriptor, name = tempfile.mkstemp(suffix, dir=self._staging)
        except OSError as error:
            raise _explained(error, self._staging) from error
        os.close(descriptor)
        return Path(name)

    def unstage(self, name: str) -> None:
        """Remove a staged file, here and at the host."""
        if self._staging is not None:
            (self._staging / name).unlink(missing_ok=True)
        with self._lock:
            self._uploaded.discard(name)
            has_begun = name in self._begun
            self._begun.discard(name)
        if has_begun:
            self._tell(peer.DropUpload(name))

    def upload(self, names: Iterable[str]) -> None:
        """Send staged files to the host, as far as it has not got them.

        Raises:
            HubbubError: As `Mount.commit`; those that have arrived stay.
        """
        assert self._staging is not None
        for name in names:
            with self._lock:
                if name in self._uploaded:
                    continue
                self._begun.add(name)
            try:
                for _ in self._ask_all(_pieces(self._staging / name)):
                    pass
            except HubbubError as error:
                if error.code != UPLOAD_GONE:
                    raise
                # The host was started anew in between.
                for _ in self._ask_all(_pieces(self._staging / name)):
                    pass
            with self._lock:
                self._uploaded.add(name)

    def lost(self, names: Iterable[str]) -> None:
        """The host has lost what was uploaded."""
        with self._lock:
            self._uploaded.difference_update(names)

    def committed(self, blobs: dict[int, str], tid: int) -> None:
        """Staged files are committed as ``tid``: they are what the host has now."""
        assert self._staging is not None
        for oid, name in blobs.items():
            with self._lock:
                self._uploaded.discard(name)
                self._begun.discard(name)
            staged = self._staging / name
            size = staged.stat().st_size
            staged.replace(self._folder() / _name(oid, tid))
            self._keep(_name(oid, tid), size)

    # --- from the host ------------------------------------------------------------------------------------------------

    def path(self, oid: int, tid: int) -> Path:
        """Return the file of a blob, fetched if it is not here."""
        name = _name(oid, tid)
        path = self._folder() / name
        while True:
            with self._lock:
                if name in self._sizes and name not in self._doubted:
                    self._used[name] = time.monotonic()
                    return path
                fetching = self._fetching.setdefault(name, threading.Lock())
            with fetching:
                with self._lock:
                    is_here = name in self._sizes and name not in self._doubted
                if not is_here:
                    self._fetch(oid, tid, path)
                with self._lock:
                    self._fetching.pop(name, None)

    def open(self, oid: int, tid: int) -> BinaryIO:
        """Open the file of a blob; it stays as long as it is open."""
        name = _name(oid, tid)
        path = self.path(oid, tid)
        with self._lock:
            self._open[name] = self._open.get(name, 0) + 1
        try:
            file: BinaryIO = path.open("rb", buffering=0)
        except BaseException:
            self._closed(name)
            raise
        weakref.finalize(file, self._closed, name)
        return file

    def _closed(self, name: str) -> None:
        with self._lock:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    def _fetch(self, oid: int, tid: int, path: Path) -> None:
        part = path.with_suffix(".part")
        try:
            with part.open("ab") as file:
                size = self._fetch_into(file, oid, tid)
            part.replace(path)
        except OSError as error:
            raise _explained(error, part.parent) from error
        self._keep(path.name, size)

    def _fetch_into(self, file: BinaryIO, oid: int, tid: int) -> int:
        begin = file.tell()
        (first,) = self._ask_all([peer.GetPiece(0, oid, tid, begin, PIECE_BYTES)])
        size: int = first.size
        if begin > size:
            raise RemoteProtocolError(
                "the host has another blob under the same tid", code="garbled"
            )
        file.write(first.data)
        offsets = range(begin + len(first.data), size, PIECE_BYTES)
        asked = (peer.GetPiece(0, oid, tid, offset, PIECE_BYTES) for offset in offsets)
        for offset, piece in zip(offsets, self._ask_all(asked), strict=True):
            if piece.size != size or len(piece.data) != min(PIECE_BYTES, size - offset):
                raise RemoteProtocolError("the host sent a piece of another size", code="garbled")
            file.write(piece.data)
        return size

    # --- the cache ----------------------------------------------------------------------------------------------------

    def _folder(self) -> Path:
        with self._lock:
            if self._made is None:
                try:
                    self._make_folder()
                except OSError as error:
                    raise _explained(error, self._kept or Path(tempfile.gettempdir())) from error
            assert self._made is not None
            return self._made

    def _make_folder(self) -> None:
        if self._kept is None:
            made = Path(tempfile.mkdtemp(prefix="hubbub-blobs-"))
            weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        else:
            made = self._kept
            made.mkdir(parents=True, exist_ok=True)
            for path in sorted(made.glob("*.blob"), key=lambda found: found.stat().st_mtime):
                self._sizes[path.name] = path.stat().st_size
                self._used[path.name] = 0.0
        self._staging = Path(tempfile.mkdtemp(prefix="staged-", dir=made))
        weakref.finalize(self, shutil.rmtree, self._staging, ignore_errors=True)
        self._made = made

    def _keep(self, name: str, size: int) -> None:
        with self._lock:
            self._sizes[name] = size
            self._doubted.discard(name)
            self._used[name] = time.monotonic()
            self._make_room()

    def _make_room(self) -> None:
        """Let go of what was not used for long until the rest fits. With the lock held."""
        too_many = sum(self._sizes.values()) - self._limit_bytes
        if too_many <= 0:
            return
        recent = time.monotonic() - _KEPT_S
        assert self._made is not None
        for name in sorted(self._sizes, key=self._used.__getitem__):
            if too_many <= 0 or self._used[name] > recent:
                return
            if name not in self._open:
                (self._made / name).unlink(missing_ok=True)
                too_many -= self._sizes.pop(name)
                del self._used[name]
                self._doubted.discard(name)

    def forget(self) -> None:
        """Ask the host again for what is kept here: it may have been packed away. Files in use stay as they are."""
        with self._lock:
            self._doubted.update(self._sizes)

    @property
    def byte_count(self) -> int:
        """Bytes of the files in the cache."""
        with self._lock:
            return sum(self._sizes.values())

    def close(self) -> None:
        """Remove what is staged, and a temporary folder as a whole. Idempotent."""
        with self._lock:
            made, staging = self._made, self._staging
            self._made = self._staging = None
            self._sizes.clear()
            self._used.clear()
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if made is not None and self._kept is None:
            shutil.rmtree(made, ignore_errors=True)


def _name(oid: int, tid: int) -> str:
    return f"{oid:016x}-{tid:016x}.blob"


def _pieces(path: Path) -> Iterator[peer.PutPiece]:
    """Yield a file in pieces; an empty one is one empty piece."""
    with path.open("rb") as file:
        offset = 0
        while True:
            data = file.read(PIECE_BYTES)
            if not data and offset:
                return
            yield peer.PutPiece(0, path.name, offset, data)
            offset += len(data)
            if len(data) < PIECE_BYTES:
                return


def _explained(error: OSError, folder: Path) -> HubbubError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"there is no room for blobs in {folder}: make room, or give blob_dir="
        )
    return StoreError(f"blobs can't be kept in {folder}: {error.strerror}")
