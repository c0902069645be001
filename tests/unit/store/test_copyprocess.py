"""The process that copies the group log into the tables: it is there when it is needed, and nobody needs it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

import hubbub.store.sqlite
from hubbub.kernel import CorruptRecordError, DiskFullError, OutcomeUnknownError, StoreError
from hubbub.store import SideFile, SQLiteStore
from hubbub.store.copier import Copier
from hubbub.store.copymain import Copying, serve
from hubbub.store.copyprocess import (
    CopyNews,
    CopyOrder,
    CopyProcess,
    CopyProcessLostError,
    error_of,
    news_of,
)
from hubbub.store.group import Group
from hubbub.store.recent import Recent
from tests.conformance.store.building import commit, tid

LIMIT = 1 << 18  # a segment of the log has a quarter of it


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second processor, whatever the machine has."""
    monkeypatch.setattr(hubbub.store.sqlite, "can_copy_apart", lambda: True)


def apart(path: Path) -> SQLiteStore:
    return SQLiteStore(path, log_limit_bytes=LIMIT, copies_apart=True)


def process_of(store: SQLiteStore) -> CopyProcess:
    process = store._copier._process
    assert process is not None
    return process


def write(store: SQLiteStore, first: int, last: int) -> None:
    for number in range(first, last + 1):
        store.write([commit(number, [number], [("last", b"", b"%d" % number)], size=3000)])


def check(store: SQLiteStore, last: int) -> None:
    """Check that all is there: by the feed, by records, by rows."""
    assert [entry.tid for entry in store.feed()] == [tid(n) for n in range(1, last + 1)]
    assert [r.tid for r in store.load_many(range(1, last + 1))] == [
        tid(n) for n in range(1, last + 1)
    ]
    assert store.row("last", b"") == b"%d" % last
    # Each refers to the one behind it, so the last one to none.
    assert [damage.oid for damage in store.verify()] == [last]


def test_a_small_space_has_no_process(tmp_path: Path) -> None:
    store = apart(tmp_path / "chat.hub")
    write(store, 1, 3)
    assert process_of(store).pid is None
    store.close()


@pytest.mark.rule("ST2")
def test_what_the_process_has_copied_is_read_in_the_tables(tmp_path: Path) -> None:
    store = apart(tmp_path / "chat.hub")
    write(store, 1, 100)
    store._copier.wait()
    assert process_of(store).pid is not None
    assert store._tables.number > 20
    check(store, 100)
    pid = process_of(store).pid
    store.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)
    store = SQLiteStore(tmp_path / "chat.hub")
    check(store, 100)
    store.close()


@pytest.mark.rule("ST5")
def test_a_process_that_was_killed_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = apart(tmp_path / "chat.hub")
    write(store, 1, 50)
    store._copier.wait()
    os.kill(process_of(store).pid or 0, signal.SIGKILL)
    write(store, 51, 120)
    store._copier.wait()
    assert store._copier._process is None
    assert "this one copies it from now on" in caplog.text
    check(store, 120)
    store.close()


class Losing(CopyProcess):
    """Is lost when it has carried out its first order, and before anybody has heard of that."""

    def news(self) -> CopyNews:
        while not super().news().is_over:
            pass
        self.close()
        raise CopyProcessLostError("lost")


@pytest.mark.rule("ST5")
def test_what_a_lost_process_has_put_is_not_put_twice(tmp_path: Path) -> None:
    store = apart(tmp_path / "chat.hub")
    losing = Losing(store.path, store._log.path, LIMIT, store.side_file.fileno())
    store._copier._process = losing
    write(store, 1, 100)
    store._copier.wait()
    assert store._copier._process is None
    check(store, 100)
    store.close()


@pytest.mark.parametrize("python", ["", "/no/such/python", "/bin/false"])
def test_where_no_process_can_be_started_the_owner_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, python: str
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    store = apart(tmp_path / "chat.hub")
    write(store, 1, 60)
    store._copier.wait()
    assert "is gone" in caplog.text
    assert store._tables.number > 20
    check(store, 60)
    store.close()


def test_a_frozen_program_does_not_start_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    store = apart(tmp_path / "chat.hub")
    write(store, 1, 60)
    store._copier.wait()
    assert store._copier._process is None
    check(store, 60)
    store.close()


# --- what it tells of ------------------------------------------------------------------------------------------------


def fill(path: Path) -> tuple[SQLiteStore, CopyOrder]:
    """Make a store with something in its log only; return it and the order to copy that."""
    store = SQLiteStore(path)
    write(store, 1, 20)
    begin, end = store._log.place
    return store, CopyOrder(begin, end, store._number)


def told(copying: Copying, *orders: CopyOrder) -> list[CopyNews]:
    news = io.BytesIO()
    serve(copying, io.BytesIO(b"".join(msgspec.json.encode(o) + b"\n" for o in orders)), news)
    return [msgspec.json.decode(line, type=CopyNews) for line in news.getvalue().splitlines()]


