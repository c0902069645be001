"""Flipped bits and missing pieces: an error that says where, never a wrong object or a shorter history."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from hubbub.kernel import CorruptRecordError
from hubbub.store import SQLiteStore
from hubbub.store.grouplog import BLOCK, GroupLog
from tests.conformance.store.building import commit, tid


@pytest.fixture(params=["-log", "-wal"])
def suffix(request: pytest.FixtureRequest) -> str:
    """Which log holds the newest groups: the group log, or SQLite's, where large groups go at once."""
    return str(request.param)


@pytest.fixture
def crashed(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A space of 30 groups as a SIGKILL leaves it: main file, logs and side file."""
    path = tmp_path / "live" / "chat.hub"
    path.parent.mkdir()
    if suffix == "-wal":
        monkeypatch.setattr(GroupLog, "prepare", lambda *_: False)
    store = SQLiteStore(path)
    for number in range(1, 31):
        store.write([commit(number, [number, 100])])
    copy = tmp_path / "crashed"
    shutil.copytree(path.parent, copy)
    store.close()
    monkeypatch.undo()
    (copy / "chat.hub-shm").unlink()
    return copy / "chat.hub"


def place_in(log: Path, where: float) -> int:
    """Return an offset of bytes that count, that far into the groups of a log."""
    if log.name.endswith("-wal"):
        return int(log.stat().st_size * where)
    return int(30 * where) * BLOCK + 150


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def flip(path: Path, offset: int, bit: int = 3) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def contents(path: Path) -> list[bytes]:
    files = [path, beside(path, "-wal"), beside(path, "-log")]
    return [file.read_bytes() if file.exists() else b"" for file in files]


def closed_space(crashed: Path) -> Path:
    SQLiteStore(crashed).close()
    assert not beside(crashed, "-wal").exists()
    assert not beside(crashed, "-log").exists()
    return crashed


@pytest.mark.rule("ST2")
def test_a_log_left_by_a_crash_is_replayed_whole(crashed: Path, suffix: str) -> None:
    store = SQLiteStore(crashed)
    assert [e.tid for e in store.feed()] == [tid(n) for n in range(1, 31)]
    # What was replayed may have been in the page cache only: it has been written anew by now.
    assert not beside(crashed, "-log").exists()
    assert (beside(crashed, "-wal").stat().st_size == 0) == (suffix == "-wal")
    store.close()


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("where", [0.02, 0.3, 0.6, 0.9])
def test_a_flipped_bit_in_the_left_over_log_is_found_and_nothing_is_touched(
    crashed: Path, suffix: str, where: float
) -> None:
    log = beside(crashed, suffix)
    flip(log, place_in(log, where))
    before = contents(crashed)
    for _ in range(2):
        with pytest.raises(CorruptRecordError, match="damaged"):
            SQLiteStore(crashed)
        assert contents(crashed) == before


@pytest.mark.rule("ST6")
def test_a_flipped_bit_in_the_last_group_is_found_by_the_acknowledged_tid(
    crashed: Path, suffix: str
) -> None:
    log = beside(crashed, suffix)
    flip(log, log.stat().st_size - 200 if suffix == "-wal" else place_in(log, 29 / 30 + 0.001))
    before = contents(crashed)
    for _ in range(2):
        with pytest.raises(
            CorruptRecordError, match=f"up to tid {tid(30):016x} were acknowledged"
        ) as caught:
            SQLiteStore(crashed)
        assert caught.value.tid == tid(30)
        assert contents(crashed) == before
    beside(crashed, "-lock").unlink()  # as the message says
    store = SQLiteStore(crashed)
    assert store.last_tid == tid(29)
    store.close()


@pytest.mark.rule("ST6")
def test_an_older_main_file_in_the_place_of_the_newer_one_is_found(
    crashed: Path, tmp_path: Path
) -> None:
    closed_space(crashed)
    old = tmp_path / "old.hub"
    shutil.copy(crashed, old)
    store = SQLiteStore(crashed)
    store.write([commit(31, [1])])
    store.close()
    shutil.copy(old, crashed)
    with pytest.raises(CorruptRecordError, match=r"delete chat\.hub-lock"):
        SQLiteStore(crashed)


@pytest.mark.rule("ST6")
def test_a_missing_group_log_is_found_by_the_acknowledged_tid(crashed: Path, suffix: str) -> None:
    beside(crashed, suffix).unlink()
    with pytest.raises(CorruptRecordError, match=f"up to tid {tid(30):016x} were acknowledged"):
        SQLiteStore(crashed)


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("suffix", ["-log"])
def test_a_main_file_of_another_time_than_the_group_log_is_found(crashed: Path) -> None:
    log = beside(crashed, "-log").read_bytes()
    empty = crashed.read_bytes()
    closed_space(crashed)
    beside(crashed, "-lock").unlink()
    # Longer than the log, which has nothing new then; and shorter, though there is no gap in the numbers.
    beside(crashed, "-log").write_bytes(log)
    store = SQLiteStore(crashed)
    assert len(list(store.feed())) == 30
    store.close()
    crashed.write_bytes(empty)
    beside(crashed, "-lock").unlink()
    connection = apsw.Connection(str(crashed))
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('groups', 5)")
    connection.close()
    beside(crashed, "-log").write_bytes(log)
    with pytest.raises(CorruptRecordError, match="does not go on where"):
        SQLiteStore(crashed)


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("part", [b"5@5.", b"app:Thing"])
def test_a_flipped_bit_in_a_record_names_oid_and_tid(crashed: Path, part: bytes) -> None:
    path = closed_space(crashed)
    data = path.read_bytes()
    at = -1
    # SQLite leaves stale copies behind when it splits a page: damage each.
    while (at := data.find(b"app:Thing", at + 1)) >= 0:
        end = data.find(b"....", at)
        if data[:end].endswith(b"\x005@5") or data[:end].endswith(b"\x075@5"):
            flip(path, data.index(part, at), bit=0)
    store = SQLiteStore(path)
    with pytest.raises(CorruptRecordError, match="object 0x5 at tid") as caught:
        store.load(5)
    assert (caught.value.oid, caught.value.tid) == (5, tid(5))
    with pytest.raises(CorruptRecordError):
        store.load_many([4, 5])
    assert store.load(6) == commit(6, [6]).records[0]
    store.close()


@pytest.mark.rule("ST6")
def test_no_flipped_byte_in_the_main_file_gives_a_wrong_record_or_feed(
    crashed: Path, tmp_path: Path
) -> None:
    path = closed_space(crashed)
    whole = path.read_bytes()
    found = 0
    for offset in range(4096 + 1, len(whole), 211):
        flip(path, offset, bit=offset % 8)
        try:
            store = SQLiteStore(path)
            try:
                for number in range(1, 31):
                    # At a tid: a damaged index may hide an object, but hands out no other's state for it.
                    for record in store.load_many([number], tid(number)):
                        assert record == commit(number, [number]).records[0]
                entries = [(e.tid, e.oids) for e in store.feed()]
                assert entries == [(tid(n), (n, 100)) for n in range(1, 31)]
            finally:
                store.close()
        except CorruptRecordError:
            found += 1
        finally:
            for name in ("-wal", "-shm", "-log"):
                beside(path, name).unlink(missing_ok=True)
            path.write_bytes(whole)
    assert found > 5


@pytest.mark.rule("ST6", "ST1")
@pytest.mark.parametrize(
    "damage",
    [
        f'DELETE FROM "transaction" WHERE tid = {tid(10)}',
        f'DELETE FROM "transaction" WHERE tid <= {tid(10)}',
        f"DELETE FROM record WHERE tid = {tid(10)} AND oid = 100",
        f"UPDATE \"transaction\" SET label = x'80' WHERE tid = {tid(10)}",
        f'UPDATE "transaction" SET oids = oids || oids WHERE tid = {tid(10)}',
        f'UPDATE "transaction" SET count = NULL + 0 WHERE tid = {tid(10)}',
    ],
)
def test_the_feed_is_never_silently_shorter(crashed: Path, damage: str) -> None:
    path = closed_space(crashed)
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA ignore_check_constraints = ON")
    try:
        connection.execute(damage)
    except apsw.ConstraintError:
        connection.execute(damage.replace("NULL + 0", "7"))
    connection.close()
    store = SQLiteStore(path)
    with pytest.raises(CorruptRecordError):
        list(store.feed())
    assert [e.tid for e in store.feed(tid(20))] == [tid(n) for n in range(21, 31)]
    store.close()


@pytest.mark.rule("ST6")
def test_a_damaged_row_is_an_error(crashed: Path) -> None:
    store = SQLiteStore(crashed)
    store.write([commit(31, rows=[("job", b"key", b"value-of-the-row")])])
    store.close()
    flip(crashed, crashed.read_bytes().index(b"value-of-the-row"))
    store = SQLiteStore(crashed)
    for read in (lambda: store.rows("job"), lambda: store.row("job", b"key")):
        with pytest.raises(CorruptRecordError, match="job row b'key'"):
            read()
    store.close()


@pytest.mark.rule("ST6", "ST7")
def test_a_pack_that_meets_damage_drops_nothing_and_its_thread_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "space.hub"
    store = SQLiteStore(path)
    store.write([commit(1, [0, 1, 7, 8]), commit(2, [7])])
    store.close()
    flip(path, path.read_bytes().index(b"8@1"))
    store = SQLiteStore(path)
    for _ in range(2):
        with pytest.raises(CorruptRecordError, match="object 0x8"):
            store.pack(tid(2))
        assert store.load(1).payload.startswith(b"1@1")
        assert list(store.history(7)) == [tid(2), tid(1)]
    assert [damage.oid for damage in store.verify() if damage.oid == 8]
    store.close()
