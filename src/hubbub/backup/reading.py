"""Read what the files of a backup hold, in order, and check all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from hubbub.backup.commits import BlobPiece, CommitReader, piece_of, rows_of
from hubbub.backup.folder import BackupFile
from hubbub.backup.frames import (
    BACKUP_MAGIC,
    BLOB,
    COMMITS,
    END,
    HEADER,
    ROWS,
    Frame,
    damaged,
    read_frames,
)
from hubbub.kernel import StoreError
from hubbub.store.base import StoredCommit

Row = tuple[str, bytes, bytes]

_decode_map = msgspec.msgpack.Decoder(dict[str, Any]).decode


class RowPiece(msgspec.Struct, frozen=True):
    """Some of the keyed rows that belong to the end of a file.

    Attributes:
        rows: Kind, key, value.
    """

    rows: list[Row]


Item = StoredCommit | BlobPiece | RowPiece
"""What a backup consists of. The pieces of a blob come before the commit that they belong to."""


def read_items(folder: Path, files: Sequence[BackupFile], at: int | None = None) -> Iterator[Item]:
    """Yield what ``files`` hold up to tid ``at``, in order. The rows come last, if they belong to where it ends.

    Raises:
        CorruptRecordError: At the first thing that is damaged, or differs from what the manifest says; names the file
            and, as far as it is known, the offset.
        StoreError: If a file is missing or can't be read.
    """
    for number, file in enumerate(files, 1):
        has_rows = number == len(files) and (at is None or at == file.last)
        yield from _read_file(folder / file.name, file, at, has_rows)


def _read_file(path: Path, file: BackupFile, at: int | None, has_rows: bool) -> Iterator[Item]:
    commits = CommitReader(path)
    position, count = file.after, 0
    for frame in read_frames(path, BACKUP_MAGIC):
        if frame.kind == COMMITS:
            for commit in commits.commits_of(frame):
                if not position < commit.tid <= file.last:
                    raise damaged(path, frame.offset, "a commit is out of order")
                if at is not None and commit.tid > at:
                    return
                position = commit.tid
                count += 1
                yield commit
        elif frame.kind == BLOB:
            piece = piece_of(frame, path)
            if at is None or piece.tid <= at:
                yield piece
        elif frame.kind == ROWS:
            if has_rows:
                yield RowPiece(rows_of(frame, path))
        elif frame.kind == HEADER:
            _check_map(path, frame, {"number": file.number, "after": file.after})
        elif frame.kind == END:
            _check_map(path, frame, {"last": file.last, "commits": count, "rows": file.rows})
        else:
            raise damaged(path, frame.offset, f"there is no frame of kind {frame.kind!r}")


def _check_map(path: Path, frame: Frame, expected: dict[str, Any]) -> None:
    try:
        found = _decode_map(frame.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise damaged(path, frame.offset, f"it can't be decoded ({error})") from error
    for name, value in expected.items():
        if found.get(name) != value:
            raise damaged(
                path,
                frame.offset,
                f"it says {name} {found.get(name)}, and the manifest {value}: a file of another backup?",
            )


def check_digests(folder: Path, files: Sequence[BackupFile]) -> None:
    """Compare each file with what the manifest says of it, byte for byte.

    Raises:
        CorruptRecordError: One has another size or SHA-256; says which.
        StoreError: One is missing or can't be read.
    """
    for file in files:
        path = folder / file.name
        try:
            size = path.stat().st_size
            if size == file.size:
                digest = sha256()
                with path.open("rb") as opened:
                    while data := opened.read(1 << 20):
                        digest.update(data)
        except FileNotFoundError:
            raise StoreError(f"{path} is missing: put it back") from None
        except OSError as error:
            raise StoreError(f"{path} can't be read: {error.strerror}") from error
        if size != file.size:
            raise damaged(
                path, min(size, file.size), f"it has {size:,} bytes in place of {file.size:,}"
            )
        if digest.hexdigest() != file.sha256:
            # The frame that is damaged names its place.
            for _ in _read_file(path, file, None, has_rows=True):
                pass
            raise damaged(path, 0, "it is not the file that the manifest names")
