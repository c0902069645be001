"""Children: a component that runs others in its place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.flow import Component, Graphline, Pipeline, Runner
from hubbub.kernel import ComponentFailedError


class Named(Component):
    """The first item is a name, the others are said by it."""

    async def main(self) -> None:
        name = await self.inbox.get()
        await self.launch(lambda item: f"{name}: {item}").to_its_end()


class TwoWays(Component):
    inboxes = {"inbox": "items", "other": "items, too"}
    outboxes = {"outbox": "items", "errors": "what is none"}

    async def main(self) -> None:
        child = Graphline(
            check=Check(),
            linkages=["self.other -> check", "check -> self.outbox", "check.errors -> self.errors"],
        )
        await self.launch(child, inboxes=["other"], outboxes=["outbox", "errors"]).to_its_end()
        async for item in self.inbox:
            await self.send(item)


class Check(Component):
    outboxes = {"outbox": "numbers", "errors": "no numbers"}

    async def main(self) -> None:
        async for item in self.inbox:
            await self.send(item, "outbox" if isinstance(item, int) else "errors")


@pytest.mark.rule("FL2")
async def test_a_child_reads_and_sends_in_the_place_of_its_parent() -> None:
    said: list[str] = []
    await Pipeline(["ann", *map(str, range(500))], Named(), said.append)
    assert said == [f"ann: {number}" for number in range(500)]


async def test_boxes_are_passed_through_by_name_and_the_others_stay() -> None:
    good: list[Any] = []
    bad: list[Any] = []
    await Graphline(
        plain=["a", "b"],
        mixed=[1, "x", 2],
        both=TwoWays(),
        good=good.append,
        bad=bad.append,
        linkages=["plain -> both", "mixed -> both.other", "both -> good", "both.errors -> bad"],
    )
    assert (good, bad) == ([1, 2, "a", "b"], ["x"])


@pytest.mark.rule("FL3")
async def test_a_child_that_fails_fails_its_parent_with_the_whole_cause() -> None:
    def fail(item: Any) -> None:
        raise ValueError(f"not {item}")

    class Parent(Component):
        async def main(self) -> None:
            await self.launch(fail).to_its_end()

    with pytest.raises(ComponentFailedError, match="Parent failed") as failed:
        await Pipeline(["this"], Parent(), print)
    inner = failed.value.__cause__
    assert isinstance(inner, ComponentFailedError)
    assert inner.component == "fail"
    assert isinstance(inner.__cause__, ValueError)


async def test_a_child_is_stopped_with_its_parent() -> None:
    class Waits(Component):
        ended = False

        async def main(self) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                Waits.ended = True

    class Parent(Component):
        async def main(self) -> None:
            await self.launch(Waits()).to_its_end()

    graph = Pipeline(range(1), Parent(), print)
    async with Runner() as runner:
        running = runner.start(graph)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.stop()
        await running
    assert Waits.ended
