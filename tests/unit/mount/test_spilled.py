"""Records in files: what was put is there, within bounds, and what goes wrong with a file is no error."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from hubbub.kernel import Record
from hubbub.mount.cache import RecordCache
from hubbub.mount.spilled import Spilled


def record(oid: int, tid: int = 1, size: int = 200) -> Record:
    return Record(oid, tid, "test:Thing", (oid + 1, 7), b"%d" % oid + b"x" * size)


def test_what_is_put_can_be_taken_once() -> None:
    spilled = Spilled(1 << 20)
    spilled.put([record(oid) for oid in range(20)])
    assert len(spilled) == 20
    assert spilled.take(7) == record(7)
    assert len(spilled) == 19
    assert spilled.take(7) is None
    spilled.discard([8, 99])
    assert len(spilled) == 18
    assert spilled.take(8) is None
    spilled.put([record(7, 2)])
    assert spilled.take(7) == record(7, 2)
    spilled.clear()
    assert (len(spilled), spilled.byte_count) == (0, 0)
    spilled.put([record(1)])
    assert spilled.take(1) == record(1)
    spilled.clear()


def test_what_was_decoded_of_a_record_stays_behind() -> None:
    spilled = Spilled(1 << 20)
    records = [record(oid) for oid in range(3)]
    for kept, memo in zip(records, ("woken", ({"a": None}, object()), None), strict=True):
        kept.memo = memo
    spilled.put(records)
    for oid in range(3):
        found = spilled.take(oid)
        assert found == record(oid)
        assert found is not None
        assert found.memo is None
    spilled.clear()


def test_what_was_put_again_leaves_both_files() -> None:
    spilled = Spilled(10_000)
    spilled.put([record(oid) for oid in range(30)])
    assert not spilled._young.places  # the first file is full
    spilled.put([record(7, 2), record(8, 2)])
    assert spilled.take(7) == record(7, 2)
    spilled.discard([8])
    assert [spilled.take(oid) for oid in (7, 8, 9)] == [None, None, record(9)]
    spilled.clear()


def test_what_is_too_long_for_a_place_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubbub.mount.spilled._LONGEST", 2047)
    spilled = Spilled(1 << 20)
    spilled.put([record(oid, size=700 if 4 <= oid < 8 else 200) for oid in range(10)])
    assert (len(spilled), spilled.evictions) == (6, 4)
    assert spilled.take(4) is None
    assert [spilled.take(oid) for oid in (3, 8, 9)] == [record(3), record(8), record(9)]
    spilled.clear()


def test_its_bytes_are_bounded_and_the_oldest_go_first() -> None:
    spilled = Spilled(100_000)
    for first in range(0, 2000, 50):
        spilled.put([record(oid) for oid in range(first, first + 50)])
        assert spilled.byte_count < 100_000 + 50 * 300
        assert len(spilled) + spilled.evictions == first + 50
    assert spilled.take(0) is None
    assert spilled.take(1999) == record(1999)
    spilled.clear()


@pytest.mark.parametrize("full_at", [0, 3])
def test_a_full_disk_leaves_a_cache_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, full_at: int
) -> None:
    really = os.pwrite
    count = 0

    def pwrite(file: int, data: bytes, offset: int) -> int:
        nonlocal count
        count += 1
        if count > full_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(file, data[: len(data) // 2 + 1], offset)  # a short write is gone on with

    monkeypatch.setattr(os, "pwrite", pwrite)
    cache = RecordCache(1 << 20, 5000)
    for oid in range(100):
        cache.add(record(oid), None)
        assert cache.get(oid, 1) == record(oid)
    assert cache.has_dropped
    assert cache.evictions == 100 - cache.count
    assert caplog.text.count("kept in memory only") == 1
    assert cache.get(0, 1) is None
    cache.clear()


def test_a_folder_for_files_that_is_missing_leaves_a_cache_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/no/such/folder")
    spilled = Spilled(1 << 20)
    spilled.put([record(1)])
    assert (len(spilled), spilled.evictions) == (0, 1)
    assert "/no/such/folder" in caplog.text


def test_bytes_that_somebody_else_has_changed_are_no_record() -> None:
    spilled = Spilled(1 << 20)
    spilled.put([record(oid) for oid in range(32)])
    file = spilled._young._file
    assert file is not None
    os.pwrite(file.fileno(), b"?", 100)
    assert spilled.take(3) is None
    assert spilled.take(19) == record(19)
    os.ftruncate(file.fileno(), 500)
    assert spilled.take(20) is None
    spilled.clear()


def test_a_fork_writes_no_file_of_its_parent() -> None:
    program = """
import os
from hubbub.kernel import Record
from hubbub.mount.spilled import Spilled

def records(tid):
    return [Record(oid, tid, "test:Thing", (), b"state") for oid in range(40)]

spilled = Spilled(1 << 20)
spilled.put(records(1)[:20])
child = os.fork()
if not child:
    assert spilled.take(3) == records(1)[3]
    spilled.put(records(9)[20:])
    assert (spilled.evictions, spilled.take(3), spilled.take(23)) == (19, None, records(9)[23])
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
spilled.put(records(1)[20:])
assert [spilled.take(oid) for oid in range(40)] == records(1)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
