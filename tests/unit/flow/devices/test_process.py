"""Other programs as components: real ones."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from hubbub.flow import Component, Graphline, Pipeline, Process, Restart, Runner
from hubbub.kernel import ComponentFailedError, GraphError, ProcessFailedError
from tests.unit.flow.neighbours import Held, Seen, Tracking


def python(program: str, **options: Any) -> Process:
    return Process(sys.executable, "-u", "-c", program, **options)


@pytest.mark.rule("FL2")
async def test_items_go_in_and_lines_come_out() -> None:
    seen = Seen()
    await Pipeline(["b", "a", b"c\n", 2], Process("sort"), seen)
    assert seen.items == ["2", "a", "b", "c"]


async def test_a_single_string_is_split_and_no_shell_runs_it() -> None:
    seen = Seen()
    await Pipeline(Process("printf '%s\\n' 'a b' $HOME"), seen)
    assert seen.items == ["a b", "$HOME"]


async def test_a_source_has_nothing_to_read() -> None:
    seen = Seen()
    await Pipeline(Process("cat"), seen)
    assert seen.items == []


async def test_where_it_runs_and_what_its_environment_is(tmp_path: Path) -> None:
    seen = Seen()
    await Pipeline(
        Process("sh", "-c", "pwd; echo $GREETING $PATH", cwd=tmp_path, env={"GREETING": "hello"}),
        seen,
    )
    assert seen.items == [str(tmp_path), f"hello {os.environ['PATH']}"]


async def test_what_is_no_text_is_shown_and_not_lost() -> None:
    seen = Seen()
    await Pipeline(Process("printf", r"a\377\nlast"), seen)
    assert seen.items == ["a\\xff", "last"]


async def test_standard_error_is_an_outbox() -> None:
    out, errors = Seen(), Seen()
    await Graphline(
        process=Process("sh", "-c", "echo out; echo err >&2"),
        out=out,
        errors=errors,
        linkages=["process -> out", "process.error -> errors"],
    )
    assert (out.items, errors.items) == (["out"], ["err"])


@pytest.mark.rule("FL3")
async def test_a_failure_shows_the_last_lines_of_standard_error() -> None:
    seen = Seen()
    with pytest.raises(ComponentFailedError) as caught:
        await Pipeline(Process("sh", "-c", "echo out; seq 1 100 >&2; echo why >&2; exit 3"), seen)
    cause = caught.value.__cause__
    assert isinstance(cause, ProcessFailedError)
    assert cause.status == 3
    assert cause.last_lines == (*map(str, range(82, 101)), "why")
    assert "exit 3" in cause.command
    assert "ended with exit status 3; its standard error said:\n  82\n" in str(cause)


@pytest.mark.rule("FL3")
async def test_a_program_that_a_signal_ends_has_failed() -> None:
    with pytest.raises(ComponentFailedError, match=r"ended with signal 9; .* said: nothing"):
        await Pipeline(Process("sh", "-c", "kill -9 $$"), Seen())


async def test_other_statuses_may_be_good() -> None:
    seen = Seen()
    await Pipeline(["a"], Process("grep", "b", success=(0, 1)), seen)
    assert seen.items == []


@pytest.mark.rule("FL3")
async def test_a_program_that_is_not_there_fails_the_graph() -> None:
    with pytest.raises(ComponentFailedError, match=r"FileNotFoundError.*no-such-program"):
        await Pipeline(Process("no-such-program"), Seen())


@pytest.mark.rule("FL1")
async def test_a_slow_receiver_makes_the_program_wait() -> None:
    held = Held()
    process = Process("yes")
    async with Runner() as runner:
        running = runner.start(Pipeline(process, held))
        for _ in range(300):
            held.go_on.release()
        while len(held.items) < 300:
            await asyncio.sleep(0)
        assert held.items == ["y"] * 300
        running.stop()


@pytest.mark.rule("FL1")
async def test_much_goes_through_both_ways_at_once() -> None:
    seen = Seen()
    items = [f"{number} {'x' * 100}" for number in range(20_000)]
    await Pipeline(items, Process("cat"), seen)
    assert seen.items == items


async def test_a_program_that_reads_no_more_ends_what_feeds_it() -> None:
    seen = Seen()
    source = Tracking(range(100_000))
    await Pipeline(source, Process("head", "-n", "3"), seen)
    assert seen.items == ["0", "1", "2"]
    assert len(source.handled) < 100_000


async def test_an_item_is_handled_when_the_program_has_been_given_it() -> None:
    source = Tracking(["a", "b"], stay=True)
    seen = Seen()
    async with Runner() as runner:
        runner.start(Pipeline(source, Process("cat"), seen))
        await source.until_handled("a", "b")
        await seen.until(2)


@pytest.mark.rule("FL2")
async def test_asked_to_finish_it_ends_and_its_last_words_come_through() -> None:
    seen = Seen()
    program = python(
        "import signal, sys, time\n"
        "def end(*_):\n    print('bye'); sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('hello')\n"
        "while True: signal.pause()\n"
    )
    async with Runner() as runner:
        running = runner.start(Pipeline(program, seen))
        await seen.until(1)
        running.finish()
        running.finish()
        await running
    assert seen.items == ["hello", "bye"]


@pytest.mark.rule("FL2")
async def test_asked_to_finish_it_works_on_what_is_on_its_way() -> None:
    seen = Seen()
    source = Tracking(["b", "a"], stay=True)
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Process("sort"), seen))
        await source.until_handled("a", "b")
        running.finish()
        await running
    assert seen.items == ["a", "b"]


@pytest.mark.rule("FL2")
async def test_in_a_cycle_it_ends_when_the_graph_is_asked_to() -> None:
    seen = Seen()

    class Talk(Component):
        async def main(self) -> None:
            await self.send("first")
            async for item in self.inbox:
                seen.items.append(item)
                if len(seen.items) < 3:
                    await self.send(f"after {item}")
                else:
                    self.running.finish()

    await Graphline(
        talk=Talk(),
        cat=Process("cat"),
        linkages=["talk -> cat", "cat -> talk"],
    )
    assert seen.items == ["first", "after first", "after after first"]


STUBBORN = (
    "import os, signal, subprocess, sys\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = subprocess.Popen(['sleep', '100'])\n"
    "print(os.getpid()); print(child.pid)\n"
    "while True: signal.pause()\n"
)


def is_there(pid: int) -> bool:
    """Whether a process lives; one whose parent has gone may still wait to be reaped by another."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("end", ["finish", "stop"])
