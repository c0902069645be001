"""Writing items into real files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hubbub.flow import FileWriter, Pipeline, Restart, Runner, ThreadedComponent
from hubbub.kernel import ComponentFailedError, ConfigurationError
from tests.unit.flow.neighbours import Tracking


async def test_text_becomes_lines_and_bytes_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    await Pipeline(["one", "zwölf", b"raw ", 7], FileWriter(path))
    assert path.read_bytes() == "one\nzwölf\nraw 7\n".encode()


async def test_it_begins_afresh_unless_it_is_to_append(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("before\n")
    await Pipeline(["after"], FileWriter(str(path), append=True))
    assert path.read_text() == "before\nafter\n"
    await Pipeline(["only"], FileWriter(path, end=";", encoding="utf-16-le"))
    assert path.read_bytes() == "only;".encode("utf-16-le")


@pytest.mark.rule("FL2")
async def test_all_is_in_the_file_when_the_graph_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    await Pipeline(range(10_000), FileWriter(path, flush="end"))
    assert path.read_text().split() == [str(number) for number in range(10_000)]


@pytest.mark.parametrize("flush", ["idle", "each"])
async def test_an_item_is_handled_when_it_has_been_flushed(tmp_path: Path, flush) -> None:
    path = tmp_path / "out.txt"
    source = Tracking(["a", "b", "c"], stay=True)
    async with Runner() as runner:
        runner.start(Pipeline(source, FileWriter(path, flush=flush)))
        await source.until_handled("a", "b", "c")
        assert path.read_text() == "a\nb\nc\n"


async def test_with_fsync_an_item_is_handled_when_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.txt"
    source = Tracking(range(20))
    synced: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append((os.fstat(number).st_size, len(source.handled)))
    )
    await Pipeline(source, FileWriter(path, fsync=True))
    assert synced[-1][0] == path.stat().st_size
    for size, handled in synced:  # nothing was handled that an earlier fsync had not covered
        assert handled <= len(path.read_bytes()[:size].split())
    assert source.handled == list(range(20))


async def test_what_is_not_flushed_is_not_handled(tmp_path: Path) -> None:
    source = Tracking(["a", "b"], stay=True)
    async with Runner() as runner:
        running = runner.start(Pipeline(source, FileWriter(tmp_path / "x", flush="end")))
        await source.all_sent.wait()
        assert source.handled == []
        running.finish()
        await running
    assert source.handled == ["a", "b"]


@pytest.mark.rule("FL3")
async def test_a_file_that_cannot_be_opened_fails_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "out.txt"
    with pytest.raises(ComponentFailedError, match=r"FileNotFoundError.*nowhere"):
        await Pipeline(["x"], FileWriter(path))


@pytest.mark.rule("FL3")
async def test_a_full_disk_fails_the_graph_and_the_items_are_not_handled() -> None:
    source = Tracking(["a"], stay=True)
    with pytest.raises(ComponentFailedError, match="No space left"):
        await Pipeline(source, FileWriter("/dev/full"))
    assert source.handled == []


@pytest.mark.rule("FL3")
async def test_a_new_run_after_a_failure_goes_on_behind_what_is_there(tmp_path: Path) -> None:
    class Stubborn(FileWriter):
        restart = Restart(limit=2)

    class Text:
        times = 0

        def __str__(self) -> str:
            Text.times += 1
            if Text.times == 1:
                raise ValueError("not now")
            return "never"

    path = tmp_path / "out.txt"
    path.write_text("before\n")
    await Pipeline(["one", Text(), "two"], Stubborn(path))
    assert path.read_text() == "one\ntwo\n"


@pytest.mark.rule("FL4")
def test_it_writes_in_a_thread(tmp_path: Path) -> None:
    assert isinstance(FileWriter(tmp_path / "x"), ThreadedComponent)


def test_a_policy_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="idle, each, end, not 'often'"):
        FileWriter(tmp_path / "x", flush="often")  # type: ignore[arg-type]
