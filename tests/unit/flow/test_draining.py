"""Ends that travel over backplanes: what is published while a run comes to its end is heard."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.flow import (
    Backplane,
    Component,
    Duplex,
    Graphline,
    Join,
    Merge,
    PublishTo,
    Runner,
    SubscribeTo,
)
from tests.unit.flow.test_publishing import Collect, Idle

pytestmark = pytest.mark.rule("FL2")


async def slowly(item: Any) -> Any:
    for _ in range(3):
        await asyncio.sleep(0)
    return item


async def test_the_end_travels_from_one_backplane_to_the_next() -> None:
    last = Collect()
    async with Runner() as runner:
        runner.start(
            SubscribeTo("c", items=1000) | slowly | last,
            SubscribeTo("b", items=1000) | slowly | slowly | PublishTo("c"),
            SubscribeTo("a", items=1000) | slowly | PublishTo("b"),
            range(300) | PublishTo("a"),
            *map(Backplane, "abc"),
        )
        await runner.wait("first")
    assert last.seen == list(range(300))


async def test_a_circle_ends_when_nothing_goes_round_any_more() -> None:
    """Each number is published again, one less, until it is zero, over two backplanes and with a source beside."""
    heard = Collect()

    async def less(number: int) -> int | None:
        await slowly(number)
        return number - 1 if number else None

    async with Runner() as runner:
        runner.start(
            Merge(SubscribeTo("b", items=1000) | less, [3, 5, 2]) | PublishTo("a"),
            SubscribeTo("a", items=1000) | less | PublishTo("b"),
            Merge(SubscribeTo("a", items=1000), SubscribeTo("b", items=1000)) | heard,
            Backplane("a"),
            Backplane("b"),
            ["over"],
        )
        await runner.wait("first")
    assert sorted(heard.seen) == sorted([*range(4), *range(6), *range(3)])


class Screen(Component):
    """What somebody types, and what others say; its last words come when it has heard its last."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[Any] = []

    async def main(self) -> None:
        await self.send(f"hello from {self.name}")
        async for item in self.inbox:
            self.heard.append(item)


async def test_nodes_end_that_wait_for_each_other_only() -> None:
    ann, bob = Screen("ann"), Screen("bob")
    async with Runner() as runner:
        runner.start(
            Backplane("board"), Duplex(ann, Join("board")), Duplex(bob, Join("board")), Idle()
        )
        while not (ann.heard and bob.heard):
            await asyncio.sleep(0)
        runner.finish()
        await runner.wait()
    assert (ann.heard, bob.heard) == (["hello from bob"], ["hello from ann"])


async def test_a_graph_that_finishes_alone_reads_what_it_was_given_and_waits_for_nobody() -> None:
    heard = Collect()
    backplane = Backplane("news")
    async with Runner() as runner:
        runner.start(backplane, Idle())
        child = runner.start(SubscribeTo("news") | slowly | heard)
        for number in range(50):
            backplane.publish("", number)
        child.finish()
        backplane.publish("", "later")
        await child.wait()
        assert backplane.subscribers() == []
    assert heard.seen == list(range(50))


async def test_a_backplane_inside_of_a_graph_ends_with_it() -> None:
    heard = Collect()
    async with Runner() as runner:
        runner.start(
            Graphline(
                news=Backplane("news"),
                source=range(10),
                out=PublishTo("news"),
                hear=SubscribeTo("news"),
                heard=heard,
                linkages=["source -> out", "hear -> heard"],
            )
        )
        while len(heard.seen) < 10:
            await asyncio.sleep(0)
        runner.finish()
        await runner.wait()
        assert runner.names == {}
    assert heard.seen == list(range(10))
