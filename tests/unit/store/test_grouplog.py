"""The group log: what is found again after a crash, and what is damage."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest

from hubbub.kernel import CorruptRecordError, StoreError
from hubbub.store import grouplog
from hubbub.store.group import Group
from hubbub.store.grouplog import BLOCK, GroupLog, NoRoomError, read_log
from tests.conformance.store.building import commit, tid

MARK = b"mark of 16 bytes"
SEGMENT = 16 * BLOCK


def group(number: int, size: int = 20) -> Group:
    rows = [("job", b"n", b"%d" % number), ("call", b"%d" % number, None)]
    return Group([commit(number, [number, 777], rows, size)], tid(number - 1), 1 + 2 * (number - 1))


def append(log: GroupLog, number: int, size: int = 20) -> None:
    assert log.prepare(number, tid(number - 1), group(number, size))
    assert log.has_place
    log.append()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of five groups in its first segment, 6 to 8 in its second one."""
    made = GroupLog(tmp_path / "chat.hub-log", MARK, SEGMENT)
    for number in range(1, 6):
        append(made, number)
    made.turn_over()
    for number in range(6, 9):
        append(made, number)
    made.close(remove=False)
    return made.path


def numbers(path: Path, after: int = 0) -> list[int]:
    return [entry.number for entry in read_log(path, MARK, after)]


def place(number: int) -> int:
    return (number - 1) * BLOCK if number < 6 else SEGMENT + (number - 6) * BLOCK


def test_what_was_appended_is_found_in_order_with_its_rows(path: Path) -> None:
    entries = read_log(path, MARK, 0)
    assert [entry.number for entry in entries] == list(range(1, 9))
    for entry in entries:
        expected = group(entry.number)
        assert entry.after == tid(entry.number - 1)
        assert entry.body == (expected.records, expected.transactions, expected.rows)
        found = Group.stored(entry.body, entry.after, 1)
        assert found.newest == expected.newest
        assert (found.last_tid, found.max_oid, found.next_id) == (
            expected.last_tid,
            expected.max_oid,
            expected.next_id,
        )


