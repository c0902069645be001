"""A crash at every write and fsync of a history, a failure at every one, flipped bits: never less than was acknowledged."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.kernel import (
    CorruptRecordError,
    DiskFullError,
    HubbubError,
    OutcomeUnknownError,
    StoreError,
)
from hubbub.store import SQLiteStore
from tests.conformance.store.building import tid
from tests.faults.store.disk import Disk
from tests.faults.store.script import LOG_LIMIT_BYTES, STEPS, Told, check, commit_of, play, read_all


@pytest.fixture
def disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Disk]:
    folder = tmp_path / "live"
    folder.mkdir()
    made = Disk(folder, f"disk-{request.node.name}")
    made.install(monkeypatch)
    yield made
    made.vfs.unregister()


def opened(disk: Disk) -> SQLiteStore:
    return SQLiteStore(disk.folder / "chat.hub", vfs=disk.vfs.name, log_limit_bytes=LOG_LIMIT_BYTES)


def go_on(path: Path, told: Told) -> None:
    """Open what a crash has left, check it, go on with it, and check it once more."""
    store = SQLiteStore(path, log_limit_bytes=LOG_LIMIT_BYTES)
    last = check(store, told)
    if told.packing:
        store.pack(tid(told.packing))
    store.write([commit_of(last + 1, store.stage)])
    store.close()
    store = SQLiteStore(path)
    again = Told()
    again.acknowledged = again.begun = last + 1
    again.packed = again.packing = told.packing
    check(store, again)
    store.close()


class Crasher:
    """Crashes at some of the operations, both ways, and looks at what is left."""

    def __init__(self, disk: Disk, told: Told, to: Path, seed: int, every: int) -> None:
        self.disk, self.told, self.to = disk, told, to
        self.chance = random.Random(seed)
        self.every = every
        self.looked: dict[str, int] = {}

    def __call__(self, what: str) -> None:
        if self.chance.randrange(self.every):
            return
        self.looked[what.split()[0]] = self.looked.get(what.split()[0], 0) + 1
        for chance in (None, self.chance):
            self.disk.crashed(self.to, chance)
            try:
                if not (self.to / "chat.hub").exists():
                    assert not self.told.acknowledged
                    continue
                go_on(self.to / "chat.hub", self.told)
            except BaseException as error:
                kind = "SIGKILL" if chance is None else "a loss of power"
                error.add_note(f"{kind} at operation {self.disk.count}: {what}")
                raise


def crash_all_along(disk: Disk, tmp_path: Path, seed: int, every: int) -> dict[str, int]:
    told = Told()
    crasher = Crasher(disk, told, tmp_path / "left", seed, every)
    store = opened(disk)
    failures: list[BaseException] = []

    def look(what: str) -> None:
        # An assertion must not become an error of the store's.
        if not failures:
            try:
                crasher(what)
            except BaseException as error:
                failures.append(error)

    disk.on_operation = look
    play(store, told)
    store.close()
    print(disk.count, "operations;", crasher.looked)
    if failures:
        raise failures[0]
    return crasher.looked


@pytest.mark.rule("ST2", "ST6", "ST7")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_crash_at_any_write_or_fsync_loses_nothing(disk: Disk, tmp_path: Path, seed: int) -> None:
    looked = crash_all_along(disk, tmp_path, seed, every=25)
    assert sum(looked.values()) > 20


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.rule("ST2", "ST6", "ST7")
@pytest.mark.parametrize("seed", range(10, 14))
def test_a_crash_at_every_write_and_fsync_loses_nothing(
    disk: Disk, tmp_path: Path, seed: int
) -> None:
    looked = crash_all_along(disk, tmp_path, seed, every=1)
    assert {"write", "append", "fsync", "sync", "replace", "unlink"} <= looked.keys()


# --- failures ----------------------------------------------------------------------------------------------------------


def operations(tmp_path: Path, name: str) -> int:
    """Return how many operations the script has."""
    folder = tmp_path / "counted"
    folder.mkdir()
    disk = Disk(folder, name)
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk.install(monkeypatch)
        store = opened(disk)
        play(store, Told())
        store.close()
    disk.vfs.unregister()
    shutil.rmtree(folder)
    return disk.count


def fail_once(tmp_path: Path, name: str, at: int, error: int) -> str:
    """Have one operation of the script fail; check what is told, and what is left. Return which one it was."""
    folder = tmp_path / "live"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    disk = Disk(folder, name)
    disk.fail_at, disk.error = at, error
    told = Told()
    try:
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk.install(monkeypatch)
            store = None
            try:
                store = opened(disk)
                certain = play_through(store, told)
                if certain:
                    check(store, told)
            except HubbubError:
                assert store is None  # opening it may fail, and says so
            finally:
                if store is not None:
                    store.close()
        if (folder / "chat.hub").exists() or told.acknowledged:
            go_on(folder / "chat.hub", told)
    finally:
        disk.vfs.unregister()
    return disk.failed


def play_through(store: SQLiteStore, told: Told) -> bool:
    """Play the script; what certainly failed is tried again, a doubt ends it. Tells whether all is certain."""
    while told.begun < STEPS:
        try:
            play(store, told)
        except OutcomeUnknownError:
            assert store.last_tid == (tid(told.acknowledged) if told.acknowledged else 0)
            with pytest.raises(OutcomeUnknownError):
                store.write([commit_of(told.begun + 1, None)])
            return False
        except StoreError:
            retake(store, told)
        except DiskFullError:
            retake(store, told)
    return True


def retake(store: SQLiteStore, told: Told) -> None:
    """Go on behind a certain failure: nothing of the commit, or of the pack, is half done."""
    assert store.last_tid == (tid(told.acknowledged) if told.acknowledged else 0)
    told.begun = told.acknowledged


@pytest.mark.rule("ST5")
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_failure_of_any_operation_is_told_and_leaves_nothing_half(
    tmp_path: Path, error: int
) -> None:
    name = f"failing-{error}"
    count = operations(tmp_path, name)
    chance = random.Random(error)
    failed = {fail_once(tmp_path, name, chance.randint(1, count), error) for _ in range(25)}
    assert len(failed) > 3


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.rule("ST5")
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_failure_of_every_operation_is_told_and_leaves_nothing_half(
    tmp_path: Path, error: int
) -> None:
    name = f"failing-all-{error}"
    for at in range(1, operations(tmp_path, name) + 1):
        try:
            fail_once(tmp_path, name, at, error)
        except BaseException as failure:
            failure.add_note(f"operation {at}")
            raise


# --- flipped bits ------------------------------------------------------------------------------------------------------


def flip_and_read(folder: Path, chance: random.Random, told: Told) -> bool:
    """Flip one bit of what a crash has left, and read it all; tells whether that was noticed."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size]
    files = [p for p in files if not p.name.endswith(("-lock", "-shm"))]
    path = chance.choice(files)
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data))
    data[at] ^= 1 << chance.randrange(8)
    path.chmod(0o644)
    path.write_bytes(data)
    try:
        store = SQLiteStore(folder / "chat.hub")
    except (CorruptRecordError, StoreError):
        return True
    try:
        assert store.last_tid >= tid(told.acknowledged)
        damages = list(store.verify())
        try:
            read_all(store)
        except HubbubError:
            assert damages, f"{path.name} at {at}: reading has found what verifying has not"
        return bool(damages)
    finally:
        store.close()


def flip_many(disk: Disk, tmp_path: Path, seed: int, count: int) -> int:
    chance = random.Random(seed)
    told = Told()
    store = opened(disk)
    play(store, told, 20)
    left = tmp_path / "left"
    found = 0
    for _ in range(count):
        disk.crashed(left, None)
        found += flip_and_read(left, chance, told)
    store.close()
    return found


@pytest.mark.rule("ST6")
def test_a_flipped_bit_anywhere_is_damage_or_nothing(disk: Disk, tmp_path: Path) -> None:
    assert flip_many(disk, tmp_path, 5, 60) > 5


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.rule("ST6")
@pytest.mark.parametrize("seed", range(4))
def test_many_flipped_bits_are_damage_or_nothing(disk: Disk, tmp_path: Path, seed: int) -> None:
    assert flip_many(disk, tmp_path, 100 + seed, 1000) > 50
