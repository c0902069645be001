"""Sequence and Carousel."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.flow import Carousel, Component, Graphline, Pipeline, Runner, Sequence, Threaded
from hubbub.kernel import ComponentFailedError, GraphError
from tests.unit.flow.stand_ins import Fails, Forever, Gate, Idle, Pass, Seen, Tracking, turns


class Some(Component):
    """Mark and send on so many items."""

    def __init__(self, mark: str, count: int) -> None:
        self._mark = mark
        self._count = count

    async def main(self) -> None:
        for _ in range(self._count):
            await self.send((self._mark, await self.inbox.get()))


def marked(mark: str) -> Any:
    return lambda item: (mark, item)


async def test_parts_run_one_after_the_other_over_the_same_boxes() -> None:
    seen = Seen()
    await Pipeline(range(5), Sequence(Some("a", 2), Some("b", 1), Pass()), seen)
    assert seen.items == [("a", 0), ("a", 1), ("b", 2), 3, 4]


async def test_a_sequence_of_sources_is_a_source() -> None:
    seen = Seen()
    await Graphline(
        sequence=Sequence([1, 2], range(3, 5), Pipeline([5], Pass())),
        more=Pipeline([7]),
        seen=seen,
        linkages=["sequence -> seen", "more -> seen"],
    )
    assert sorted(seen.items) == [1, 2, 3, 4, 5, 7]
    assert [item for item in seen.items if item != 7] == [1, 2, 3, 4, 5]


@pytest.mark.rule("FL2")
async def test_asked_to_finish_a_sequence_passes_its_sources_by() -> None:
    seen = Seen()
    async with Runner() as runner:
        running = runner.start(Pipeline(Sequence(Forever(), Forever()), seen))
        await turns(20)
        running.finish()
        await running
    assert seen.items == list(range(len(seen.items)))


@pytest.mark.rule("FL3")
async def test_what_fails_in_a_sequence_fails_it() -> None:
    with pytest.raises(ComponentFailedError, match=r"component Sequence failed: .*at 1"):
        await Pipeline(range(3), Sequence(Fails([1])), Seen())


async def test_stopping_a_sequence_stops_its_part() -> None:
    idle = Idle()
    async with Runner() as runner:
        runner.start(Sequence(idle))
        await idle.begun.wait()
    assert idle.cancelled


async def test_tokens_pass_through_a_sequence() -> None:
    source, seen = Tracking(range(10)), Seen()
    await Pipeline(source, Sequence(Some("a", 3), lambda x: x, Pass()), seen)
    assert sorted(source.handled) == list(range(10))


def test_a_sequence_needs_a_part() -> None:
    with pytest.raises(GraphError) as caught:
        Sequence()
    assert str(caught.value) == "a Sequence needs at least one part"


# ----------------------------------------------------------------------- carousel


def carousel(items: Any, changes: Any, seen: Any, make: Any = marked, **more: Any) -> Graphline:
    return Graphline(
        items=items, changes=changes, carousel=Carousel(make, **more), seen=seen,
        linkages=["items -> carousel -> seen", "changes -> carousel.next"],
    )  # fmt: skip


async def test_a_carousel_runs_what_next_asks_for() -> None:
    seen, items, changes = Seen(), Gate(), Gate()
    async with Runner() as runner:
        running = runner.start(
            carousel(Pipeline(range(3), items), Pipeline(["a", "b"], changes), seen, first="0")
        )
        await turns(20)
        items.open.set()
        await turns(50)
        assert seen.items == [("0", 0), ("0", 1), ("0", 2)]
        changes.open.set()
        await running


async def test_what_comes_while_there_is_none_waits() -> None:
    seen, changes = Seen(), Gate()
    async with Runner() as runner:
        running = runner.start(carousel(Pipeline(range(3)), Pipeline(["a"], changes), seen))
        await turns(50)
        assert seen.items == []
        changes.open.set()
        await running
    assert seen.items == [("a", 0), ("a", 1), ("a", 2)]


async def test_what_one_that_ends_by_itself_has_not_read_is_there_for_the_next() -> None:
    seen, changes = Seen(), Gate()
    async with Runner() as runner:
        running = runner.start(
            carousel(
                Pipeline(range(5)), Pipeline(["b"], changes), seen,
                lambda mark: Some(mark, 2), first="a",
            )
        )  # fmt: skip
        await turns(50)
        assert seen.items == [("a", 0), ("a", 1)]
        changes.open.set()
        await running
    assert seen.items == [("a", 0), ("a", 1), ("b", 2), ("b", 3)]


@pytest.mark.rule("FL3")
@pytest.mark.parametrize("quiet", [True, False])
async def test_a_failure_is_seen_though_nothing_comes(quiet: bool) -> None:
    async def fail(item: int) -> int:
        await asyncio.sleep(0)
        raise ValueError("mine")

    class FailsByItself(Pass):
        async def main(self) -> None:
            raise ValueError("mine")

    graph = carousel(
        Pipeline(Idle2()) if quiet else Pipeline(Forever()),
        Pipeline(Idle2()),
        Seen(),
        lambda _: FailsByItself() if quiet else fail,
        first="a",
    )
    with pytest.raises(ComponentFailedError, match="ValueError: mine"):
        await graph


class Idle2(Component):
    """A source that sends nothing."""

    inboxes = {}

    async def main(self) -> None:
        await asyncio.Event().wait()


async def test_a_source_runs_until_the_next_is_asked_for() -> None:
    seen, changes = Seen(), Gate()
    made: list[Forever] = []

    def make(mark: Any) -> Any:
        if mark == "last":
            return ["end"]
        made.append(Forever())
        return made[-1]

    graph = Graphline(
        changes=Pipeline(["last"], changes), carousel=Carousel(make, first="a"), seen=seen,
        linkages=["changes -> carousel.next", "carousel -> seen"],
    )  # fmt: skip
    async with Runner() as runner:
        running = runner.start(graph)
        await turns(50)
        changes.open.set()
        await running
    assert seen.items[-1] == "end"
    assert seen.items[:-1] == list(range(len(seen.items) - 1))


async def test_stopping_a_carousel_stops_its_component() -> None:
    idle = Idle()
    async with Runner() as runner:
        running = runner.start(
            carousel(Pipeline(Idle2()), Pipeline(Idle2()), Seen(), lambda _: idle, first="a")
        )
        await idle.begun.wait()
        running.stop()
        await running
    assert idle.cancelled


@pytest.mark.rule("FL2")
async def test_asked_to_finish_a_carousel_ends_with_its_component() -> None:
    seen = Seen()
    async with Runner() as runner:
        running = runner.start(
            Graphline(
                carousel=Carousel(lambda _: Forever(), first="a"), changes=Idle2(), seen=seen,
                linkages=["carousel -> seen", "changes -> carousel.next"],
            )
        )  # fmt: skip
        await turns(20)
        running.finish()
        await running
    assert seen.items == list(range(len(seen.items)))


@pytest.mark.parametrize("part", [Pass, lambda: lambda x: x, lambda: Threaded(lambda x: x)])
async def test_tokens_pass_through_a_carousel(part: Any) -> None:
    source, seen = Tracking(range(20)), Seen()
    await carousel(source, Pipeline([]), seen, lambda _: part(), first="a")
    assert seen.items == list(range(20))
    assert sorted(source.handled) == list(range(20))
