"""Map, filter, unseen only, sequence numbers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.flow import (
    Component,
    Filter,
    Graphline,
    Map,
    Pipeline,
    Restart,
    Runner,
    TagWithSequenceNumber,
    UnseenOnly,
)
from hubbub.kernel import ComponentFailedError, GraphError
from tests.unit.flow.neighbours import Held, Seen, Tracking


async def through(items: Any, *parts: Component) -> list[Any]:
    seen = Seen()
    await Pipeline(items, *parts, seen)
    return seen.items


async def even(item: int) -> bool:
    await asyncio.sleep(0)
    return item % 2 == 0


@pytest.mark.rule("FL2")
async def test_map_sends_what_the_function_makes_and_none_too() -> None:
    assert await through(["1", "x", "3"], Map({"1": 1, "3": 3}.get)) == [1, None, 3]


async def test_map_awaits_an_async_function_for_one_item_after_the_other() -> None:
    running: list[int] = []

    async def slowly(item: int) -> int:
        running.append(item)
        await asyncio.sleep(0)
        assert running.pop() == item
        return -item

    assert await through([1, 2, 3], Map(slowly)) == [-1, -2, -3]


async def test_filter_lets_pass_what_the_predicate_is_true_of() -> None:
    keep = Filter(lambda item: item % 3)
    assert await through(range(10), keep) == [1, 2, 4, 5, 7, 8]
    assert keep.rejected == 4


async def test_filter_takes_an_async_predicate() -> None:
    keep = Filter(even)
    assert await through(range(6), keep) == [0, 2, 4]
    assert keep.rejected == 3


@pytest.mark.parametrize("predicate", [even, lambda item: item % 2 == 0])
async def test_what_is_filtered_out_can_go_elsewhere(predicate) -> None:
    good, bad = Seen(), Seen()
    await Graphline(
        source=range(6),
        keep=Filter(predicate),
        good=good,
        bad=bad,
        linkages=["source -> keep -> good", "keep.rejected -> bad"],
    )
    assert (good.items, bad.items) == ([0, 2, 4], [1, 3, 5])


async def test_unseen_only_drops_and_counts_what_it_remembers() -> None:
    part = UnseenOnly()
    assert await through(list("abracadabra"), part) == ["a", "b", "r", "c", "d"]
    assert part.dropped == 6


async def test_unseen_only_remembers_so_much_and_no_more() -> None:
    part = UnseenOnly(key=str.lower, remember=2)
    # 'a' comes again in time and is remembered anew; 'b' is forgotten for 'C'
    assert await through(list("abAcBa"), part) == ["a", "b", "c", "B", "a"]
    assert len(part._seen) == 2


@pytest.mark.rule("FL3")
async def test_unseen_only_says_what_it_needs_for_what_it_cannot_remember() -> None:
    with pytest.raises(ComponentFailedError, match="can't remember a list: give a key="):
        await through([["a"]], UnseenOnly())
    with pytest.raises(GraphError, match="at least 1"):
        UnseenOnly(remember=0)


async def test_sequence_numbers() -> None:
    assert await through(["a", "b"], TagWithSequenceNumber()) == [(0, "a"), (1, "b")]
    assert await through(["a", "b"], TagWithSequenceNumber(first=7)) == [(7, "a"), (8, "b")]


@pytest.mark.parametrize(
    "part",
    [
        lambda: Map(lambda item: item),
        lambda: Map(_itself),
        lambda: Filter(lambda item: True),
        lambda: UnseenOnly(),
        lambda: TagWithSequenceNumber(),
    ],
)
async def test_an_item_is_handled_when_what_came_of_it_is(part) -> None:
    source, held = Tracking([1, 2], stay=True), Held()
    async with Runner() as runner:
        runner.start(Pipeline(source, part(), held))
        await source.all_sent.wait()
        await held.takes()
        assert source.handled == []
        held.go_on.release()  # it asks for the next: the first is handled
        await source.until_handled(1)


async def _itself(item: Any) -> Any:
    return item


@pytest.mark.parametrize("part", [lambda: Filter(lambda item: False), lambda: Filter(_never)])
async def test_what_is_filtered_out_is_handled(part) -> None:
    source = Tracking([1, 2], stay=True)
    async with Runner() as runner:
        runner.start(Pipeline(source, part(), Held()))
        await source.until_handled(1, 2)


async def _never(item: Any) -> bool:
    return False


@pytest.mark.rule("FL3")
async def test_what_was_made_before_a_failure_is_sent() -> None:
    seen = Seen()

    def divide(item: int) -> float:
        return 6 / item

    with pytest.raises(ComponentFailedError, match="ZeroDivisionError"):
        await Pipeline([1, 2, 0, 3], Map(divide), lambda item: seen.items.append(item))
    assert seen.items in ([], [6.0], [6.0, 3.0])  # its reader is taken down with it


@pytest.mark.rule("FL3")
@pytest.mark.parametrize("item, expected", [("skip", [6, 3, 2]), ("again", [6, 3, 2])])
async def test_with_a_restart_one_item_fails_and_the_others_pass(item, expected) -> None:
    class Stubborn(Map):
        restart = Restart(limit=2, item=item)

    zeros = iter([0, 1])
    failed: list[int] = []

    def divide(number: int) -> float:
        if number == 0 and not failed:
            failed.append(number)
            raise ZeroDivisionError
        return 6 / number if number else next(zeros)

    made = await through([1, 2, 0, 3], Stubborn(divide))
    assert [number for number in made if number] == expected
    assert len(made) == (3 if item == "skip" else 4)


@pytest.mark.rule("FL1")
async def test_they_wait_for_room() -> None:
    source, held = Tracking(range(1000), stay=True), Held()
    async with Runner() as runner:
        running = runner.start(Pipeline(source, Map(lambda item: item), held))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not source.all_sent.is_set()
        running.stop()