async def test_one_that_does_not_end_is_killed_with_what_it_has_started(end: str) -> None:
    seen = Seen()
    async with Runner() as runner:
        running = runner.start(Pipeline(python(STUBBORN, patience_s=0.05), seen))
        await seen.until(2)
        getattr(running, end)()
        await running
    while any(
        is_there(int(pid)) for pid in seen.items
    ):  # they have been told, and have no event for us
        await asyncio.sleep(0)


async def test_a_stopped_program_may_be_in_the_middle_of_much_output() -> None:
    held = Held()
    async with Runner() as runner:
        running = runner.start(Pipeline(Process("yes"), held))
        held.go_on.release()
        while not held.items:
            await asyncio.sleep(0)
        running.stop()
        await running


async def test_being_cancelled_twice_kills_at_once() -> None:
    seen = Seen()
    process = python(STUBBORN, patience_s=1000)
    async with Runner() as runner:
        running = runner.start(Pipeline(process, seen))
        await seen.until(2)
        running.stop()
        (task,) = (task for task in asyncio.all_tasks() if "Process.main" in repr(task))
        program = process._process
        assert program is not None
        while process._process is not None:
            await asyncio.sleep(0)
        task.cancel()
        await running
        while program.returncode is None or any(is_there(int(pid)) for pid in seen.items):
            await asyncio.sleep(0)


@pytest.mark.rule("FL3")
async def test_it_can_be_started_again(tmp_path: Path) -> None:
    seen = Seen()
    flag = tmp_path / "flag"
    process = Process(
        "sh", "-c", f"echo run; test -e {flag} || {{ touch {flag}; exit 1; }}", restart=Restart()
    )
    await Pipeline(process, seen)
    assert seen.items == ["run", "run"]


async def test_a_ctrl_c_at_the_terminal_does_not_reach_it() -> None:
    seen = Seen()
    await Pipeline(python("import os; print(os.getsid(0) == os.getpid())"), seen)
    assert seen.items == ["True"]


def test_without_a_command_it_is_refused() -> None:
    with pytest.raises(GraphError, match="needs a command"):
        Process()
    with pytest.raises(GraphError, match="needs a command"):
        Process("")


def test_it_is_called_like_its_program() -> None:
    assert Process("/usr/bin/sort", "-u").label == "sort"
