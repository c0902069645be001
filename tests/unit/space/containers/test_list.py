"""List: its edges. `tests/property/space/test_lists.py` has the rest."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.kernel import NoTransactionError
from hubbub.space.containers import List
from tests.unit.space.small_space import Conflict, SmallSpace


def test_in_a_plain_unit_test_it_is_an_ordinary_object() -> None:
    items: List[Any] = List([3, 1, 2])
    items.sort()
    items += [5]
    items.insert(0, 0)
    assert list(items) == [0, 1, 2, 3, 5]
    assert list(reversed(items)) == [5, 3, 2, 1, 0]
    assert (2 in items, items.index(3), items.count(9)) == (True, 3, 0)
    items.sort(key=lambda n: -n)
    assert items.copy() == [5, 3, 2, 1, 0]
    assert items == items
    assert items != List([5, 3, 2, 1, 0])


def test_a_sort_that_fails_changes_nothing() -> None:
    items: List[Any] = List([2, "a", 1])
    with pytest.raises(TypeError):
        items.sort()
    assert list(items) == [2, "a", 1]


def test_outside_a_transaction_nothing_changes() -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(items=List([1])))
    items = space.connect().root["items"]
    for touch in (
        lambda: items.append(2),
        lambda: items.clear(),
        lambda: items.pop(),
        lambda: items.__setitem__(0, 5),
    ):
        with pytest.raises(NoTransactionError):
            touch()
    assert list(items) == [1]


@pytest.mark.rule("ST4")
def test_two_writers_conflict() -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(items=List()))
    one, two = space.connect(), space.connect()
    one.run(lambda root: root["items"].append(1))
    two.run(lambda root: root["items"].append(2))
    one.commit()
    with pytest.raises(Conflict, match="can't be merged"):
        two.commit()


def test_attributes_are_refused_loudly() -> None:
    items: List[Any] = List()
    with pytest.raises(AttributeError, match="title"):
        items.title = "x"  # type: ignore[attr-defined]
