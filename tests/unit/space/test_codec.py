"""The value codec, by example."""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import persistent
import pytest

from hubbub.kernel import CorruptRecordError, UnknownClassError, UnstorableError
from hubbub.space.classes import class_name, register
from hubbub.space.codec import (
    MAX_DEPTH,
    UnknownValue,
    decode_state,
    decode_value,
    encode_state,
    encode_value,
)


class Line(msgspec.Struct, frozen=True):
    author: str
    text: str


class Loose(msgspec.Struct):
    x: int = 0


class Checked(msgspec.Struct):
    x: int

    def __post_init__(self) -> None:
        raise AssertionError("it ran")


@dataclasses.dataclass
class Note:
    text: str
    tags: list[str] = dataclasses.field(default_factory=list)

    @cached_property
    def words(self) -> int:
        return len(self.text.split())


class Thing(persistent.Persistent):
    pass


class Weighty(persistent.Persistent):
    def __hash__(self) -> int:
        return 1


class Refs:
    def __init__(self) -> None:
        self.objects: list[Any] = []

    def ref_of(self, obj: Any) -> int:
        if obj not in self.objects:
            self.objects.append(obj)
        return self.objects.index(obj) + 7

    def object_of(self, oid: int, name: str) -> Any:
        obj = self.objects[oid - 7]
        assert class_name(type(obj)) == name
        return obj


def no_ref(obj: Any) -> int:
    raise UnstorableError("?", "no references here")


def no_object(oid: int, name: str) -> Any:
    raise AssertionError


def extension_bytes(code: int, data: bytes) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, data))


def extension(code: int, content: Any) -> bytes:
    return extension_bytes(code, msgspec.msgpack.encode(content))


def round_trip(value: Any) -> Any:
    return decode_value(encode_value(value, no_ref)[0], no_object).value


@pytest.mark.rule("SP2")
def test_references_are_collected_in_order_each_once() -> None:
    refs = Refs()
    a, b = Thing(), Thing()
    data, oids = encode_value([a, (b, {"k": a}), {a, b}], refs.ref_of)
    assert oids == (7, 8)
    decoded = decode_value(data, refs.object_of)
    assert decoded.value == [a, (b, {"k": a}), {a, b}]
    assert decoded.has_refs
    assert not decoded.is_shareable


@pytest.mark.rule("SP2")
@pytest.mark.parametrize(
    "value,path,why",
    [
        ([1, (2, object())], "Room.settings[1][1]", "builtins.object"),
        ({"a": {"b": open}}, "Room.settings['a']['b']", "builtin_function"),
        ({("k", len): 1}, "Room.settings[key ('k', <built-in function len>)][1]", "builtin"),
        ({1, (2, len)}, "Room.settings[item (2, <built-in function len>)][1]", "builtin"),
        (Line("ann", sys), "Room.settings.text", "module"),  # type: ignore[arg-type]
        (OrderedDict(a=1), "Room.settings", "OrderedDict"),
        (defaultdict(list), "Room.settings", "defaultdict"),
        ([memoryview(b"")], "Room.settings[0]", "memoryview"),
        (type("Sub", (str,), {})("x"), "Room.settings", "Sub"),
        (type("Sub", (int,), {})(1), "Room.settings", "Sub"),
        (type("Sub", (list,), {})(), "Room.settings", "Sub"),
        (msgspec.Raw(b"\x01"), "Room.settings", "Raw"),
    ],
)
def test_an_error_names_the_path(value: Any, path: str, why: str) -> None:
    with pytest.raises(UnstorableError, match=why) as caught:
        encode_state({"name": "x", "settings": value}, no_ref, "Room")
    assert caught.value.path == path


