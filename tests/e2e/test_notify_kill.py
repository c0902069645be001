"""kill -9 in the middle of 10,000 events on their way into a space: afterwards each is there exactly once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub import Log
from hubbub.flow import Pipeline
from hubbub.spaceflow import SpaceSink
from tests.e2e.hosts import Hosts
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
