"""Functions, generators and iterables in the place of components."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubbub.flow import Component, Pipeline, as_component
from hubbub.flow.functions import Function
from hubbub.kernel import ComponentFailedError
from tests.unit.flow.stand_ins import AT_ONCE, Pass, Seen, Tracking


async def out_of(*parts: Any) -> list[Any]:
    seen = Seen()
    await Pipeline(*parts, seen)
    return seen.items


async def plus(item: int) -> int | None:
    return item + 1 if item else None


def twice(item: int) -> Any:
    yield item
    yield item


async def pairs(items: AsyncIterator[int]) -> AsyncIterator[tuple[int, int]]:
    async for item in items:
        yield item, await anext(items)


def source() -> Any:
    yield from range(4)


async def async_source() -> AsyncIterator[int]:
    for number in range(4):
        yield number


class Counts:
    """An object that can be called."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, item: int) -> tuple[int, int]:
        self.count += 1
        return self.count, item


@pytest.mark.parametrize(
    "parts, expected",
    [
        ([source, lambda x: x * 2], [0, 2, 4, 6]),
        ([async_source, plus], [2, 3, 4]),
        ([range(4), twice], [0, 0, 1, 1, 2, 2, 3, 3]),
        ([source(), pairs], [(0, 1), (2, 3)]),
        ([async_source(), str], ["0", "1", "2", "3"]),
        ([[7, 8], Counts()], [(1, 7), (2, 8)]),
        ([["1", "2"], functools.partial(int, base=10)], [1, 2]),
        ([range(4), lambda x: x if x % 2 else None], [1, 3]),
        ([range(1000), lambda x: x, lambda x: x], list(range(1000))),
    ],
)
async def test_what_each_form_does(parts: list[Any], expected: list[Any]) -> None:
    assert await out_of(*parts) == expected


@pytest.mark.parametrize(
    "part, label", [(plus, "plus"), (twice, "twice"), ([1], "list"), (Pass(), "Pass"), (str, "str")]
)
def test_names_are_those_of_what_runs(part: Any, label: str) -> None:
    component = as_component(part)
    assert isinstance(component, Component)
    assert component.label == label


@pytest.mark.rule("FL3")
async def test_what_was_made_before_a_failure_is_sent() -> None:
    def fails(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    class Keeps(Seen):
        pass

    keeps = Keeps()
    with pytest.raises(ComponentFailedError, match="component fails failed: ValueError: three"):
        await Pipeline(range(10), fails, keeps)
    assert keeps.items in ([], [0, 1, 2])  # it may be stopped before it reads them


@pytest.mark.parametrize("item, expected", [("skip", [0, 1, 3]), ("again", [0, 1, 2, 3])])
async def test_a_function_that_restarts_loses_one_item_at_most(
    item: Any, expected: list[int]
) -> None:
    from hubbub.flow import Restart

    class Again(Function):
        restart = Restart(backoff=AT_ONCE, item=item)

    failed: list[int] = []

    def once(number: int) -> int:
        if number == 2 and not failed:
            failed.append(number)
            raise ValueError("once")
        return number

    tracking, seen = Tracking(range(4)), Seen()
    await Pipeline(tracking, Again(once), seen)
    assert seen.items == expected
    assert sorted(tracking.handled) == [0, 1, 2, 3]


async def test_a_source_that_fails_sends_what_it_had() -> None:
    def fails() -> Any:
        yield 1
        raise ValueError("after one")

    with pytest.raises(ComponentFailedError, match="after one"):
        await out_of(fails)
