"""Full and incremental backups, and what is restored from them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub.backup import BackupFolder, BackupReport, back_up, check, restore
from hubbub.kernel import (
    ConfigurationError,
    CorruptRecordError,
    Job,
    JobStoppedError,
    StoreError,
    tid_text,
)
from hubbub.mount import LocalMount
from hubbub.store import MemoryStore, SQLiteStore, Store
from tests.conformance.store.building import commit, tid


def contents(store: Store) -> list[Any]:
    """All that a restored space must have in common with the first."""
    found = store.commits(0, store.last_tid, 1 << 40)
    entries = [(e.tid, e.label, e.oids, e.byte_count) for e in store.feed()]
    rows = [row for row in store.all_rows()[1] if row[0] != "blob"]
    return [[(c.tid, c.label, c.records) for c in found], entries, rows, store.max_oid]


def contents_at(path: Path) -> list[Any]:
    store = SQLiteStore(path, create=False)
    try:
        return contents(store)
    finally:
        store.close()


class Space:
    """A space in memory that is written to, and its backup."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = MemoryStore()
        self.mount = LocalMount(self.store)
        self.folder = tmp_path / "backup"
        self.number = 0

    def write(self, count: int) -> None:
        """Write so many commits."""
        for _ in range(count):
            self.number += 1
            n = self.number
            self.store.write([commit(n, [n % 7, 100 + n], [("k", b"%d" % (n % 3), b"%d" % n)])])
        # The mount did not see them.
        self.mount = LocalMount(self.store)

    def back_up(self, **options: Any) -> BackupReport:
        return back_up(self.mount, self.folder, **options)


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return Space(tmp_path)


def test_what_is_restored_is_bit_for_bit_what_was_there(space: Space, tmp_path: Path) -> None:
    space.write(40)
    first = space.back_up()
    assert (first.is_full, first.commits, first.records, first.rows) == (True, 40, 80, 3)
    space.write(25)
    more = space.back_up()
    assert (more.is_full, more.after, more.commits) == (False, tid(40), 25)
    report = restore(space.folder, tmp_path / "new.hub")
    assert (report.last, report.commits, report.rows, report.floor) == (tid(65), 65, 3, 0)
    assert contents_at(tmp_path / "new.hub") == contents(space.store)


@pytest.mark.parametrize("number", [1, 17, 40, 41, 64, 65])
def test_any_tid_can_be_restored(space: Space, tmp_path: Path, number: int) -> None:
    expected = MemoryStore()
    for n in range(1, number + 1):
        expected.write([commit(n, [n % 7, 100 + n], [("k", b"%d" % (n % 3), b"%d" % n)])])
    space.write(40)
    space.back_up()
    space.write(25)
    space.back_up()
    report = restore(space.folder, tmp_path / "new.hub", at=tid(number))
    found, wanted = contents_at(tmp_path / "new.hub"), contents(expected)
    has_rows = number in (40, 65)
    assert (report.rows is not None) is has_rows
    if not has_rows:
        wanted[2] = []
    assert found == wanted


def test_a_run_that_finds_nothing_new_writes_nothing(space: Space) -> None:
    space.write(3)
    space.back_up()
    before = sorted(space.folder.iterdir())
    report = space.back_up()
    assert (report.commits, report.files) == (0, ())
    assert sorted(space.folder.iterdir()) == before


def test_rows_that_changed_without_a_commit_are_saved(space: Space, tmp_path: Path) -> None:
    space.write(3)
    space.back_up()
    space.store.write([commit(4, [], [("session", b"ann", b"here")])])
    assert len(space.back_up().files) == 1
    restore(space.folder, tmp_path / "new.hub")
    assert ("session", b"ann", b"here") in contents_at(tmp_path / "new.hub")[2]


def test_an_empty_space_can_be_saved_and_restored(space: Space, tmp_path: Path) -> None:
    space.back_up()
    assert restore(space.folder, tmp_path / "new.hub").commits == 0
    space.write(2)
    space.back_up()
    assert restore(space.folder, tmp_path / "two.hub").commits == 2


def test_a_full_backup_on_request_leaves_the_older_chain(space: Space, tmp_path: Path) -> None:
    space.write(10)
    space.back_up()
    space.write(5)
    report = space.back_up(full=True)
    assert (report.is_full, report.commits) == (True, 15)
    (space.folder / BackupFolder(space.folder).must_read().files[0].name).unlink()
    # The older chain is not needed for what the newer has.
    assert restore(space.folder, tmp_path / "new.hub", at=tid(3)).commits == 3


