"""Collection: its edges. `tests/property/space/test_collections.py` has the rest."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import hubbub
from hubbub.kernel import (
    ConflictError,
    NoTransactionError,
    NotUniqueError,
    ReadOnlyError,
    UnstorableError,
)
from hubbub.space.classes import register
from hubbub.space.connection import Connection
from hubbub.space.containers import Collection, List
from hubbub.space.indexed import Indexed, places_of
from hubbub.space.persistent import Persistent
from tests.unit.space.small_space import Client, Conflict, SmallSpace


class Person(Indexed, name="tests.collection.Person"):
    town = "Rome"

    def __init__(self, name: str, age: Any = None) -> None:
        self.name = name
        self.age = age

    @property
    def shown(self) -> str:
        return self.name


@register
class City(msgspec.Struct, frozen=True):
    name: str
    size: int


@register
class Loose(msgspec.Struct):
    name: str


class Plain(Persistent, name="tests.collection.Plain"):
    pass


def oid_of(obj: Any) -> int:
    return int.from_bytes(obj._p_oid, "big")


@pytest.fixture
def space():
    space = SmallSpace()

    def start(root):
        root["people"] = people = Collection[str, Person](indexes=["age"], unique=["name"])
        people["a"] = Person("ann", 30)
        people["b"] = Person("bob", 40)

    space.do(start)
    return space


def names(found):
    return [person.name for person in found]


def test_members_are_found_by_their_attributes(space):
    people = space.connect().root["people"]
    ages = people.index("age")
    assert names(ages.find(30)) == ["ann"]
    assert names(ages.members(30, 40)) == ["ann", "bob"]
    assert names(ages.members(after=30)) == ["bob"]
    assert names(ages.members(descending=True)) == ["bob", "ann"]
    assert (list(ages.keys()), list(ages.items(40))) == (["a", "b"], [(40, "b")])
    assert (names(ages.lowest(1)), names(ages.highest(1))) == (["ann"], ["bob"])
    assert (names(ages.lowest(9, after=30)), names(ages.highest(9, before=40))) == (
        ["bob"],
        ["ann"],
    )
    assert (len(ages), 40 in ages, 41 in ages, ages.count(40)) == (2, True, False, 1)
    assert people.index("name").one("bob") is people["b"]
    assert people.index("name").one("cat") is None
    assert names(people.find(age=30, name="ann")) == ["ann"]
    assert people.find(age=30, name="bob") == []
    assert people.indexes == ("age", "name")


def test_it_is_a_mapping(space):
    client = space.connect()

    def body(root):
        people = root["people"]
        assert (list(people), len(people), bool(people), "a" in people) == (
            ["a", "b"],
            2,
            True,
            True,
        )
        assert (names(people.values()), [k for k, _ in people.items()]) == (
            ["ann", "bob"],
            ["a", "b"],
        )
        assert (list(people.keys()), list(reversed(people))) == (["a", "b"], ["b", "a"])
        assert (people.get("c"), people.get("a").name, people.pop("c", 5)) == (None, "ann", 5)
        with pytest.raises(KeyError):
            people["c"]
        with pytest.raises(KeyError):
            del people["c"]
        with pytest.raises(KeyError):
            people.pop("c")
        cat = people.setdefault("c", Person("cat"))
        assert people.setdefault("c", Person("dog")) is cat
        people |= {"d": Person("dog", 5)}
        assert people.popitem()[1].name == "dog"
        people.clear()
        assert (list(people), bool(people), list(people.index("age").items())) == ([], False, [])
        with pytest.raises(KeyError, match="Collection is empty"):
            people.popitem()

    client.run(body)
    client.commit()
    assert space.connect().root["people"].check() == []


@pytest.mark.rule("SP10")
def test_a_changed_attribute_is_seen_within_the_transaction_and_after_it(space):
    client = space.connect()

    def body(root):
        people = root["people"]
        people["a"].age = 50
        assert names(people.index("age").find(50)) == ["ann"]
        assert people.index("age").find(30) == []
        people["a"].age = None
        assert list(people.index("age").keys()) == ["b"]
        people["a"].age = 60

    client.run(body)
    client.commit()
    assert names(space.connect().root["people"].index("age").highest(1)) == ["ann"]


@pytest.mark.rule("SP10")
def test_a_member_that_is_reached_on_another_way_is_followed(space):
    space.do(lambda root: root.update(boss=root["people"]["a"]))
    client = space.connect()
    client.run(lambda root: setattr(root["boss"], "age", 99))  # the collection is not awake
    client.commit()
    assert names(space.connect().root["people"].index("age").find(99)) == ["ann"]


def test_a_member_of_two_collections_and_under_two_keys_is_followed_in_all(space):
    def more(root):
        root["others"] = Collection(
            {"x": root["people"]["a"], "y": root["people"]["a"]}, indexes=["age"]
        )

    space.do(more)
    space.do(lambda root: setattr(root["people"]["a"], "age", 7))
    root = space.connect().root
    assert list(root["others"].index("age").items()) == [(7, "x"), (7, "y")]
    assert list(root["people"].index("age").items()) == [(7, "a"), (40, "b")]


@pytest.mark.rule("ST7")
def test_members_dont_keep_a_collection(space):
    person = space.connect().root["people"]["a"]
    assert person.name == "ann"
    assert len(places_of(person)) == 1
    assert space.newest(oid_of(person)).refs == ()


@pytest.mark.rule("SP10")
def test_who_was_removed_or_replaced_is_not_followed_any_more(space):
    def body(root):
        root["ann"] = root["people"].pop("a")
        root["bob"] = root["people"]["b"]
        root["people"]["b"] = Person("eve", 20)

    space.do(body)
    space.do(lambda root: setattr(root["ann"], "age", 1))
    space.do(lambda root: setattr(root["bob"], "age", 2))
    people = space.connect().root["people"]
    assert list(people.index("age").items()) == [(20, "b")]
    assert people.check() == []


def test_a_collection_that_is_gone_is_forgotten_by_its_members(space):
    space.do(lambda root: (root.update(ann=root["people"]["a"]), root.__delitem__("people")))
    client = space.connect()
    client.run(lambda root: root["ann"].name)
    place = places_of(client.root["ann"])[0][0]
    del space.records[oid_of(place.target)]
    space.do(lambda root: setattr(root["ann"], "age", 5))
    assert space.connect().root["ann"].age == 5


# --- what is unique ---------------------------------------------------------------------------------------------------


def test_what_must_be_unique_is_refused_at_once_and_changes_nothing(space):
    client = space.connect()
    with pytest.raises(NotUniqueError) as caught:
        client.run(lambda root: root["people"].__setitem__("c", Person("bob", 1)))
    assert str(caught.value) == (
        "Collection: 'name' must be unique, and 'bob' is that of 'b' already: 'c' can't have it, too"
    )
    error = caught.value
    assert (error.field, error.value, error.holder, error.key) == ("name", "bob", "b", "c")
    client.commit()
    people = space.connect().root["people"]
    assert (len(people), people.check()) == (2, [])


@pytest.mark.rule("SP10")
def test_a_change_to_what_another_has_is_refused_at_the_commit_or_when_it_is_asked_for(space):
    client = space.connect()

    def body(root):
        root["people"]["a"].name = "bob"
        with pytest.raises(NotUniqueError):
            root["people"].refresh()
        assert names(root["people"].values()) == ["bob", "bob"]

    client.run(body)
    with pytest.raises(NotUniqueError):
        client.commit()
    assert space.connect().root["people"].check() == []
    assert client.root["people"]["a"].name == "ann"


def test_two_members_can_swap_a_unique_value(space):
    def swap(root):
        ann, bob = root["people"]["a"], root["people"]["b"]
        ann.name, bob.name = bob.name, ann.name

    space.do(swap)
    people = space.connect().root["people"]
    assert people.index("name").one("ann") is people["b"]
    assert people.check() == []


def test_a_value_that_its_holder_has_given_up_is_free_in_the_same_transaction(space):
    def body(root):
        root["people"]["a"].name = "ada"
        root["people"]["c"] = Person("ann")

    space.do(body)
    assert space.connect().root["people"].index("name").one("ann").age is None


@pytest.mark.rule("ST4")
def test_of_two_writers_who_claim_one_value_one_conflicts_and_then_learns_why(space):
    one, two = space.connect(), space.connect()
    one.run(lambda root: root["people"].__setitem__("x", Person("cat")))
    two.run(lambda root: root["people"].__setitem__("y", Person("cat")))
    one.commit()
    with pytest.raises(Conflict):
        two.commit()
    with pytest.raises(NotUniqueError, match="'cat' is that of 'x'"):
        two.run(lambda root: root["people"].__setitem__("y", Person("cat")))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.rule("SP8")
@pytest.mark.parametrize("member", [Plain(), Loose("x"), {"name": "x"}, "x", List()])
def test_what_could_change_unnoticed_is_no_member(member):
    with pytest.raises(TypeError, match=r"derive its class from hubbub\.Indexed"):
        Collection({"a": member})


def test_frozen_values_are_members(space):
    space.do(lambda root: root.update(cities=Collection({1: City("Rome", 3)}, indexes=["size"])))
    cities = space.connect().root["cities"]
    assert cities.index("size").find(3) == [City("Rome", 3)]


@pytest.mark.parametrize("value", [[1], {"x"}, Plain()])
def test_a_value_that_cant_be_in_an_index_is_refused_and_named(space, value):
    client = space.connect()
    with pytest.raises(UnstorableError, match=r"Person\.age: can't be in an index"):
        client.run(lambda root: root["people"].__setitem__("c", Person("cat", value)))
    client.abort()
    client.run(lambda root: setattr(root["people"]["a"], "age", value))
    with pytest.raises(UnstorableError, match=r"Person\.age: can't be in an index"):
        client.commit()
    assert space.connect().root["people"].check() == []


def test_what_is_computed_is_not_indexed_and_a_default_of_the_class_is(space):
    client = space.connect()
    with pytest.raises(UnstorableError, match=r"Person\.shown: is computed; only what is stored"):
        client.run(lambda root: root["people"].add_index("shown"))
    client.abort()
    space.do(lambda root: root["people"].add_index("town"))
    assert names(space.connect().root["people"].index("town").find("Rome")) == ["ann", "bob"]


def test_indexes_that_are_not_there_or_no_indexes(space):
    people = space.connect().root["people"]
    with pytest.raises(LookupError, match="no index of 'town'; there is 'age', 'name'"):
        people.index("town")
    with pytest.raises(LookupError, match="there is none"):
        Collection().index("town")
    with pytest.raises(ValueError, match="there is an index of 'age' already"):
        people.add_index("age")
    wrong: list[Any] = ["", "a.b", (), 5, ("a", 1)]
    for name in wrong:
        with pytest.raises((ValueError, TypeError)):
            Collection(indexes=[name])
    with pytest.raises(TypeError, match="min or after"):
        list(people.index("age").items(1, after=1))
    with pytest.raises(AttributeError, match="would be lost"):
        people.title = "x"


def test_several_with_one_value_are_not_one():
    people = Collection({1: Person("a", 5), 2: Person("b", 5)}, indexes=["age"])
    with pytest.raises(LookupError, match="several members have 'age' 5"):
        people.index("age").one(5)


@pytest.mark.parametrize(
    "change",
    [
        lambda people: people.pop("a"),
        lambda people: people.update({"c": Person("cat")}),
        lambda people: people.clear(),
        lambda people: people.add_index("town"),
        lambda people: people.rebuild(),
    ],
)
def test_outside_of_a_transaction_nothing_changes(space, change):
    client = space.connect()
    people = client.root["people"]
    with pytest.raises(NoTransactionError):
        change(people)
    client.abort()
    client.connection.mend()
    assert (list(people), people.check(), people.indexes) == (["a", "b"], [], ("age", "name"))


def test_a_query_reads_an_index_and_changes_none(space):
    client: Client = space.connect()
    query = Connection(client, read_only=True)
    query.track()
    assert names(query.root["people"].index("age").find(30)) == ["ann"]
    assert oid_of(query.root["people"]["a"]) in query.end_track()
    with pytest.raises(ReadOnlyError):
        query.root["people"].clear()


def test_a_member_of_another_connection_is_refused(space):
    ann = space.connect().root["people"]["a"]
    client = space.connect()
    with pytest.raises(UnstorableError, match="belongs to another connection"):
        client.run(lambda root: root["people"].__setitem__("z", ann))


# --- where no space is yet --------------------------------------------------------------------------------------------


def test_without_a_space_it_works_as_well():
    people = Collection({"a": Person("ann", 1)}, indexes=["age"], unique=["name"])
    people["b"] = bob = Person("bob", 2)
    bob.age, bob.name = 5, "ben"
    assert names(people.index("age").highest(1)) == ["ben"]
    people["c"] = Person("bob", 3)
    with pytest.raises(NotUniqueError):
        people["d"] = Person("ben", 3)
    assert people.check() == []


@pytest.mark.rule("SP10")
def test_a_member_that_changes_before_the_collection_is_stored_is_followed():
    space = SmallSpace()

    def start(root):
        people = Collection[str, Person](indexes=["age"])
        people["a"] = ann = Person("ann", 1)
        root["people"] = people
        ann.age = 2

    space.do(start)
    people = space.connect().root["people"]
    assert list(people.index("age").items()) == [(2, "a")]
    assert people.check() == []


def test_a_member_that_is_new_is_followed_in_the_same_transaction(space):
    def body(root):
        root["people"]["c"] = cat = Person("cat", 1)
        cat.age = 2

    space.do(body)
    people = space.connect().root["people"]
    assert list(people.index("age").items(0, 9)) == [(2, "c")]


# --- upkeep -----------------------------------------------------------------------------------------------------------


def test_an_index_can_be_added_and_given_up(space):
    space.do(lambda root: root["people"].add_index(("age", "name")))
    people = space.connect().root["people"]
    assert list(people.index("age", "name").items(min=(35, ""))) == [((40, "bob"), "b")]
    space.do(lambda root: root["people"].drop_index("age"))
    people = space.connect().root["people"]
    assert people.indexes == ("name", ("age", "name"))
    with pytest.raises(LookupError):
        people.drop_index("age")
    space.do(lambda root: setattr(root["people"]["b"], "age", 41))
    assert space.connect().root["people"].check() == []


def test_an_index_that_would_not_be_unique_is_not_added(space):
    space.do(lambda root: setattr(root["people"]["a"], "town", "Rome"))
    space.do(lambda root: setattr(root["people"]["b"], "town", "Rome"))
    client = space.connect()
    with pytest.raises(NotUniqueError, match="'town' must be unique, and 'Rome' is that of 'a'"):
        client.run(lambda root: root["people"].add_index("town", unique=True))
    assert client.commit() == 0
    people = space.connect().root["people"]
    assert (people.indexes, people.check()) == (("age", "name"), [])


def test_what_happened_behind_its_back_is_found_and_mended(space, monkeypatch):
    space.do(lambda root: root["people"].add_index("town"))
    monkeypatch.setattr(Person, "town", "Oslo")
    assert space.connect().root["people"].check() == [
        f"{key!r} has other attributes than are noted: rebuild() mends it" for key in "ab"
    ]
    space.do(lambda root: root["people"].rebuild())
    people = space.connect().root["people"]
    assert people.check() == []
    assert names(people.index("town").find("Oslo")) == ["ann", "bob"]


def test_a_damaged_index_is_found(space):
    space.do(lambda root: root["people"]._specs[0].entries.clear())
    assert space.connect().root["people"].check() == [
        "the index of 'age' has other entries: rebuild() mends it"
    ]


@pytest.mark.rule("SP5")
def test_a_savepoint_brings_members_and_indexes_back():
    with hubbub.open("memory:") as space:

        def body(root):
            people = root["people"] = Collection[str, Person](indexes=["age"])
            people["a"] = Person("ann", 1)
            point = hubbub.savepoint()
            people["a"].age = 2
            people["b"] = Person("bob", 3)
            assert list(people.index("age").items()) == [(2, "a"), (3, "b")]
            point.rollback()
            assert list(people.index("age").items()) == [(1, "a")]
            people["a"].age = 5
            hubbub.savepoint()
            people["a"].age = 6

        space.run(body)
        assert space.read(lambda root: list(root["people"].index("age").items())) == [(6, "a")]
        assert space.read(lambda root: root["people"].check()) == []
        space.run(lambda root: setattr(root["people"]["a"], "age", 7))
        assert space.read(lambda root: list(root["people"].index("age").items())) == [(7, "a")]


@pytest.mark.rule("SP6")
def test_a_new_index_and_a_new_member_at_the_same_time_conflict():
    with hubbub.open("memory:") as space, space.connect() as ann, space.connect() as bob:
        space.run(lambda root: root.update(people=Collection({"a": Person("ann", 1)})))
        for first, second in ((ann, bob), (bob, ann)):
            ann.sync()
            bob.sync()
            if not ann.root["people"].indexes:
                ann.root["people"].add_index("age")
            else:
                ann.root["people"].drop_index("age")
            bob.root["people"][first is ann] = Person("bob", 2)
            first.commit()
            with pytest.raises(ConflictError):
                second.commit()
        assert space.read(lambda root: root["people"].check()) == []
