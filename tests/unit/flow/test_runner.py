"""Runners: what is started together, how it ends, names, signals."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from hubbub.flow import Backplane, Component, Description, Pipeline, Runner, activate, box, run
from hubbub.flow.signals import Signals
from hubbub.kernel import ComponentFailedError, GraphError
from tests.unit.flow.stand_ins import Fails, Forever, Idle, Pass, Seen, turns


class Named(Idle):
    """Announces a name, and may fail to get ready."""

    def __init__(self, name: str, fails: str = "") -> None:
        super().__init__()
        self.name = name
        self._fails = fails
        self.log: list[str] = []

    def provide(self) -> None:
        self.log.append("provide")
        self.running.runner.names[Named, self.name] = self
        if self._fails == "provide":
            raise KeyError("no place")

    def prepare(self) -> None:
        self.log.append("prepare")
        if self._fails == "prepare":
            raise KeyError("not ready")

    def withdraw(self) -> None:
        self.log.append("ended")
        self.running.runner.names.pop((Named, self.name), None)


def test_run_runs_what_was_registered_with_what_is_given() -> None:
    first, second = Seen(), Seen()
    graph = activate(Pipeline([1], first))
    assert Pipeline([2], second).activate() is not graph
    Pipeline([3], Seen()).run()
    assert (first.items, second.items) == ([1], [2])
    with pytest.raises(GraphError) as caught:
        run()
    assert str(caught.value) == "there is nothing to run: give graphs, or activate() some before"


def test_what_was_registered_and_is_given_again_runs_once() -> None:
    seen = Seen()
    graph = Pipeline([1], seen)
    graph.activate()
    graph.run()
    assert seen.items == [1]


def test_run_refuses_what_it_does_not_know() -> None:
    activate(Pipeline([1], Seen()))
    with pytest.raises(GraphError) as caught:
        run(until="last")  # type: ignore[arg-type]
    assert str(caught.value) == "until is 'all' or 'first', not 'last'"
    run()  # what was registered is still there


@pytest.mark.rule("FL2")
def test_until_first_lets_the_others_come_to_a_good_end() -> None:
    seen = Seen()
    run(Pipeline(Forever(), seen), Pipeline([1], Seen()), until="first")
    assert seen.items == list(range(len(seen.items)))


async def test_until_first_counts_what_has_ended_before_it_was_asked_for() -> None:
    async with Runner() as runner:
        runner.start(Forever2())
        await runner.start(Pipeline([1], Seen()))
        await runner.wait("first")


class Forever2(Forever):
    """Sends to nobody, without end."""

    outboxes = {"outbox": box("numbers", loose=True)}


async def test_a_source_that_sends_to_nobody_lets_others_run() -> None:
    async with Runner() as runner:
        running = runner.start(Forever2())
        many = runner.start(number for number in iter(int, 1))
        await turns()
        running.finish()
        many.finish()
        await runner.wait()


async def test_run_in_a_loop_says_what_to_do() -> None:
    with pytest.raises(GraphError) as caught:
        run(Seen())
    assert str(caught.value) == (
        "a loop runs in this thread already: 'await graph' instead of run(graph)"
    )
    with pytest.raises(GraphError) as caught:
        activate(Seen())
    assert str(caught.value) == (
        "there is no runner in this loop: 'await graph', "
        "or 'async with Runner() as runner: runner.start(graph)'"
    )


async def test_activate_starts_where_a_runner_runs() -> None:
    async with Runner() as runner:
        assert Runner.current() is runner
        idle = Idle()
        idle.activate()
        await idle.begun.wait()
    assert idle.cancelled
    assert Runner.current() is None


# ------------------------------------------------------------- starting together


@pytest.mark.parametrize("fails", ["provide", "prepare"])
async def test_what_cant_be_started_leaves_nothing_half_started(fails: str) -> None:
    good, bad = Named("good"), Named("bad", fails)
    async with Runner() as runner:
        with pytest.raises(KeyError):
            runner.start(good, bad)
        assert runner.names == {}
        assert good.log[-1] == bad.log[-1] == "ended"
        running = runner.start(good)  # nothing of it has run
        assert runner.names == {(Named, "good"): good}
        running.stop()
        await running
    assert runner.names == {}


async def test_a_graph_that_cant_be_started_keeps_the_others_as_they_were() -> None:
    used, seen = Seen(), Seen()
    await Pipeline([1], used)
    graph = Pipeline([2], seen)
    async with Runner() as runner:
        with pytest.raises(GraphError, match="runs already, or has run"):
            runner.start(graph, used)
        await runner.start(graph)
    assert seen.items == [2]


async def test_all_announce_before_any_gets_ready_before_any_runs() -> None:
    class Looks(Named):
        def prepare(self) -> None:
            super().prepare()
            assert (Named, "late") in self.running.runner.names

    first, late = Looks("first"), Named("late")
    async with Runner() as runner:
        runner.start(first, late)
        assert not first.begun.is_set()


async def test_ended_is_called_though_main_was_never_entered() -> None:
    idle = Named("idle")
    async with Runner() as runner:
        runner.start(idle).stop()
    assert not idle.begun.is_set()
    assert idle.log == ["provide", "prepare", "ended"]


# --------------------------------------------------------------------- failures


@pytest.mark.rule("FL3")
async def test_a_failure_ends_the_others_and_the_block() -> None:
    idle = Idle()
    with pytest.raises(ComponentFailedError, match="at 1"):
        async with Runner() as runner:
            runner.start(idle)
            runner.start(Pipeline([1], Fails([1]), Seen()))
            await asyncio.Event().wait()  # interrupted
    assert idle.cancelled
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_block_that_is_cancelled_by_somebody_else_stays_so() -> None:
    idle = Idle()

    async def block() -> None:
        async with Runner() as runner:
            runner.start(idle)
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await idle.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert idle.cancelled


async def test_a_block_that_fails_itself_stops_what_runs() -> None:
    idle = Idle()
    with pytest.raises(KeyError):
        async with Runner() as runner:
            runner.start(idle)
            await idle.begun.wait()
            raise KeyError("mine")
    assert idle.cancelled


async def test_who_awaits_the_graph_hears_of_its_failure() -> None:
    with pytest.raises(ComponentFailedError):
        async with Runner() as runner:
            running = runner.start(Pipeline([1], Fails([1]), Seen()))
            with pytest.raises(ComponentFailedError):
                await running


# ------------------------------------------------------------------ await graph


async def test_awaiting_a_graph_runs_it_in_the_current_runner() -> None:
    seen: list[Any] = []

    class Looks(Component):
        inboxes = {}
        outboxes = {}

        async def main(self) -> None:
            seen.append(Runner.current())

    async with Runner() as runner:
        await Looks()
        assert seen == [runner]


@pytest.mark.parametrize("inside", [True, False])
async def test_cancelling_who_awaits_a_graph_stops_it(inside: bool) -> None:
    idle = Idle()

    async def wait() -> None:
        if not inside:
            await idle
            return
        async with Runner():
            await idle

    task = asyncio.create_task(wait())
    await idle.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert idle.cancelled


async def test_a_component_may_run_a_graph_of_its_own() -> None:
    seen = Seen()

    class Outer(Component):
        inboxes = {}
        outboxes = {}

        async def main(self) -> None:
            await Pipeline([1, 2], Pass(), seen)

    await Outer()
    assert seen.items == [1, 2]


async def test_a_graph_of_passive_components_only_ends() -> None:
    class Serves(Idle):
        passive = True

    serves, seen = Serves(), Seen()
    async with Runner() as runner:
        runner.start(serves, Pipeline([1], seen))
        await runner.wait()
    assert serves.cancelled
    assert seen.items == [1]


# ---------------------------------------------------------------------- signals

PROGRAM = """
    import asyncio, signal, sys, threading
    from hubbub.flow import Component, run

    class Drains(Component):
        outboxes = {}
        async def main(self):
            async for item in self.inbox:
                pass
            print("drained", flush=True)

    class Source(Component):
        inboxes = {}
        async def main(self):
            print("begun", flush=True)
            try:
                while True:
                    await self.send(1)
                    await asyncio.sleep(0.001)
            finally:
                print("source ends", flush=True)

    class Stubborn(Drains):
        def finish(self):
            print("asked to finish", flush=True)
        async def main(self):
            async for item in self.inbox:
                pass
            await asyncio.Event().wait()

    class Blocks(Source):
        async def main(self):
            print("begun", flush=True)
            threading.Event().wait()

    parts = {"good": Source() | Drains(), "stubborn": Source() | Stubborn(), "blocks": Blocks() | Drains()}
    run(parts[sys.argv[1]])
    print("after", flush=True)
