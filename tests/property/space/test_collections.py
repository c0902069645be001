"""Collection against dicts: alone in transactions that commit and abort, and with two writers at a time."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hubbub.kernel import NotUniqueError
from hubbub.space.containers import Collection, FieldIndex, Map, merge_attributes
from hubbub.space.indexed import Indexed
from tests.unit.space.small_space import Conflict, SmallSpace


class Person(Indexed, name="tests.collections.Person"):
    merge = merge_attributes

    def __init__(self, number: int) -> None:
        self.number = number


Attributes = dict[str, Any]
Change = tuple[str, Any]

keys = st.integers(0, 6)
changes = st.one_of(
    st.tuples(
        st.just("age"), st.one_of(st.none(), st.integers(0, 3), st.sampled_from([True, 1.0]))
    ),
    st.tuples(st.just("city"), st.sampled_from(["Rome", "Oslo"])),
    st.tuples(st.just("email"), st.one_of(st.none(), st.sampled_from("abcdefgh"))),
    st.tuples(st.just("note"), st.integers(0, 2)),
)


def make() -> Collection[int, Person]:
    return Collection(indexes=["age", "city", ("city", "age")], unique=["email"])


def set_attributes(person: Person, how: list[Change]) -> None:
    for name, value in how:
        setattr(person, name, value)


def wanted_entries(
    members: dict[int, int], people: dict[int, Attributes], fields: tuple[str, ...]
) -> list[tuple[Any, int]]:
    """Return what an index should have, by looking at everybody."""
    found = []
    for key, number in members.items():
        value: Any = tuple(people[number].get(field) for field in fields)
        if None not in value:
            found.append((value[0] if len(fields) == 1 else value, key))
    return sorted(found)


def emails(members: dict[int, int], people: dict[int, Attributes]) -> list[str]:
    return [value for value, _ in wanted_entries(members, people, ("email",))]


def is_unique(members: dict[int, int], people: dict[int, Attributes]) -> bool:
    found = emails(members, people)
    return len(found) == len(set(found))


class CollectionMachine(RuleBasedStateMachine):
    """One connection. The model: who is a member at which key, and everybody's attributes."""

    @initialize()
    def make(self) -> None:
        self.space = SmallSpace()
        self.space.do(lambda root: root.update(c=make(), people=Map()))
        self.client = self.space.connect()
        self.members: dict[int, int] = {}
        self.people: dict[int, Attributes] = {}
        self.stored: Any = ({}, {})
        self.number = 0

    def do(self, body: Any) -> Any:
        return self.client.run(body)

    @rule(key=keys, how=st.lists(changes, max_size=3))
    def put_new(self, key: int, how: list[Change]) -> None:
        self.number += 1
        number = self.number
        members, people = {**self.members, key: number}, {**self.people, number: dict(how)}

        def body(root: Any) -> None:
            person = Person(number)
            set_attributes(person, how)
            root["people"][number] = person
            root["c"][key] = person

        if is_unique(members, people) or not is_unique(self.members, self.people):
            try:
                self.do(body)
                self.members = members
            except NotUniqueError:
                assert not is_unique(members, people)
        else:
            with pytest.raises(NotUniqueError):
                self.do(body)
        self.people = people

    @precondition(lambda self: self.people)
    @rule(key=keys, data=st.data())
    def put_again(self, key: int, data: Any) -> None:
        number = data.draw(st.sampled_from(sorted(self.people)))
        members = {**self.members, key: number}
        try:
            self.do(lambda root: root["c"].__setitem__(key, root["people"][number]))
            self.members = members
        except NotUniqueError:
            assert not is_unique(members, self.people)

    @rule(key=keys)
    def take(self, key: int) -> None:
        number = self.members.pop(key, None)
        taken = self.do(lambda root: root["c"].pop(key, None))
        assert (None if taken is None else taken.number) == number

    @precondition(lambda self: self.people)
    @rule(data=st.data(), how=st.lists(changes, min_size=1, max_size=3))
    def change(self, data: Any, how: list[Change]) -> None:
        number = data.draw(st.sampled_from(sorted(self.people)))
        self.do(lambda root: set_attributes(root["people"][number], how))
        self.people[number].update(how)

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def forget(self, data: Any) -> None:
        number = data.draw(st.sampled_from(sorted(self.people)))
        known = sorted(self.people[number])
        if known:
            name = data.draw(st.sampled_from(known))
            self.do(lambda root: delattr(root["people"][number], name))
            del self.people[number][name]

    @rule()
    def clear(self) -> None:
        self.do(lambda root: root["c"].clear())
        self.members = {}

    @rule(is_dropped=st.booleans())
    def rebuild(self, is_dropped: bool) -> None:
        def body(root: Any) -> None:
            if is_dropped:
                root["c"].drop_index("age")
                root["c"].add_index("age")
            else:
                root["c"].rebuild()

        try:
            self.do(body)
        except NotUniqueError:
            assert not is_unique(self.members, self.people)
            self.do(lambda root: root["c"].indexes == make().indexes or root["c"].add_index("age"))
            self.abort()

    @rule()
    def commit(self) -> None:
        try:
            self.client.commit()
            assert is_unique(self.members, self.people)
            self.stored = copy.deepcopy((self.members, self.people))
        except NotUniqueError:
            assert not is_unique(self.members, self.people)
            self.members, self.people = copy.deepcopy(self.stored)

    @rule()
    def abort(self) -> None:
        self.client.abort()
        self.members, self.people = copy.deepcopy(self.stored)

    @rule(low=st.integers(0, 3), high=st.integers(0, 3))
    def ranges(self, low: int, high: int) -> None:
        if not is_unique(self.members, self.people):
            with pytest.raises(NotUniqueError):
                self.do(lambda root: root["c"].index("age").find(1))
            return
        index = self.do(lambda root: root["c"].index("age"))
        wanted = wanted_entries(self.members, self.people, ("age",))

        def look() -> None:
            assert list(index.items(low, high)) == [e for e in wanted if low <= e[0] <= high]
            assert list(index.items(after=low)) == [e for e in wanted if e[0] > low]
            assert list(index.items(before=high)) == [e for e in wanted if e[0] < high]
            assert list(index.items(low, before=high, descending=True)) == [
                e for e in wanted[::-1] if low <= e[0] < high
            ]
            numbers = [self.members[key] for value, key in wanted if value == low]
            assert [person.number for person in index.find(low)] == numbers
            assert (index.count(low), low in index) == (len(numbers), bool(numbers))
            assert list(index.distinct()) == sorted({value for value, _ in wanted})
            assert [p.number for p in index.highest(2)] == [
                self.members[key] for _, key in wanted[::-1][:2]
            ]

        self.do(lambda root: look())

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "client"):
            return

        def look(root: Any) -> None:
            found = root["c"]
            assert {key: person.number for key, person in found.items()} == self.members
            if is_unique(self.members, self.people):
                check(found, self.members, self.people)

        self.do(look)

    @rule()
    def look_from_elsewhere(self) -> None:
        check(self.space.connect().root["c"], *self.stored)


