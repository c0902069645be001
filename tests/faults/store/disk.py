"""A disk that remembers what was fsynced, so that a test can see what a loss of power leaves of a space.

The store works on real files. Each write, fsync, rename and removal passes through here first, one at a time: SQLite's
through a VFS, the group log's and the blobs' through the functions that they call. What a file held when it was last
fsynced is remembered, and so are the names that a folder had. `crashed` makes a copy of the space as it would be found:

    SIGKILL        all that was written
    loss of power  what was fsynced; of what was written since, sector by sector, the new or the old content by chance;
                   of names that were made or removed since, each by chance
"""

from __future__ import annotations

import errno
import os
import random
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from hubbub.store import blobs, grouplog

SECTOR = 512


class Disk:
    """Watch the files in ``folder``.

    Args:
        folder: Where the space is.
        name: Of the VFS.

    Attributes:
        count: Operations so far.
        on_operation: Called before and after each one, with what it is.
        fail_at: The operation that fails, by its number; 0 for none.
        error: As which it fails.
        fails_on: It goes on failing from there.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.vfs = _VFS(self, name)
        self._buried = folder.with_name(folder.name + "-buried")
        self._buried.mkdir(exist_ok=True)
        self.lock = threading.RLock()
        self.count = 0
        self.on_operation: Callable[[str], None] = lambda _: None
        self.fail_at = 0
        self.error = errno.EIO
        self.fails_on = False
        self.failed = ""
        self._inside = 0
        self._durable: dict[int, bytes] = {}
        self._names: dict[Path, dict[str, int]] = {}

    # --- what happens -------------------------------------------------------------------------------------------------

    @contextmanager
    def operation(self, what: str) -> Iterator[bool]:
        """Carry out one operation, or have it fail; yields whether it counts."""
        if self.is_inside:
            yield False
            return
        with self.lock:
            self._inside = threading.get_ident()
            try:
                self.count += 1
                self.on_operation(what)
                if self.fail_at and (
                    self.count == self.fail_at or (self.fails_on and self.count > self.fail_at)
                ):
                    self.failed = self.failed or what
                    raise OSError(self.error, os.strerror(self.error))
                yield True
                self.on_operation(what)
            finally:
                self._inside = 0

    @property
    def is_inside(self) -> bool:
        """Whether this thread carries out an operation, or looks at what is left: then it does as it wants."""
        return self._inside == threading.get_ident()

    def synced(self, path: Path) -> None:
        """Remember what ``path`` holds now."""
        with self.lock:
            if path.is_dir():
                self._names[path] = {p.name: p.stat().st_ino for p in path.iterdir()}
            elif path.exists():
                self._durable[path.stat().st_ino] = path.read_bytes()
                # A new file's name is durable with it: SQLite sees to that, and the group log fsyncs its folder.
                if path.parent == self.folder:
                    self._names.setdefault(path.parent, {})[path.name] = path.stat().st_ino

    def removed(self, path: Path) -> None:
        """Take note that SQLite, which fsyncs the folder, has removed a file."""
        self._names.get(path.parent, {}).pop(path.name, None)

    # --- what is left -------------------------------------------------------------------------------------------------

    def crashed(self, to: Path, chance: random.Random | None) -> None:
        """Make a copy of the space as it is found after a SIGKILL, or, with ``chance``, after a loss of power."""
        with self.lock:
            shutil.rmtree(to, ignore_errors=True)
            if chance is None:
                shutil.copytree(self.folder, to)
                return
            self._leave(self.folder, to, chance)

    def _leave(self, folder: Path, to: Path, chance: random.Random) -> None:
        to.mkdir()
        now = {p.name: p for p in folder.iterdir()} if folder.exists() else {}
        durable = self._names.get(folder, {})
        files = (*self._buried.iterdir(), *self.folder.rglob("*"))
        inodes = {p.stat().st_ino: p for p in files}
        for name in sorted(now.keys() | durable.keys()):
            if name.endswith("-shm"):
                continue
            path = now.get(name)
            old = durable.get(name)
            is_same = path is not None and path.stat().st_ino == old
            if not is_same and chance.random() < 0.5:
                # The name is as it was: of another file, or of none.
                path = None if old is None else inodes[old]
            if path is None:
                continue
            if path.is_dir():
                self._leave(folder / name, to / name, chance)
            else:
                (to / name).write_bytes(self._content(path, chance))

    def _content(self, path: Path, chance: random.Random) -> bytes:
        written = path.read_bytes()
        durable = self._durable.get(path.stat().st_ino, b"")
        if path.name.endswith("-lock"):
            return written  # it is never fsynced; at worst it is older, which says less
        if written == durable:
            return written
        length = chance.choice((len(written), len(durable), max(len(written), len(durable))))
        found = bytearray()
        keeps = chance.choice((0.0, 0.5, 0.9, 1.0))
        for start in range(0, length, SECTOR):
            source = written if chance.random() < keeps else durable
            end = min(start + SECTOR, length)
            found += source[start:end].ljust(end - start, b"\0")
        return bytes(found)

    # --- who calls ----------------------------------------------------------------------------------------------------

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the group log and the blobs pass through here."""
        real_write, real_sync = grouplog.write_through, blobs._sync

        def write_through(file: int, data: memoryview, offset: int) -> int:
            if self.is_inside:
                return real_write(file, data, offset)
            path = self.folder / "chat.hub-log"
            with self.operation("append to the group log"):
                count = real_write(file, data, offset)
                self.synced(path)
                return count

        def sync(path: Path, flags: int) -> None:
            kind = "a folder" if path.is_dir() else "a file"
            with self.operation(f"fsync {kind} of the blobs") as is_recorded:
                real_sync(path, flags)
                if is_recorded:
                    self.synced(path)

        monkeypatch.setattr(grouplog, "write_through", write_through)
        monkeypatch.setattr(blobs, "_sync", sync)
        monkeypatch.setattr(grouplog, "os", _System(self))
        for name in ("replace", "unlink", "mkdir", "rmdir", "write_text"):
            monkeypatch.setattr(Path, name, self._passing(name, getattr(Path, name)))

    def _passing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *args: Any, **options: Any) -> Any:
            if self.folder not in path.parents or self.is_inside:
                return real(path, *args, **options)
            with self.operation(f"{name} {path.name.split('-')[0]}"):
                if name == "unlink" and path.exists():
                    # Its inode is not to become another file's, and its content may be found again.
                    os.link(path, self._buried / secrets.token_hex(8))
                if name == "rmdir" and path.is_dir() and not any(path.iterdir()):
                    return path.rename(self._buried / secrets.token_hex(8))
                return real(path, *args, **options)

        return call


