from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from hubbub.spaceflow.numbers import HandledNumbers


def test_neighbours_with_as_many_parts_are_one_run() -> None:
    numbers = HandledNumbers()
    for number in (5, 7, 6, 3):
        assert numbers.add(number)
    assert list(numbers.runs) == [(3, 3, 1), (5, 7, 1)]
    assert numbers.add(6, 2)
    assert list(numbers.runs) == [(3, 3, 1), (5, 5, 1), (6, 6, 2), (7, 7, 1)]
    assert numbers.add(5, 2)
    assert list(numbers.runs) == [(3, 3, 1), (5, 6, 2), (7, 7, 1)]


def test_what_is_handled_is_not_added_again() -> None:
    numbers = HandledNumbers(4, [(6, 8, 2)])
    assert not numbers.add(3)
    assert not numbers.add(7)
    assert not numbers.add(7, 2)
    assert numbers.add(7, 3)
    assert numbers.has(7, 3)
    assert not numbers.has(8, 3)
    assert not numbers.has(5)


def test_what_lies_below_the_floor_counts_as_handled_and_is_forgotten() -> None:
    numbers = HandledNumbers()
    for number in range(1, 11):
        numbers.add(number)
    numbers.raise_floor(6)
    assert list(numbers.runs) == [(6, 10, 1)]
    assert numbers.has(2, 9)
    numbers.raise_floor(3)
    assert numbers.floor == 6
    numbers.raise_floor(20)
    assert list(numbers.runs) == []
    assert numbers.has(19)
    assert not numbers.has(20)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 30), st.integers(1, 3)),
            st.tuples(st.just("floor"), st.integers(0, 30), st.just(0)),
        )
    )
)
def test_it_is_a_dict_of_counts_with_a_floor(steps: list[tuple[str, int, int]]) -> None:
    numbers, floor, counts = HandledNumbers(), 0, dict[int, int]()
    for what, number, part in steps:
        if what == "floor":
            numbers.raise_floor(number)
            floor = max(floor, number)
        else:
            is_new = number >= floor and counts.get(number, 0) < part
            assert numbers.add(number, part) == is_new
            if is_new:
                counts[number] = part
        numbers = HandledNumbers(numbers.floor, numbers.runs)
    for number in range(32):
        for part in (1, 2, 3):
            assert numbers.has(number, part) == (number < floor or counts.get(number, 0) >= part)
    runs = numbers.runs
    for (_, last, parts), (first, _, others) in itertools.pairwise(runs):
        assert last < first
        assert last + 1 < first or parts != others
