"""Reading real files, to their ends and beyond."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from hubbub.flow import Component, FileReader, Pipeline, Runner
from hubbub.kernel import ComponentFailedError, ConfigurationError, GraphError
from tests.unit.flow.fake_time import in_fake_time, now
from tests.unit.flow.neighbours import Held, Seen


async def read(reader: FileReader) -> list[Any]:
    seen = Seen()
    await Pipeline(reader, seen)
    return seen.items


@pytest.mark.rule("FL2")
async def test_the_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes("one\r\nzwölf\n\nwithout an end".encode())
    assert await read(FileReader(path)) == ["one", "zwölf", "", "without an end"]


async def test_lines_are_whole_wherever_chunks_end(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    lines = [f"zeile ö {number}" for number in range(500)]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    assert await read(FileReader(path, chunk_bytes=7)) == lines


async def test_chunks_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "in.bin"
    path.write_bytes(bytes(range(256)) * 10)
    chunks = await read(FileReader(path, framing="chunks", chunk_bytes=1000))
    assert [len(chunk) for chunk in chunks] == [1000, 1000, 560]
    assert b"".join(chunks) == path.read_bytes()


async def test_an_empty_file_and_a_device(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.touch()
    assert await read(FileReader(path)) == []
    assert await read(FileReader("/dev/null", framing="chunks")) == []


async def test_a_named_pipe_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    seen = Seen()
    async with Runner() as runner:
        running = runner.start(Pipeline(FileReader(path), seen))
        await asyncio.to_thread(path.write_text, "one\ntwo\n")  # opens when the reader has
        await running
    assert seen.items == ["one", "two"]


@pytest.mark.rule("FL2")
async def test_a_named_pipe_to_which_nobody_writes_keeps_no_graph_alive(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    async with Runner() as runner:
        running = runner.start(Pipeline(FileReader(path), Seen()))
        running.finish()
        await running


async def test_what_is_added_to_a_followed_file_comes_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\nhal")
    seen = Seen(wanted=1)
    async with Runner() as runner:
        running = runner.start(Pipeline(FileReader(path, follow=True, poll_s=0.001), seen))
        await seen.until(1)
        assert seen.items == ["before"]
        with path.open("a") as log:
            log.write("f\nafter\n")
        await seen.until(3)
        assert seen.items == ["before", "half", "after"]
        running.finish()
        await running


async def test_a_followed_file_can_be_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    seen = Seen()
    reader = FileReader(path, follow=True, start="end", poll_s=0.001)
    asked = asyncio.Event()
    look = reader._look

    def looked(number: int) -> tuple[bool, bool]:
        asyncio.run_coroutine_threadsafe(_set(asked), loop)
        return look(number)

    loop = asyncio.get_running_loop()
    reader._look = looked  # type: ignore[method-assign]
    async with Runner() as runner:
        runner.start(Pipeline(reader, seen))
        await asked.wait()
        with path.open("a") as log:
            log.write("after\n")
        await seen.until(1)
    assert seen.items == ["after"]


async def _set(event: asyncio.Event) -> None:
    event.set()


async def test_a_followed_file_may_be_replaced_as_logs_are(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old 1\nold 2, cut")
    seen = Seen()
    async with Runner() as runner:
        runner.start(Pipeline(FileReader(path, follow=True, poll_s=0.001), seen))
        await seen.until(1)
        path.rename(tmp_path / "log.1")
        path.write_text("new 1\n")
        await seen.until(3)
        assert seen.items == ["old 1", "old 2, cut", "new 1"]
        with path.open("a") as log:
            log.write("new 2\n")
        await seen.until(4)
    assert seen.items[3:] == ["new 2"]


async def test_a_followed_file_may_be_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a long first line\nrest")
    seen = Seen()
    async with Runner() as runner:
        runner.start(Pipeline(FileReader(path, follow=True, poll_s=0.001), seen))
        await seen.until(1)
        path.write_text("new\n")  # cuts, then writes
        await seen.until(3)
    assert seen.items == ["a long first line", "rest", "new"]


def test_a_rate_lets_so_many_pass_in_a_second(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("a\nb\nc\nd\n")
    moments: list[float] = []

    async def main() -> None:
        await Pipeline(FileReader(path, rate=2), lambda line: moments.append(now()))

    in_fake_time(main())
    assert [moment - moments[0] for moment in moments] == [0, 0.5, 1, 1.5]


@pytest.mark.rule("FL1")
async def test_a_slow_receiver_keeps_the_file_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"{number}\n" for number in range(10_000)))
    held = Held()
    positions: list[int] = []
    reader = FileReader(path, chunk_bytes=1000)
    open_file = reader._open

    def opened() -> int:
        positions.append(open_file())
        return positions[0]

    reader._open = opened  # type: ignore[method-assign]
    async with Runner() as runner:
        running = runner.start(Pipeline(reader, held))
        for _ in range(10):
            held.go_on.release()
        while len(held.items) < 10:
            await asyncio.sleep(0)
        assert os.lseek(positions[0], 0, os.SEEK_CUR) <= 2000
        running.stop()


@pytest.mark.rule("FL3")
async def test_a_file_that_is_not_there_fails_the_graph(tmp_path: Path) -> None:
    with pytest.raises(ComponentFailedError, match=r"FileNotFoundError.*missing"):
        await read(FileReader(tmp_path / "missing"))


@pytest.mark.rule("FL3")
async def test_what_is_no_text_fails_the_graph_and_says_where(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"fine\nno\xff\n")
    with pytest.raises(ComponentFailedError, match=r"in\.txt: line 2 is not utf-8.*at byte 2"):
        await read(FileReader(path))
    assert await read(FileReader(path, errors="backslashreplace")) == ["fine", "no\\xff"]


async def test_a_line_without_end_does_not_fill_the_memory() -> None:
    with pytest.raises(ComponentFailedError, match="line 1 is longer than 1048576 bytes"):
        await read(FileReader("/dev/zero"))


async def test_its_file_is_closed_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.txt"
    path.write_text("x\n" * 10_000)
    opened, closed = [], []
    close = os.close

    def closing(number: int) -> None:
        closed.append(number)
        close(number)

    monkeypatch.setattr(os, "close", closing)
    reader = FileReader(path)
    open_file = reader._open

    def opening() -> int:
        opened.append(open_file())
        return opened[-1]

    reader._open = opening  # type: ignore[method-assign]
    await Pipeline(reader, Stopping())
    assert len(opened) == 1
    assert opened[0] in closed


class Stopping(Component):
    outboxes = {}

    async def main(self) -> None:
        await self.inbox.get()


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'lines' or 'chunks', not 'words'"):
        FileReader("x", framing="words")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="'beginning' or 'end', not 'middle'"):
        FileReader("x", start="middle")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="a rate is more than 0"):
        FileReader("x", rate=0)
