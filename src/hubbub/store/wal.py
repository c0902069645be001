"""SQLite's log (WAL): examine what a crash left behind before it is replayed (ST6), and keep it short.

Theory of operation
===================

**Checkpoints** copy the log into the main file, between two transactions of the only writer. If no reader stands in
the way the next transaction begins the log anew; at a limit the checkpoint waits until that is so. One that fails
loses nothing: the log keeps what could not be copied.

**Examination.** SQLite replays a left-over log up to the first frame that does not verify and silently drops the
rest. After a crash that is right for a group whose write was cut short; after damage it loses groups that were
acknowledged. The two are told apart by what comes *after* the first bad frame:

    good good good | bad ...                       torn tail: the last group was being written      normal
    good good | bad good END |                     the hole is inside the last group (power loss)   normal
    good | bad END | good END                      a whole group stands behind the bad frame        damage
    bad header, good frames                        the header is synced before any frame            damage

A frame's checksum continues that of the frame before it, so one bad frame would make all later ones look bad.
The *stored* checksum of the frame before serves as seed instead: for an undamaged log that is the same number,
and behind the damage it finds the chain again. Only END frames (commit marks) count as evidence: a group that
was rolled back for lack of room leaves good frames without a mark behind the next group, and these are normal.

Whether the *last* group was acknowledged can't be seen here; `hubbub.store.lock` keeps the tid that tells.

Format: https://www.sqlite.org/fileformat2.html#walformat (32-byte header; frames of 24 bytes and one page; all
fields big-endian; checksum words in the byte order that the magic's lowest bit names).
"""

from __future__ import annotations

import logging
import mmap
import struct
from collections.abc import Iterable
from pathlib import Path

import apsw
import msgspec

from hubbub.kernel import CorruptRecordError

_log = logging.getLogger("hubbub.store")

_PASSIVE_PAGES = 1000
_MAGIC = 0x377F0682
_MASK = 0xFFFFFFFF
_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_USUAL_PAGE_SIZE = 4096

_Seed = tuple[int, int]


class WalReport(msgspec.Struct, frozen=True):
    """What a log holds.

    Attributes:
        frame_count: Frames up to the end of the last whole group: what SQLite will replay.
        group_count: Whole groups among them.
        torn_count: Frames of the same generation behind them, which SQLite will drop.
        page_size: In bytes; 0 when there is no usable header.
    """

    frame_count: int = 0
    group_count: int = 0
    torn_count: int = 0
    page_size: int = 0


class _Frame(msgspec.Struct, gc=False):
    """One frame as far as the examination needs it; ``computed`` continues the stored checksum before it."""

    is_ours: bool
    is_end: bool
    stored: _Seed
    computed: _Seed
    page: int

    @property
    def is_good(self) -> bool:
        return self.is_ours and self.stored == self.computed and self.page != 0