def check(found: Any, members: dict[int, int], people: dict[int, Attributes]) -> None:
    assert found.check() == []
    for fields in (("age",), ("city",), ("city", "age"), ("email",)):
        index: FieldIndex[int, Person] = found.index(*fields)
        assert list(index.items()) == wanted_entries(members, people, fields)


TestCollection = CollectionMachine.TestCase
TestCollection.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)

writes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, st.integers(0, 9)),
        st.tuples(st.just("take"), keys, st.none()),
        st.tuples(st.just("change"), st.integers(0, 9), changes),
        st.tuples(st.just("change"), st.integers(0, 9), changes),
    ),
    min_size=1,
    max_size=5,
)


def write(root: Any, how: Any, members: dict[int, int], people: dict[int, Attributes]) -> None:
    for what, where, value in how:
        if what == "put":
            root["c"][where] = root["people"][value]
            members[where] = value
        elif what == "take":
            root["c"].pop(where, None)
            members.pop(where, None)
        else:
            set_attributes(root["people"][where], [value])
            people[where].update([value])


def three_ways(
    old: dict[Any, Any], first: dict[Any, Any], second: dict[Any, Any]
) -> dict[Any, Any]:
    merged = dict(first)
    for key in {*old, *second}:
        if old.get(key) != second.get(key) or (key in old) != (key in second):
            merged.pop(key, None)
            if key in second:
                merged[key] = second[key]
    return merged


@pytest.mark.rule("ST4", "SP6", "SP10")
@given(st.lists(st.lists(changes, max_size=3), min_size=10, max_size=10), writes, writes, writes)
# Who was a member once is changed by one, and put back by the other.
@example(
    [[]] * 10, [("put", 0, 0), ("put", 0, 1)], [("put", 0, 0)], [("change", 0, ("city", "Rome"))]
)
@settings(max_examples=400, deadline=None)
def test_two_writers_merge_or_conflict_and_no_index_is_stale(
    attributes: Any, before: Any, first: Any, second: Any
) -> None:
    space = SmallSpace()
    members: dict[int, int] = {}
    people: dict[int, Attributes] = {number: dict(how) for number, how in enumerate(attributes)}

    def start(root: Any) -> None:
        root["c"], root["people"] = make(), Map()
        for number, how in people.items():
            root["people"][number] = person = Person(number)
            set_attributes(person, list(how.items()))
        write(root, before, members, people)

    try:
        space.do(start)
    except NotUniqueError:
        return
    stored = [copy.deepcopy((members, people))]
    clients = [space.connect(), space.connect()]
    for client, how in zip(clients, (first, second), strict=True):
        after = copy.deepcopy((members, people))
        try:
            client.run(lambda root: write(root, how, *after))  # noqa: B023
        except NotUniqueError:
            client.abort()
            after = copy.deepcopy((members, people))
        stored.append(after)
    old, one, two = stored
    now = old
    for client, after in zip(clients, (one, two), strict=True):
        try:
            client.commit()
        except (Conflict, NotUniqueError):
            continue
        if now is old:
            now = after
        else:
            everybody = {n: three_ways(old[1][n], now[1][n], after[1][n]) for n in people}
            now = three_ways(old[0], now[0], after[0]), everybody
    root = space.connect().root
    assert {key: person.number for key, person in root["c"].items()} == now[0]
    assert is_unique(*now)
    check(root["c"], *now)


@pytest.mark.rule("SP6", "SP10")
@given(writes, st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_new_index_beside_changes_misses_none_of_them(how: Any, is_index_first: bool) -> None:
    space = SmallSpace()

    def start(root: Any) -> None:
        root["c"], root["people"] = Collection(indexes=["city"]), Map()
        for number in range(10):
            root["people"][number] = person = Person(number)
            person.age = number
            if number % 2:
                root["c"][number // 2] = person

    space.do(start)
    one, two = space.connect(), space.connect()
    one.run(lambda root: root["c"].add_index("age"))
    two.run(lambda root: write(root, how, {}, {n: {} for n in range(10)}))
    for client in (one, two) if is_index_first else (two, one):
        try:
            client.commit()
        except Conflict:
            pass
    found = space.connect().root["c"]
    assert found.check() == []
    if ("age",) in [spec.fields for spec in found._specs]:
        by_age = sorted((p.age, key) for key, p in found.items() if p.age is not None)
        assert list(found.index("age").items()) == by_age