@pytest.mark.rule("SP2")
def test_a_cycle_names_the_path_where_it_closes() -> None:
    settings: dict[str, Any] = {"a": [1, 2, 3]}
    settings["a"][2] = settings
    with pytest.raises(UnstorableError) as caught:
        encode_state({"settings": settings}, no_ref, "Room")
    assert caught.value.path == "Room.settings['a'][2]"
    assert "contains itself" in str(caught.value)
    wide: list[Any] = []
    wide.extend([wide] * 50)
    with pytest.raises(UnstorableError, match="contains itself"):
        encode_value(wide, no_ref)


@pytest.mark.rule("SP2")
@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}, Loose])
def test_nesting_is_bounded(wrap: Any) -> None:
    value: Any = "x"
    for _ in range(MAX_DEPTH - 1):
        value = wrap(value)
    assert round_trip(value) == value
    for _ in range(20):
        value = wrap(value)
    with pytest.raises(UnstorableError, match="nested"):
        encode_value(value, no_ref)
    for _ in range(3000):
        value = wrap(value)
    with pytest.raises(UnstorableError, match="nested"):
        encode_value(value, no_ref)


@pytest.mark.rule("SP2")
def test_an_alias_becomes_two_equal_values() -> None:
    shared = [1]
    one, other = round_trip([shared, shared])
    assert one == other == [1]
    assert one is not other


@pytest.mark.rule("SP4")
def test_volatile_attributes_are_left_out() -> None:
    data, _, _ = encode_state({"a": 1, "_v_b": object(), "_p_c": 2, "_private": 3}, no_ref)
    assert decode_state(data, no_object).value == {"a": 1, "_private": 3}


@pytest.mark.rule("SP8")
@pytest.mark.parametrize(
    "value,is_mutable",
    [
        (1, False),
        ((1, "a", (2.0, None)), False),
        (Line("a", "b"), False),
        (frozenset({1}), False),
        ([], True),
        ({}, True),
        ({(1, 2): 3}, True),
        (set(), True),
        (bytearray(), True),
        (Loose(), True),
        (Note("x"), True),
        ((1, [2]), True),
        ((1, (2, {})), True),
        (Line("a", []), True),  # type: ignore[arg-type]
        (UnknownValue("gone:Line", "struct", {"a": 1}), False),
        (UnknownValue("gone:Line", "struct", {"a": []}), True),
    ],
)
def test_it_is_told_what_can_be_changed_in_place(value: Any, is_mutable: bool) -> None:
    data, _, told = encode_state({"x": value}, no_ref)
    assert told is is_mutable
    assert decode_state(data, no_object).has_mutable is is_mutable
    assert decode_value(encode_value(value, no_ref)[0], no_object).is_shareable is not is_mutable


def test_a_set_is_written_the_same_whatever_its_order() -> None:
    one, other = set(range(100)), set(range(99, -1, -1))
    assert encode_value(one, no_ref) == encode_value(other, no_ref)
    assert encode_value({"a", "b"}, no_ref) == encode_value({"b", "a"}, no_ref)


def test_a_time_stamp_of_another_language_is_read() -> None:
    data = b"\xd6\xff\x00\x00\x00\x00"
    assert decode_value(data, no_object).value == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.rule("SP3")
def test_code_of_a_class_runs_only_when_it_is_registered() -> None:
    data = extension(10, [class_name(Checked), {"x": 3}])
    found = decode_value(data, no_object).value
    assert type(found) is UnknownValue
    assert found.x == 3
    register(Checked)
    with pytest.raises(CorruptRecordError, match="it ran"):
        decode_value(data, no_object)


def test_a_class_with_a_post_init_must_be_registered_to_be_stored() -> None:
    class Quiet(msgspec.Struct):
        def __post_init__(self) -> None:
            pass

    with pytest.raises(UnstorableError, match=r"__post_init__.*hubbub\.register"):
        encode_value(Quiet(), no_ref)
    register(Quiet)
    assert round_trip(Quiet()) == Quiet()


