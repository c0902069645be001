"""The folder that a backup is: immutable files, and a manifest that says what they hold.

Theory of operation
===================

    full    |-- 000001 --|-- 000002 --|                 chain 1: from the beginning
    later                             |-- 000003 --|
    full    |-------- 000004 ---------------------------|-- 000005 --|      chain 2

A file holds the commits above one tid (``after``) up to another (``last``). A file that begins at 0 begins a *chain*;
each next one goes on where the one before it ends. A run of backup writes one or more files, so that one that is killed
goes on behind its last whole file. The last file of a run holds the keyed rows too, which belong to its ``last`` tid.

A file is whole before the manifest names it; a file that the manifest does not name is a left-over and is removed by
the next run.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from hubbub.backup.frames import sync_folder
from hubbub.kernel import ConfigurationError, CorruptRecordError, StoreError, Tid, tid_text

FORMAT = 1
MANIFEST = "manifest.json"
SUFFIX = ".hubbak"
_LOCK = "lock"


class BackupFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifest says of one file.

    Attributes:
        name: Its name in the folder.
        number: They count up, from 1.
        after: It holds the commits above this tid; 0 begins a chain.
        last: And up to this one.
        floor: History below this tid is not whole: it was packed away while, or before, the file was written.
        commits, records, blobs, rows: How many of them it has. ``rows`` is None where the run went on.
        rows_sha256: Of the rows, by which a run sees whether there is anything new.
        size: Bytes.
        sha256: Of the file, in hexadecimal digits.
        made: Unix time in seconds.
    """

    name: str
    number: int
    after: int
    last: int
    floor: int
    commits: int
    records: int
    blobs: int = 0
    rows: int | None = None
    rows_sha256: str = ""
    size: int
    sha256: str
    made: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup folder holds.

    Attributes:
        format: Version of all this.
        space_id: Of which space.
        files: In the order in which they were written.
    """

    format: int = FORMAT
    space_id: str
    files: tuple[BackupFile, ...] = ()

    @property
    def last(self) -> int:
        """Up to which tid the newest chain goes; 0 if there is none."""
        return self.files[-1].last if self.files else 0

    def chains(self) -> list[list[BackupFile]]:
        """Return the files of each chain, oldest chain first.

        Raises:
            CorruptRecordError: If a file does not go on where the one before it ends.
        """
        found: list[list[BackupFile]] = []
        for file in self.files:
            if not file.after:
                found.append([])
            elif not found or found[-1][-1].last != file.after:
                raise CorruptRecordError(
                    f"{file.name} begins behind tid {tid_text(file.after)}, where no file before it ends: the "
                    "manifest is damaged"
                )
            found[-1].append(file)
        return found

    def chain_to(self, at: int | None) -> list[BackupFile]:
        """Return the files that hold the space as of tid ``at``, or all that there is.

        Raises:
            StoreError: If none do; says what there is.
        """
        chains = self.chains()
        if not chains:
            raise StoreError("there is nothing in this backup yet")
        if at is None:
            return chains[-1]
        for chain in reversed(chains):
            # What was packed away later says nothing of what earlier files hold.
            files = [file for file in chain if file.after < at or file.last <= at]
            if files and max(file.floor for file in files) <= at <= files[-1].last:
                return files
        first = min(chain[0].floor for chain in chains)
        raise StoreError(
            f"this backup can't give the space as of tid {tid_text(at)}: it reaches from "
            f"{tid_text(first)} to {tid_text(max(chain[-1].last for chain in chains))}"
        )


class BackupFolder:
    """A backup on the disk.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()

    def read(self) -> Manifest | None:
        """Return the manifest; None if there is none.

        Raises:
            CorruptRecordError: If it is damaged.
            StoreError: If it can't be read, or is of a newer version.
        """
        path = self.path / MANIFEST
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{path} can't be read: {error.strerror}") from error
        try:
            version = msgspec.json.decode(text, type=_Version).format
            if version > FORMAT:
                raise StoreError(
                    f"the backup {self.path} has format version {version}; this Hubbub reads up to {FORMAT}: install a "
                    "newer one"
                )
            return msgspec.json.decode(text, type=Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CorruptRecordError(
                f"{path} is damaged ({error}): the files beside it are whole in themselves; start a new folder"
            ) from error

    def must_read(self) -> Manifest:
        """Return the manifest.

        Raises:
            StoreError: As `read`; also if there is no backup here.
        """
        manifest = self.read()
        if manifest is None:
            raise StoreError(f"{self.path} is no backup: there is no {MANIFEST} in it")
        return manifest

    def make(self) -> None:
        """Make the folder if there is none.

        Raises:
            ConfigurationError: If something else is in it.
            StoreError: If it can't be made.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            strangers = [
                found.name
                for found in self.path.iterdir()
                if found.name not in (_LOCK, MANIFEST + ".part")
                and not found.name.endswith((SUFFIX, SUFFIX + ".part"))
            ]
        except OSError as error:
            raise StoreError(f"the folder {self.path} can't be made: {error.strerror}") from error
        if strangers and not (self.path / MANIFEST).exists():
            raise ConfigurationError(
                f"{self.path} is no backup, but {strangers[0]} is in it: give a folder that is empty, or none yet"
            )

    def write(self, manifest: Manifest) -> None:
        """Put ``manifest`` in place of the old one, durably and whole.

        Raises:
            StoreError: If it can't be written; the old one stands.
        """
        path = self.path / MANIFEST
        part = path.with_name(MANIFEST + ".part")
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
        try:
            file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(file)
            part.replace(path)
            sync_folder(self.path)
        except OSError as error:
            raise StoreError(f"{path} can't be written: {error.strerror}") from error

    def clear(self, manifest: Manifest) -> None:
        """Remove the left-overs of runs that were killed."""
        known = {file.name for file in manifest.files}
        for found in self.path.iterdir():
            is_ours = found.name.endswith((SUFFIX, SUFFIX + ".part"))
            if is_ours and found.name not in known:
                found.unlink()

    def remove(self, file: BackupFile) -> None:
        """Remove a file that the manifest does not name any more."""
        with contextlib.suppress(OSError):
            (self.path / file.name).unlink(missing_ok=True)

    def name_of(self, number: int, after: int, last: int) -> str:
        """Return the name of file ``number``."""
        return f"{number:06d}-{'full' if not after else 'more'}-{tid_text(last)}{SUFFIX}"

    def space_of(self, at: int | None) -> tuple[Manifest, list[BackupFile]]:
        """Return the manifest, and the files that hold the space as of ``at``. Raises as `Manifest.chain_to`."""
        manifest = self.must_read()
        return manifest, manifest.chain_to(at)


class _Version(msgspec.Struct):
    format: int


def last_tid(files: list[BackupFile]) -> Tid:
    """Return up to which tid ``files`` go."""
    return Tid(files[-1].last)
