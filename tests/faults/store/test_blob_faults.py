"""Blob files and a group that fails, or is cut short: never a record without its file, nothing left lying about."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from hubbub.kernel import (
    DiskFullError,
    OutcomeUnknownError,
    StoreError,
    UnknownObjectError,
)
from hubbub.store import SQLiteStore, blobs, grouplog
from hubbub.store.tables import Tables
from tests.conformance.store.building import tid
from tests.conformance.store.test_blobs import staged, with_blobs


def files(path: Path) -> list[str]:
    return sorted(p.name for p in path.with_name(path.name + "-blobs").rglob("*") if p.is_file())


def copied(path: Path, to: Path) -> SQLiteStore:
    """Open what a SIGKILL would leave behind now."""
    shutil.copytree(path.parent, to)
    return SQLiteStore(to / path.name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "live").mkdir()
    return tmp_path / "live" / "chat.hub"


@pytest.mark.rule("ST5")
def test_a_full_disk_takes_the_files_with_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLiteStore(path)
    store.write([with_blobs(1, {5: staged(store, b"one")})])
    before = files(path)

    def full(*_: object) -> None:
        raise DiskFullError("no room")

    monkeypatch.setattr(grouplog.GroupLog, "prepare", lambda *_: False)
    monkeypatch.setattr(Tables, "put", full)
    with pytest.raises(DiskFullError):
        store.write([with_blobs(2, {5: staged(store, b"two"), 6: staged(store, b"two")})])
    monkeypatch.undo()
    assert files(path) == before
    store.write([with_blobs(3, {5: staged(store, b"three")})])
    assert store.blob(5, tid(3)).read_bytes() == b"three"
    store.close()


@pytest.mark.rule("ST5")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_file_that_can_t_be_synced_fails_the_group_for_certain(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = SQLiteStore(path)
    name = staged(store, b"one")
    real = blobs._sync

    def failing(what: Path, flags: int) -> None:
        if what.is_file():
            raise OSError(number, os.strerror(number))
        real(what, flags)

    monkeypatch.setattr(blobs, "_sync", failing)
    expected = DiskFullError if number == errno.ENOSPC else StoreError
    with pytest.raises(expected, match=r"no room for blobs|can't be written"):
        store.write([with_blobs(1, {5: name})])
    monkeypatch.undo()
    assert (files(path), store.last_tid) == ([], 0)
    store.write([with_blobs(2, {5: staged(store, b"two")})])
    store.close()


@pytest.mark.rule("ST5", "ST6")
@pytest.mark.parametrize("is_there", [False, True])
def test_a_group_in_doubt_is_decided_by_the_next_open_with_its_files(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    store = SQLiteStore(path)
    store.write([with_blobs(1, {5: staged(store, b"one")})])
    real = grouplog.write_through

    def failing(file: int, data: memoryview, offset: int) -> int:
        if is_there:
            real(file, data, offset)
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(grouplog, "write_through", failing)
    with pytest.raises(OutcomeUnknownError):
        store.write([with_blobs(2, {5: staged(store, b"two")})])
    monkeypatch.undo()
    with pytest.raises(UnknownObjectError):
        store.blob(5, tid(2))
    store.stage()
    store.close()
    store = SQLiteStore(path)
    assert store.last_tid == tid(2 if is_there else 1)
    assert len(files(path)) == (2 if is_there else 1)
    assert store.blob(5, store.last_tid).read_bytes() == (b"two" if is_there else b"one")
    store.close()


@pytest.mark.rule("ST2", "ST6")
def test_a_kill_between_the_files_and_the_group_leaves_no_orphan(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SQLiteStore(path)
    store.write([with_blobs(1, {5: staged(store, b"one")})])
    store.stage()
    copies: list[Path] = []
    real = grouplog.write_through

    def copying(file: int, data: memoryview, offset: int) -> int:
        for moment in ("before", "after"):
            copies.append(tmp_path / moment)
            shutil.copytree(path.parent, copies[-1])
            if moment == "before":
                count = real(file, data, offset)
        return count

    monkeypatch.setattr(grouplog, "write_through", copying)
    store.write([with_blobs(2, {5: staged(store, b"two"), 1 << 20: staged(store, b"more")})])
    store.close()
    for copy, kept in zip(copies, (1, 3), strict=True):
        assert len(files(copy / path.name)) == 1 + 3 + 1  # staged, in place, marker
        found = SQLiteStore(copy / path.name)
        assert len(files(found.path)) == kept
        assert found.blob(5, tid(1)).read_bytes() == b"one"
        assert found.last_tid == tid(2 if kept == 3 else 1)
        assert found.blob(5, found.last_tid).read_bytes() == (b"two" if kept == 3 else b"one")
        found.close()


def test_who_may_not_read_the_space_may_not_read_its_blobs(path: Path) -> None:
    SQLiteStore(path).close()
    for mode, expected in ((0o600, 0o700), (0o640, 0o750)):
        path.chmod(mode)
        store = SQLiteStore(path)
        store.stage()
        folder = path.with_name("chat.hub-blobs")
        assert stat.S_IMODE(folder.stat().st_mode) == expected
        store.close()
        shutil.rmtree(folder)