def test_no_log_and_an_empty_one_hold_nothing(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none", MARK, 0) == []
    for size in (0, 100, BLOCK, 10 * BLOCK + 5):
        (tmp_path / "log").write_bytes(bytes(size))
        assert read_log(tmp_path / "log", MARK, 0) == []


def test_the_file_is_as_long_as_it_will_be_from_its_first_group_on(tmp_path: Path) -> None:
    log = GroupLog(tmp_path / "log", MARK, SEGMENT)
    assert not log.path.exists()
    append(log, 1)
    assert log.path.stat().st_size == 2 * SEGMENT
    assert log.path.stat().st_blocks * 512 >= 2 * SEGMENT
    log.close(remove=True)
    log.close(remove=True)
    assert not log.path.exists()


def test_what_the_tables_have_is_left_out(path: Path) -> None:
    assert numbers(path, 5) == [6, 7, 8]
    assert numbers(path, 8) == numbers(path, 100) == []


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("number", range(1, 9))
def test_a_flipped_bit_is_damage_unless_it_is_in_the_last_group(path: Path, number: int) -> None:
    whole = path.read_bytes()
    for byte in (*range(44), 60, 100, 150):
        data = bytearray(whole)
        data[place(number) + byte] ^= 1 << byte % 8
        path.write_bytes(data)
        if number == 8:
            assert numbers(path) == list(range(1, 8))
        else:
            with pytest.raises(CorruptRecordError, match=f"group {number} of the log is missing"):
                read_log(path, MARK, 0)
        # What is in the tables already may be damaged: nobody needs it.
        assert numbers(path, number) == list(range(number + 1, 9))
        assert path.read_bytes() == data


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("kept", [0, 1, 43, 44, 100, 200])
@pytest.mark.parametrize("filler", [b"\0", b"\xa5"])
def test_a_last_group_that_was_cut_short_is_normal(path: Path, kept: int, filler: bytes) -> None:
    data = bytearray(path.read_bytes())
    end = place(8) + BLOCK
    data[place(8) + kept : end] = filler * (BLOCK - kept)
    path.write_bytes(data)
    assert numbers(path) == list(range(1, 8))
    path.write_bytes(data[: place(8) + kept])
    assert numbers(path) == list(range(1, 8))


@pytest.mark.rule("ST6")
def test_a_segment_that_is_written_over_counts_as_far_as_it_has_come(tmp_path: Path) -> None:
    log = GroupLog(tmp_path / "log", MARK, SEGMENT)
    turns = complete = in_segment = 0
    for number in range(1, 81):
        assert log.prepare(number, tid(number - 1), group(number, 500 * (number % 7)))
        if not log.has_place:
            log.turn_over()
            turns += 1
            complete = number - 1 - in_segment
            in_segment = 0
        log.append()
        in_segment += 1
        assert numbers(log.path, complete) == list(range(complete + 1, number + 1))
    assert turns > 5
    log.close(remove=False)


@pytest.mark.rule("ST6")
def test_bytes_that_somebody_stored_are_never_taken_for_a_group(tmp_path: Path) -> None:
    other = GroupLog(tmp_path / "other", b"a mark they made", SEGMENT)
    append(other, 3)
    forged = other.path.read_bytes()[:BLOCK]
    log = GroupLog(tmp_path / "log", MARK, SEGMENT)
    large = group(1)
    # Its payload fills blocks with what looks like entries, and then a shorter group is written over its begin.
    for shift in range(0, BLOCK, 8):
        large.records[0] = (*large.records[0][:5], b"." * shift + forged * 2, 0)
        assert log.prepare(1, 0, large)
        log.append()
        log.rewind()
        append(log, 2)
        log.rewind()
        assert numbers(log.path, 1) == [2]
    log.close(remove=False)
    other.close(remove=False)


def test_the_log_of_another_space_is_refused(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(StoreError, match="belongs to another space"):
        read_log(path, b"another 16 bytes", 0)
    assert path.read_bytes() == before


def test_a_group_that_is_large_is_not_for_the_log(tmp_path: Path) -> None:
    log = GroupLog(tmp_path / "log", MARK, SEGMENT)
    assert not log.prepare(1, 0, group(1, SEGMENT))
    assert log.prepare(1, 0, group(1, 100))


@pytest.mark.rule("ST5")
def test_a_log_that_can_not_be_made_is_no_room(tmp_path: Path) -> None:
    log = GroupLog(tmp_path / "none" / "log", MARK, SEGMENT)
    assert log.prepare(1, 0, group(1))
    with pytest.raises(NoRoomError):
        log.append()
    (tmp_path / "none").mkdir()
    log.append()
    assert numbers(log.path) == [1]
    log.close(remove=False)


def test_a_file_system_without_direct_access_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & getattr(os, "O_DIRECT", 0):
            raise OSError(22, "Invalid argument")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    log = GroupLog(tmp_path / "log", MARK, SEGMENT)
    append(log, 1)
    log.close(remove=False)
    assert numbers(log.path) == [1]


def test_where_little_room_is_left_the_log_does_not_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path).free
    log = GroupLog(tmp_path / "log", MARK, SEGMENT)
    monkeypatch.setattr(grouplog, "_FREE_FACTOR", free)
    append(log, 1)
    assert log.path.stat().st_size == BLOCK
    log.close(remove=False)


def test_a_disk_that_refuses_direct_writes_only_when_they_come_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = getattr(os, "O_DIRECT", 0)
    if not direct:
        pytest.skip("there is no O_DIRECT here")
    real = os.pwrite

    def refuse(file: int, data: bytes | memoryview, offset: int) -> int:
        if fcntl.fcntl(file, fcntl.F_GETFL) & direct:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(file, data, offset)

    monkeypatch.setattr(os, "pwrite", refuse)
    log = GroupLog(tmp_path / "log", MARK, SEGMENT)
    append(log, 1)
    log.close(remove=False)
    assert numbers(log.path) == [1]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_who_may_read_the_space_may_read_the_log_and_nobody_else(tmp_path: Path, mode: int) -> None:
    space, path = tmp_path / "chat.hub", tmp_path / "chat.hub-log"
    space.touch()
    space.chmod(mode)
    if os.geteuid() == 0:
        os.chown(space, 1234, 1234)
    path.touch(0o666)  # an older one
    log = GroupLog(path, MARK, SEGMENT, space)
    append(log, 1)
    log.close(remove=False)
    found, expected = path.stat(), space.stat()
    assert stat.S_IMODE(found.st_mode) == mode
    assert (found.st_uid, found.st_gid) == (expected.st_uid, expected.st_gid)


def test_a_log_that_the_disk_can_not_read_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(StoreError, match="can't be read: Input/output error"):
        read_log(path, MARK, 0)
