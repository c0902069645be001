"""Map and SortedMap: their edges. `tests/property/space/test_maps.py` has the rest."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import pytest

from hubbub.kernel import NoTransactionError, Record, UnstorableError
from hubbub.space.classes import class_name, register
from hubbub.space.containers import DELETED, Map, SortedMap, merge_records
from hubbub.space.containers.changes import CLEARED
from hubbub.space.persistent import Persistent
from tests.unit.space.small_space import Conflict, SmallSpace


@register
class Square(msgspec.Struct, frozen=True):
    row: int
    column: int


@register
class Loose(msgspec.Struct):
    x: int


@register
class Place(NamedTuple):
    row: int
    column: int


@register
class Level(enum.IntEnum):
    LOW = 1


class Board(Persistent):
    def __init__(self, name: str = "") -> None:
        self.name = name


class Boards(Map[str, Board]):
    __slots__ = ()


def test_it_is_made_as_a_dict_is() -> None:
    assert dict(Map({"a": 1}, b=2).items()) == {"a": 1, "b": 2}
    assert dict(Map([("a", 1)])) == {"a": 1}  # type: ignore[call-overload]
    assert dict(SortedMap({"a": 1}, b=2)) == {"a": 1, "b": 2}  # type: ignore[call-overload]
    board = Board()
    assert Map(main=board)["main"] is board
    assert dict(Map()) == {}  # type: ignore[call-overload]
    merged = Map(a=1)
    merged |= {"b": 2}
    assert dict(merged.items()) == {"a": 1, "b": 2}
    with pytest.raises(TypeError):
        Map(a=1) | {"b": 2}  # type: ignore[operator]


def test_it_iterates_in_a_fixed_order() -> None:
    keys = ["b", "a", "B", 10, 9, -1, 2.5, None, b"x", (1, "b"), (1, "a"), ""]
    wanted = [None, -1, 2.5, 9, 10, "", "B", "a", "b", b"x", (1, "a"), (1, "b")]
    assert list(Map(zip(keys, keys, strict=True))) == wanted
    assert list(Map(zip(keys, keys, strict=True)).values()) == wanted


@pytest.mark.parametrize(
    "keys",
    [
        (1, 1.0, True, Level.LOW, Decimal("1.0"), Fraction(2, 2), 1 + 0j),
        (0.5, Decimal("0.5"), Fraction(1, 2)),
        ((1, "x"), (1.0, "x"), (True, "x")),
        ((1, 2), Place(1, 2)),
        (
            datetime(2026, 1, 1, 12, tzinfo=UTC),
            datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        ),
        (range(0), range(5, 5)),
        (frozenset({1, 2}), frozenset({2.0, 1})),
    ],
)
def test_equal_keys_are_one_key_and_the_first_stays(keys: Any) -> None:
    for first in keys:
        stored: Map[Any, Any] = Map()
        stored[first] = 0
        for key in keys:
            stored[key] = stored[key] + 1
        assert dict(stored.items()) == {first: len(keys)}
        (kept,) = stored
        assert type(kept) is type(first)


def test_frozen_structs_are_keys() -> None:
    stored = Map({Square(1, 2): "a", Square(1, 1): "b"})
    assert stored[Square(1, 2)] == "a"
    assert list(stored) == [Square(1, 1), Square(1, 2)]
    assert Square(2, 2) not in stored


@pytest.mark.parametrize("key", [[], {}, set(), Loose(1), (1, [])])
def test_what_cannot_be_hashed_is_no_key(key: Any) -> None:
    stored: Map[Any, Any] = Map()
    for touch in (lambda: stored.get(key), lambda: key in stored):
        with pytest.raises(TypeError):
            touch()
    with pytest.raises(TypeError):
        stored[key] = 1


def test_a_persistent_object_is_no_key() -> None:
    with pytest.raises(UnstorableError, match="id or name"):
        Map({Board(): 1})


def test_a_missing_key_is_named() -> None:
    stored: Map[Any, Any] = Map()
    for touch in (
        lambda: stored["a"],
        lambda: stored.pop("a"),
        lambda: stored.__delitem__("a"),
    ):
        with pytest.raises(KeyError, match="'a'"):
            touch()
    assert stored.pop("a", 1) == 1
    assert stored.get("a") is None
    with pytest.raises(KeyError, match="empty"):
        stored.popitem()


def test_two_maps_are_equal_only_if_they_are_one() -> None:
    stored = Map(a=1)
    assert stored == stored
    assert stored != Map(a=1)
    assert len({stored, Map(a=1)}) == 2


def test_attributes_are_refused_loudly() -> None:
    made: list[Any] = [Boards(), SortedMap(), Map()]
    for stored in made:
        with pytest.raises(AttributeError, match="title"):
            stored.title = "x"


def test_a_subclass_is_stored_as_itself() -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(b=Boards((str(n), Board(str(n))) for n in range(500))))
    found = space.connect().root["b"]
    assert type(found) is Boards
    assert found["77"].name == "77"
    assert len(found) == 500


def test_outside_a_transaction_nothing_changes() -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(m=Map(a=1), s=SortedMap(a=1)))
    root = space.connect().root
    for stored in (root["m"], root["s"]):
        for touch in (
            lambda m: m.__setitem__("b", 1),
            lambda m: m.__delitem__("a"),
            lambda m: m.setdefault("b", 1),
            lambda m: m.pop("a"),
            lambda m: m.popitem(),
            lambda m: m.update(b=1),
            lambda m: m.clear(),
        ):
            with pytest.raises(NoTransactionError):
                touch(stored)
        assert dict(stored.items()) == {"a": 1}


@pytest.mark.rule("LV3")
def test_changes_are_noted_by_key() -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(m=Map(a=1, b=2)))
    client = space.connect()

    def change(root: Any) -> None:
        stored = root["m"]
        stored["c"] = 3
        del stored["a"]
        stored.setdefault("b", 9)

    client.run(change)
    client.commit()
    assert list(client.changes.values()) == [{"c": 3, "a": DELETED}]
    client.run(lambda root: root["m"].clear())
    client.commit()
    assert CLEARED in next(iter(client.changes.values()))


@pytest.mark.rule("SP6")
def test_an_insert_beside_a_clear_does_not_vanish() -> None:
    for cls in (Map, SortedMap):
        space = SmallSpace()
        space.do(lambda root, cls=cls: root.update(m=cls((n, n) for n in range(500))))  # type: ignore[misc]
        one, two = space.connect(), space.connect()
        one.run(lambda root: root["m"].clear())
        two.run(lambda root: root["m"].__setitem__(1000, 1))
        one.commit()
        with pytest.raises(Conflict):
            two.commit()


@pytest.mark.rule("ST4")
def test_a_merge_keeps_references_and_values_that_it_does_not_know() -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(m=Map(a=Board("a"), z=Square(1, 2))))
    one, two = space.connect(), space.connect()
    one.run(lambda root: root["m"].update(b=Board("b")))
    two.run(lambda root: root["m"].update(c=Board("c"), d=Square(3, 4)))
    one.commit()
    two.commit()
    found = space.connect().root["m"]
    assert [board.name for board in (found["a"], found["b"], found["c"])] == ["a", "b", "c"]
    assert (found["z"], found["d"]) == (Square(1, 2), Square(3, 4))
    record = space.newest(int.from_bytes(found._p_oid, "big"))
    assert record is not None
    boards = [found[key] for key in "abc"]
    assert list(record.refs) == [int.from_bytes(board._p_oid, "big") for board in boards]


@pytest.mark.rule("SP3", "ST4")
def test_a_merge_of_an_unknown_class_or_with_unknown_keys_is_refused() -> None:
    def record(name: str, *items: Any) -> Record:
        return Record(1, 1, name, (), msgspec.msgpack.encode([[*items]]))

    outcome = merge_records(*(record("gone:Boards", "a", n) for n in range(3)))
    assert outcome == "its class is not known here"
    key = msgspec.msgpack.Ext(10, msgspec.msgpack.encode(["gone:Key", {"x": 1}]))
    other = msgspec.msgpack.Ext(10, msgspec.msgpack.encode(["gone:Key", {"x": 2}]))
    name = class_name(SortedMap)
    outcome = merge_records(
        record(name, key, 1), record(name, key, 2), record(name, key, 1, other, 1)
    )
    assert isinstance(outcome, str)
    outcome = merge_records(record(name), record("other"), record(name))
    assert outcome == "its class was changed"
    assert merge_records(*[record(class_name(Board), 1)] * 3) == (
        "objects of its class can't be merged"
    )


@pytest.mark.rule("ST4")
def test_a_class_may_merge_itself() -> None:
    class Counter(Persistent):
        def __init__(self) -> None:
            self.count = 0
            self.board = Board()

        @staticmethod
        def merge(old: Any, committed: Any, new: Any) -> Any:
            if new["board"] is not old["board"]:
                return None
            return {**committed, "count": committed["count"] + new["count"] - old["count"]}

    space = SmallSpace()
    space.do(lambda root: root.update(counter=Counter()))
    one, two = space.connect(), space.connect()
    for client, step in ((one, 2), (two, 5)):
        client.run(lambda root, n=step: setattr(root["counter"], "count", n))  # type: ignore[misc]
        client.commit()
    found = space.connect().root["counter"]
    assert found.count == 7
    assert type(found.board) is Board
    three, four = space.connect(), space.connect()
    three.run(lambda root: setattr(root["counter"], "count", 0))
    four.run(lambda root: setattr(root["counter"], "board", Board()))
    three.commit()
    with pytest.raises(Conflict, match="could not merge"):
        four.commit()
