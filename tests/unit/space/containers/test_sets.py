"""Sets and typed maps: their edges. `tests/property/space` has the rest."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from hubbub.kernel import NoTransactionError, UnstorableError
from hubbub.space.containers import IntIntMap, IntMap, IntSet, Set, SortedSet
from hubbub.space.containers.changes import CLEARED
from hubbub.space.persistent import Persistent
from tests.unit.space.small_space import Conflict, SmallSpace

SETS: list[Any] = [Set, SortedSet, IntSet]


@pytest.fixture
def space():
    return SmallSpace()


@pytest.mark.parametrize("cls", SETS)
def test_it_looks_like_a_set_and_equals_only_itself(cls):
    made = cls([3, 1])
    assert (list(made), set(made)) == ([1, 3], {1, 3})
    assert made != cls([3, 1])
    assert repr(made) == f"<{cls.__name__} new>"
    with pytest.raises(AttributeError, match="stores its items"):
        made.title = "x"
    with pytest.raises(TypeError, match="update\\(\\) takes any items"):
        made |= [1]
    with pytest.raises(TypeError):
        made | [1]


@pytest.mark.parametrize("cls", SETS)
@pytest.mark.parametrize(
    "change", [lambda s: s.add(2), lambda s: s.discard(1), lambda s: s.clear(), lambda s: s.pop()]
)
def test_a_change_outside_of_a_transaction_is_refused_and_changes_nothing(space, cls, change):
    space.do(lambda root: root.update(s=cls([1])))
    found = space.connect().root["s"]
    with pytest.raises(NoTransactionError):
        change(found)
    assert list(found) == [1]


@pytest.mark.rule("LV3")
@pytest.mark.parametrize("cls", SETS)
def test_a_change_tells_live_views_to_look_again_and_no_change_tells_nothing(space, cls):
    space.do(lambda root: root.update(s=cls([1])))
    client = space.connect()
    client.run(lambda root: (root["s"].add(1), root["s"].discard(2)))
    assert client.commit() == 0
    assert client.changes == {}
    client.run(lambda root: root["s"].add(2))
    client.commit()
    assert list(client.changes.values()) == [{CLEARED: None}]


@pytest.mark.rule("ST4")
@pytest.mark.parametrize("cls", SETS)
def test_who_adds_what_another_has_added_conflicts(space, cls):
    space.do(lambda root: root.update(s=cls([1, 2, 3])))
    one, two, three = (space.connect() for _ in range(3))
    one.run(lambda root: root["s"].add(7))
    two.run(lambda root: root["s"].add(7))
    three.run(lambda root: root["s"].add(8))
    one.commit()
    with pytest.raises(Conflict, match="both added"):
        two.commit()
    three.commit()
    assert list(space.connect().root["s"]) == [1, 2, 3, 7, 8]


def test_persistent_objects_are_no_items_of_a_set(space):
    class Person(Persistent, name="tests.sets.Person"):
        pass

    with pytest.raises(UnstorableError, match="use its id or name"):
        space.do(lambda root: root.update(s=Set([Person()])))


def test_an_item_that_cant_be_stored_is_named(space):
    class Odd:
        pass

    with pytest.raises(UnstorableError, match="Odd"):
        space.do(lambda root: root.update(s=Set([(1, Odd())])))


@pytest.mark.parametrize("name", ["keys", "items", "get", "minKey", "insert"])
def test_a_set_has_no_methods_of_mappings(name):
    with pytest.raises(TypeError, match="is a set and has no such method"):
        getattr(Set(), name)()
    with pytest.raises(TypeError, match="is a set"):
        Set()["a"]


def test_items_that_cant_be_compared_are_refused_and_change_nothing(space):
    space.do(lambda root: root.update(s=SortedSet([1])))
    client = space.connect()
    with pytest.raises(TypeError):
        client.run(lambda root: root["s"].add("x"))
    client.commit()
    assert list(space.connect().root["s"]) == [1]


@pytest.mark.rule("SP2")
@pytest.mark.parametrize("number", [True, 1.0, "1", None, enum.IntEnum("Level", "LOW").LOW])  # type: ignore[attr-defined]
def test_what_is_no_int_is_refused_and_never_becomes_one(number):
    ints, many, pairs = IntSet(), IntMap[Any](), IntIntMap()
    with pytest.raises(TypeError, match="items of an IntSet are ints"):
        ints.add(number)
    with pytest.raises(TypeError, match="keys of an IntMap are ints"):
        many[number] = 1
    with pytest.raises(TypeError, match="values of an IntIntMap are ints"):
        pairs[1] = number
    assert (list(ints), list(many), list(pairs)) == ([], [], [])
    assert number not in ints


def test_ints_beyond_64_bits_are_refused():
    with pytest.raises(
        OverflowError, match="items of an IntSet have 64 bits; a SortedMap or SortedSet"
    ):
        IntSet([2**63])
    with pytest.raises(OverflowError, match="values of an IntIntMap"):
        IntIntMap({1: -(2**63) - 1})
    assert 2**63 not in IntSet()
    assert list(IntSet([2**63 - 1, -(2**63)])) == [-(2**63), 2**63 - 1]


class Room(Persistent, name="tests.sets.Room"):
    def __init__(self) -> None:
        self.tags = Set[str]()
        self.name = "main"


@pytest.mark.rule("ST4")
def test_an_operator_that_assigns_changes_the_set_and_not_what_holds_it(space):
    space.do(lambda root: root.update(room=Room()))

    def add(tag):
        def body(root):
            root["room"].tags |= {tag}

        return body

    one, two = space.connect(), space.connect()
    one.run(add("a"))
    two.run(add("b"))
    one.commit()
    two.commit()
    assert set(space.connect().root["room"].tags) == {"a", "b"}
    room = space.connect().root["room"]
    assert len(space.records[int.from_bytes(room._p_oid, "big")]) == 1
