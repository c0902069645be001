"""Counter, and BTrees.Length."""

from __future__ import annotations

import pytest
from BTrees.Length import Length

from hubbub.kernel import CorruptRecordError, NoTransactionError
from hubbub.space.containers import Counter, Map, merge_plain_records
from hubbub.space.containers.counter import read_count
from hubbub.space.persistent import Persistent
from tests.unit.space.small_space import Conflict, SmallSpace


class Room(Persistent, name="tests.counter.Room"):
    def __init__(self) -> None:
        self.visits = Counter()
        self.name = "main"
        self.tags: list[str] = []


@pytest.fixture
def space():
    space = SmallSpace()
    space.do(lambda root: root.update(room=Room()))
    return space


def oid_of(obj):
    return int.from_bytes(obj._p_oid, "big")


def visit(root):
    root["room"].visits += 1


def test_it_is_read_as_a_number():
    counter = Counter(5)
    counter += 2
    counter -= 1
    counter.add(10)
    counter.add()
    assert (counter.value, int(counter), float(counter), str(counter)) == (17, 17, 17.0, "17")
    assert f"{counter:05d} {counter}" == "00017 17"
    assert range(20)[counter] == 17
    assert (bool(counter), bool(Counter())) == (True, False)
    assert counter != Counter(17)


@pytest.mark.parametrize("number", [1.5, "1", None])
def test_only_whole_numbers_are_added(number):
    counter = Counter(3)
    for change in (counter.add, counter.set, counter.__iadd__, counter.__isub__, Counter):
        with pytest.raises(TypeError):
            change(number)
    assert counter.value == 3
    with pytest.raises(AttributeError, match="would be lost"):
        counter.title = "x"


@pytest.mark.rule("ST4", "SP9")
def test_those_who_add_at_the_same_time_never_conflict_nor_change_what_holds_the_counter(space):
    clients = [space.connect() for _ in range(5)]
    for client in clients:
        client.run(visit)
    for client in clients:
        client.commit()
    room = space.connect().root["room"]
    assert room.visits.value == 5
    assert len(space.records[oid_of(room)]) == 1
    assert space.merges == 4


def test_an_assignment_with_other_changes_of_the_owner_is_a_change_of_it(space):
    def body(root):
        root["room"].visits += 1
        root["room"].name = "other"

    space.do(body)
    room = space.connect().root["room"]
    assert (room.visits.value, room.name) == (1, "other")

    def in_place(root):
        root["room"].visits += 1
        root["room"].tags.append("x")

    space.do(in_place)
    assert space.connect().root["room"].tags == ["x"]


def test_an_owner_that_refers_to_something_new_is_stored(space):
    def body(root):
        root["room"].visits += 1
        root["room"].name = Counter(7)

    space.do(body)
    assert space.connect().root["room"].name.value == 7


def test_after_an_assignment_the_owner_can_be_changed_and_aborted(space):
    client = space.connect()
    client.run(visit)
    client.commit()
    client.run(lambda root: setattr(root["room"], "name", "new"))
    client.commit()
    assert space.connect().root["room"].name == "new"
    client.run(visit)
    client.abort()
    assert client.root["room"].visits.value == 1
    with pytest.raises(NoTransactionError):
        visit(client.root)


def test_a_counter_in_a_map_is_added_to_there(space):
    space.do(lambda root: root.update(counts=Map(a=Counter())))
    one, two = space.connect(), space.connect()
    for client in (one, two):

        def body(root):
            root["counts"]["a"] += 2

        client.run(body)
        client.commit()
    assert space.connect().root["counts"]["a"].value == 4


def test_nothing_is_written_for_zero(space):
    client = space.connect()
    client.run(lambda root: root["room"].visits.add(0))
    assert client.commit() == 0


@pytest.mark.rule("ST4", "SP9")
def test_what_is_set_conflicts_with_all_else_and_is_added_to_by_those_behind(space):
    one, two, three = (space.connect() for _ in range(3))
    one.run(lambda root: root["room"].visits.set(100))
    two.run(lambda root: root["room"].visits.set(50))
    three.run(visit)
    one.commit()
    with pytest.raises(Conflict, match="set to a number while others changed it"):
        two.commit()
    three.commit()
    assert space.connect().root["room"].visits.value == 101


@pytest.mark.rule("SP2")
def test_any_number_comes_back(space):
    for number in (0, -1, 2**63, 2**64, -(2**200)):
        space.do(lambda root, number=number: root["room"].visits.set(number))
        assert space.connect().root["room"].visits.value == number


def test_a_length_of_btrees_is_stored_and_merges(space):
    space.do(lambda root: root.update(length=Length(3)))
    one, two = space.connect(), space.connect()
    one.run(lambda root: root["length"].change(2))
    two.run(lambda root: root["length"].change(-1))
    one.commit()
    two.commit()
    found = space.connect().root["length"]
    assert (found(), type(found)) == (4, Length)


def test_a_counter_merges_where_no_code_of_the_applications_may_run(space):
    for _ in range(2):
        space.do(visit)
    first, second, third = space.records[oid_of(space.connect().root["room"].visits)]
    merged = merge_plain_records(first, second, third)
    assert merged == merge_plain_records(first, third, second)
    assert merged == (b"\x81\xa5value\x03", ())


def test_a_damaged_counter_is_an_error(space):
    record = space.newest(oid_of(space.connect().root["room"].visits))
    for payload in (b"\x80", b"\x81\xa5value\xa1x", b"\xc0"):
        record.payload = payload
        with pytest.raises(CorruptRecordError):
            read_count(record)
