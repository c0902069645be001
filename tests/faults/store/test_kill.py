"""SIGKILL at random moments; a second process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from hubbub.kernel import SpaceInUseError
from hubbub.store import SQLiteStore
from tests.conformance.store.building import tid
from tests.faults.store.script import Told, check

ROOT = Path(__file__).resolve().parents[3]
CHILD = [sys.executable, "-m", "tests.faults.store.child"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
SCRIPT_CHILD = [sys.executable, "-m", "tests.faults.store.script_child"]
OIDS_PER_COMMIT = 3
LINE_BYTES = 13


def start(path: Path, command: list[str] = CHILD, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, str(path), *words], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE
    )


def read_then_kill(child: subprocess.Popen[bytes], byte_count: int) -> list[int]:
    """Read what the child acknowledges, kill it without warning, and return all that it acknowledged."""
    assert child.stdout is not None
    with child:
        data = child.stdout.read(byte_count)
        child.kill()
        data += child.stdout.read()
    return [int(line, 16) for line in data.split(b"\n") if len(line) == 16]


@pytest.mark.rule("ST2", "ST6", "ST8")
@pytest.mark.parametrize("words", [(), ("apart",)], ids=["thread", "process"])
def test_all_that_was_acknowledged_survives_sigkill_in_whole_commits(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """With the log copied by a thread, and by a process that has to be gone before the space is opened again."""
    path = tmp_path / "chat.hub"
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    newest = 0
    for _ in range(10):
        # The pipe, not a clock, says when: the child is somewhere in its work by then.
        acknowledged = read_then_kill(start(path, CHILD, *words), chance.randrange(17, 17 * 900))
        assert acknowledged
        newest = max(newest, *acknowledged)
        store = SQLiteStore(path)
        try:
            assert store.last_tid >= newest
            entries = list(store.feed())
            assert [e.tid for e in entries] == [tid(n) for n in range(1, len(entries) + 1)]
            for entry in entries[-200:]:
                assert len(entry.oids) == OIDS_PER_COMMIT
                assert {r.tid for r in store.load_many(entry.oids)} == {entry.tid}
                assert len(store.load_many(entry.oids)) == OIDS_PER_COMMIT
            assert store.row("last", b"") == b"%d" % len(entries)
            newest = store.last_tid
        finally:
            store.close()


@pytest.mark.rule("ST8")
def test_a_second_process_is_told_who_is_the_first(tmp_path: Path) -> None:
    path = tmp_path / "chat.hub"
    child = start(path)
    assert child.stdout is not None
    child.stdout.read(17)
    with pytest.raises(SpaceInUseError, match=f"in use by process {child.pid} on "):
        SQLiteStore(path)
    read_then_kill(child, 0)
    SQLiteStore(path).close()  # the lock ended with its process


def play_and_kill(path: Path, told: Told, line_count: int, *words: str) -> None:
    """Have a child play the script on, kill it after that many lines, and note what it said."""
    child = start(path, SCRIPT_CHILD, *words)
    assert child.stdout is not None
    with child:
        said = child.stdout.read(line_count * LINE_BYTES)
        child.kill()
        said += child.stdout.read()
    for line in said.splitlines():
        what, number = line.split()
        if what == b"begun":
            told.begun = int(number)
        elif what == b"acked":
            told.acknowledged = int(number)
        elif what == b"packs":
            told.packing = int(number)
        elif what == b"ready":
            told.packed = int(number)
    assert len(said) >= line_count * LINE_BYTES, "the child has ended by itself"


def kill_again_and_again(folder: Path, rounds: int, seed: int, *words: str) -> None:
    chance = random.Random(seed)
    for number in range(rounds):
        # A new space now and then, so that its beginning is met, too.
        if number % 8 == 0:
            path = folder / f"{number}.hub"
            told = Told()
        play_and_kill(path, told, chance.randrange(1, 40), *words)
        try:
            store = SQLiteStore(path)
            try:
                last = check(store, told)
                told.acknowledged = told.begun = last
                told.packed = store.feed_floor - tid(0) if store.feed_floor else 0
            finally:
                store.close()
        except BaseException as error:
            error.add_note(f"round {number} of seed {seed}: {vars(told)}")
            raise


@pytest.mark.rule("ST2", "ST6", "ST7")
@pytest.mark.parametrize("words", [(), ("apart",)], ids=["thread", "process"])
def test_a_kill_in_commits_blobs_and_packs_loses_nothing(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    kill_again_and_again(tmp_path, 10, random.randrange(1 << 30), *words)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.rule("ST2", "ST6", "ST7")
@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_kills_in_commits_blobs_and_packs_lose_nothing(
    tmp_path: Path, seed: int
) -> None:
    kill_again_and_again(tmp_path, 250, seed, *(["apart"] if seed % 2 else []))
