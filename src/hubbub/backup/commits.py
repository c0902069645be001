"""Commits, blobs and rows as frames, and back.

A frame of commits is an array of ``[tid, label, records, more]``; a record is ``[oid, class, refs, payload]``. A commit
whose records are many goes over several entries, of which all but the last say that there are more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from hubbub.backup.frames import BLOB, COMMITS, ROWS, Frame, FrameWriter, damaged, encode
from hubbub.kernel import Label, Record, StoreError, Tid
from hubbub.store.base import StoredCommit

FRAME_BYTES = 1 << 20
"""A frame has about so many bytes before they are compressed."""

_RECORD_BYTES = 40  # what a record takes beside its payload, about

Fields = tuple[int, str, tuple[int, ...], bytes]
"""A record in a frame: oid, class name, refs, payload."""

_Entry = tuple[int, Label, list[Fields], bool]

_decode_commits = msgspec.msgpack.Decoder(list[_Entry]).decode
_decode_rows = msgspec.msgpack.Decoder(list[tuple[str, bytes, bytes]]).decode


class CommitWriter:
    """Write commits as frames.

    Args:
        out: Where to.
    """

    def __init__(self, out: FrameWriter) -> None:
        self._out = out
        self._entries: list[Any] = []
        self._bytes = 0

    def add(self, commit: StoredCommit) -> None:
        """Write a commit. It may be held back until `flush`."""
        fields: list[Any] = []
        for record in commit.records:
            if self._bytes >= FRAME_BYTES:
                self._entries.append((commit.tid, commit.label, fields, True))
                fields = []
                self.flush()
            fields.append((record.oid, record.class_name, record.refs, record.payload))
            self._bytes += len(record.payload) + _RECORD_BYTES
        self._entries.append((commit.tid, commit.label, fields, False))
        self._bytes += _RECORD_BYTES
        if self._bytes >= FRAME_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held back."""
        if self._entries:
            self._out.write(COMMITS, self._entries)
            self._entries = []
            self._bytes = 0


class CommitReader:
    """Put commits together again.

    Args:
        path: Of the file, for errors.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun: StoredCommit | None = None

    def commits_of(self, frame: Frame) -> Iterator[StoredCommit]:
        """Yield the commits that are whole with ``frame``. Raises `CorruptRecordError` if it can't be read."""
        try:
            entries = _decode_commits(frame.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise damaged(
                self._path, frame.offset, f"commits can't be decoded ({error})"
            ) from error
        for tid, label, fields, has_more in entries:
            records = [Record(oid, tid, name, refs, data) for oid, name, refs, data in fields]
            begun, self._begun = self._begun, None
            if begun is not None:
                if begun.tid != tid:
                    raise damaged(self._path, frame.offset, "a commit is not whole")
                begun.records.extend(records)
            commit = begun or StoredCommit(Tid(tid), label, records)
            if has_more:
                self._begun = commit
            else:
                yield commit


def write_rows(out: FrameWriter, rows: Iterable[tuple[str, bytes, bytes]]) -> str:
    """Write keyed rows as frames; return their SHA-256."""
    digest = sha256()
    piece: list[tuple[str, bytes, bytes]] = []
    count = 0
    for row in rows:
        piece.append(row)
        digest.update(encode(row))
        count += len(row[1]) + len(row[2]) + _RECORD_BYTES
        if count >= FRAME_BYTES:
            out.write(ROWS, piece)
            piece, count = [], 0
    if piece:
        out.write(ROWS, piece)
    return digest.hexdigest()


def rows_of(frame: Frame, path: Path) -> list[tuple[str, bytes, bytes]]:
    """Return the rows of ``frame``. Raises `CorruptRecordError` if it can't be read."""
    try:
        return _decode_rows(frame.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise damaged(path, frame.offset, f"rows can't be decoded ({error})") from error


class BlobPiece(msgspec.Struct, frozen=True, array_like=True):
    """Some bytes of a blob. All of it comes in order, before the commit that it belongs to.

    Attributes:
        oid: Of its record.
        tid: Of its record.
        offset: Where in the blob the bytes belong.
        size: Of the whole blob.
        data: The bytes.
    """

    oid: int
    tid: int
    offset: int
    size: int
    data: bytes


_decode_piece = msgspec.msgpack.Decoder(BlobPiece).decode


def write_blob(out: FrameWriter, oid: int, tid: int, path: Path) -> int:
    """Write the file of a blob as frames; return its size.

    Raises:
        StoreError: If it can't be read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            offset = 0
            while True:
                data = file.read(FRAME_BYTES)
                if offset + len(data) > size or (not data and offset < size):
                    raise StoreError(f"the blob {path} has changed while it was read")
                if data or not size:
                    out.write(BLOB, (oid, tid, offset, size, data))
                offset += len(data)
                if offset == size:
                    return size
    except OSError as error:
        raise StoreError(f"the blob {path} can't be read: {error.strerror}") from error


def piece_of(frame: Frame, path: Path) -> BlobPiece:
    """Return the piece of a blob in ``frame``. Raises `CorruptRecordError` if it can't be read."""
    try:
        return _decode_piece(frame.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise damaged(path, frame.offset, f"a blob can't be decoded ({error})") from error
