"""Set, SortedSet and IntSet against set, in transactions that commit, abort and overlap."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hubbub.space.containers import IntSet, Set, SortedSet
from tests.property.space.values import keys as any_key
from tests.unit.space.small_space import Conflict, SmallSpace

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


class TinySet(Set[Any], name="test.TinySet"):
    __slots__ = ()
    max_leaf_size = 4
    max_internal_size = 4


class TinySortedSet(SortedSet[Any], name="test.TinySortedSet"):
    __slots__ = ()
    max_leaf_size = 4
    max_internal_size = 4


class TinyIntSet(IntSet, name="test.TinyIntSet"):
    __slots__ = ()
    max_leaf_size = 4
    max_internal_size = 4


mixed = st.one_of(
    st.integers(-3, 12),
    st.sampled_from(["", "a", "b", b"", b"a", True, False, 1.0, 2.5, None, (1, "x"), ()]),
)
numbers = st.integers(0, 40)
CHANGES = ("update", "difference_update", "intersection_update", "symmetric_difference_update")


class SetMachine(RuleBasedStateMachine):
    """One connection; the model is a set."""

    cls: type = TinySet
    item: Any = mixed

    @initialize()
    def make(self) -> None:
        self.space = SmallSpace()
        self.space.do(lambda root: root.update(s=self.cls()))
        self.client = self.space.connect()
        self.stored: set[Any] = set()
        self.model: set[Any] = set()

    @property
    def set(self) -> Any:
        return self.client.root["s"]

    def do(self, body: Any) -> Any:
        return self.client.run(lambda root: body(root["s"]))

    @rule(data=st.data())
    def add(self, data: Any) -> None:
        item = data.draw(self.item)
        self.do(lambda s: s.add(item))
        self.model.add(item)

    @rule(data=st.data())
    def take(self, data: Any) -> None:
        item = data.draw(self.item)
        if item in self.model:
            self.do(lambda s: s.remove(item))
        else:
            with pytest.raises(KeyError):
                self.do(lambda s: s.remove(item))
        self.do(lambda s: s.discard(item))
        self.model.discard(item)

    @rule()
    def pop(self) -> None:
        if self.model:
            self.model.remove(self.do(lambda s: s.pop()))
        else:
            with pytest.raises(KeyError):
                self.do(lambda s: s.pop())

    @rule(data=st.data(), name=st.sampled_from(CHANGES))
    def change(self, data: Any, name: str) -> None:
        other = data.draw(st.sets(self.item, max_size=9))
        self.do(lambda s: getattr(s, name)(other))
        if name == "intersection_update":
            # Which of two equal items stays is another matter in a set than here.
            self.model = {item for item in self.model if item in other}
        else:
            getattr(self.model, name)(other)

    @rule(data=st.data())
    def change_by_operator(self, data: Any) -> None:
        one, two, three, four = (data.draw(st.sets(self.item, max_size=9)) for _ in range(4))

        def change(s: Any) -> None:
            before = s
            s |= one
            s -= two
            s ^= three
            s &= s | four
            assert s is before

        self.do(change)
        self.model |= one
        self.model -= two
        self.model ^= three

    @rule()
    def clear(self) -> None:
        self.do(lambda s: s.clear())
        self.model = set()

    @rule(data=st.data())
    def compare(self, data: Any) -> None:
        s, model = self.set, self.model
        other = data.draw(st.sets(self.item, max_size=9))
        assert (s | other, s & other, s - other) == (model | other, model & other, model - other)
        assert (s ^ other, other | s, other & s) == (model ^ other, other | model, other & model)
        assert (other - s, other ^ s) == (other - model, other ^ model)
        assert (s <= other, s < other, s >= other) == (
            model <= other,
            model < other,
            model >= other,
        )
        assert (s > other, s.isdisjoint(other)) == (model > other, model.isdisjoint(other))
        assert (s.issubset(other), s.issuperset(other)) == (model <= other, model >= other)
        assert s.union(other, [1]) == model.union(other, [1])
        assert s.intersection(other, [1]) == model.intersection(other, [1])
        assert s.copy() == s.intersection() == s.difference() == model

    @rule()
    def commit(self) -> None:
        self.client.commit()
        self.stored = set(self.model)

    @rule()
    def abort(self) -> None:
        self.client.abort()
        self.model = set(self.stored)

    @rule()
    def look_from_elsewhere(self) -> None:
        other = self.space.connect().root["s"]
        assert set(other) == self.stored
        other._check()

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "client"):
            return
        items = list(self.set)
        assert set(items) == self.model
        assert len(items) == len(self.set) == len(self.model)
        assert bool(self.set) == bool(self.model)
        # As in a set the first of equal items stays, type and all.
        assert {repr(item) for item in items} == {repr(item) for item in self.model}
        assert items[::-1] == list(reversed(self.set))


class SortedSetMachine(SetMachine):
    cls = TinySortedSet
    item = numbers

    @rule(a=numbers, b=numbers, n=st.integers(0, 20))
    def ranges(self, a: int, b: int, n: int) -> None:
        s, keys = self.set, sorted(self.model)
        assert list(s) == keys
        assert list(s.keys(a, b)) == [k for k in keys if a <= k <= b]
        assert list(s.keys(after=a, before=b)) == [k for k in keys if a < k < b]
        assert s.newest(n) == keys[::-1][:n]
        assert s.newest(n, before=b) == [k for k in keys[::-1] if k < b][:n]
        assert s.oldest(n) == keys[:n]
        assert s.oldest(n, after=a) == [k for k in keys if k > a][:n]


class IntSetMachine(SortedSetMachine):
    cls = TinyIntSet


TestSet = SetMachine.TestCase
TestSortedSet = SortedSetMachine.TestCase
TestIntSet = IntSetMachine.TestCase
for _case in (TestSet, TestSortedSet, TestIntSet):
    _case.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
del _case  # it would be collected once more


@given(st.lists(any_key.filter(lambda key: "nan" not in repr(key).lower()), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_items_are_told_apart_as_in_a_set(items: list[Any]) -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(s=Set(items)))
    assert set(space.connect().root["s"]) == set(items)


writes = st.lists(st.tuples(numbers, st.booleans()), min_size=1, max_size=8)


def change(s: Any, model: set[int], how: Any) -> None:
    for item, is_added in how:
        for target in (s, model):
            (target.add if is_added else target.discard)(item)


@pytest.mark.rule("ST4", "SP6", "SP9")
@pytest.mark.parametrize("cls", [TinySet, TinySortedSet, TinyIntSet, SortedSet])
@given(before=st.sets(numbers), first=writes, second=writes)
@settings(max_examples=150, deadline=None)
def test_a_merge_is_the_second_change_put_on_the_first_or_a_conflict(
    cls: Any, before: set[int], first: Any, second: Any
) -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(s=cls(before)))
    one, two = space.connect(), space.connect()
    after_first, after_second = set(before), set(before)
    one.run(lambda root: change(root["s"], after_first, first))
    two.run(lambda root: change(root["s"], after_second, second))
    one.commit()
    try:
        two.commit()
        wanted = (after_first | (after_second - before)) - (before - after_second)
        # Who was first is known: no item was added or removed by both.
        assert (after_first ^ before).isdisjoint(after_second ^ before)
    except Conflict:
        wanted = after_first
    found = space.connect().root["s"]
    assert set(found) == wanted
    found._check()
