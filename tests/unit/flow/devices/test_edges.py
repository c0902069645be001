"""What components at the edge of the machine have in common."""

from __future__ import annotations

import asyncio
import threading

import pytest

from hubbub.flow import Component, Graphline, Runner
from hubbub.flow.devices.edges import feeds_itself, open_in_thread, together


async def test_together_the_first_failure_ends_all_and_is_raised_as_it_is() -> None:
    ended: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("this")

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    with pytest.raises(LookupError, match="this"):
        await together(waits(), fails())
    assert ended == ["waits"]


async def test_together_being_cancelled_is_over_when_all_have_ended() -> None:
    steps: list[str] = []

    async def fails_when_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("on the way out")

    async def work() -> None:
        try:
            await together(fails_when_cancelled(), fails_when_cancelled())
        finally:
            await asyncio.sleep(0)  # is not cancelled once more
            steps.append("in order")

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert steps == ["in order"]


async def test_what_opens_too_late_is_closed() -> None:
    begun, go_on, closed = threading.Event(), threading.Event(), asyncio.Event()

    def opening() -> str:
        begun.set()
        go_on.wait(20)
        return "it"

    def close(opened: str) -> None:
        assert opened == "it"
        closed.set()

    task = asyncio.ensure_future(open_in_thread(opening, close))
    await asyncio.to_thread(begun.wait, 20)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not closed.is_set()
    go_on.set()
    await closed.wait()


async def test_a_component_in_a_cycle_feeds_itself_unless_the_cycle_is_broken_elsewhere() -> None:
    class Edge(Component):
        independent = True

        async def main(self) -> None:
            async for _ in self.inbox:
                pass

        def finish(self) -> None:
            self.inbox.finish()

    class Inner(Component):
        async def main(self) -> None:
            async for _ in self.inbox:
                pass

    cycle, broken, line = Edge(), Edge(), Edge()
    graph = Graphline(
        cycle=cycle,
        inner=Inner(),
        broken=broken,
        other=Edge(),
        after=Inner(),
        source=[1],
        line=line,
        last=lambda item: None,
        linkages=[
            "cycle -> inner -> cycle",
            "broken -> other -> after -> broken",
            "source -> line -> last",
        ],
    )
    async with Runner() as runner:
        running = runner.start(graph)
        assert feeds_itself(cycle)
        assert not feeds_itself(broken)
        assert not feeds_itself(line)
        running.finish()
        await running