"""


def program(which: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), which],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], line: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for read in process.stdout:
        lines.append(read.strip())
        if read.strip() == line:
            break
    return lines


@pytest.mark.rule("FL2")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_everything_come_to_a_good_end(kind: signal.Signals) -> None:
    with program("good") as process:
        read_until(process, "begun")
        process.send_signal(kind)
        assert read_until(process, "after") == ["source ends", "drained", "after"]
        assert process.wait() == 0


async def test_whoever_asks_for_an_end_is_told_what_it_waits_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stays(Component):
        inboxes = {}

        def finish(self) -> None:
            pass

        async def main(self) -> None:
            await asyncio.Event().wait()

    graph = Pipeline(Stays(), print)
    async with Runner() as runner:
        with Signals(runner, [Backplane("news"), graph], tell_s=0.0):
            runner.start(graph)
            signal.raise_signal(signal.SIGINT)
            while not caplog.records:
                await asyncio.sleep(0)
            assert "still at work: " in caplog.text
            assert "Stays" in caplog.text
            assert "Backplane" not in caplog.text
            signal.raise_signal(signal.SIGINT)
            await runner.wait()


def test_a_second_signal_stops() -> None:
    with program("stubborn") as process:
        read_until(process, "begun")
        process.send_signal(signal.SIGINT)
        read_until(process, "asked to finish")
        process.send_signal(signal.SIGINT)
        assert read_until(process, "after")[-1] == "after"
        assert process.wait() == 0


def test_a_third_signal_ends_a_program_that_holds_up_its_loop() -> None:
    with program("blocks") as process:
        read_until(process, "begun")
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.wait() != 0


def test_sys_exit_in_a_component_ends_the_program() -> None:
    code = "import sys\nfrom hubbub.flow import Pipeline\nPipeline([3], sys.exit).run()"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 3


def test_who_watches_sees_each_graph_and_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    looks: list[list[str]] = []

    def watch(descriptions: list[Description]) -> None:
        looks.append([description.name for description in descriptions])
        if len(looks) == 2:
            raise ValueError("no more paper")

    async def slow(item: int) -> int:
        await asyncio.sleep(0.005)
        return item

    seen = Seen()
    run(Pipeline(range(20), slow, seen, name="counted"), watch=watch, watch_s=0.005)
    assert looks == [["counted"], ["counted"]]
    assert seen.items == list(range(20))
    assert "they go on unwatched" in caplog.text
