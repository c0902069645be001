"""kill -9 in the middle of 10,000 events on their way into a space: afterwards each is there exactly once."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub import Log
from hubbub.flow import Pipeline
from hubbub.spaceflow import SpaceSink
from tests.e2e.flow_programs import ports_in_a_row
from tests.e2e.hosts import Hosts, Program, until
from tests.unit.spaceflow.sending import Sender

EVENTS = 10_000


def store(root: Any, events: list[str]) -> None:
    root.setdefault("events", Log()).extend(events)


def stored(url: str | Path) -> list[str]:
    with hubbub.open(url) as space:
        return space.read(lambda root: list(root["events"]))


@pytest.mark.timeout(110)
@pytest.mark.rule("ST2", "FL1")
async def test_the_host_below_the_sink_is_killed_again_and_again(hosts: Hosts) -> None:
    host = hosts.host(None).start()
    events = [f"event {number}" for number in range(EVENTS)]
    sender = Sender(events)
    at, reached = 1500, asyncio.Event()

    def watch(event: str) -> None:
        if int(event.split()[1]) >= at:
            reached.set()

    graph = Pipeline(sender.source(), SpaceSink(host.hub, store, name="events"), watch)

    async def run() -> None:
        await graph

    task = asyncio.create_task(run())
    for number in (1500, 4000, 6500, 9000):
        at = number
        reached.clear()
        await reached.wait()
        host.kill()
        await asyncio.to_thread(host.start)
    await task
    assert sender.is_done
    assert stored(host.hub) == events


MACHINE_A = """
import sys
from hubbub.flow import Pipeline, TCPClient

events = (f"event {number}|part of {number}" for number in range(int(sys.argv[2])))
Pipeline(events, TCPClient("127.0.0.1", int(sys.argv[1]), acked=True)).run()
"""

MACHINE_B = """
import sys
from hubbub import Log
from hubbub.flow import ConsoleEchoer, Pipeline, SingleServer
from hubbub.spaceflow import SpaceSink


def parts(event):
    yield from event.split("|")[: int(sys.argv[2])]


def store(root, events):
    root.setdefault("events", Log()).extend(events)


Pipeline(
    SingleServer(int(sys.argv[1]), acked=True),
    parts,
    SpaceSink("events.hub", store, name="events", batch=33),
    ConsoleEchoer(),
).run()
"""


@pytest.mark.timeout(110)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.rule("ST2", "FL2")
def test_machine_b_is_killed_again_and_again(hosts: Hosts, tmp_path: Path, parts: int) -> None:
    (tmp_path / "a.py").write_text(MACHINE_A)
    (tmp_path / "b.py").write_text(MACHINE_B)
    port = ports_in_a_row(1)

    def start_b() -> Program:
        return hosts.run("b.py", str(port), str(parts), directory=tmp_path)

    b = start_b()
    a = hosts.run("a.py", str(port), str(EVENTS), directory=tmp_path)
    rng = random.Random(parts)
    kills = 0
    while kills < 6 and a.is_running:
        lines = rng.randrange(1, 300)

        def has_done_its_share(b: Program = b, lines: int = lines) -> bool:
            return not a.is_running or b.printed.count("\n") >= lines

        until(has_done_its_share, f"{lines} events at machine B", 30.0)
        if a.is_running:
            b.kill()
            kills += 1
            b = start_b()
    assert kills >= 3, f"machine A had ended before: {a.process.returncode} {a.logged} {b.logged}"
    assert a.wait(60.0) == 0, a.logged
    assert b.terminate() == 0, b.logged
    expected = [
        text
        for number in range(EVENTS)
        for text in (f"event {number}", f"part of {number}")[:parts]
    ]
    found = stored(tmp_path / "events.hub")
    assert len(found) == len(set(found))
    assert found == expected
