"""The console, over real pipes, files and pseudo-terminals."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubbub.flow import Component, ConsoleEchoer, ConsoleReader, Pipeline, Runner
from tests.unit.flow.neighbours import Seen, Tracking


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], io.TextIOWrapper]]:
    """Returns a function that makes a descriptor standard input."""
    opened = []

    def replace(number: int) -> io.TextIOWrapper:
        stream = os.fdopen(number, encoding="utf-8")
        opened.append(stream)
        monkeypatch.setattr(sys, "stdin", stream)
        return stream

    yield replace
    for stream in opened:
        stream.close()


@pytest.mark.rule("FL2")
async def test_the_end_of_a_pipe_ends_the_graph_and_loses_nothing(stdin) -> None:
    read, write = os.pipe()
    stdin(read)
    os.write(write, "one\r\nzwölf\n\nlast, without an end".encode())
    os.close(write)
    seen = Seen()
    await Pipeline(ConsoleReader(), seen)
    assert seen.items == ["one", "zwölf", "", "last, without an end"]


async def test_a_regular_file_is_read_by_a_thread(stdin, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{number}\n" for number in range(50_000)))
    stdin(os.open(path, os.O_RDONLY))
    seen = Seen()
    await Pipeline(ConsoleReader(), seen)
    assert seen.items == [str(number) for number in range(50_000)]


async def test_what_input_has_read_ahead_comes_first(stdin) -> None:
    read, write = os.pipe()
    stream = stdin(read)
    os.write(write, b"name\nfirst\nsec")
    assert stream.readline() == "name\n"
    os.write(write, b"ond\nthird\n")
    os.close(write)
    seen = Seen()
    await Pipeline(ConsoleReader(), seen)
    assert seen.items == ["first", "second", "third"]


async def test_without_a_descriptor_the_object_is_read(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\nb"))
    seen = Seen()
    await Pipeline(ConsoleReader(">>> "), seen)
    assert seen.items == ["a", "b"]


async def test_without_standard_input_it_is_at_its_end(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    seen = Seen()
    await Pipeline(ConsoleReader(), seen)
    assert seen.items == []


@pytest.mark.rule("FL2")
@pytest.mark.parametrize("end", ["finish", "stop"])
async def test_it_can_be_ended_while_it_waits_for_a_line(stdin, end: str) -> None:
    read, write = os.pipe()
    stdin(read)
    seen = Seen(wanted=1)
    async with Runner() as runner:
        running = runner.start(Pipeline(ConsoleReader(), seen))
        os.write(write, b"one\n")
        await seen.enough.wait()
        getattr(running, end)()
        await running
    os.write(write, b"left for others\n")
    assert os.read(read, 100) == b"left for others\n"
    os.close(write)
    assert seen.items == ["one"]


@pytest.mark.rule("FL1")
async def test_a_slow_reader_keeps_the_console_from_being_read(stdin) -> None:
    read, write = os.pipe()
    stdin(read)
    os.set_blocking(write, False)
    line = b"x" * 1023 + b"\n"

    class Stuck(Component):
        outboxes = {}
        begun = asyncio.Event()

        async def main(self) -> None:
            async for _ in self.inbox:
                self.begun.set()
                await asyncio.Event().wait()

    def fill() -> int:
        written = 0
        try:
            while True:
                written += os.write(write, line)
        except BlockingIOError:
            return written

    async with Runner() as runner:
        running = runner.start(Pipeline(ConsoleReader(), Stuck()))
        await asyncio.to_thread(fill)
        await Stuck.begun.wait()
        for _ in range(100):
            if not fill():
                await asyncio.sleep(0)
        assert fill() == 0  # the pipe is full, and stays so
        running.stop()
    os.close(write)


def test_a_terminal_gets_a_prompt_before_each_line() -> None:
    main, secondary = os.openpty()
    program = (
        "from hubbub.flow import ConsoleReader, ConsoleEchoer, Pipeline\n"
        "Pipeline(ConsoleReader('>>> '), str.upper, ConsoleEchoer()).run()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=secondary, stdout=secondary, stderr=secondary
    )
    os.close(secondary)

    def read_until(wanted: bytes) -> bytes:
        seen = b""
        while wanted not in seen:
            seen += os.read(main, 1000)
        return seen

    assert read_until(b">>> ") == b">>> "
    os.write(main, b"hello\n")
    assert b"HELLO" in read_until(b"HELLO\r\n")
    os.write(main, b"\x04")  # Ctrl-D on a line of its own
    assert process.wait(20) == 0
    os.close(main)


def test_a_pipe_gets_no_prompt_and_the_program_ends_with_its_input() -> None:
    program = (
        "name = input()\n"
        "from hubbub.flow import ConsoleReader, ConsoleEchoer, Pipeline\n"
        "Pipeline(ConsoleReader('>>> '), lambda line: f'{name}: {line}', ConsoleEchoer()).run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"ann\nhello\nbye", capture_output=True, timeout=30
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"ann: hello\nann: bye\n", b"", 0)


async def test_items_are_printed_and_passed_on(capsys) -> None:
    seen = Seen()
    await Pipeline(["a", 1, b"\xc3\xb6\xff", None], ConsoleEchoer(end="|"), seen)
    assert capsys.readouterr().out == "a|1|ö\\xff|None|"
    assert seen.items == ["a", 1, b"\xc3\xb6\xff", None]


@pytest.mark.rule("FL4")
async def test_a_console_that_stands_still_holds_up_nobody_else(monkeypatch) -> None:
    go_on = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            go_on.wait(20)
            return super().write(text)

    printed = Stuck()
    monkeypatch.setattr(sys, "stdout", printed)
    echoer = Pipeline(["a", "b"], ConsoleEchoer())
    other = Seen()
    async with Runner() as runner:
        running = runner.start(echoer)
        await Pipeline(range(1000), other)  # to its end, meanwhile
        assert not running.is_over
        go_on.set()
        await running
    assert len(other.items) == 1000
    assert printed.getvalue() == "a\nb\n"


async def test_an_item_is_handled_when_it_is_printed(capsys) -> None:
    source = Tracking(["a", "b", "c"])
    await Pipeline(source, ConsoleEchoer())
    assert source.handled == ["a", "b", "c"]
    assert capsys.readouterr().out == "a\nb\nc\n"
