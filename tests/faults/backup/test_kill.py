"""SIGKILL during backup and during restore, at random moments."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hubbub.backup import BackupFolder, back_up, check, restore
from hubbub.kernel import Commit
from hubbub.mount import LocalMount
from hubbub.store import SQLiteStore
from tests.conformance.store.building import commit, tid

ROOT = Path(__file__).resolve().parents[3]
CHILD = [sys.executable, "-m", "tests.faults.backup.child"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
COMMITS = 400


def work(store: SQLiteStore, first: int, last: int) -> None:
    """Write commits, some of them with a blob."""
    for number in range(first, last + 1):
        made: Commit = commit(
            number, [number % 50, 1000 + number], [("k", b"n", b"%d" % number)], 150
        )
        if number % 25 == 0:
            staged = store.stage()
            staged.write_bytes(b"%d" % number * 4000)
            made.blobs = {1000 + number: staged.name}
        store.write([made])


def run_and_kill(chance: random.Random, most: int, *words: str) -> bool:
    """Start a child, kill it after less than ``most`` steps, and tell whether it had come to its end."""
    steps = chance.randrange(most)
    with subprocess.Popen(
        [*CHILD, *words], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        said = child.stdout.read(steps)
        child.kill()
        said += child.stdout.read()
    return b"!" in said


def contents(path: Path, end: int) -> list[Any]:
    store = SQLiteStore(path, create=False)
    try:
        found = store.commits(0, end, 1 << 40)
        blobs = {
            (oid, c.tid): store.blob(oid, c.tid).read_bytes() for c in found for oid in c.blobs
        }
        return [[(c.tid, c.label, c.records) for c in found], blobs]
    finally:
        store.close()


def rounds(tmp_path: Path, count: int) -> None:
    """Kill backups and restores, ``count`` of them; what a manifest names can be restored each time."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    space, folder = tmp_path / "a.hub", tmp_path / "backup"
    written = 0
    killed = 0
    while killed < count:
        store = SQLiteStore(space)
        work(store, written + 1, written + COMMITS)
        store.close()
        written += COMMITS
        known = 0
        while not run_and_kill(chance, 60, "backup", str(space), str(folder)):
            killed += 1
            manifest = BackupFolder(folder).read()
            if manifest is None:
                continue
            # What was whole stays whole, and each run begins behind it.
            assert manifest.last >= known
            known = manifest.last
            manifest.chains()
        check(folder)
        target = tmp_path / f"{written}.hub"
        while not run_and_kill(chance, written, "restore", str(folder), str(target)):
            killed += 1
            if target.exists():
                break
            # What was built is not there under its name, in no part.
            assert not target.with_name(target.name + "-wal").exists()
        if not target.exists():
            restore(folder, target)
        assert contents(target, tid(written)) == contents(space, tid(written))
        for found in tmp_path.glob(f"{target.name}*"):
            if found.is_file():
                found.unlink()
        mount = LocalMount(SQLiteStore(space))
        report = back_up(mount, folder)
        assert report.after == tid(written)
        mount.close()


@pytest.mark.slow
@pytest.mark.rule("ST6")
def test_what_a_killed_backup_or_restore_leaves_is_gone_on_with(tmp_path: Path) -> None:
    rounds(tmp_path, 8)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.rule("ST6")
def test_hundreds_of_killed_backups_and_restores(tmp_path: Path) -> None:
    rounds(tmp_path, 250)