class _System:
    """`os` for the group log."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._paths: dict[int, Path] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        if self._disk.is_inside:
            return os.open(path, flags, mode)
        with self._disk.operation("open the group log"):
            file = os.open(path, flags, mode)
            self._paths[file] = Path(path)
            return file

    def fsync(self, file: int) -> None:
        with self._disk.operation("fsync the group log") as is_recorded:
            os.fsync(file)
            if is_recorded:
                self._disk.synced(self._paths[file])


class _VFS(apsw.VFS):
    def __init__(self, disk: Disk, name: str) -> None:
        self.disk = disk
        self.name = name
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self.disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        with _told(self.disk, "delete"):
            super().xDelete(filename, syncdir)
            self.disk.removed(Path(filename))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.path = Path(str(filename))
        self.kind = self.path.name.rpartition("-")[2] if "-" in self.path.name else "main"
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        with _told(self.disk, f"write {self.kind}"):
            super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        with _told(self.disk, f"sync {self.kind}"):
            super().xSync(flags)
            self.disk.synced(self.path)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        with _told(self.disk, f"truncate {self.kind}"):
            super().xTruncate(newsize)


@contextmanager
def _told(disk: Disk, what: str) -> Iterator[None]:
    """As `Disk.operation`, with SQLite's errors."""
    try:
        with disk.operation(what):
            yield
    except OSError as error:
        full = error.errno == errno.ENOSPC
        code = apsw.SQLITE_FULL if full else apsw.SQLITE_IOERR
        raise apsw.exception_for(code) from error
