"""The examination of left-over logs, on logs that SQLite wrote, against what SQLite then replays."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from hubbub.kernel import CorruptRecordError
from hubbub.store import WalReport, examine_wal
from hubbub.store.wal import Checkpointer

GROUPS = 5
HEADER, FRAME = 32, 24 + 512
PLACES = {
    "page number": (0, 4),
    "commit mark": (4, 8),
    "first salt": (8, 12),
    "second salt": (12, 16),
    "first checksum": (16, 20),
    "second checksum": (20, 24),
    "begin of the page": (24, 28),
    "middle of the page": (280, 284),
    "end of the page": (532, 536),
}


class Crashed:
    """A database as a crash left it: main file and log, copied while SQLite had them open."""

    def __init__(self, folder: Path, main: Path) -> None:
        self.main = folder / "crashed.db"
        self.log = folder / "crashed.db-wal"
        shutil.copy(main, self.main)
        shutil.copy(f"{main}-wal", self.log)
        self.data = self.log.read_bytes()
        self.main_data = self.main.read_bytes()

    @property
    def ends(self) -> list[int]:
        """The index of the last frame of each group."""
        count = (len(self.data) - HEADER) // FRAME
        salts = self.data[16:24]
        frames = [self.data[HEADER + i * FRAME :][:FRAME] for i in range(count)]
        return [i for i, f in enumerate(frames) if f[4:8] != bytes(4) and f[8:16] == salts]

    def write(self, data: bytes) -> None:
        self.log.write_bytes(data)

    def flip(self, offset: int, bit: int = 0) -> None:
        data = bytearray(self.data)
        data[offset] ^= 1 << bit
        self.write(bytes(data))

    def replayed(self) -> int:
        """How many groups SQLite finds; changes nothing that lasts."""
        self.main.write_bytes(self.main_data)
        before = self.log.read_bytes()
        connection = apsw.Connection(str(self.main))
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        found = connection.execute("SELECT count(DISTINCT grp) FROM t").get
        connection.close()
        self.log.write_bytes(before)
        return int(found)


def write_groups(connection: apsw.Connection, first: int, count: int) -> None:
    for group in range(first, first + count):
        with connection:
            for _ in range(3):
                connection.execute("INSERT INTO t VALUES (?, ?)", (group, bytes(300)))


def make(folder: Path, prepare: Callable[[apsw.Connection], None]) -> Crashed:
    main = folder / "live.db"
    connection = apsw.Connection(str(main))
    connection.execute("PRAGMA page_size = 512")
    connection.execute("PRAGMA journal_mode = WAL").get  # noqa: B018
    connection.wal_autocheckpoint(0)
    connection.execute("CREATE TABLE t (grp, data)")
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    prepare(connection)
    crashed = Crashed(folder, main)
    connection.close()
    return crashed


def other_byte_order(data: bytes) -> bytes:
    """The same log as a machine of the other byte order writes it."""

    def add(part: bytes, one: int, two: int) -> tuple[int, int]:
        for a, b in struct.iter_unpack(">2I", part):
            one = (one + a + two) % 2**32
            two = (two + b + one) % 2**32
        return one, two

    assert data[3] & 1 == 0
    out = bytearray(data)
    out[3] |= 1
    sums = add(bytes(out[:24]), 0, 0)
    struct.pack_into(">2I", out, 24, *sums)
    for at in range(HEADER, len(out), FRAME):
        sums = add(bytes(out[at + 24 : at + FRAME]), *add(bytes(out[at : at + 8]), *sums))
        struct.pack_into(">2I", out, at + 16, *sums)
    return bytes(out)


@pytest.fixture(params=["this machine's byte order", "the other byte order"])
def crashed(request: pytest.FixtureRequest, tmp_path: Path) -> Crashed:
    made = make(tmp_path, lambda connection: write_groups(connection, 0, GROUPS))
    if request.param.startswith("the other"):
        made.data = other_byte_order(made.data)
        made.write(made.data)
    return made


def test_a_whole_log_is_reported_as_sqlite_replays_it(crashed: Crashed) -> None:
    count = crashed.ends[-1] + 1
    assert examine_wal(crashed.log) == WalReport(count, GROUPS, 0, 512)
    assert crashed.replayed() == GROUPS


def test_no_log_and_an_empty_log_hold_nothing(tmp_path: Path) -> None:
    assert examine_wal(tmp_path / "none-wal") == WalReport()
    (tmp_path / "x-wal").write_bytes(b"")
    assert examine_wal(tmp_path / "x-wal") == WalReport()


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("group", [0, 2, GROUPS - 1])
def test_a_flipped_bit_is_reported_unless_it_is_in_the_last_group(
    crashed: Crashed, group: int, place: str
) -> None:
    ends = crashed.ends
    first = ends[group - 1] + 1 if group else 0
    for frame in range(first, ends[group] + 1):
        for byte in range(*PLACES[place]):
            at = HEADER + frame * FRAME + byte
            crashed.flip(at, bit=byte % 8)
            damaged = crashed.log.read_bytes()
            is_false_end = (
                place == "commit mark" and frame != ends[group]
            )  # no torn write looks like that
            if group < GROUPS - 1 or is_false_end:
                with pytest.raises(
                    CorruptRecordError, match=f"frame {frame} at byte {HEADER + frame * FRAME}"
                ):
                    examine_wal(crashed.log)
            else:
                # It looks like a write that was cut short: the side file's tid decides.
                report = examine_wal(crashed.log)
                assert (report.group_count, report.frame_count) == (GROUPS - 1, first)
                assert report.torn_count == ends[-1] + 1 - first
            assert crashed.log.read_bytes() == damaged


@pytest.mark.rule("ST6")
def test_every_bit_of_a_commit_mark_ahead_of_the_last_group_is_seen(crashed: Crashed) -> None:
    end = crashed.ends[-2]
    for byte in range(4, 8):
        for bit in range(8):
            crashed.flip(HEADER + end * FRAME + byte, bit)
            with pytest.raises(CorruptRecordError):
                examine_wal(crashed.log)


@pytest.mark.rule("ST6")
def test_sqlite_alone_would_drop_what_the_examination_reports(crashed: Crashed) -> None:
    crashed.flip(HEADER + crashed.ends[1] * FRAME + 300)
    assert crashed.replayed() == 1
    with pytest.raises(CorruptRecordError, match=f"{GROUPS - 2} whole group"):
        examine_wal(crashed.log)


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("byte", range(32))
def test_a_flipped_bit_in_the_header_is_reported(crashed: Crashed, byte: int) -> None:
    crashed.flip(byte, bit=byte % 8)
    with pytest.raises(CorruptRecordError, match="header of the log is damaged"):
        examine_wal(crashed.log)


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("kept", [0, 1, 23, 24, 100, 535])
def test_a_tail_that_was_cut_short_is_normal_at_every_length(crashed: Crashed, kept: int) -> None:
    ends = crashed.ends
    for frame in range(ends[-1] + 1):
        crashed.write(crashed.data[: HEADER + frame * FRAME + kept])
        whole = sum(end < frame for end in ends)
        assert examine_wal(crashed.log).group_count == whole
    assert crashed.replayed() == GROUPS - 1


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("filler", [b"\0", b"\xa5"])
def test_a_last_group_that_never_reached_the_disk_is_normal(
    crashed: Crashed, filler: bytes
) -> None:
    start = HEADER + (crashed.ends[-2] + 1) * FRAME
    for length in (FRAME, FRAME + 30, len(crashed.data) - start):
        crashed.write(crashed.data[:start] + filler * length + crashed.data[start + length :])
        assert examine_wal(crashed.log).group_count == GROUPS - 1
    assert crashed.replayed() == GROUPS - 1


@pytest.mark.parametrize("length", [1, 31, 32, 33, 500])
def test_a_header_without_frames_holds_nothing(crashed: Crashed, length: int) -> None:
    crashed.write(crashed.data[:length])
    assert examine_wal(crashed.log).frame_count == 0
    crashed.write(bytes(length))
    assert examine_wal(crashed.log) == WalReport()


@pytest.mark.rule("ST6")
def test_what_an_older_generation_left_behind_is_neither_lost_nor_damage(tmp_path: Path) -> None:
    def prepare(connection: apsw.Connection) -> None:
        write_groups(connection, 0, 4)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        write_groups(connection, 4, 2)

    crashed = make(tmp_path, prepare)
    end = crashed.ends[-1]
    assert len(crashed.data) > HEADER + (end + 1) * FRAME
    assert examine_wal(crashed.log) == WalReport(end + 1, 2, 0, 512)
    assert crashed.replayed() == 6
    crashed.flip(HEADER + end * FRAME + 100)  # last group: torn
    assert examine_wal(crashed.log).group_count == 1
    crashed.flip(HEADER + crashed.ends[0] * FRAME + 100)
    with pytest.raises(CorruptRecordError):
        examine_wal(crashed.log)


@pytest.mark.rule("ST6")
def test_what_a_rolled_back_group_left_behind_is_not_damage(tmp_path: Path) -> None:
    def prepare(connection: apsw.Connection) -> None:
        connection.execute("PRAGMA cache_size = 5")
        write_groups(connection, 0, 2)
        connection.execute("BEGIN")
        for _ in range(60):  # more than the cache holds: frames without a commit mark
            connection.execute("INSERT INTO t VALUES (99, ?)", (bytes(300),))
        connection.execute("ROLLBACK")
        write_groups(connection, 2, 1)

    crashed = make(tmp_path, prepare)
    report = examine_wal(crashed.log)
    assert report.group_count == crashed.replayed() == 3
    assert report.torn_count > 5


class TestCheckpointer:
    def test_the_log_stays_near_its_limit_under_steady_load(self, tmp_path: Path) -> None:
        main = str(tmp_path / "live.db")
        connection = apsw.Connection(main)
        connection.execute("PRAGMA journal_mode = WAL").get  # noqa: B018
        connection.execute("CREATE TABLE t (grp, data)")
        checkpointer = Checkpointer(connection, 50)
        for group in range(300):
            write_groups(connection, group, 1)
            checkpointer.keep_short()
        assert Path(main + "-wal").stat().st_size < 60 * 4200
        assert connection.execute("SELECT count(*) FROM t").get == 900
        connection.close()

    def test_a_checkpoint_that_fails_is_tried_again_later(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        main = str(tmp_path / "live.db")
        connection = apsw.Connection(main)
        connection.execute("PRAGMA journal_mode = WAL").get  # noqa: B018
        connection.execute("CREATE TABLE t (grp, data)")
        checkpointer = Checkpointer(connection, 10)
        reader = apsw.Connection(main)
        reader.execute("BEGIN")
        cursor = reader.execute("SELECT * FROM t")  # holds its snapshot
        write_groups(connection, 0, 12)
        checkpointer.keep_short()
        assert "could not be reset" in caplog.text
        cursor.close()
        reader.execute("COMMIT")
        write_groups(connection, 12, 12)
        checkpointer.keep_short()
        write_groups(connection, 24, 1)
        assert connection.wal_checkpoint()[0] < 5
        reader.close()
        connection.close()
