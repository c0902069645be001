"""Classes that tell how their values are stored (`hubbub.register`)."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
from collections import OrderedDict, deque
from datetime import datetime

import msgspec
import persistent.wref
import pytest

from hubbub.kernel import CorruptRecordError, UnstorableError
from hubbub.space import classes, shapes, writing
from hubbub.space.codec import UnknownValue, decode_value, encode_value
from hubbub.space.persistent import Persistent
from hubbub.space.registering import register
from hubbub.space.weak import WeakRef
from tests.unit.space.small_space import SmallSpace


class Box(Persistent, name="tests.registering.Box"):
    content: object = None


class Money:
    def __init__(self, cents: int, unit: str) -> None:
        self.cents = cents
        self.unit = unit

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def money():
    """`Money` has a codec while the test runs."""
    register(
        Money,
        name="tests.Money",
        encode=lambda m: (m.cents, m.unit),
        decode=lambda parts: Money(*parts),
    )
    yield Money
    forget(Money)


def forget(cls):
    """As in a process that never registered ``cls``."""
    classes._registered.pop(classes.class_name(cls), None)
    classes._names.pop(cls, None)
    shapes._shapes.pop(cls, None)
    shapes._coded.pop(cls, None)
    writing.forget_writer(cls)


def stored(value):
    """Return ``value`` as another connection reads it after a commit."""
    space = SmallSpace()

    def put(root):
        root["box"] = box = Box()
        box.content = value

    space.do(put)
    return space.connect().root["box"].content


@pytest.mark.rule("SP2")
def test_a_registered_class_is_stored_by_its_codec(money):
    found = stored([Money(5, "EUR"), {"x": Money(-1, "USD")}])
    assert found == [Money(5, "EUR"), {"x": Money(-1, "USD")}]


@pytest.mark.rule("SP3")
def test_where_the_codec_is_not_registered_the_value_is_kept_and_written_back(money):
    data, _ = encode_value([Money(5, "EUR"), 1], no_ref)
    forget(Money)
    found = decode_value(data, no_object).value
    unknown = found[0]
    assert type(unknown) is UnknownValue
    assert (unknown.hubbub_class, unknown.hubbub_kind) == ("tests.Money", "coded")
    assert unknown.value == (5, "EUR")
    assert encode_value(found, no_ref)[0] == data


@pytest.mark.rule("SP8")
def test_a_change_in_place_of_a_registered_value_is_stored(money):
    space = SmallSpace()
    space.do(lambda root: root.update(box=Box()))
    space.do(lambda root: setattr(root["box"], "content", Money(5, "EUR")))

    def change(root):
        root["box"].content.cents = 6

    space.do(change)
    assert space.connect().root["box"].content.cents == 6


@pytest.mark.rule("SP8")
def test_what_a_frozen_value_is_encoded_to_makes_nothing_mutable():
    register(array.array, encode=lambda a: [a.typecode, list(a)], decode=from_list, frozen=True)
    try:
        data, _, has_mutable = writing.examine_value((array.array("d", [1.5]),), no_ref)
        decoded = decode_value(data, no_object)
        assert decoded.value == (array.array("d", [1.5]),)
        assert (has_mutable, decoded.has_mutable) == (False, False)
        mixed = writing.examine_value(([], array.array("d")), no_ref)
        assert (mixed[2], decode_value(mixed[0], no_object).has_mutable) == (True, True)
    finally:
        forget(array.array)


def from_list(parts):
    return array.array(parts[0], parts[1])


def test_persistent_objects_in_what_a_codec_returns_are_references():
    register(deque, name="tests.registering.deque", encode=list, decode=deque)
    space = SmallSpace()

    def put(root):
        root["box"], root["other"] = Box(), Box()
        root["box"].content = deque([root["other"], 1])

    space.do(put)
    root = space.connect().root
    assert root["box"].content[0] is root["other"]
    oid = int.from_bytes(root["other"]._p_oid, "big")
    record = space.newest(int.from_bytes(root["box"]._p_oid, "big"))
    assert record is not None
    assert oid in record.refs


def test_an_encode_that_fails_is_an_error_that_names_the_path(money):
    broken = Money(5, "EUR")
    del broken.unit
    with pytest.raises(
        UnstorableError, match=r"Box\.content\[0\]: the encode of Money failed: Attr"
    ):
        stored([broken])


@pytest.mark.parametrize(
    "decode, text",
    [
        (lambda parts: parts, "made a tuple"),
        (lambda parts: Money(*parts[:1]), "missing 1 required"),
    ],
)
def test_a_decode_that_fails_or_makes_something_else_is_an_error(money, decode, text):
    data, _ = encode_value(Money(5, "EUR"), no_ref)
    register(Money, name="tests.Money", encode=money, decode=decode)
    with pytest.raises(CorruptRecordError, match=text):
        decode_value(data, no_object)


def test_a_dataclass_that_gets_a_codec_reads_what_it_stored_without():
    @dataclasses.dataclass
    class Line:
        text: str

    register(Line, name="tests.registering.Line")
    before, _ = encode_value(Line("old"), no_ref)
    register(Line, name="tests.registering.Line", encode=lambda v: v.text, decode=Line)
    after, _ = encode_value(Line("new"), no_ref)
    assert before != after
    assert decode_value(before, no_object).value == Line("old")
    assert decode_value(after, no_object).value == Line("new")


def test_a_decorator_gives_a_name():
    @register(name="tests.registering.Colour")
    class Colour(enum.Enum):
        RED = 1

    @register
    class Point(msgspec.Struct):
        x: int

    data, _ = encode_value([Colour.RED, Point(1)], no_ref)
    assert b"tests.registering.Colour" in data
    assert decode_value(data, no_object).value == [Colour.RED, Point(1)]


@pytest.mark.parametrize("cls", [int, list, dict, datetime, WeakRef, Box])
def test_what_is_stored_anyway_gets_no_codec(cls):
    with pytest.raises(TypeError, match="is stored without a codec"):
        register(cls, encode=str, decode=cls)


def test_half_a_codec_is_an_error():
    with pytest.raises(TypeError, match="both: encode and decode"):
        register(Money, encode=str)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="give register the class"):
        register(encode=str, decode=Money)  # type: ignore[call-overload]


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Moment(datetime):
    pass


class Row(dict):
    pass


@pytest.mark.rule("SP2")
@pytest.mark.parametrize(
    "value",
    [Text("x"), Number(3), Moment(2026, 1, 1), Row(a=1), OrderedDict(), collections.Counter("a")],
)
def test_a_subclass_of_a_plain_type_is_refused_and_never_becomes_the_plain_type(value):
    with pytest.raises(
        UnstorableError, match=r"Box\.content: .* is no plain .* hubbub\.register\("
    ):
        stored(value)


@pytest.mark.rule("SP2")
def test_bool_and_int_enum_are_not_mistaken_for_int():
    found = stored([True, 1, Level.LOW, 1.0])
    assert [type(item) for item in found] == [bool, int, Level, float]


class Level(enum.IntEnum):
    LOW = 1


def test_other_objects_are_refused_with_what_to_do():
    with pytest.raises(
        UnstorableError, match=r"make it a dataclass, a msgspec\.Struct or Persistent"
    ):
        stored(Money(1, "EUR"))
    with pytest.raises(UnstorableError, match=r"use hubbub\.WeakRef"):
        stored(persistent.wref.WeakRef(Box()))


def no_ref(obj):
    raise AssertionError(obj)


def no_object(oid, name):
    raise AssertionError(oid)
