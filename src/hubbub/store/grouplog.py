"""The group log: where a group becomes durable, in one write to a place that is already there (ST3).

Theory of operation
===================

To store a group in the tables takes several pages, each written in two calls, into a log that grows. To append it
here takes one write of a few kilobytes into a file whose blocks exist, so that the disk has only the data to put down.
What has been appended is acknowledged; the tables take it over later, many groups at once, and then the place is free.

    segment 0   | 101 | 102 | 103 | (older)  |     being copied into the tables
    segment 1   | 104 | 105 | (older, or zeros) |   being appended to

The two change places when the one that is appended to is full; the store waits if the other is not copied yet.

Groups are numbered without gaps for the life of a space, and the tables say up to which number they are complete.
So after a crash every whole entry with a higher number counts, wherever it stands, and there must be no gap:

    tables at 103; found 101 102 103 104 105           normal: 104 and 105 are replayed
    tables at 103; found 104, then a torn one          normal: nobody was told of 105
    tables at 103; found 105 but not 104               damage (ST6)
    tables at 103; found nothing newer                 normal, or damage: the side file's tid tells

An entry begins at a block's border and no block holds two: what was acknowledged is never written over while it counts.
The space's secret mark stands in each, so that bytes which somebody stored in an object are never taken for an entry.

    magic 4 | crc32 of the rest 4 | mark 16 | number 8 | newest tid before it 8 | length 4 | rows, in MessagePack
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from hubbub.kernel import CorruptRecordError, StoreError
from hubbub.store.group import Body, Group

_log = logging.getLogger("hubbub.store")

BLOCK = 4096
_MAGIC = b"HuLg"
_HEAD = struct.Struct("<4sI16sqqI")
_CHECKED_AT = 8  # the checksum covers what stands behind it
_CHECKED = struct.Struct("<16sqqI")
_ZEROS = bytes(BLOCK)
_FREE_FACTOR = 8
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Body).decode


class NoRoomError(Exception):
    """There is no room for the log, or none in it: certainly nothing was appended."""


class Entry(msgspec.Struct, frozen=True):
    """One group as the log holds it.

    Attributes:
        number: Of the group.
        after: The newest stored tid before it.
        body: Its rows.
        offset: Where it stands.
    """

    number: int
    after: int
    body: Body
    offset: int


class GroupLog:
    """Append groups durably.

    The file is made when the first group comes.

    Args:
        path: The file. What stands there is written over: replay it first (`read_log`).
        mark: The space's 16 secret bytes.
        segment_bytes: Size of each of the two segments.
        like: The file whose permissions and owner it gets; None for the usual ones.
    """

    def __init__(
        self, path: Path, mark: bytes, segment_bytes: int, like: Path | None = None
    ) -> None:
        self.path = path
        self._mark = mark
        self._like = like
        self._segment_bytes = max(segment_bytes // BLOCK, 4) * BLOCK
        self._buffer = mmap.mmap(-1, self._segment_bytes)
        self._view = memoryview(self._buffer)
        self._file = -1
        self._segment = 0
        self._offset = 0
        self._length = 0

    def prepare(self, number: int, after: int, group: Group) -> bool:
        """Encode ``group`` for `append`.

        Returns:
            False if it is too large for the log: it is cheaper to store it in the tables at once.
        """
        body = _encode((group.records, group.transactions, group.rows))
        length = _HEAD.size + len(body)
        if length > self._segment_bytes // 4:
            return False
        checked = _CHECKED.pack(self._mark, number, after, len(body))
        crc = crc32(body, crc32(checked))
        padding = -length % BLOCK
        self._length = length + padding
        self._buffer[: self._length] = b"".join(
            (_MAGIC, crc.to_bytes(4, "little"), checked, body, _ZEROS[:padding])
        )
        return True

    @property
    def has_place(self) -> bool:
        """Whether the prepared group fits into what is left of the segment."""
        return self._offset + self._length <= self._segment_bytes

    @property
    def place(self) -> tuple[int, int]:
        """Where what was appended to this segment begins and ends, in bytes of the file."""
        begin = self._segment * self._segment_bytes
        return begin, begin + self._offset

    def append(self) -> None:
        """Write the prepared group. When it returns, the group survives SIGKILL and power loss.

        Raises:
            NoRoomError: Certainly it is not there, nor will be.
            OSError: It may be there or not.
        """
        if self._file < 0:
            self._make()
        offset = self._segment * self._segment_bytes + self._offset
        done = 0
        try:
            while done < self._length:
                done += write_through(self._file, self._view[done : self._length], offset + done)
        except OSError as error:
            if error.errno in _NO_ROOM and not self._is_there(offset):
                raise NoRoomError from error
            raise
        self._offset += self._length

    def _is_there(self, offset: int) -> bool:
        """Tell whether the prepared group can be read back, though writing it ended with an error."""
        with self.path.open("rb") as file:
            return os.pread(file.fileno(), self._length, offset) == self._view[: self._length]

    def turn_over(self) -> None:
        """Go on in the other segment: what stands there is in the tables by now."""
        self._segment = 1 - self._segment
        self._offset = 0

    def rewind(self) -> None:
        """Go on at the beginning of the segment: everything is in the tables."""
        self._offset = 0

    def _make(self) -> None:
        try:
            # Closed to others until it is known who may read it: it holds what they may not see in the main file.
            mode = 0o666 if self._like is None else 0o600
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
            try:
                if self._like is not None:
                    _give_access(file, self._like)
                _grow(file, 2 * self._segment_bytes)
                os.fsync(file)
            finally:
                os.close(file)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._file = _open_for_writing(self.path)
        except OSError as error:
            _log.warning("%s can't be made: %s", self.path, error)
            raise NoRoomError from error

    def close(self, *, remove: bool) -> None:
        """Close the file. Idempotent.

        Args:
            remove: Delete it too: everything is in the tables.
        """
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if remove:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


def write_through(file: int, data: memoryview, offset: int) -> int:
    """Write ``data`` and wait until the disk has it; return how many bytes that were."""
    # One call, so that a thread that waits for it gives the interpreter's lock away once and not twice.
    return os.pwrite(file, data, offset)


def _open_for_writing(path: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_DSYNC
    file = -1
    try:
        # Past the page cache: nobody reads it, and the processor has less to do.
        file = os.open(path, flags | getattr(os, "O_DIRECT", 0))
        # A disk with larger sectors refuses no more than the first write.
        with mmap.mmap(-1, BLOCK) as zeros:
            os.pwrite(file, zeros, 0)
    except OSError as error:
        if file >= 0:
            os.close(file)
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, flags)
    return file


def _give_access(file: int, like: Path) -> None:
    """Let those read and write ``file`` who may do so with ``like``, as SQLite does for its own log."""
    found = like.stat()
    if os.geteuid() == 0:
        os.fchown(file, found.st_uid, found.st_gid)
    os.fchmod(file, found.st_mode & 0o666)


def _grow(file: int, size: int) -> None:
    """Put zeros down, so that a write finds its blocks there. Not where the disk is small or nearly full."""
    free = os.fstatvfs(file)
    if free.f_bavail * free.f_frsize < _FREE_FACTOR * size:
        return
    zeros = bytes(min(size, 1 << 20))
    try:
        for offset in range(0, size, len(zeros)):
            os.pwrite(file, zeros[: size - offset], offset)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        os.ftruncate(file, 0)


def read_log(path: Path, mark: bytes, number: int) -> list[Entry]:
    """Return what the log at ``path`` holds behind group ``number``, in order. Nothing is changed.

    Raises:
        CorruptRecordError: If groups are missing ahead of one that is there (ST6).
        StoreError: If the log belongs to another space.
    """
    try:
        # Not mapped: a block that the disk can't read would end the process.
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"the log {path} can't be read: {error.strerror}") from error
    entries = [entry for entry in _entries(path, data, mark) if entry.number > number]
    entries.sort(key=lambda entry: entry.number)
    for expected, entry in enumerate(entries, number + 1):
        if entry.number != expected:
            raise CorruptRecordError(
                f"{path} is damaged: group {expected} of the log is missing ahead of group {entry.number} at byte "
                f"{entry.offset}, and {len(entries) - (expected - number - 1)} whole group(s) of commits stand behind "
                f"it. Nothing was changed. If the space is an older copy that you have put there on purpose, move the "
                f"log away. Else copy the space's files away, look at the disk, and restore a backup"
            )
    return entries


def read_segment(path: Path, mark: bytes, begin: int, end: int, number: int) -> list[Entry]:
    """Return what stands behind group ``number`` in the log at ``path`` from byte ``begin`` to ``end``, in order.

    Raises:
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        data = os.pread(file.fileno(), end - begin, begin)
    entries = [entry for entry in _entries(path, data, mark) if entry.number > number]
    return sorted(entries, key=lambda entry: entry.number)


def _entries(path: Path, data: bytes, mark: bytes) -> Iterator[Entry]:
    offset = 0
    while offset + _HEAD.size <= len(data):
        length = 1
        magic, crc, found, number, after, count = _HEAD.unpack_from(data, offset)
        end = offset + _HEAD.size + count
        # The first place can't be inside of an older entry, so it alone tells whose log this is.
        if magic == _MAGIC and end <= len(data) and (found == mark or not offset):
            body = data[offset + _HEAD.size : end]
            if crc == crc32(body, crc32(data[offset + _CHECKED_AT : offset + _HEAD.size])):
                if found != mark:
                    raise StoreError(
                        f"the log {path} belongs to another space: put that back, or move the log away"
                    )
                yield Entry(number, after, _decode(body), offset)
                length = _HEAD.size + count
        offset += -(-length // BLOCK) * BLOCK
