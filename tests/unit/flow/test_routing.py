"""To many, to one of many, to the one that fits."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.flow import FanOut, Graphline, Merge, Parallel, Pipeline, Router, Runner, box
from hubbub.kernel import ComponentFailedError
from tests.unit.flow.stand_ins import Gate, Pass, Seen, Tracking, turns


async def test_a_fan_out_gives_each_item_to_all() -> None:
    seen = Seen()
    await Pipeline(range(3), FanOut(lambda x: ("a", x), lambda x: ("b", x)), seen)
    assert sorted(seen.items) == [(mark, n) for mark in "ab" for n in range(3)]


async def test_a_merge_keeps_each_sources_order() -> None:
    seen = Seen()
    await Pipeline(Merge(range(10), range(100, 110)), seen)
    assert [item for item in seen.items if item < 100] == list(range(10))
    assert [item for item in seen.items if item >= 100] == list(range(100, 110))


async def test_a_router_sends_by_the_first_rule_that_fits() -> None:
    even, three, rest = Seen(), Seen(), Seen()
    graph = Graphline(
        source=Pipeline(range(10)),
        router=Router(even=lambda x: x % 2 == 0, three=lambda x: x % 3 == 0),
        even=even, three=three, rest=rest,
        linkages=["source -> router", "router.even -> even", "router.three -> three", "router.otherwise -> rest"],
    )  # fmt: skip
    await graph
    assert (even.items, three.items, rest.items) == ([0, 2, 4, 6, 8], [3, 9], [1, 5, 7])


async def test_a_router_may_drop_what_fits_nowhere() -> None:
    even = Seen()
    await Graphline(
        source=Pipeline(range(4)), router=Router(even=lambda x: x % 2 == 0, drop=True), even=even,
        linkages=["source -> router.inbox", "router.even -> even"],
    )  # fmt: skip
    assert even.items == [0, 2]


@pytest.mark.rule("FL1")
async def test_parallel_passes_by_who_has_no_room() -> None:
    class Small(Gate):
        inboxes = {"inbox": box("items", items=1)}

    stuck, quick, seen = Small(), Small(), Seen()
    quick.open.set()
    async with Runner() as runner:
        running = runner.start(Pipeline(range(30), Parallel(stuck, quick), seen))
        await turns(300)
        assert len(seen.items) == 28  # all but what the stuck one has in hand and in its box
        stuck.open.set()
        await running
    assert sorted(seen.items) == list(range(30))


async def test_parallel_passes_by_who_has_ended() -> None:
    class Two(Pass):
        async def main(self) -> None:
            for _ in range(2):
                await self.send(await self.inbox.get())

    class One(Two):
        inboxes = {"inbox": box("items", items=1)}

    source, seen = Tracking(range(20)), Seen()
    await Pipeline(source, Parallel(One(), Pass()), seen)
    assert len(seen.items) >= 19
    assert len(seen.items) == len(set(seen.items))


async def test_parallel_ends_when_all_have() -> None:
    def fail(item: int) -> None:
        raise ValueError("all fail")

    with pytest.raises(ComponentFailedError, match="all fail"):
        await Pipeline(range(300), Parallel(fail, fail))


@pytest.mark.parametrize(
    "part", [lambda: FanOut(Pass(), lambda x: x), lambda: Parallel(Pass(), lambda x: x)]
)
async def test_tokens_pass_through(part: Any) -> None:
    source = Tracking(range(50))
    await Pipeline(source, part(), Seen())
    assert sorted(source.handled) == list(range(50))