def test_an_order_is_told_of_twice_and_a_repeat_does_no_harm(tmp_path: Path) -> None:
    store, order = fill(tmp_path / "chat.hub")
    copying = Copying(store.path, store._log.path, LIMIT)
    assert told(copying, order, order) == 2 * [CopyNews(), CopyNews(is_over=True)]
    assert copying.tables.number == order.number
    assert store._tables.number == order.number
    copying.tables.close()
    store.close()
    store = SQLiteStore(store.path)
    check(store, 20)
    store.close()


@pytest.mark.rule("ST6")
def test_what_is_not_in_the_log_any_more_is_damage(tmp_path: Path) -> None:
    store, order = fill(tmp_path / "chat.hub")
    with store._log.path.open("rb+") as log:
        log.seek(order.begin + 10 * 4096)
        log.write(b"?" * 4096)
    copying = Copying(store.path, store._log.path, LIMIT)
    (news,) = told(copying, order)
    assert (news.error, news.doubt) == ("damaged", "")
    assert "group 11 is not in" in news.text
    assert copying.tables.number == 0
    copying.tables.close()
    store.close()


@pytest.mark.rule("ST5")
def test_a_full_disk_is_told_of_and_the_order_can_be_repeated(tmp_path: Path) -> None:
    store, order = fill(tmp_path / "chat.hub")
    copying = Copying(store.path, store._log.path, LIMIT)
    pages = int(copying._connection.execute("PRAGMA page_count").get)
    copying._connection.execute(f"PRAGMA max_page_count = {pages}").get  # noqa: B018
    (news,) = told(copying, order)
    assert (news.error, news.doubt) == ("full", "")
    assert isinstance(error_of(news), DiskFullError)
    copying._connection.execute("PRAGMA max_page_count = 1000000").get  # noqa: B018
    assert told(copying, order) == [CopyNews(), CopyNews(is_over=True)]
    copying.tables.close()
    store.close()


@pytest.mark.parametrize(
    "error, kind",
    [
        (DiskFullError("a"), "full"),
        (CorruptRecordError("b"), "damaged"),
        (StoreError("c"), "failed"),
    ],
)
def test_an_error_comes_through_as_it_is(error: StoreError, kind: str) -> None:
    news = news_of(error, None)
    assert news == CopyNews(is_over=True, error=kind, text=str(error))
    assert type(error_of(news)) is type(error)
    assert str(error_of(news)) == str(error)


class Answering(CopyProcess):
    """Answers each order with the same news."""

    def __init__(self, news: CopyNews) -> None:
        self._news = news

    def order(self, order: CopyOrder) -> None:
        pass

    def news(self) -> CopyNews:
        return self._news

    def close(self) -> None:
        pass


@pytest.mark.rule("ST5")
def test_a_doubt_of_the_process_ends_writing(tmp_path: Path) -> None:
    store = apart(tmp_path / "chat.hub")
    doubt = news_of(OutcomeUnknownError("who knows"), "who knows")
    store._copier._process = Answering(doubt)
    stored = 0
    with pytest.raises(OutcomeUnknownError, match="who knows"):
        for number in range(1, 100):
            write(store, number, number)
            stored = number
    assert [entry.tid for entry in store.feed()] == [tid(n) for n in range(1, stored + 1)]
    store.close()


@pytest.mark.rule("ST5")
def test_a_full_disk_of_the_process_is_the_writers_until_there_is_room(tmp_path: Path) -> None:
    """The thread itself tries again with the next write; here it finds room."""
    store = apart(tmp_path / "chat.hub")
    store._copier._process = Answering(news_of(DiskFullError("no room"), None))
    write(store, 1, 100)
    store._copier._process = None
    check(store, 100)
    store.close()


def test_a_copier_without_a_process_copies_itself(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "chat.hub")
    put = threading.Event()
    copier = Copier(store._tables, put.set)
    recent = Recent()
    recent.add(1, Group([commit(1, [1])], 0, 1))
    copier.begin(recent, (0, 0))
    copier.wait()
    assert put.is_set()
    copier.close()
    copier.close()
    store.close()


# --- whose lock it is ------------------------------------------------------------------------------------------------

_DIES_AND_LEAVES_SOMEBODY = """
import os, subprocess, sys
from pathlib import Path
from hubbub.store import SideFile
side = SideFile(Path(sys.argv[1]))
subprocess.Popen(["sleep", sys.argv[2]], pass_fds=[side.fileno()], stdout=subprocess.DEVNULL)
os._exit(0)
"""


def die_and_leave_somebody(path: Path, seconds: float) -> None:
    """Have a process own the space and end, while another that has its lock lives on for a while."""
    command = [sys.executable, "-c", _DIES_AND_LEAVES_SOMEBODY, str(path), str(seconds)]
    subprocess.run(command, check=True, timeout=20)


@pytest.mark.rule("ST8")
def test_who_comes_behind_a_dead_owner_waits_for_its_copy_process(tmp_path: Path) -> None:
    die_and_leave_somebody(tmp_path / "chat.hub", 0.3)
    SideFile(tmp_path / "chat.hub").release()


@pytest.mark.rule("ST8")
def test_who_comes_behind_a_dead_owner_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubbub.store.lock._DYING_S", 0.05)
    die_and_leave_somebody(tmp_path / "chat.hub", 3)
    with pytest.raises(StoreError, match="in use"):
        SideFile(tmp_path / "chat.hub")
