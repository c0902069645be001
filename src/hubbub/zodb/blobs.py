"""Blobs: the files of ZODB's, on their way to the store's and back.

ZODB fills a file in `BlobFiles.folder`, which is renamed, or copied where that is another disk, to a file that the
store has staged. A blob that is read is the store's own file, or the copy that a mount of a host keeps here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from ZODB import POSException
from ZODB.blob import BlobFile, rename_or_copy_blob

from hubbub.kernel import UnknownObjectError, oid_from_bytes
from hubbub.mount import Mount
from hubbub.zodb.failures import told_to_zodb


class BlobFiles:
    """Take and give files as ZODB wants it. It is what ZODB calls a storage's ``fshelper``, as far as others use it.

    Args:
        mount: Where blobs are.
        folder: Where blobs of transactions that are under way are; None makes a temporary one when it is needed.
        beside: A folder on the disk of the blobs, if it is known: the temporary one is made there.
    """

    def __init__(self, mount: Mount, folder: Path | None, beside: Path | None) -> None:
        self._mount = mount
        self._folder = None if folder is None else folder.absolute() / "tmp"
        self._beside = beside
        self._is_temporary = folder is None
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def temp_dir(self) -> str:
        """The folder for blobs that are not committed."""
        if self._folder is None:
            beside = None if self._beside is None else str(self._beside)
            self._folder = Path(tempfile.mkdtemp(prefix="hubbub-zodb-", dir=beside))
        return str(self._folder)

    def getBlobFilename(self, oid: bytes, tid: bytes) -> str:
        """Return the path of a committed blob.

        Raises:
            POSKeyError: If there is none.
        """
        with told_to_zodb():
            try:
                path = self._mount.blob(oid_from_bytes(oid), oid_from_bytes(tid))
            except UnknownObjectError as error:
                raise POSException.POSKeyError("there is no such blob", oid, tid) from error
        _make_readable(path)
        return str(path)

    def open(self, oid: bytes, tid: bytes, blob: Any) -> BinaryIO:
        """Open a committed blob to read it."""
        if blob is not None:
            file: BinaryIO = BlobFile(self.getBlobFilename(oid, tid), "r", blob)
            return file
        try:
            return Path(self.getBlobFilename(oid, tid)).open("rb")
        except FileNotFoundError:
            # It had to make room for another one here; it is fetched once more.
            return Path(self.getBlobFilename(oid, tid)).open("rb")

    def take(self, file: str) -> str:
        """Take over ``file``; return the name under which it is staged."""
        with told_to_zodb():
            staged = self._mount.stage()
        rename_or_copy_blob(file, str(staged))
        return staged.name

    def again(self, oid: int, tid: int) -> str | None:
        """Stage the blob of ``oid`` at ``tid`` once more, for another record; None if there is none."""
        with told_to_zodb():
            try:
                path = self._mount.blob(oid, tid)
            except UnknownObjectError:
                return None
            staged = self._mount.stage()
        try:
            staged.unlink()
            os.link(path, staged)
        except OSError:
            shutil.copyfile(path, staged)
        return staged.name

    def copied(self, file: str) -> str:
        """Stage a copy of ``file``, which belongs to another storage."""
        with told_to_zodb():
            staged = self._mount.stage()
        shutil.copyfile(file, staged)
        return staged.name

    def drop(self, name: str) -> None:
        """Remove a staged file."""
        with told_to_zodb():
            self._mount.unstage(name)

    def close(self) -> None:
        """Remove the temporary folder."""
        if self._is_temporary and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _make_readable(path: Path) -> None:
    """Let those read a blob's file who may read its folder, as applications of ZODB's expect, and nobody write it."""
    mode = path.stat().st_mode & 0o666
    wanted = path.parent.stat().st_mode & 0o444
    if mode != wanted:
        with contextlib.suppress(PermissionError):
            path.chmod(wanted)