@pytest.mark.rule("SP3")
def test_an_unknown_value_is_read_and_told_apart() -> None:
    value = UnknownValue("gone:Line", "struct", {"author": "ann", "kind": 2})
    assert (value.author, value.kind, value.hubbub_kind) == ("ann", 2, "struct")
    assert value == round_trip(value)
    assert hash(value) == hash(round_trip(value))
    assert value != UnknownValue("gone:Line", "struct", {"author": "bob", "kind": 2})
    assert "gone:Line(author='ann'" in repr(value)
    with pytest.raises(UnknownClassError, match="gone:Line"):
        value.shout()
    with pytest.raises(UnknownClassError):
        value.author = "bob"
    assert not hasattr(value, "__len__")


@pytest.mark.rule("SP7")
def test_a_class_that_has_changed_its_shape_since() -> None:
    def made(code: int, name: str, parts: dict[str, Any]) -> Any:
        return decode_value(extension(code, [name, parts]), no_object).value

    assert made(10, class_name(Loose), {"x": 1, "gone": 2}) == Loose(1)
    assert made(10, class_name(Loose), {}) == Loose(0)
    assert type(made(10, class_name(Line), {"author": "ann"})) is UnknownValue
    assert made(11, class_name(Note), {"text": "hi"}) == Note("hi", [])
    assert made(12, class_name(Pair), {"left": 1, "old": 3}) == Pair(1, 5)
    assert type(made(13, class_name(Colour), {"name": "BLUE"})) is UnknownValue
    # What was a struct and is a dataclass now, with the same name and parts.
    assert made(10, class_name(Note), {"text": "hi"}) == Note("hi", [])
    assert type(made(13, class_name(Note), {"name": "hi"})) is UnknownValue


class Pair(NamedTuple):
    left: int
    right: int = 5


class Colour(enum.Enum):
    RED = 1


@pytest.mark.rule("SP2")
def test_nothing_beside_the_fields_is_lost_silently() -> None:
    note = Note("two words")
    assert note.words == 2  # cached beside the fields, and can be had again
    assert round_trip(note) == note
    note.extra = 1  # type: ignore[attr-defined]
    with pytest.raises(UnstorableError, match="extra"):
        encode_value(note, no_ref)


@pytest.mark.rule("SP2")
def test_a_class_that_could_not_be_found_again_is_refused() -> None:
    class Local(msgspec.Struct):
        x: int

    with pytest.raises(UnstorableError, match=r"hubbub\.register"):
        encode_value(Local(1), no_ref)
    register(Local)
    assert round_trip(Local(1)) == Local(1)


@pytest.mark.rule("SP3")
@pytest.mark.parametrize("make", [lambda w: {w}, lambda w: {w: 1}, lambda w: frozenset({(1, w)})])
def test_a_key_that_has_to_be_loaded_to_be_hashed_is_refused(make: Any) -> None:
    with pytest.raises(UnstorableError, match="hash of its own"):
        encode_value(make(Weighty()), lambda obj: 1)
    reference = extension_bytes(1, bytes(8) + class_name(Weighty).encode())
    data = extension_bytes(7, b"\x91" + reference)
    with pytest.raises(CorruptRecordError, match="hash of its own"):
        decode_value(data, lambda oid, name: Weighty())


@pytest.mark.rule("SP3")
def test_bytes_with_a_wild_time_zone_open_no_file() -> None:
    data = extension(20, ["2026-01-01T00:00:00", 0, "../../../etc/passwd"])
    found = decode_value(data, no_object).value
    assert type(found) is UnknownValue
    assert found.zone == "../../../etc/passwd"
    assert encode_value(found, no_ref)[0] == data


def test_errors_of_the_callbacks_pass() -> None:
    data, _ = encode_value([Thing()], lambda obj: 1)

    def broken(oid: int, name: str) -> Any:
        raise UnknownClassError(name)

    with pytest.raises(UnknownClassError):
        decode_value(data, broken)
    with pytest.raises(UnstorableError, match=r"value\[0\]: no references"):
        encode_value([Thing()], no_ref)
    with pytest.raises(CorruptRecordError):
        decode_value(b"\xc1", no_object)
