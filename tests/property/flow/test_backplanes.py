"""Backplanes that feed each other at random, in chains and circles: nothing that was published is lost or doubled (FL2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.flow import Backplane, Component, PublishTo, Runner, SubscribeTo

MOST_S = 20.0

planes = st.integers(0, 3)
pumps = st.lists(
    st.tuples(planes, planes, st.integers(0, 3), st.sampled_from(["disconnect", "wait"])),
    max_size=7,
)
sources = st.lists(st.tuples(planes, st.integers(0, 25)), min_size=1, max_size=4)


def slowly(turns: int) -> Callable[[Any], Any]:
    async def pump(item: Any) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        return item

    return pump


class Ends(Component):
    """Ends after some turns of the loop: then the run is asked to finish."""

    inboxes = {}
    outboxes = {}

    def __init__(self, turns: int) -> None:
        self._turns = turns

    async def main(self) -> None:
        for _ in range(self._turns):
            await asyncio.sleep(0)


def reached(pumps: list[Any], start: int) -> set[int]:
    """The backplanes that an item comes to which is published on ``start``."""
    found = {start}
    while True:
        more = {to for at, to, _, _ in pumps if at in found} - found
        if not more:
            return found
        found |= more


async def run(
    pumps: list[Any], sources: list[tuple[int, int]], turns: int
) -> tuple[list[list[Any]], list[list[Any]]]:
    heard: list[list[Any]] = [[] for _ in range(4)]
    made: list[list[Any]] = [[] for _ in range(4)]

    def source(plane: int, number: int, count: int) -> Callable[[], Iterator[Any]]:
        def make() -> Iterator[Any]:
            for item in range(count):
                made[plane].append((number, item))
                yield (number, item)

        return make

    async with asyncio.timeout(MOST_S), Runner() as runner:
        runner.start(
            Ends(turns),
            *(Backplane(str(plane), unique_by=lambda item: item) for plane in range(4)),
            *(
                SubscribeTo(str(at), items=500, when_full=policy)
                | slowly(slow)
                | PublishTo(str(to))
                for at, to, slow, policy in pumps
            ),
            *(SubscribeTo(str(plane), items=500) | heard[plane].append for plane in range(4)),
            *(
                source(plane, number, count) | PublishTo(str(plane))
                for number, (plane, count) in enumerate(sources)
            ),
        )
        await runner.wait("first")
    return made, heard


@pytest.mark.rule("FL2")
@settings(max_examples=60, deadline=None)
@given(pumps=pumps, sources=sources, turns=st.integers(0, 40))
def test_what_was_published_comes_to_all_backplanes_that_it_is_passed_on_to_once(
    pumps: list[Any], sources: list[tuple[int, int]], turns: int
) -> None:
    made, heard = asyncio.run(run(pumps, sources, turns))
    for plane in range(4):
        expected = [
            item for start in range(4) if plane in reached(pumps, start) for item in made[start]
        ]
        assert sorted(heard[plane]) == sorted(expected)
