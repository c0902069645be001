"""Patches of answers (LV2)."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.kernel import RemoteProtocolError
from hubbub.wire.patch import apply, diff

scalars = (
    st.none()
    | st.booleans()
    | st.integers(0, 2)
    | st.sampled_from([0.0, -0.0, 1.0])
    | st.text("ab", max_size=1)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=4)
    ),
)
lists = st.lists(values, max_size=10)
dicts = st.dictionaries(st.text("abc", max_size=2) | st.integers(0, 3), values, max_size=8)


def exact(value):
    """Text in which 1, True, 1.0, 0.0 and -0.0 differ, and the order of a dict counts."""
    return repr(value)


@pytest.mark.rule("LV2")
@given(st.tuples(lists, lists) | st.tuples(dicts, dicts) | st.tuples(values, values))
def test_a_patch_makes_the_new_answer_of_the_old_one(pair):
    old, new = pair
    before = copy.deepcopy(old)
    patch = diff(old, new)
    if patch is not None:
        assert exact(apply(old, patch)) == exact(new)
        assert exact(old) == exact(before)


@given(lists, st.integers(0, 5), lists, lists)
def test_a_moved_window_is_found(shared, dropped, added, gone):
    for old, new in ((gone + shared, shared + added), (shared + gone, added + shared)):
        patch: Any = diff(old, new)
        if patch is not None:
            assert exact(apply(old, patch)) == exact(new)
            assert sum(len(list(op[3])) for op in patch) <= len(added)


def test_recent_50_is_two_splices():
    old = list(range(50))
    assert diff(old, [*old[1:], 50]) == [["s", 0, 1, []], ["s", 49, 0, [50]]]
    assert diff(old, [-1, *old[:-1]]) == [["s", 49, 1, []], ["s", 0, 0, [-1]]]


def test_a_window_that_moves_behind_a_heading():
    assert diff(["h", 1, 2, 3, 4], ["h", 2, 3, 4, 5]) == [["s", 1, 1, []], ["s", 4, 0, [5]]]


def test_one_changed_place():
    assert diff([1, 2, 3], [1, 9, 3]) == [["s", 1, 1, [9]]]
    assert diff([1, 2, 3], [1, 3]) == [["s", 1, 1, []]]
    assert diff({"a": 1, "b": 2}, {"a": 1, "b": 3}) == [["k", "b", 3]]
    assert diff({"a": 1, "b": 2}, {"a": 1}) == [["d", "b"]]


@pytest.mark.parametrize(
    "old,new",
    [
        ([1], {"a": 1}),
        (1, 2),
        ([1], [2]),
        ([1, 2], []),
        ({}, {"a": 1}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1.5: 1, "a": 2}, {1.5: 2, "a": 2}),
        ({1: 1, 2: 2}, {True: 1, 2: 3}),
    ],
)
def test_no_patch_where_none_is_possible_or_worth_it(old, new):
    assert diff(old, new) is None


def test_values_are_compared_type_for_type():
    class Line(msgspec.Struct):
        x: object

    for one, other in (
        (1, True),
        (0.0, -0.0),
        ([1], (1,)),
        ({"a": 1}, {"a": 1.0}),
        (Line(1), Line(True)),
        ({1}, {True}),
    ):
        assert diff([one, 5], [other, 5]) == [["s", 0, 1, [other]]]
    assert diff([Line(1), {1}], [Line(1), {1}]) == []


def test_it_takes_linear_time():
    old, new = [0] * 20_000 + [1], [0] * 20_000 + [2]
    assert diff(old, [*new, 0]) is not None
    assert diff(["a", *old], ["b", *new]) is None  # changed at both ends


@pytest.mark.parametrize(
    "value,patch",
    [
        ([1], [["s", 0, 2, []]]),
        ([1], [["s", -1, 1, []]]),
        ([1], [["s", 0, 1, "ab"]]),
        ([1], [["k", "a", 1]]),
        ([1], [[]]),
        ([1], "s"),
        ([1], [1]),
        ({"a": 1}, [["d", "b"]]),
        ({"a": 1}, [["k", []]]),
        ({"a": 1}, [["k", [], 1]]),
        ({"a": 1}, [["x", 1]]),
        ({"a": 1}, [{}]),
        (1, []),
    ],
)
def test_a_patch_that_does_not_fit_is_an_error_and_changes_nothing(value, patch):
    before = copy.deepcopy(value)
    with pytest.raises(RemoteProtocolError, match="does not fit") as caught:
        apply(value, patch)
    assert caught.value.code == "garbled"
    assert value == before
