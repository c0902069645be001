"""A full disk, a failing fsync, a place that can't be written."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from hubbub.kernel import DiskFullError, OutcomeUnknownError, StoreError
from hubbub.store import CommitQueue, Settled, SQLiteStore, grouplog
from tests.conformance.store.building import commit, tid


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.filler = folder / "filler"

    def fill(self) -> None:
        """Take all room but nothing that is in use."""
        with self.filler.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def make_room(self) -> None:
        self.filler.unlink()

    def set_read_only(self, value: bool) -> None:
        mode = "remount,ro" if value else "remount,rw"
        subprocess.run(["mount", "-o", mode, str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"a tmpfs can't be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def assert_whole(store: SQLiteStore, numbers: list[int]) -> None:
    assert [e.tid for e in store.feed()] == [tid(n) for n in numbers]
    for number in numbers:
        assert store.load(number) == commit(number, [number], size=3000).records[0]


@pytest.mark.rule("ST5")
def test_a_full_disk_is_a_certain_failure_and_writing_goes_on_when_there_is_room(
    disk: SmallDisk,
) -> None:
    path = disk.folder / "chat.hub"
    store = SQLiteStore(path)
    store.write([commit(1, [1], size=3000)])
    disk.fill()
    number = 1
    while True:
        try:
            store.write(
                [commit(number + 1, [number + 1], [("job", b"n", b"%d" % (number + 1))], size=3000)]
            )
        except DiskFullError:
            break
        number += 1
    stored = list(range(1, number + 1))
    for _ in range(2):
        assert_whole(store, stored)
        with pytest.raises(DiskFullError, match="nothing of the group was stored"):
            store.write([commit(number + 1, [number + 1], [("job", b"n", b"bad")], size=100_000)])
    assert store.row("job", b"n") in (None, b"%d" % number)
    disk.make_room()
    store.write([commit(number + 1, [number + 1], size=3000)])
    assert_whole(store, [*stored, number + 1])
    store.close()
    store = SQLiteStore(path)
    assert_whole(store, [*stored, number + 1])
    store.close()


@pytest.mark.rule("ST5", "ST6")
def test_a_crash_after_a_full_disk_is_not_taken_for_damage(disk: SmallDisk, tmp_path: Path) -> None:
    path = disk.folder / "chat.hub"
    store = SQLiteStore(path)
    store.write([commit(n, [n], size=3000) for n in (1, 2)])
    disk.fill()
    with pytest.raises(DiskFullError):
        store.write([commit(3, [3], size=100_000)])
    disk.make_room()
    store.write([commit(3, [3], size=3000)])
    for suffix in ("", "-wal", "-log", "-lock"):
        (tmp_path / f"chat.hub{suffix}").write_bytes(
            (disk.folder / f"chat.hub{suffix}").read_bytes()
        )
    store.close()
    store = SQLiteStore(tmp_path / "chat.hub")
    assert_whole(store, [1, 2, 3])
    store.close()


@pytest.mark.rule("ST5")
def test_through_the_queue_a_full_disk_fails_all_and_resumes(disk: SmallDisk) -> None:
    store = SQLiteStore(disk.folder / "chat.hub")
    told: list[Settled] = []
    queue = CommitQueue(store, told.append)
    disk.fill()
    queue.put(commit(1, [1], size=200_000), wake=False)
    queue.put(commit(2, [2], size=10), wake=False)
    queue.drive()
    assert [type(s.error) for s in told] == [DiskFullError]
    assert [c.tid for c in told[0].commits] == [tid(1), tid(2)]
    queue.resume()
    disk.make_room()
    queue.put(commit(3, [3], size=10))
    queue.wait_settled(tid(3), 20)
    queue.close()
    assert [e.tid for e in store.feed()] == [tid(3)]
    store.close()


def test_no_room_to_make_a_space_says_so(disk: SmallDisk) -> None:
    disk.fill()
    with pytest.raises((StoreError, DiskFullError)):
        SQLiteStore(disk.folder / "chat.hub")
    disk.make_room()
    SQLiteStore(disk.folder / "chat.hub").close()


def test_a_read_only_file_system_says_so(disk: SmallDisk) -> None:
    disk.set_read_only(True)
    with pytest.raises(StoreError, match="on a read-only file system"):
        SQLiteStore(disk.folder / "chat.hub")
    disk.set_read_only(False)


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """Access files as a user who is not root; yields a folder in a place that everybody may reach."""
    # Not below tmp_path: pytest's own folder is shut to other users.
    base = Path(tempfile.mkdtemp(prefix="hubbub-"))
    base.chmod(0o755)
    set_user = ctypes.CDLL(None).setfsuid
    before = set_user(65534) if os.geteuid() == 0 else None
    try:
        yield base
    finally:
        if before is not None:
            set_user(before)
        base.chmod(0o755)
        shutil.rmtree(base)


def test_a_folder_that_this_user_may_not_write_says_so(ordinary_user: Path) -> None:
    if os.geteuid() != 0:
        ordinary_user.chmod(0o555)
    with pytest.raises(StoreError, match="is not writable for this user"):
        SQLiteStore(ordinary_user / "chat.hub")


def test_a_folder_that_this_user_may_not_enter_says_so(tmp_path: Path, ordinary_user: Path) -> None:
    if os.geteuid() != 0:
        tmp_path.chmod(0)
    with pytest.raises(StoreError, match="Permission denied"):
        SQLiteStore(tmp_path / "chat.hub")
    if os.geteuid() != 0:
        tmp_path.chmod(0o755)


class FailingVFS(apsw.VFS):
    """The real file system, but the log's fsync fails while `fails` is set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fails = False
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return FailingFile(self, name, flags)


