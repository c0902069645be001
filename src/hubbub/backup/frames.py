"""Files of frames: what backups and exports are written in (`spec/backup.md`). Every byte of them is checked.

A file is a magic number and frames. A frame is 16 bytes of head, and a body that may be compressed:

    kind 1 | flags 1 | zero 2 | length 4 | stored length 4 | crc32 of the 12 bytes before and the body 4 | body

It is written beside its place under a name of its own, fsynced, and moved into its place: a file that has its name is
whole. It ends with a frame of kind ``E``, and nothing follows that.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from hubbub.kernel import CorruptRecordError, DiskFullError, StoreError

BACKUP_MAGIC = b"HubBak1\n"
EXPORT_MAGIC = b"HubExp1\n"

HEADER, COMMITS, BLOB, ROWS, OBJECTS, END = b"H", b"C", b"B", b"R", b"O", b"E"

_HEAD = struct.Struct(">c B H I I")
_CRC = struct.Struct(">I")
_HEAD_SIZE = _HEAD.size + _CRC.size
_COMPRESSED = 1
# Level 1 packs 350 MB/s here and level 6 80, into the same size.
_LEVEL = 1
_WORTH = 64
_NO_ROOM = (28, 122)  # ENOSPC, EDQUOT

encode = msgspec.msgpack.Encoder().encode


class Frame(NamedTuple):
    """A frame that was read and found whole.

    Attributes:
        kind: One of the letters above.
        body: Its bytes, as they were before they were compressed.
        offset: Where it begins in the file.
    """

    kind: bytes
    body: bytes
    offset: int


class FrameWriter:
    """Write a file of frames. As a context manager it removes what is not finished.

    Args:
        path: Where it will be. Until `finish` it stands beside, with ``.part`` behind its name.
        magic: Its first eight bytes.

    Raises:
        DiskFullError: There is no room. Nothing is left.
        StoreError: It can't be written there; says why.
    """

    def __init__(self, path: Path, magic: bytes) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._digest = sha256()
        self.size = 0
        self._file = -1
        try:
            # It holds all that the space holds, sessions and all: for its owner only.
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file = os.open(self._part, flags, 0o600)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._put(magic)

    def write(self, kind: bytes, value: Any) -> None:
        """Append a frame with ``value`` in MessagePack. Raises as `FrameWriter`."""
        self.write_bytes(kind, encode(value))

    def write_bytes(self, kind: bytes, body: bytes) -> None:
        """Append a frame. Raises as `FrameWriter`."""
        stored, flags = body, 0
        if len(body) > _WORTH:
            packed = zlib.compress(body, _LEVEL)
            if len(packed) < len(body) - len(body) // 16:
                stored, flags = packed, _COMPRESSED
        head = _HEAD.pack(kind, flags, 0, len(body), len(stored))
        crc = _CRC.pack(zlib.crc32(stored, zlib.crc32(head)))
        self._put(b"".join((head, crc, stored)))

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._digest.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """The SHA-256 of all that was written, in hexadecimal digits."""
        return self._digest.hexdigest()

    def finish(self) -> None:
        """Make it durable and give it its name. Raises as `FrameWriter`."""
        try:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1
            self._part.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def discard(self) -> None:
        """Remove it if it is not finished. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.discard()


def _unwritable(path: Path, error: OSError) -> StoreError | DiskFullError:
    if error.errno in _NO_ROOM:
        return DiskFullError(f"there is no room for {path}: make room and try again")
    return StoreError(f"{path} can't be written: {error.strerror}")


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def damaged(path: Path, offset: int, why: str) -> CorruptRecordError:
    """Return the error for a file of frames that is damaged."""
    return CorruptRecordError(f"{path} is damaged at byte {offset:,}: {why}")


def read_frames(path: Path, magic: bytes) -> Iterator[Frame]:
    """Yield the frames of a file in order; the last is its `END`.

    Raises:
        CorruptRecordError: At the first frame that is damaged, or where the file ends without its end; names the file
            and the offset.
        StoreError: If it can't be read, or is no file of this kind.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise StoreError(f"there is no file {path}") from None
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}") from error
    with file:
        found = file.read(len(magic))
        if found != magic:
            _refuse(path, found, magic)
        offset = len(magic)
        kind = b""
        while True:
            try:
                frame = _read_frame(file, path, offset)
            except OSError as error:
                raise damaged(path, offset, f"it can't be read ({error.strerror})") from error
            if frame is None:
                break
            if kind == END:
                raise damaged(path, offset, "there is something behind its end")
            kind = frame.kind
            yield frame
            offset = file.tell()
        if kind != END:
            raise damaged(path, offset, "it is cut off here")


def _refuse(path: Path, found: bytes, magic: bytes) -> None:
    kinds = {BACKUP_MAGIC: "a file of a backup", EXPORT_MAGIC: "an export of objects"}
    if found in kinds:
        raise StoreError(f"{path} is {kinds[found]}, not {kinds[magic]}")
    if found[:6] == magic[:6]:
        raise StoreError(f"{path} was written by a newer Hubbub: install that to read it")
    raise StoreError(f"{path} is not {kinds[magic]}")


def _read_frame(file: Any, path: Path, offset: int) -> Frame | None:
    head = file.read(_HEAD_SIZE)
    if not head:
        return None
    if len(head) < _HEAD_SIZE:
        raise damaged(path, offset, "a frame is cut off")
    kind, flags, _, length, stored_length = _HEAD.unpack_from(head)
    # Not more than there is: a damaged length must not take the memory.
    left = os.fstat(file.fileno()).st_size - file.tell()
    stored = file.read(stored_length) if stored_length <= left else b""
    if len(stored) < stored_length:
        raise damaged(path, offset, "a frame is cut off, or its length is wrong")
    crc = _CRC.unpack_from(head, _HEAD.size)[0]
    if crc != zlib.crc32(stored, zlib.crc32(head[: _HEAD.size])):
        raise damaged(path, offset, "the checksum of a frame does not match")
    if not flags & _COMPRESSED:
        return Frame(kind, stored, offset)
    unpacker = zlib.decompressobj()
    try:
        body = unpacker.decompress(stored, length)
    except zlib.error as error:
        raise damaged(path, offset, f"a frame can't be unpacked ({error})") from error
    if len(body) != length or not (unpacker.eof or not unpacker.unconsumed_tail):
        raise damaged(path, offset, "a frame has another length than it says")
    return Frame(kind, body, offset)
