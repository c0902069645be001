"""Map and SortedMap against dict, in transactions that commit, abort and overlap."""

from __future__ import annotations

from typing import Any

import pytest
from BTrees import check as btree_check
from BTrees.OOBTree import OOBTree
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hubbub.space.containers import Map, SortedMap
from hubbub.space.containers.keys import key_bytes
from tests.property.space.values import keys as any_key
from tests.unit.space.small_space import Conflict, SmallSpace

# The strategy of all values is a big one, and Hypothesis would rather not print it.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


class TinyMap(Map[Any, Any], name="test.TinyMap"):
    __slots__ = ()
    max_leaf_size = 4
    max_internal_size = 4


class TinySortedMap(SortedMap[Any, Any], name="test.TinySortedMap"):
    __slots__ = ()
    max_leaf_size = 4
    max_internal_size = 4


for _cls in (TinyMap, TinySortedMap, Map):
    for _table in (btree_check._type2kind, btree_check._btree2bucket):
        _table[_cls] = _table[OOBTree]


def check(tree: Any) -> None:
    """Check the whole structure: C's own check of pointers, and Python's of the order of keys."""
    tree._check()
    btree_check.check(tree)


mixed = st.one_of(
    st.integers(-3, 12),
    st.sampled_from(
        ["", "a", "b", "ab", "é", b"", b"a", True, False, 1.0, 2.5, None, (1, "x"), ()]
    ),
)


class MapMachine(RuleBasedStateMachine):
    """One connection after the other; the model is a dict."""

    cls: type = TinyMap
    key: Any = mixed

    @initialize()
    def make(self) -> None:
        self.space = SmallSpace()
        self.space.do(lambda root: root.update(m=self.cls()))
        self.client = self.space.connect()
        self.stored: dict[Any, Any] = {}
        self.model: dict[Any, Any] = {}

    @property
    def map(self) -> Any:
        return self.client.root["m"]

    def do(self, body: Any) -> Any:
        return self.client.run(lambda root: body(root["m"]))

    def draw_key(self, data: Any) -> Any:
        return data.draw(self.key)

    @rule(data=st.data(), value=st.integers())
    def set(self, data: Any, value: int) -> None:
        key = self.draw_key(data)
        self.do(lambda m: m.__setitem__(key, value))
        self.model[key] = value

    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        key = self.draw_key(data)
        if key in self.model:
            self.do(lambda m: m.__delitem__(key))
            del self.model[key]
        else:
            with pytest.raises(KeyError):
                self.do(lambda m: m.__delitem__(key))

    @rule(data=st.data())
    def pop(self, data: Any) -> None:
        key = self.draw_key(data)
        assert self.do(lambda m: m.pop(key, "none")) == self.model.pop(key, "none")

    @rule(data=st.data(), value=st.integers())
    def setdefault(self, data: Any, value: int) -> None:
        key = self.draw_key(data)
        assert self.do(lambda m: m.setdefault(key, value)) == self.model.setdefault(key, value)

    @rule(data=st.data())
    def read(self, data: Any) -> None:
        key = self.draw_key(data)
        assert (key in self.map) == (key in self.model)
        assert self.map.get(key, "none") == self.model.get(key, "none")

    @precondition(lambda self: self.model)
    @rule()
    def popitem(self) -> None:
        key, value = self.do(lambda m: m.popitem())
        assert self.model.pop(key) == value

    @rule()
    def clear(self) -> None:
        self.do(lambda m: m.clear())
        self.model = {}

    @rule(data=st.data())
    def update(self, data: Any) -> None:
        many = {self.draw_key(data): index for index in range(data.draw(st.integers(0, 9)))}
        self.do(lambda m: m.update(many))
        self.model.update(many)

    @rule()
    def commit(self) -> None:
        self.client.commit()
        self.stored = dict(self.model)

    @rule()
    def abort(self) -> None:
        self.client.abort()
        self.model = dict(self.stored)

    @rule()
    def look_from_elsewhere(self) -> None:
        other = self.space.connect().root["m"]
        assert dict(other.items()) == self.stored
        check(other)

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "client"):
            return
        items = list(self.map.items())
        assert dict(items) == self.model
        assert len(items) == len(self.map) == len(self.model)
        assert bool(self.map) == bool(self.model)
        # As in a dict the first of equal keys stays, type and all.
        assert {repr(key) for key, _ in items} == {repr(key) for key in self.model}
        assert items == list(zip(self.map.keys(), self.map.values(), strict=True))
        assert [key for key, _ in items] == list(self.map)
        assert [key for key, _ in reversed(items)] == list(reversed(self.map))


