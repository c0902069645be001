from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubbub import Hub, Log
from hubbub.flow import Component, Pipeline
from hubbub.kernel import GraphError
from hubbub.spaceflow import SpaceSink
from hubbub.spaceflow.beside import Beside
from hubbub.store import MemoryStore
from hubbub.testing import TestHub


def store(root: Any, items: list[Any]) -> None:
    root.setdefault("log", Log()).extend(items)


async def test_graphs_start_with_the_hub_and_drain_before_it_stops() -> None:
    given = asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        for number in range(50):
            yield number
        given.set()
        await asyncio.Event().wait()

    hub: Hub = Hub(graphs=[lambda: Pipeline(numbers, SpaceSink(hub, store, name="log"))])
    first = MemoryStore()
    await hub.start(first)
    await given.wait()
    await hub.stop()
    await hub.start(first.reopen())
    assert await hub.read(lambda root: list(root["log"][:50])) == list(range(50))
    await hub.stop()


@pytest.mark.rule("FL3")
async def test_a_graph_that_fails_is_logged_and_the_hub_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(item: int) -> None:
        raise ValueError("no such thing")

    ended = asyncio.Event()

    class Waits(Component):
        inboxes = {}

        async def main(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    hub = Hub(graphs=[lambda: Pipeline([1], fails), Waits])
    with caplog.at_level(logging.ERROR):
        async with TestHub(hub) as t:
            await ended.wait()
            while hub.beside.failure is None:
                await asyncio.sleep(0)
            assert "no such thing" in str(hub.beside.failure)
            assert await t.run(lambda root: 3) == 3
            await t.kill_and_restart()
    assert "the hub goes on" in caplog.text
    assert "no such thing" in caplog.text


async def test_a_graph_that_can_run_once_only_is_refused_at_the_second_start() -> None:
    hub = Hub(graphs=[Pipeline([1], lambda item: None)])
    await hub.start(MemoryStore())
    await hub.stop()
    with pytest.raises(GraphError, match="a component runs once"):
        await hub.start(MemoryStore())
    assert not hub.is_running


async def test_graphs_that_do_not_come_to_an_end_are_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stays(Component):
        inboxes = {}
        independent = True

        async def main(self) -> None:
            await asyncio.Event().wait()

        def finish(self) -> None:
            pass

    beside = Beside([Stays])
    beside.start()
    await beside.finish(0.01)
    assert "stopped" in caplog.text
    await beside.finish()
