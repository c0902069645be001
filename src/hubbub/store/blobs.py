r"""The files of a space's blobs: staged by whoever fills them, moved into place with the commit that names them.

Theory of operation
===================

    stage --written by its owner--> staged/<name> --place--> <oid and tid> --group is durable--> kept
                   \--unstage, next open--> gone                  \--group certainly failed, next open--> gone

A file is in place and fsynced, its folder too, before the group that names it is written; so what is acknowledged has
its file. The keyed row of its oid and tid, in the same group, says that it belongs to the space: a file without a row
is an orphan, a row without a file is damage (ST6).

Between the two a *marker* in ``staged`` lists what is being placed, so that the next open need not walk through all
files to find the orphans that a crash has left: it asks for the rows of what the markers list. Should a loss of power
take the marker and leave the file, then the next pack finds it.

    chat.hub-blobs/
      staged/               files that are being filled, and markers
      0/1f/                 oid >> 16, and the next byte of it: at most 256 objects in a folder
        0000000000001f07-040d000000000001     oid and tid
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from hubbub.kernel import (
    Commit,
    CorruptRecordError,
    DiskFullError,
    HubbubError,
    Job,
    LocalProtocolError,
    StoreError,
    oid_bytes,
    oid_from_bytes,
    tid_text,
)

_log = logging.getLogger("hubbub.store")

BLOB = "blob"
"""Row kind: oid and tid of a record with a blob (8 bytes each) -> size of its file (8 bytes) and its CRC-32 (4)."""

_MARKER = "placing-"
_SUFFIX = re.compile(r"[A-Za-z0-9._-]{0,64}")
_PLACED = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_KNOWN_FOLDERS = 50_000
_ATTEMPTS = 5
_FORGOTTEN_S = 24 * 3600.0

_PIECE_BYTES = 1 << 20

BlobRow = tuple[str, bytes, bytes]


def blob_key(oid: int, tid: int) -> bytes:
    """Return the key of the row that says that ``oid`` has a blob at record ``tid``."""
    return oid_bytes(oid) + oid_bytes(tid)


def blob_of_key(key: bytes) -> tuple[int, int]:
    """Return the oid and tid of a key."""
    return oid_from_bytes(key[:8]), oid_from_bytes(key[8:])


def blob_size(value: bytes) -> int:
    """Return the size that a row's value says."""
    return oid_from_bytes(value[:8])


def blob_crc(value: bytes) -> int:
    """Return the checksum that a row's value says."""
    return int.from_bytes(value[8:], "big")


def file_crc(path: Path, on_piece: Callable[[], None] = lambda: None) -> int:
    """Return the checksum of a file; call ``on_piece`` for each piece that was read."""
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            crc = crc32(piece, crc)
            on_piece()
    return crc


class _Seal(NamedTuple):
    """What a staged file was when its checksum was taken."""

    size: int
    changed_ns: int
    crc: int


class Placing:
    """The files of one group on their way into place. End it by `settle` or `undo`, or leave it to the next open.

    Attributes:
        rows: What is to be stored in the same group.
    """

    def __init__(self, marker: Path) -> None:
        self.rows: list[BlobRow] = []
        self._marker = marker
        self._places: list[Path] = []

    def add(self, place: Path, row: BlobRow) -> None:
        """Note that ``place`` is taken."""
        self._places.append(place)
        self.rows.append(row)

    def settle(self) -> None:
        """The group is durable."""
        with contextlib.suppress(OSError):
            self._marker.unlink(missing_ok=True)

    def undo(self) -> None:
        """The group certainly is not stored: remove its files."""
        for place in self._places:
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)
        self.settle()