class FailingFile(apsw.VFSFile):
    def __init__(self, vfs: FailingVFS, name: Any, flags: list[int]) -> None:
        self.vfs = vfs
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.is_log = str(filename).endswith("-wal")
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self.vfs.fails and self.is_log:
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)


@pytest.fixture
def vfs(request: pytest.FixtureRequest) -> Iterator[FailingVFS]:
    made = FailingVFS(f"failing-{request.node.name}")
    yield made
    made.unregister()


class FailingLog:
    """The group log's writes fail while `fails` is set; what they have put down by then, ``written`` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
        self.fails = False
        self.error = errno.EIO
        self.written = written
        self.real = grouplog.write_through
        monkeypatch.setattr(grouplog, "write_through", self)

    def __call__(self, file: int, data: memoryview, offset: int) -> int:
        if not self.fails:
            return self.real(file, data, offset)
        if self.written == "all":
            self.real(file, data, offset)
        if self.written == "a part":
            block = mmap.mmap(-1, 4096)
            block[:2048] = bytes(data[:2048])
            self.real(file, memoryview(block), offset)
        raise OSError(self.error, os.strerror(self.error))


@pytest.fixture(params=["nothing", "a part", "all"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FailingLog:
    return FailingLog(monkeypatch, request.param)


@pytest.mark.rule("ST5", "ST2")
def test_after_a_failed_fsync_nothing_is_written_and_the_group_in_doubt_is_not_shown(
    log: FailingLog, tmp_path: Path
) -> None:
    path = tmp_path / "chat.hub"
    store = SQLiteStore(path)
    store.write([commit(1, [1, 2], [("job", b"n", b"1")])])
    log.fails = True
    with pytest.raises(
        OutcomeUnknownError, match="can be seen only when the store is opened again"
    ):
        store.write([commit(2, [2, 3], [("job", b"n", b"2")], size=5000)])
    log.fails = False
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError):
            store.write([commit(3, [1])])
        assert (store.last_tid, store.max_oid) == (tid(1), 2)
        assert store.load(2).tid == store.load(2, tid(2)).tid == tid(1)
        assert store.load_many([3]) == []
        assert [e.tid for e in store.feed()] == [tid(1)]
        assert list(store.history(2)) == [tid(1)]
        assert store.row("job", b"n") == b"1"
    store.close()
    store = SQLiteStore(path)
    assert store.last_tid == (tid(2) if log.written == "all" else tid(1))
    assert store.load(2).tid == store.last_tid
    store.write([commit(3, [9])])
    store.close()
    store = SQLiteStore(path)
    assert store.last_tid == tid(3)
    store.close()


@pytest.mark.rule("ST5")
def test_no_room_in_the_group_log_means_the_tables_take_the_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = FailingLog(monkeypatch, "a part")
    log.error = errno.ENOSPC
    store = SQLiteStore(tmp_path / "chat.hub")
    for number in range(1, 40):
        log.fails = number % 3 == 0
        store.write([commit(number, [number], [("job", b"n", b"%d" % number)], size=5000)])
        assert store.load(number).tid == tid(number)
    for suffix in ("", "-wal", "-log", "-lock"):
        shutil.copy(tmp_path / f"chat.hub{suffix}", tmp_path / f"copy.hub{suffix}")
    store.close()
    for name in ("chat.hub", "copy.hub"):
        store = SQLiteStore(tmp_path / name)
        assert [e.tid for e in store.feed()] == [tid(n) for n in range(1, 40)]
        assert store.row("job", b"n") == b"39"
        store.close()


@pytest.mark.rule("ST5")
def test_a_write_that_ends_with_no_room_but_is_there_is_in_doubt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = FailingLog(monkeypatch, "all")
    log.error = errno.ENOSPC
    store = SQLiteStore(tmp_path / "chat.hub")
    log.fails = True
    with pytest.raises(OutcomeUnknownError):
        store.write([commit(1, [1])])
    store.close()


@pytest.mark.rule("ST5", "ST2")
def test_a_failed_fsync_behind_the_group_log_ends_writing_and_loses_nothing(
    vfs: FailingVFS, tmp_path: Path
) -> None:
    path = tmp_path / "chat.hub"
    store = SQLiteStore(path, vfs=vfs.name, log_limit_bytes=1)
    number = 0
    with pytest.raises(OutcomeUnknownError):
        while True:
            store.write([commit(number + 1, [number + 1], size=4000)])
            number += 1
            vfs.fails = number > 20
    assert number > 20
    assert [e.tid for e in store.feed()] == [tid(n) for n in range(1, number + 1)]
    assert store.load(number).tid == store.last_tid == tid(number)
    vfs.fails = False
    with pytest.raises(OutcomeUnknownError):
        store.write([commit(number + 1, [1])])
    store.close()
    store = SQLiteStore(path)
    assert [e.tid for e in store.feed()] == [tid(n) for n in range(1, number + 1)]
    store.write([commit(number + 1, [1])])
    store.close()


@pytest.mark.rule("ST5")
def test_a_failed_fsync_ends_writing_through_the_queue_and_reading_goes_on(
    log: FailingLog, tmp_path: Path
) -> None:
    store = SQLiteStore(tmp_path / "chat.hub")
    told: list[Settled] = []
    queue = CommitQueue(store, told.append)
    queue.put(commit(1, [1]))
    queue.wait_settled(tid(1), 20)
    log.fails = True
    queue.put(commit(2, [1]))
    with pytest.raises(OutcomeUnknownError):
        queue.wait_settled(tid(2), 20)
    log.fails = False
    queue.resume()
    queue.put(commit(3))
    queue.put(commit(4, [1]))
    with pytest.raises(OutcomeUnknownError):
        queue.wait_settled(tid(4), 20)
    assert [(s.commits[0].tid, s.error is None) for s in told] == [
        (tid(1), True), (tid(2), False), (tid(3), True), (tid(4), False),
    ]  # fmt: skip
    assert store.load(1).tid == tid(1)
    queue.close()
    store.close()