def examine_wal(path: Path) -> WalReport:
    """Read the log at ``path`` and tell what SQLite will make of it. The file is not changed.

    Must run before any SQLite connection opens the database.

    Returns:
        The report; an empty one if there is no log.

    Raises:
        CorruptRecordError: If whole groups stand behind a damaged place, or behind a damaged header.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < _HEADER.size:
                return WalReport()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Log(path, data).examine()
    except FileNotFoundError:
        return WalReport()


class _Log:
    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        fields = _HEADER.unpack_from(data)
        self.magic, _, self.page_size, _, *rest = fields
        self.salts = (rest[0], rest[1])
        self.stored: _Seed = (rest[2], rest[3])
        self._set_shape(">" if self.magic & 1 else "<", self.page_size)

    def _set_shape(self, order: str, page_size: int) -> None:
        if page_size & (page_size - 1) or not 512 <= page_size <= 65536:
            page_size = _USUAL_PAGE_SIZE
        self.order = order
        self.page_size = page_size
        self.frame_size = _FRAME.size + page_size
        # Page number and commit mark, then, past salts and checksum, the page.
        self.words = struct.Struct(f"{order}2I16x{page_size // 4}I")
        self.count = (len(self.data) - _HEADER.size) // self.frame_size

    def _offset(self, index: int) -> int:
        return _HEADER.size + index * self.frame_size

    def _header_sum(self) -> _Seed:
        return _checksum(struct.unpack_from(f"{self.order}6I", self.data), (0, 0))

    def _frame(self, index: int, seed: _Seed) -> _Frame:
        offset = self._offset(index)
        page, mark, salt_1, salt_2, sum_1, sum_2 = _FRAME.unpack_from(self.data, offset)
        words = self.words.unpack_from(self.data, offset)
        ours = (salt_1, salt_2) == self.salts
        return _Frame(ours, mark != 0, (sum_1, sum_2), _checksum(words, seed), page)

    def _is_of_older_generation(self, index: int) -> bool:
        """Tell it by both salts: damage hits one of them, a restart of the log changes both."""
        salt_1, salt_2 = _FRAME.unpack_from(self.data, self._offset(index))[2:4]
        return bool(salt_1 != self.salts[0] and salt_2 != self.salts[1])

    def examine(self) -> WalReport:
        if self.magic & ~1 != _MAGIC or self.stored != self._header_sum():
            return self._examine_without_header()
        seed = self.stored
        ends: list[int] = []
        for index in range(self.count):
            if self._is_of_older_generation(index):
                break
            frame = self._frame(index, seed)
            if not frame.is_good:
                break
            seed = frame.stored
            if frame.is_end:
                ends.append(index)
        else:
            index = self.count
        if index < self.count:
            self._look_behind(index, seed)
        kept = ends[-1] + 1 if ends else 0
        torn = sum(not self._is_of_older_generation(i) for i in range(kept, self.count))
        return WalReport(kept, len(ends), torn, self.page_size)

    def _look_behind(self, bad: int, seed: _Seed) -> None:
        """Look for whole groups behind the bad frame, other than the one that it belongs to."""
        frame = self._frame(bad, seed)
        if frame.is_end:
            # Old content that was never overwritten has a mark too, but neither our salts nor our checksum.
            group_ended = frame.is_ours or frame.stored == frame.computed
        else:
            group_ended = self._mark_was_cleared(bad, seed, frame.stored)
        seeds = (frame.stored, frame.computed)
        lost = 0
        for index in range(bad + 1, self.count):
            if self._is_of_older_generation(index):
                seeds = (self._stored(index),) * 2
                continue
            frame = self._frame(index, seeds[0])
            if not frame.is_good and seeds[1] != seeds[0]:
                # The damage may be in the checksum that the frame before stored: go on from the right one.
                frame = self._frame(index, seeds[1])
            if frame.is_good and frame.is_end:
                lost += group_ended
                group_ended = True
            seeds = (frame.stored, frame.computed)
        if lost:
            raise CorruptRecordError(
                f"{self.path}: frame {bad} at byte {self._offset(bad)} of the log is damaged, and {lost} whole "
                f"group(s) of commits stand behind it. SQLite would drop them in silence, so nothing was opened or "
                f"changed. Copy the space's files away, look at the disk, and restore a backup"
            )

    def _stored(self, index: int) -> _Seed:
        sum_1, sum_2 = _FRAME.unpack_from(self.data, self._offset(index))[4:6]
        return (sum_1, sum_2)

    def _mark_was_cleared(self, index: int, seed: _Seed, stored: _Seed) -> bool:
        """Tell whether the frame is whole but for one bit of its commit mark."""
        page, _, *rest = self.words.unpack_from(self.data, self._offset(index))
        return any(_checksum((page, 1 << bit, *rest), seed) == stored for bit in range(32))

    def _examine_without_header(self) -> WalReport:
        # Most likely first; dict.fromkeys keeps that order and drops what comes twice.
        sizes = dict.fromkeys([self.page_size, _USUAL_PAGE_SIZE, *(512 << n for n in range(8))])
        for order, size in ((order, size) for order in "<>" for size in sizes):
            self._set_shape(order, size)
            seeds = {self.stored, self._header_sum()}
            for index in range(self.count):
                frames = [self._frame(index, seed) for seed in seeds]
                if any(f.stored == f.computed and f.is_end and f.page for f in frames):
                    raise CorruptRecordError(
                        f"{self.path}: the header of the log is damaged (byte 0 to 31) and whole groups of commits "
                        f"stand behind it. SQLite would drop them in silence, so nothing was opened or changed. Copy "
                        f"the space's files away, look at the disk, and restore a backup"
                    )
                seeds = {frames[0].stored}
        return WalReport()


def _checksum(words: Iterable[int], seed: _Seed) -> _Seed:
    one, two = seed
    pairs = iter(words)
    for first, second in zip(pairs, pairs, strict=True):
        one = (one + first + two) & _MASK
        two = (two + second + one) & _MASK
    return one, two


class Checkpointer:
    """Keep the log of one store short. Whoever writes calls it between two of its transactions.

    Args:
        writer: The connection that writes; its log hook is taken.
        limit_pages: From this length on a checkpoint waits for readers, so that the log begins anew.
    """

    def __init__(self, writer: apsw.Connection, limit_pages: int) -> None:
        self._writer = writer
        self._limit_pages = max(limit_pages, 8)
        self._pages = 0
        self._next_at = min(_PASSIVE_PAGES, self._limit_pages)
        writer.wal_autocheckpoint(0)  # first: it takes the hook away
        writer.set_wal_hook(self._note_pages)

    def _note_pages(self, connection: apsw.Connection, name: str, pages: int) -> int:
        if pages < self._pages:  # SQLite has begun it anew
            self._next_at = min(_PASSIVE_PAGES, self._limit_pages)
        self._pages = pages
        return apsw.SQLITE_OK

    def keep_short(self) -> None:
        """Copy the log into the main file, if it has become long. A failure loses nothing: it is tried again later."""
        pages = self._pages
        if pages < self._next_at:
            return
        is_long = pages >= self._limit_pages
        mode = apsw.SQLITE_CHECKPOINT_RESTART if is_long else apsw.SQLITE_CHECKPOINT_PASSIVE
        self._next_at = pages + min(_PASSIVE_PAGES, self._limit_pages // 4)
        try:
            self._writer.wal_checkpoint(mode=mode)
        except apsw.Error as error:
            _log.warning("the log could not be reset: %s", error)