class Blobs:
    """Keep the blob files of one space.

    Threads: `place` and what ends it are called by one thread at a time; all else by any.

    Args:
        folder: Where; made when the first one is staged.
        like: The file whose permissions and owner the folder gets; None for the usual ones.
        is_durable: Whether to fsync.
    """

    def __init__(self, folder: Path, like: Path | None = None, *, is_durable: bool = True) -> None:
        self.folder = folder
        self._like = like
        self._is_durable = is_durable
        self._staging = folder / "staged"
        self._staged: dict[str, _Seal | None] = {}
        self._known: set[Path] = set()

    # --- staging ------------------------------------------------------------------------------------------------------

    def stage(self, suffix: str = "") -> Path:
        """Return the path of a new empty file; see `hubbub.store.Store.stage`.

        Raises:
            LocalProtocolError: If ``suffix`` has other than letters, digits, ``.``, ``_`` and ``-``, or more than 64.
            DiskFullError: There is no room.
            StoreError: It can't be made.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise LocalProtocolError(
                f"a staged file's name can't end in {suffix!r}: up to 64 letters, digits, '.', '_' and '-' can"
            )
        path = self._staging / (secrets.token_hex(16) + suffix)
        try:
            self._make_folders()
            path.touch(exist_ok=False)
        except OSError as error:
            raise self._explain(error) from error
        self._staged[path.name] = None
        return path

    def seal(self, name: str) -> None:
        """Make a staged file durable and take its checksum; see `hubbub.store.Store.seal`.

        Raises:
            LocalProtocolError: It is not staged here.
            DiskFullError, StoreError: As `stage`.
        """
        if name not in self._staged:
            raise LocalProtocolError(f"the blob file {name!r} is not staged here: stage it again")
        try:
            self._staged[name] = self._sealed(self._staging / name)
        except OSError as error:
            raise self._explain(error) from error

    def _sealed(self, path: Path) -> _Seal:
        found = path.stat()
        crc = file_crc(path)
        if self._is_durable:
            _sync(path, os.O_RDONLY)
        return _Seal(found.st_size, found.st_mtime_ns, crc)

    def unstage(self, name: str) -> None:
        """Remove a staged file. One that was not staged here is let be."""
        if name in self._staged:
            self._staged.pop(name, None)
            (self._staging / name).unlink(missing_ok=True)

    def _make_folders(self) -> None:
        if self._staging in self._known:
            return
        if not self.folder.is_dir():
            # Closed to others until it is known who may read it.
            self.folder.mkdir(mode=0o777 if self._like is None else 0o700, exist_ok=True)
            if self._like is not None:
                _give_access(self.folder, self._like)
        self._sync_folder(self.folder.parent)
        self._make_folder(self._staging)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder whose parent is there, durably."""
        if folder in self._known:
            return
        folder.mkdir(exist_ok=True)
        self._sync_folder(folder.parent)
        if len(self._known) > _KNOWN_FOLDERS:
            self._known.clear()
        self._known.add(folder)

    def _sync_folder(self, folder: Path) -> None:
        if self._is_durable:
            _sync(folder, os.O_RDONLY | os.O_DIRECTORY)

    def _explain(self, error: OSError) -> HubbubError:
        if error.errno in _NO_ROOM:
            return DiskFullError(
                f"there is no room for blobs in {self.folder}: nothing was stored; make room and try again"
            )
        return StoreError(f"blobs can't be written to {self.folder}: {error.strerror}")

    @property
    def is_used(self) -> bool:
        """Whether there may be a blob at all."""
        return self._staging in self._known or self.folder.exists()

    # --- in place -----------------------------------------------------------------------------------------------------

    def path(self, oid: int, tid: int) -> Path:
        """Return where the blob of ``oid`` at record ``tid`` belongs."""
        return self._folder_of(oid) / f"{oid:016x}-{tid:016x}"

    def _folder_of(self, oid: int) -> Path:
        return self.folder / f"{oid >> 16:x}" / f"{oid >> 8 & 255:02x}"

    def checked(self, oid: int, tid: int, size: int) -> Path:
        """Return its file, which a row says is there.

        Raises:
            CorruptRecordError: If it is missing or has another size (ST6).
        """
        path = self.path(oid, tid)
        try:
            found = path.stat().st_size
        except OSError:
            found = -1
        if found != size:
            what = "is missing" if found < 0 else f"has {found} bytes in place of {size}"
            raise CorruptRecordError(
                f"the blob of object {oid:#x} at tid {tid_text(tid)} {what} ({path}): put the file back or restore a "
                f"backup",
                oid=oid,
                tid=tid,
            )
        return path

    def examine(self, oid: int, tid: int, size: int, crc: int, job: Job) -> None:
        """Read its file and compare it with what the row says. Raises as `checked`, and if ``job`` was stopped."""
        path = self.checked(oid, tid, size)
        if file_crc(path, lambda: job.step("verifying blobs", 0)) != crc:
            raise CorruptRecordError(
                f"the blob of object {oid:#x} at tid {tid_text(tid)} is damaged: its checksum does not match ({path}). "
                f"Put the file back or restore a backup",
                oid=oid,
                tid=tid,
            )

    def place(self, commits: Sequence[Commit]) -> Placing:
        """Move the staged files of ``commits`` into place, durably.

        Raises:
            LocalProtocolError: A commit names a file that is not staged here, or an object that it does not write.
                Nothing has changed.
            DiskFullError: There is no room. The files are gone.
            StoreError: They can't be moved or fsynced; the same.
        """
        wanted = [(commit, oid, name) for commit in commits for oid, name in commit.blobs.items()]
        self._check(commits)
        marker = self._staging / f"{_MARKER}{wanted[0][0].tid:016x}"
        placing = Placing(marker)
        try:
            self._mark(marker, wanted)
            for commit, oid, name in wanted:
                self._move(placing, oid, commit.tid, name)
            for folder in {self._folder_of(oid) for _, oid, _ in wanted}:
                self._sync_folder(folder)
        except OSError as error:
            placing.undo()
            for _, _, name in wanted:
                self.unstage(name)
            raise self._explain(error) from error
        return placing

    def _check(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            if not commit.blobs:
                continue
            for name in commit.blobs.values():
                if name not in self._staged:
                    raise LocalProtocolError(
                        f"commit {tid_text(commit.tid)} names the blob file {name!r}, which is not staged here: stage "
                        f"it again"
                    )
            strays = commit.blobs.keys() - {record.oid for record in commit.records}
            if strays or len(set(commit.blobs.values())) < len(commit.blobs):
                raise LocalProtocolError(
                    f"commit {tid_text(commit.tid)} has a blob of an object that it does not write, or one file for two"
                )

    def _mark(self, marker: Path, wanted: Iterable[tuple[Commit, int, str]]) -> None:
        marker.write_text("".join(f"{oid:016x}-{c.tid:016x}\n" for c, oid, _ in wanted), "ascii")

    def _move(self, placing: Placing, oid: int, tid: int, name: str) -> None:
        staged, place = self._staging / name, self.path(oid, tid)
        found, seal = staged.stat(), self._staged[name]
        staged.chmod(found.st_mode & 0o444)
        if seal is None or seal[:2] != (found.st_size, found.st_mtime_ns):
            seal = self._sealed(staged)
        self._put(staged, place)
        del self._staged[name]
        value = oid_bytes(seal.size) + seal.crc.to_bytes(4, "big")
        placing.add(place, (BLOB, blob_key(oid, tid), value))

    def _put(self, staged: Path, place: Path) -> None:
        for attempt in range(_ATTEMPTS):
            self._make_folder(place.parent.parent)
            self._make_folder(place.parent)
            try:
                staged.replace(place)
            except FileNotFoundError:
                # A pack has removed the last file of this folder, and the folder, just now.
                self._known.discard(place.parent)
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    # --- sweeping -----------------------------------------------------------------------------------------------------

    def sweep_staged(self, is_kept: Callable[[int, int], bool]) -> None:
        """Remove what a process before this one has left half done.

        Args:
            is_kept: Tells whether there is a row for the oid and tid.

        Raises:
            StoreError: The folder can't be read or changed.
        """
        try:
            left = list(self._staging.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._explain(error) from error
        try:
            for path in left:
                if path.name.startswith(_MARKER):
                    self._sweep_marked(path, is_kept)
                path.unlink(missing_ok=True)
        except OSError as error:
            raise self._explain(error) from error

    def _sweep_marked(self, marker: Path, is_kept: Callable[[int, int], bool]) -> None:
        for line in marker.read_text("ascii", errors="replace").splitlines():
            found = _PLACED.fullmatch(line)
            if found is not None:
                oid, tid = int(found[1], 16), int(found[2], 16)
                if not is_kept(oid, tid):
                    self.path(oid, tid).unlink(missing_ok=True)

    def sweep_forgotten(self) -> None:
        """Remove staged files that nobody has written to for a day. They are not to be committed any more."""
        oldest = time.time() - _FORGOTTEN_S
        for name in list(self._staged):
            with contextlib.suppress(OSError):
                if (self._staging / name).stat().st_mtime < oldest:
                    self.unstage(name)

    def remove(self, oid: int, tid: int) -> int:
        """Remove a blob that is not kept any more; return how many bytes it had."""
        path = self.path(oid, tid)
        try:
            size = path.stat().st_size
            path.unlink()
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("the blob file %s can't be removed: %s", path, error)
            return 0
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # if it was the last one
            self._known.discard(path.parent)
        return size

    def walk(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the oids and tids of the files in place, those of one folder at a time, sorted."""
        for outer in _folders(self.folder):
            for inner in _folders(outer):
                with contextlib.suppress(FileNotFoundError):
                    names = [_PLACED.fullmatch(path.name) for path in inner.iterdir()]
                    yield sorted((int(n[1], 16), int(n[2], 16)) for n in names if n is not None)


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name != "staged" and path.is_dir()]
    except FileNotFoundError:
        return []


def _sync(path: Path, flags: int) -> None:
    file = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _give_access(folder: Path, like: Path) -> None:
    """Let those use ``folder`` who may read or write the file ``like``."""
    found = like.stat()
    if os.geteuid() == 0:
        os.chown(folder, found.st_uid, found.st_gid)
    readable = found.st_mode & 0o444
    folder.chmod(found.st_mode & 0o666 | readable >> 2)
