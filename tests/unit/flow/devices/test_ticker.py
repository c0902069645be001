"""The ticker as a component: without a terminal, and in a pseudo-terminal."""

from __future__ import annotations

import asyncio
import builtins
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from hubbub.flow import Component, Duplex, Pipeline, Runner, Ticker
from hubbub.flow.devices import ticker as module
from hubbub.flow.devices.ticker_screen import TickerScreen, run_beside_others
from hubbub.kernel import ComponentFailedError, ConfigurationError, GraphError
from tests.unit.flow.neighbours import Seen, Tracking


class Screens:
    """Screens that run without a terminal."""

    def __init__(self) -> None:
        self._screens: list[TickerScreen] = []
        self._came = asyncio.Event()
        self.closed = 0

    async def run(self, screen: TickerScreen) -> None:
        async def begin(_pilot: Any) -> None:
            self._screens.append(screen)
            self._came.set()

        await run_beside_others(screen, headless=True, size=(40, 10), auto_pilot=begin)
        self.closed += 1

    async def one(self) -> TickerScreen:
        await self._came.wait()
        return self._screens[-1]


@pytest.fixture
def screens(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screens]:
    screens = Screens()
    monkeypatch.setattr(module, "_run", screens.run)
    yield screens
    assert screens.closed == len(screens._screens)


@pytest.mark.rule("FL2")
async def test_it_ends_when_everything_has_scrolled_by(screens: Screens) -> None:
    source = Tracking(["one", b"two", 3])
    await Pipeline(source, Ticker(columns_per_s=4000))
    assert source.handled == ["one", b"two", 3]


@pytest.mark.rule("FL1")
async def test_what_comes_faster_waits(screens: Screens) -> None:
    source = Tracking([f"item {number}" for number in range(1000)], stay=True)
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Ticker(columns_per_s=1)))
        await screens.one()
        for _ in range(300):
            await asyncio.sleep(0)
        assert not source.all_sent.is_set()
        running.stop()
        await running
    assert source.handled == []


async def test_the_tasks_of_others_stay_as_they_are(screens: Screens) -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    async with Runner() as runner:
        runner.start(Pipeline(Tracking(["one"], stay=True), Ticker()))
        await screens.one()
        assert loop.get_task_factory() is before
    assert loop.get_task_factory() is before
    loop.set_task_factory(before)


async def test_leaving_finishes_the_graph(screens: Screens) -> None:
    source = Tracking(["one"], stay=True)
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Ticker()))
        screen = await screens.one()
        screen.action_leave()
        await running


@pytest.mark.rule("FL2")
@pytest.mark.parametrize("end", ["finish", "stop"])
async def test_it_ends_at_once_when_it_is_asked_to(screens: Screens, end: str) -> None:
    source = Tracking(["one long item"] * 10, stay=True)
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Ticker(columns_per_s=1)))
        await screens.one()
        getattr(running, end)()
        await running


async def test_alone_it_ends_when_it_is_asked_to(screens: Screens) -> None:
    seen = Seen()
    async with Runner() as runner:
        running = runner.start(Pipeline(Ticker("say"), seen))
        screen = await screens.one()
        assert screen._typed is not None
        assert screen._typed("hello")
        await seen.until(1)
        running.finish()
        await running
    assert seen.items == ["hello"]


async def test_in_a_cycle_it_ends_when_it_is_asked_to(screens: Screens) -> None:
    class Answer(Component):
        async def main(self) -> None:
            async for item in self.inbox:
                await self.send(f"you said {item}")

    ticker = Ticker(columns_per_s=4000)
    async with Runner() as runner:
        running = runner.start(Duplex(ticker, Answer()))
        screen = await screens.one()
        assert screen._typed is not None
        screen._typed("hello")
        running.finish()
        await running


@pytest.mark.rule("FL3")
async def test_without_a_terminal_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdin__", None)
    with pytest.raises(ComponentFailedError, match="a Ticker needs a terminal"):
        await Pipeline(["one"], Ticker())


def test_without_textual_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.endswith("marquee"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"pip install 'hubbub\[terminal\]'"):
        Ticker()


def test_a_speed_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(GraphError, match="more than 0 columns"):
        Ticker(columns_per_s=0)


PROGRAM = """
from hubbub.flow import Pipeline, Ticker, Timer
Pipeline(Timer(0.05, lambda: "tick"), Ticker()).run()
print("ended well")
"""


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_in_a_terminal_a_key_ends_the_program(key: bytes) -> None:
    main, secondary = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        start_new_session=True,
    )
    os.close(secondary)
    shown = b""
    while b"tick" not in shown:
        shown += os.read(main, 10_000)
    os.write(main, key)
    while b"ended well" not in shown:
        shown += os.read(main, 10_000)
    assert process.wait(20) == 0
    os.close(main)
