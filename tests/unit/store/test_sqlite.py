"""What only the SQLite store promises; the rest is in tests/conformance and tests/faults."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import sqlite3
import threading
from pathlib import Path

import apsw
import pytest

from hubbub.kernel import ClosedError, SpaceInUseError, StoreError
from hubbub.store import MemoryStore, SQLiteStore, open_store
from tests.conformance.store.building import commit, tid


def make_other(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_file_that_is_no_space_is_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("dear diary " * 20)
    with pytest.raises(StoreError, match=r"notes\.txt is not a Hubbub space"):
        SQLiteStore(text)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    other = tmp_path / "other.db"
    make_other(other, "CREATE TABLE t (x)")
    before = other.read_bytes()
    with pytest.raises(StoreError, match="an SQLite file, but not a Hubbub space"):
        SQLiteStore(other)
    assert other.read_bytes() == before
    assert not (tmp_path / "other.db-lock").exists()


def test_a_space_of_a_newer_format_says_so(tmp_path: Path) -> None:
    path = tmp_path / "chat.hub"
    SQLiteStore(path).close()
    make_other(path, "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="has format version 99; this Hubbub reads up to 1"):
        SQLiteStore(path)


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no space at"):
        SQLiteStore(tmp_path / "none.hub", create=False)
    with pytest.raises(StoreError, match="is a folder"):
        SQLiteStore(tmp_path)
    with pytest.raises(StoreError, match=r"the folder .* does not exist"):
        SQLiteStore(tmp_path / "no" / "chat.hub")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.hub").touch()
    with pytest.raises(StoreError, match="is empty"):
        SQLiteStore(tmp_path / "empty.hub", create=False)
    SQLiteStore(tmp_path / "empty.hub").close()


@pytest.mark.rule("ST6")
def test_a_log_without_its_main_file_is_not_thrown_away(tmp_path: Path) -> None:
    log = tmp_path / "chat.hub-wal"
    log.write_bytes(b"x" * 5000)
    with pytest.raises(StoreError, match=r"its log chat.hub-wal is there"):
        SQLiteStore(tmp_path / "chat.hub")
    assert log.stat().st_size == 5000


@pytest.mark.rule("ST8")
def test_a_second_store_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "chat.hub")
    store.side_file.set_addresses(["hub://here:1"])
    with pytest.raises(SpaceInUseError, match="hub://here:1"):
        SQLiteStore(tmp_path / "chat.hub")
    store.write([commit(1, [1])])
    store.close()


@pytest.mark.rule("ST2")
def test_commits_are_synced_in_full(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "chat.hub")
    execute = store._tables._connection.execute
    assert execute("PRAGMA synchronous").get == 2
    assert execute("PRAGMA journal_mode").get == "wal"
    store.write([commit(1, [1])])
    assert fcntl.fcntl(store._log._file, fcntl.F_GETFL) & os.O_DSYNC
    store.close()


def test_the_log_is_kept_short_while_readers_come_and_go(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "chat.hub", log_limit_bytes=200_000)
    for number in range(1, 200):
        store.write([commit(number, [number], size=4000)])
        feed = store.feed()
        next(feed)  # and left there
    assert (tmp_path / "chat.hub-wal").stat().st_size < 400_000
    store.close()
    store = SQLiteStore(tmp_path / "chat.hub")
    assert len(list(store.feed())) == 199
    store.close()


def test_connections_end_with_their_threads_and_with_the_store(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "chat.hub")
    store.write([commit(1, [1])])
    store.close()
    store = SQLiteStore(tmp_path / "chat.hub")  # what is recent needs no connection
    stay, loaded = threading.Event(), threading.Barrier(3)
    errors: list[BaseException] = []

    def read(wait: bool) -> None:
        store.load(1)
        if wait:
            loaded.wait()
            stay.wait()
            try:
                store.load(1)
            except ClosedError as error:
                errors.append(error)

    brief = [threading.Thread(target=read, args=(False,)) for _ in range(5)]
    for thread in brief:
        thread.start()
        thread.join()
    gc.collect()
    assert store._reader.connection_count == 0
    waiting = [threading.Thread(target=read, args=(True,)) for _ in range(2)]
    for thread in waiting:
        thread.start()
    loaded.wait()
    assert store._reader.connection_count == 2
    store.close()
    stay.set()
    for thread in waiting:
        thread.join()
    assert len(errors) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chat.hub", "chat.hub-lock"]


def test_a_commit_that_can_not_be_stored_changes_nothing_and_writing_goes_on(
    tmp_path: Path,
) -> None:
    store = SQLiteStore(tmp_path / "chat.hub")
    wrong = commit(2, [2])
    wrong.records[0].payload = object()  # type: ignore[assignment]
    with pytest.raises(TypeError):
        store.write([commit(1, [1]), wrong])
    bad_row = commit(2, [2], [("job", b"a", b"b"), ("job", 3.5j, None)])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        store.write([bad_row])
    assert (store.last_tid, list(store.feed()), store.rows("job")) == (0, [], [])
    store.write([commit(1, [1])])
    assert [e.tid for e in store.feed()] == [tid(1)]
    store.close()


def test_the_file_is_ordinary_sqlite_for_other_tools(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "chat.hub")
    store.write([commit(1, [1, 2])])
    store.close()
    with sqlite3.connect(tmp_path / "chat.hub") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT oid, class FROM record").fetchall() == [
            (1, "app:Thing"),
            (2, "app:Thing"),
        ]
    connection.close()


def test_open_store_takes_paths_and_memory(tmp_path: Path) -> None:
    assert isinstance(open_store("memory:"), MemoryStore)
    store = open_store(tmp_path / "chat.hub")
    assert isinstance(store, SQLiteStore)
    store.close()
    open_store(str(tmp_path / "chat.hub"), create=False).close()
    for wrong in ("", "hub://host/space", "postgresql://x", "memory:else"):
        with pytest.raises(StoreError, match="give a path, or memory:"):
            open_store(wrong)


@pytest.mark.rule("ST1", "ST7")
def test_reading_is_the_same_while_commits_move_into_the_tables(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "chat.hub", log_limit_bytes=1)
    seen_behind = False
    for number in range(1, 120):
        rows = [("job", b"n", b"%d" % number)]
        store.write([commit(number, [1, 1000 + number], rows, size=700)])
        seen_behind = seen_behind or len(store._recents) > 1
        assert [e.tid for e in store.feed(tid(number // 2))] == [
            tid(n) for n in range(number // 2 + 1, number + 1)
        ]
        assert list(store.history(1)) == [tid(n) for n in range(number, 0, -1)]
        assert store.load(1, tid(number // 3 + 1)).tid == tid(number // 3 + 1)
        half = number // 2 + 1
        loaded = store.load_many([1000 + number, 9999, 1000 + half, 1])
        assert [r.tid for r in loaded] == [tid(number), tid(half), tid(number)]
        assert store.rows("job") == [(b"n", b"%d" % number)]
    assert seen_behind
    store.close()


@pytest.mark.rule("ST6")
def test_groups_of_every_size_survive_a_crash_in_order(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "chat.hub", log_limit_bytes=1)
    for number in range(1, 60):
        size = 40_000 if number % 7 == 0 else 100 * number
        store.write([commit(number, [number], [("job", b"n", b"%d" % number)], size=size)])
        if number % 11 == 0:
            store._copier.wait()  # nothing moves between the copies of the files
            for suffix in ("", "-wal", "-log", "-lock"):
                shutil.copy(tmp_path / f"chat.hub{suffix}", tmp_path / f"copy.hub{suffix}")
            copy = SQLiteStore(tmp_path / "copy.hub")
            assert [e.tid for e in copy.feed()] == [tid(n) for n in range(1, number + 1)]
            assert copy.row("job", b"n") == b"%d" % number
            assert copy.max_oid == number
            copy.write([commit(number + 1, [number + 1])])
            copy.close()
            (tmp_path / "copy.hub-lock").unlink()
    store.close()


@pytest.mark.parametrize("count", [1, 19, 21, 399, 401, 843])
def test_all_rows_get_into_the_tables_however_many_there_are(tmp_path: Path, count: int) -> None:
    def keys(numbers: range, value: bytes | None) -> list[tuple[str, bytes, bytes | None]]:
        return [("call", b"%d" % number, value) for number in numbers]

    every = range(count)
    store = SQLiteStore(tmp_path / "chat.hub")
    store.write([commit(1, every, keys(every, b"first"))])
    store.write([commit(number, [0]) for number in range(2, count + 1)])
    store.close()  # what is recent goes into the tables
    store = SQLiteStore(tmp_path / "chat.hub")
    assert [record.oid for record in store.load_many(every)] == list(every)
    assert [entry.tid for entry in store.feed()] == [tid(n) for n in range(1, count + 1)]
    assert len(store.rows("call")) == count
    store.write([commit(count + 1, rows=keys(every[1:], None))])
    store.close()
    store = SQLiteStore(tmp_path / "chat.hub")
    assert store.rows("call") == [(b"0", b"first")]
    store.close()