def test_large_backups_go_over_several_files(space: Space, tmp_path: Path) -> None:
    for number in range(1, 9):
        space.store.write([commit(number, range(1200), size=1000 + number)])
    report = back_up(LocalMount(space.store), space.folder, file_bytes=1000)
    files = BackupFolder(space.folder).must_read().files
    assert len(report.files) == len(files) > 1
    assert [file.rows for file in files] == [None] * (len(files) - 1) + [0]
    restore(space.folder, tmp_path / "new.hub")
    assert contents_at(tmp_path / "new.hub") == contents(space.store)


def test_a_backup_of_another_space_is_refused(space: Space, tmp_path: Path) -> None:
    space.write(3)
    space.back_up()
    with pytest.raises(StoreError, match="is the backup of another space"):
        back_up(LocalMount(MemoryStore()), space.folder)
    restore(space.folder, tmp_path / "new.hub")
    mount = LocalMount(SQLiteStore(tmp_path / "new.hub"))
    with pytest.raises(StoreError, match="is the backup of another space"):
        back_up(mount, space.folder)
    mount.close()


def test_a_backup_that_is_ahead_is_refused(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "a.hub"
    store = SQLiteStore(path)
    store.write([commit(1, [1])])
    store.close()
    older = path.read_bytes()
    mount = LocalMount(SQLiteStore(path))
    mount._store.write([commit(2, [2])])
    mount.close()
    mount = LocalMount(SQLiteStore(path))
    back_up(mount, space.folder)
    mount.close()
    path.write_bytes(older)
    (tmp_path / "a.hub-lock").unlink()
    mount = LocalMount(SQLiteStore(path))
    with pytest.raises(StoreError, match="is ahead of this space"):
        back_up(mount, space.folder)
    mount._store.write([commit(3, [3])])
    mount.close()
    mount = LocalMount(SQLiteStore(path))
    with pytest.raises(StoreError, match="which this space does not have"):
        back_up(mount, space.folder)
    mount.close()


def test_nothing_that_exists_is_restored_over(space: Space, tmp_path: Path) -> None:
    space.write(1)
    space.back_up()
    for name in ("a.hub", "b.hub-wal", "c.hub-blobs"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(StoreError, match="is there: a space is made in a new file only"):
            restore(space.folder, tmp_path / name[:5])
        assert (tmp_path / name).read_text() == "mine"


def test_a_folder_with_something_else_in_it_is_refused(space: Space) -> None:
    space.folder.mkdir()
    (space.folder / "photo.jpg").touch()
    with pytest.raises(ConfigurationError, match=r"is no backup, but photo\.jpg is in it"):
        space.back_up()
    with pytest.raises(StoreError, match="is no backup: there is no manifest"):
        restore(space.folder, space.folder / "x.hub")


@pytest.mark.rule("ST6")
def test_damage_names_file_and_offset_and_what_is_before_it_can_be_restored(
    space: Space, tmp_path: Path
) -> None:
    space.write(10)
    space.back_up()
    space.write(10)
    space.back_up()
    file = BackupFolder(space.folder).must_read().files[1]
    path = space.folder / file.name
    data = bytearray(path.read_bytes())
    for offset in range(0, len(data), 7):
        data[offset] ^= 0x10
        path.chmod(0o600)
        path.write_bytes(data)
        with pytest.raises((CorruptRecordError, StoreError)) as caught:
            restore(space.folder, tmp_path / "new.hub")
        assert file.name in str(caught.value)
        if offset >= 8:
            assert "is damaged at byte" in str(caught.value)
        with pytest.raises((CorruptRecordError, StoreError)):
            check(space.folder)
        assert [p.name for p in tmp_path.iterdir()] == ["backup"]
        data[offset] ^= 0x10
    path.write_bytes(data[:-5])
    with pytest.raises(CorruptRecordError, match="is cut off"):
        restore(space.folder, tmp_path / "new.hub")
    assert restore(space.folder, tmp_path / "new.hub", at=tid(10)).commits == 10


def test_a_backup_is_for_its_owner_only(space: Space) -> None:
    space.write(1)
    space.back_up()
    assert stat.S_IMODE(space.folder.stat().st_mode) == 0o700
    for found in space.folder.iterdir():
        assert stat.S_IMODE(found.stat().st_mode) == 0o600


def test_a_stopped_run_is_gone_on_with(space: Space, tmp_path: Path) -> None:
    store = space.store
    for number in range(1, 20):
        store.write([commit(number, range(1200), size=4000)])
    space.mount = LocalMount(store)
    job = Job(lambda what, done, total: job.stop() if done > 10_000 else None)
    with pytest.raises(JobStoppedError, match="backing up was stopped"):
        space.back_up(job=job, file_bytes=1000)
    kept = BackupFolder(space.folder).must_read()
    assert 0 < kept.last < store.last_tid
    assert not list(space.folder.glob("*.part"))
    report = space.back_up()
    assert (report.is_full, report.after) == (False, kept.last)
    restore(space.folder, tmp_path / "new.hub")
    assert contents_at(tmp_path / "new.hub") == contents(store)


@pytest.mark.parametrize("word", ["restoring", "comparing"])
def test_a_stopped_restore_leaves_nothing(space: Space, tmp_path: Path, word: str) -> None:
    space.write(600)
    space.back_up()
    job = Job(lambda what, done, total: job.stop() if what == word else None)
    with pytest.raises(JobStoppedError):
        restore(space.folder, tmp_path / "new.hub", job=job)
    assert [p.name for p in tmp_path.iterdir()] == ["backup"]


def test_a_tid_that_the_backup_does_not_reach_is_refused(space: Space, tmp_path: Path) -> None:
    space.write(5)
    space.back_up()
    with pytest.raises(StoreError, match=f"up to {tid_text(tid(5))}|to {tid_text(tid(5))}"):
        restore(space.folder, tmp_path / "new.hub", at=tid(6))


def test_a_manifest_of_a_newer_version_is_told(space: Space, tmp_path: Path) -> None:
    space.write(1)
    space.back_up()
    path = space.folder / "manifest.json"
    text = json.loads(path.read_text())
    path.write_text(json.dumps({**text, "format": 9}))
    with pytest.raises(StoreError, match="has format version 9"):
        space.back_up()
    path.write_text("{")
    with pytest.raises(CorruptRecordError, match=r"manifest\.json is damaged"):
        restore(space.folder, tmp_path / "new.hub")


def test_objects_come_back_alive(tmp_path: Path) -> None:
    with hubbub.open(tmp_path / "a.hub") as live:
        with live.transaction() as root:
            root["log"] = hubbub.Log()
        for number in range(50):
            live.run(lambda root, number=number: root["log"].append({"n": number}))
        live.backup(tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "b.hub")
    with hubbub.open(tmp_path / "b.hub") as restored:
        assert restored.read(lambda root: [item["n"] for item in root["log"]]) == list(range(50))
        restored.run(lambda root: root["log"].append({"n": 50}))


# --- blobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 5, (1 << 20) - 1, 1 << 20, (3 << 20) + 7])
def test_blobs_come_back_with_their_records(tmp_path: Path, size: int) -> None:
    store = SQLiteStore(tmp_path / "a.hub")
    data = bytes(n * 7 % 251 for n in range(1000)) * (size // 1000 + 1)
    for number in (1, 2, 3):
        staged = store.stage()
        staged.write_bytes(data[: size - number if size > 3 else size])
        made = commit(number, [1, 2])
        made.blobs = {2: staged.name}
        store.write([made])
    mount = LocalMount(store)
    assert mount.upkeep.commits(0, tid(3))[1].blobs == {2: max(size - 2, 0) if size > 3 else size}
    assert back_up(mount, tmp_path / "backup").blobs == 3
    mount.close()
    report = restore(tmp_path / "backup", tmp_path / "b.hub")
    assert (report.blobs, report.rows) == (3, 0)
    restored = SQLiteStore(tmp_path / "b.hub")
    for number in (1, 2, 3):
        want = data[: size - number if size > 3 else size]
        assert restored.blob(2, tid(number)).read_bytes() == want
    restored.close()
    restore(tmp_path / "backup", tmp_path / "c.hub", at=tid(1))
    assert check(tmp_path / "backup").blobs == 3
    restored = SQLiteStore(tmp_path / "c.hub")
    assert restored.blob(2, tid(1)).stat().st_size == (size - 1 if size > 3 else size)
    restored.close()


def test_a_missing_blob_stops_the_backup_with_its_name(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a.hub")
    staged = store.stage()
    staged.write_bytes(b"x")
    made = commit(1, [1])
    made.blobs = {1: staged.name}
    store.write([made])
    store.blob(1, tid(1)).unlink()
    mount = LocalMount(store)
    with pytest.raises(CorruptRecordError, match=r"the blob of object 0x1 .* is missing"):
        back_up(mount, tmp_path / "backup")
    mount.close()