class SortedMapMachine(MapMachine):
    cls = TinySortedMap
    key = st.integers(0, 40)

    @rule(a=st.integers(0, 40), b=st.integers(0, 40), n=st.integers(0, 20))
    def ranges(self, a: int, b: int, n: int) -> None:
        tree = self.map
        keys = sorted(self.model)
        assert list(tree) == keys
        assert list(tree.keys(a, b)) == [k for k in keys if a <= k <= b]
        assert list(tree.keys(after=a)) == [k for k in keys if k > a]
        assert list(tree.keys(before=b)) == [k for k in keys if k < b]
        assert list(tree.items(after=a, before=b)) == [
            (k, self.model[k]) for k in keys if a < k < b
        ]
        assert list(tree.values(min=a, before=b)) == [self.model[k] for k in keys if a <= k < b]
        assert tree.newest(n) == [(k, self.model[k]) for k in keys[::-1]][:n]
        assert tree.newest(n, before=b) == [(k, self.model[k]) for k in keys[::-1] if k < b][:n]
        assert tree.oldest(n) == [(k, self.model[k]) for k in keys][:n]
        assert tree.oldest(n, after=a) == [(k, self.model[k]) for k in keys if k > a][:n]


TestMap = MapMachine.TestCase
TestSortedMap = SortedMapMachine.TestCase
for _case in (TestMap, TestSortedMap):
    _case.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


writes = st.lists(
    st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 3))), min_size=1, max_size=8
)


def change(tree: Any, model: dict[int, int], how: Any) -> None:
    for key, value in how:
        if value is not None:
            tree[key] = model[key] = value
        else:
            model.pop(key, None)
            tree.pop(key, None)


@pytest.mark.rule("ST4", "SP6")
@pytest.mark.parametrize("cls", [TinyMap, TinySortedMap, Map])
@given(before=st.dictionaries(st.integers(0, 30), st.integers(0, 3)), first=writes, second=writes)
@settings(max_examples=250, deadline=None)
def test_a_merge_is_the_second_change_put_on_the_first_or_a_conflict(
    cls: type, before: dict[int, int], first: Any, second: Any
) -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(m=cls(before)))
    one, two = space.connect(), space.connect()
    after_first, after_second = dict(before), dict(before)
    one.run(lambda root: change(root["m"], after_first, first))
    two.run(lambda root: change(root["m"], after_second, second))
    one.commit()
    try:
        two.commit()
        wanted = dict(after_first)
        for key in {*before, *after_second}:
            if before.get(key) != after_second.get(key):
                wanted.pop(key, None)
                if key in after_second:
                    wanted[key] = after_second[key]
    except Conflict:
        wanted = after_first
    found = space.connect().root["m"]
    assert dict(found.items()) == wanted
    check(found)


@given(st.lists(any_key.filter(lambda key: "nan" not in repr(key).lower()), max_size=12))
@settings(max_examples=200, deadline=None)
def test_any_keys_are_told_apart_as_in_a_dict(keys: list[Any]) -> None:
    # Not NaN: in a dict it is equal to itself by identity only, here it is one key.
    model: dict[Any, int] = {}
    space = SmallSpace()
    for index, key in enumerate(keys):
        model[key] = index
    space.do(lambda root: root.update(m=Map(zip(keys, range(len(keys)), strict=True))))
    stored = space.connect().root["m"]
    assert {key: stored.get(key) for key in keys} == model
    assert dict(stored.items()) == model


numbers = st.one_of(st.integers(), st.floats(allow_nan=False), st.integers(-(2**70), 2**1100))


@given(numbers, numbers)
@settings(max_examples=500)
def test_number_keys_sort_as_numbers(a: Any, b: Any) -> None:
    assert (key_bytes(a) < key_bytes(b)) == (a < b)
    assert (key_bytes(a) == key_bytes(b)) == (a == b)
    assert (key_bytes((a, "x")) < key_bytes((b, "a"))) == ((a, "x") < (b, "a"))


@given(st.text(st.characters()), st.text(st.characters()), st.binary(), st.binary())
def test_text_and_tuple_keys_sort_as_they_do(a: str, b: str, c: bytes, d: bytes) -> None:
    assert (key_bytes(a) < key_bytes(b)) == (a < b)
    assert (key_bytes((a, c)) < key_bytes((b, d))) == ((a, c) < (b, d))
    assert (key_bytes((a,)) < key_bytes((a, c))) is True
    assert (key_bytes((c, a)) == key_bytes((d, b))) == ((c, a) == (d, b))
