"""States of persistent objects: attributes, B-tree nodes, objects of unknown classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import BTrees
import pytest
from BTrees.IOBTree import IOBTree
from BTrees.LLBTree import LLTreeSet
from BTrees.OOBTree import OOBTree, OOTreeSet

from hubbub.kernel import CorruptRecordError, Record, UnknownClassError, UnstorableError
from hubbub.space.classes import class_name
from hubbub.space.containers import List, Log, Map, SortedMap
from hubbub.space.persistent import Persistent
from hubbub.space.placeholders import UnknownObject
from hubbub.space.states import class_for, encode_object, examine_object, fill_object
from tests.unit.space.small_space import SmallSpace


class Room(Persistent):
    def __init__(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            setattr(self, name, value)


def no_ref(obj: Any) -> int:
    raise AssertionError(obj)


def record_of(obj: Any, ref_of: Any = no_ref) -> Record:
    payload, refs = encode_object(obj, ref_of)
    return Record(1, 1, class_name(type(obj)), refs, payload)


def woken(record: Record, object_of: Any = None) -> Any:
    cls = class_for(record.class_name)
    obj = cls.__new__(cls)
    fill_object(obj, record, object_of)
    return obj


@pytest.mark.rule("SP2")
def test_attributes_come_back() -> None:
    record = record_of(Room(name="x", pos=(1, 2), _v_gone=object()))
    room = woken(record)
    assert type(room) is Room
    assert vars(room) == {"name": "x", "pos": (1, 2)}


@pytest.mark.rule("SP1")
def test_a_state_that_can_be_shared_is_decoded_for_the_first_two() -> None:
    other = Room()
    record = record_of(Room(name="x", pos=(1, 2), friend=other), lambda obj: 7)
    ghosts: list[Any] = []

    def object_of(oid: int, name: str) -> Any:
        ghosts.append((oid, name))
        return other

    # Most objects of a peer wake once: what they hold is not kept twice.
    assert woken(record, object_of).pos == (1, 2)
    one = woken(record, object_of)
    memo = record.memo
    two = woken(record, object_of)
    assert record.memo is memo
    assert one.pos is two.pos
    assert list(vars(one)) == ["name", "pos", "friend"]
    assert one.friend is two.friend is other
    assert ghosts[-1] == (7, class_name(Room))
    one.name = "y"
    assert woken(record, object_of).name == "x"


@pytest.mark.rule("SP8")
@pytest.mark.parametrize(
    "make,is_mutable",
    [
        (lambda: Room(x=1), False),
        (lambda: Room(x=[1]), True),
        (lambda: Map(a=(1, 2)), False),
        (lambda: Map(a=[]), True),
        (lambda: Map[Any, int]({(1, 2): 3}), False),
        (lambda: SortedMap(a={}), True),
        (lambda: List([1, "a"]), False),
        (lambda: List([{}]), True),
        (lambda: Log([1, (2,)]), False),
        (lambda: Log([[1]]), True),
        (lambda: IOBTree({1: []}), True),
        (lambda: OOTreeSet([1, 2]), False),
    ],
)
def test_a_state_that_can_be_changed_in_place_is_told_and_not_shared(
    make: Any, is_mutable: bool
) -> None:
    obj = make()
    assert examine_object(obj, no_ref)[2] is is_mutable
    record = record_of(obj)
    cls = class_for(record.class_name)
    one, two = cls.__new__(cls), cls.__new__(cls)
    assert fill_object(one, record, None) is is_mutable  # type: ignore[arg-type]
    assert fill_object(two, record, None) is is_mutable  # type: ignore[arg-type]
    if is_mutable and isinstance(obj, (Map, SortedMap)):
        assert one["a"] == two["a"]
        assert one["a"] is not two["a"]


@pytest.mark.rule("SP8")
def test_a_change_in_place_inside_a_container_is_stored() -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(m=Map(a=[1]), log=Log([[1]]), items=List([[1]])))
    space.do(lambda root: root["m"]["a"].append(2))
    space.do(lambda root: root["log"][0].append(2))
    space.do(lambda root: root["items"][0].append(2))
    root = space.connect().root
    assert (root["m"]["a"], root["log"][0], root["items"][0]) == ([1, 2], [1, 2], [1, 2])


@pytest.mark.parametrize(
    "make",
    [
        lambda: OOBTree(),
        lambda: OOBTree({1: "a", 2: "b"}),
        lambda: OOTreeSet([1, 2]),
        lambda: IOBTree({1: "a"}),
        lambda: LLTreeSet([1, 2]),
        lambda: BTrees.family64.OO.Bucket({1: 2}),
        lambda: BTrees.family32.OO.Set([1, 2]),
        lambda: BTrees.family32.IF.BTree({1: 2.5}),
    ],
)
def test_all_of_btrees_can_be_stored(make: Any) -> None:
    obj = make()
    found = woken(record_of(obj))
    assert type(found) is type(obj)
    assert found.__getstate__() == obj.__getstate__()


@pytest.mark.parametrize("cls", [OOBTree, OOTreeSet, IOBTree, LLTreeSet, SortedMap, Map])
def test_big_trees_come_back_whole(cls: Any) -> None:
    space = SmallSpace()
    is_set = hasattr(cls(), "add")

    def fill(root: Any) -> None:
        root["t"] = tree = cls()
        for key in range(5000):
            if is_set:
                tree.add(key)
            else:
                tree[key] = str(key)

    space.do(fill)
    tree = space.connect().root["t"]
    assert list(tree) == list(range(5000))
    tree._check()
    assert all(set(record.refs) <= set(space.records) for (record,) in space.records.values())
    space.do(lambda root: root["t"].clear())
    assert not space.connect().root["t"]


@pytest.mark.rule("SP2")
def test_an_error_in_a_container_names_the_key() -> None:
    for make, path in (
        (lambda: SortedMap(a=1, b=[object()]), "SortedMap['b'][0]"),
        (lambda: Map(b=[object()]), "Map['b'][0]"),
        (lambda: List([1, object()]), "List[1]"),
        (lambda: Room(a={"x": object()}), "Room.a['x']"),
    ):
        with pytest.raises(UnstorableError) as caught:
            encode_object(make(), no_ref)  # type: ignore[no-untyped-call]
        assert caught.value.path == path


def test_an_object_with_slots_is_refused() -> None:
    class Slotted(Persistent):
        __slots__ = ("x",)

    obj = Slotted()
    obj.x = 1
    with pytest.raises(UnstorableError, match="__slots__"):
        encode_object(obj, no_ref)


# --- objects of unknown classes ---------------------------------------------------------------------------------------


def stranger(record: Record) -> Any:
    record.class_name = "gone.module:Room"
    return woken(record, lambda oid, name: class_for(name)())


@pytest.mark.rule("SP3")
def test_an_object_of_an_unknown_class_is_kept_and_readable() -> None:
    original = record_of(Room(name="x", friend=Room(), tags=["a"]), lambda obj: 7)
    found = stranger(original)
    assert isinstance(found, UnknownObject)
    assert type(found).__name__ == "Room"
    assert class_name(type(found)) == "gone.module:Room"
    assert (found.name, found.tags) == ("x", ["a"])
    assert type(found.friend) is Room
    assert encode_object(found, lambda obj: 7) == (original.payload, original.refs)
    assert not hasattr(found, "__iter_me__")
    assert bool(found)
    for touch in (
        lambda: found.shout(),
        lambda: setattr(found, "name", "y"),
        lambda: delattr(found, "name"),
        lambda: len(found),
        lambda: found["x"],
        lambda: list(found),
    ):
        with pytest.raises(UnknownClassError, match=r"gone\.module:Room"):
            touch()
    assert class_for("gone.module:Room") is type(found)


@pytest.mark.rule("SP3", "SP8")
def test_an_object_of_an_unknown_class_changed_in_place_is_refused() -> None:
    found = stranger(record_of(Room(tags=["a"])))
    found.tags.append("b")
    with pytest.raises(UnstorableError, match=r"gone\.module:Room.*changed in place"):
        encode_object(found, no_ref)


@pytest.mark.rule("SP3")
def test_a_container_of_an_unknown_class_is_kept() -> None:
    original = record_of(Map(a=1))
    found = stranger(original)
    assert encode_object(found, no_ref) == (original.payload, original.refs)
    with pytest.raises(UnknownClassError):
        found["a"]


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("cls", [OOBTree, Map, type(OOBTree({1: 1}))._bucket_type, IOBTree])
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc0",
        b"\x91",
        b"\x91\xc0",
        b"\x91\x91\x01",
        b"\x93\x01\x02\x03",
        b"\x94\x00\x90\xc4\x00\x01",
        b"\x94\x00\x91\x01\xc4\x08\0\0\0\0\0\0\0\1\x01",
        b"\x94\x00\x90\xc4\x07\0\0\0\0\0\0\0\x01",
        b"\x94\x00\x90\xc4\x08\0\0\0\0\0\0\0\1\x01",
        b"\x92\x92\x01\x02\x05",
        b"\x95\x00\x90\xc4\x08\0\0\0\0\0\0\0\1\x01\x01",
    ],
)
def test_a_damaged_node_is_an_error_and_no_crash(cls: Any, payload: bytes) -> None:
    record = Record(1, 1, class_name(cls), (), payload)
    with pytest.raises(CorruptRecordError):
        woken(record, lambda oid, name: Room())


class Upgraded(Persistent):
    """Has its say in how a state is taken."""

    def __setstate__(self, state: Any) -> None:
        super().__setstate__({**state, "is_upgraded": True})


class Cut(Persistent):
    """Has its say in what is stored."""

    def __getstate__(self) -> Any:
        return {"kept": self.__dict__["kept"]}


class Slotted(Persistent):
    __slots__ = ("x",)


def test_a_class_may_have_its_say_in_its_state() -> None:
    old = Upgraded()
    old.x = 1
    assert vars(woken(record_of(old))) == {"x": 1, "is_upgraded": True}
    cut = Cut()
    cut.kept, cut.lost = 1, 2
    assert vars(woken(record_of(cut))) == {"kept": 1}
    slotted = Slotted()
    slotted.x = 1
    with pytest.raises(UnstorableError, match="__slots__"):
        record_of(slotted)


@pytest.mark.rule("SP2")
def test_a_reference_to_a_persistent_dataclass_is_a_reference() -> None:
    @dataclass(eq=False)
    class Desk(Persistent):
        x: int = 1

    record = record_of(Room(desk=Desk()), lambda obj: 7)
    assert record.refs == (7,)
    assert record_of(Room(desk=Desk(), pos=(1,)), lambda obj: 7).refs == (7,)
    found: list[tuple[int, str]] = []
    woken(record, lambda oid, name: found.append((oid, name)))
    assert found == [(7, class_name(Desk))]


def test_a_reference_is_written_without_waking_what_it_refers_to() -> None:
    space = SmallSpace()

    def fill(root: Any) -> None:
        root["room"] = Room(name="a", other=Room(name="b"), third=Room(name="c"))

    space.do(fill)
    client = space.connect()
    room = client.root["room"]
    other = room.other
    loads = client.loads
    payload, refs = encode_object(room, lambda obj: int.from_bytes(obj._p_oid, "big"))
    newest = space.newest(int.from_bytes(room._p_oid, "big"))
    assert newest is not None
    assert (payload, refs) == (newest.payload, newest.refs)
    assert client.loads == loads
    assert other._p_state == -1


@pytest.mark.rule("SP1")
def test_objects_that_wake_from_one_record_do_not_share_their_attributes() -> None:
    record = record_of(Room(name="x"))
    rooms = [woken(record) for _ in range(4)]
    for number, room in enumerate(rooms):
        room.name = number
    assert [room.name for room in rooms] == [0, 1, 2, 3]
    assert woken(record).name == "x"


@pytest.mark.rule("SP2")
@pytest.mark.parametrize("count", [15, 16, 61, 70_000])
def test_any_number_of_attributes_comes_back(count: int) -> None:
    attributes = {f"number_{n}": n for n in range(count)}
    assert vars(woken(record_of(Room(**attributes)))) == attributes
    assert vars(woken(record_of(Room(name="x")))) == {"name": "x"}


@pytest.mark.rule("SP2")
def test_objects_of_one_class_with_names_of_their_own_come_back() -> None:
    for n in range(200):
        attributes = {f"own_{n}": n, "name": "x"}
        assert vars(woken(record_of(Room(**attributes)))) == attributes


@pytest.mark.rule("SP3")
def test_a_class_that_becomes_known_is_used_from_then_on() -> None:
    name = "tests.late:Late"
    assert issubclass(class_for(name), UnknownObject)

    class Late(Persistent, name=name):
        pass

    assert class_for(name) is Late

    class Later(Persistent, name=name):
        pass

    assert class_for(name) is Later
