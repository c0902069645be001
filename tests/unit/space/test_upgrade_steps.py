"""Classes that change their shape: versions, and the steps from one to the next (SP7)."""

from __future__ import annotations

import dataclasses
import enum
import types
from typing import Any, NamedTuple

import msgspec
import pytest

import hubbub
from hubbub.kernel import (
    ConfigurationError,
    NewerVersionError,
    SchemaError,
    UpgradeFailedError,
    tid_text,
)
from hubbub.space import classes
from hubbub.space.codec import decode_value, encode_value
from hubbub.space.containers import Log
from hubbub.space.opaque import OpaqueReference
from hubbub.space.persistent import Persistent
from hubbub.space.placeholders import UnknownObject
from hubbub.space.registering import register
from hubbub.space.states import encode_object
from hubbub.space.steps import upgrade
from tests.unit.space.reshaping import forget, made, no_object, no_ref, own_names, record_of, woken
from tests.unit.space.small_space import SmallSpace

State = dict[str, Any]

__all__ = ["own_names"]


def room_1() -> Any:
    class Room(Persistent, name="schema.Room"):
        pass

    return Room


def room_3() -> Any:
    class Room(Persistent, name="schema.Room", version=3):
        @upgrade(from_version=1)
        @staticmethod
        def title_becomes_topic(state: State) -> State:
            state["topic"] = state.pop("title")
            return state

        @upgrade(from_version=2)
        @staticmethod
        def rights_are_a_set(state: State) -> State:
            return {**state, "rights": frozenset(state["rights"])}

    return Room


@pytest.mark.rule("SP7")
def test_an_old_record_is_upgraded_step_by_step_and_rewritten_only_when_it_is_changed() -> None:
    Room = room_1()  # noqa: N806
    space = SmallSpace()
    space.do(lambda root: root.update(a=made(Room, title="a", rights=["r", "w"], friend=root)))
    Room = room_3()  # noqa: N806
    client = space.connect()
    room = client.run(lambda root: root["a"])
    assert type(room) is Room
    assert vars(room) == {} or room.topic == "a"
    assert client.run(lambda root: (room.topic, room.rights, room.friend is root)) == (
        "a",
        frozenset("rw"),
        True,
    )
    assert not hasattr(room, "title")
    assert not hasattr(room, "_p_version")
    assert client.commit() == 0, "loading rewrites nothing"
    (old,) = space.records[room._p_oid[-1]]
    assert b"_p_version" not in old.payload
    client.run(lambda root: setattr(room, "topic", "b"))
    client.commit()
    new = space.records[room._p_oid[-1]][-1]
    assert b"_p_version\x03" in new.payload
    assert new.refs == old.refs
    assert space.do(lambda root: (root["a"].topic, root["a"].rights)) == ("b", frozenset("rw"))


@pytest.mark.rule("SP7")
def test_what_declares_no_version_stores_none() -> None:
    record = record_of(made(room_1(), title="a"))
    assert record.payload == b"\x81\xa5title\xa1a"

    class One(Persistent, name="schema.One", version=1):
        pass

    assert record_of(made(One, title="a")).payload == record.payload


@pytest.mark.rule("SP7")
@pytest.mark.parametrize("wakes", [1, 2, 3])
def test_a_record_of_a_newer_version_is_a_clear_error_and_stays_as_it_is(wakes: int) -> None:
    Room = room_3()  # noqa: N806
    space = SmallSpace()
    space.do(lambda root: root.update(a=made(Room, topic="a", rights=frozenset())))
    oid = 2
    before = space.records[oid][-1].payload
    room_1()
    client = space.connect()
    for _ in range(wakes):
        with pytest.raises(NewerVersionError) as caught:
            client.run(lambda root: root["a"].topic)
        with pytest.raises(NewerVersionError):
            client.run(lambda root: setattr(root["a"], "topic", "b"))
    error = caught.value
    assert (error.oid, error.class_name, error.stored_version, error.class_version) == (
        oid,
        "schema.Room",
        3,
        1,
    )
    assert str(error) == (
        f"object 0x2 at tid {tid_text(1)}: a state of schema.Room is of version 3, and the class is at version 1 here: "
        "run the newer code here too; what is stored is kept as it is"
    )
    client.commit()
    assert space.records[oid][-1].payload == before


@pytest.mark.rule("SP3")
@pytest.mark.rule("SP7")
def test_a_stranger_reads_a_versioned_record_and_keeps_it() -> None:
    record = record_of(made(room_3(), topic="a", rights=["x"]))
    forget("schema.Room")
    room = woken(record)
    assert isinstance(room, UnknownObject)
    assert (room.topic, room.rights) == ("a", ["x"])
    assert encode_object(room, no_ref)[0] == record.payload

    @register(name="schema.Line", version=2)
    class Line(msgspec.Struct, frozen=True):
        text: str

    payload, _ = encode_value(Line("x"), no_ref)
    forget("schema.Line")
    line = decode_value(payload, no_object).value
    assert (line.text, line.fields) == ("x", {"text": "x"})
    assert encode_value(line, no_ref)[0] == payload


@pytest.mark.rule("SP7")
def test_a_step_that_fails_is_an_error_that_names_object_class_and_versions() -> None:
    record = record_of(made(room_1(), name="no title"))
    room_3()
    with pytest.raises(UpgradeFailedError) as caught:
        woken(record)
    error = caught.value
    assert (error.oid, error.tid, error.stored_version, error.class_version) == (7, 5, 1, 2)
    assert isinstance(error.__cause__, KeyError)
    assert str(error) == (
        f"object 0x7 at tid {tid_text(5)}: a state of schema.Room can't be upgraded from version 1 to 2 "
        "(title_becomes_topic: KeyError: 'title'): mend the step; what is stored is kept as it is"
    )
    assert isinstance(error, SchemaError)


def step_that(body: Any) -> None:
    class Room(Persistent, name="schema.Room", version=2):
        @upgrade(from_version=1)
        @staticmethod
        def change(state: State) -> State:
            result: State = body(state)
            return result

    classes.register(Room)


@pytest.mark.rule("SP7")
@pytest.mark.parametrize(
    "body, why",
    [
        (lambda state: None, "returned None; it has to return the dict"),
        (lambda state: [], "returned a list; it has to return the dict"),
        (lambda state: {1: 2}, "returned a dict; it has to return the dict"),
        (lambda state: {"x": object()}, r"x.*can't be stored"),
        (lambda state: {"x": Log()}, "is a persistent object: a step can't make one"),
        (lambda state: state["friend"].name, "can't read 'name' of another object"),
        (lambda state: setattr(state["friend"], "name", 1), "can't set 'name' of another object"),
        (lambda state: {"x": hubbub.unique() and 1 / 0}, "ZeroDivisionError"),
    ],
)
def test_what_a_step_may_not_do(body: Any, why: str) -> None:
    Room = room_1()  # noqa: N806
    record = record_of(made(Room, title="a", friend=Room()), lambda obj: 9)
    step_that(body)
    with pytest.raises(UpgradeFailedError, match=why):
        woken(record, lambda oid, name: Log())


@pytest.mark.rule("SP7")
def test_a_step_moves_references_and_has_no_transaction() -> None:
    Room = room_1()  # noqa: N806
    other = Room()
    record = record_of(
        made(Room, friend=other, same=other, gone=Room()), lambda obj: 9 if obj is other else 8
    )
    seen: list[Any] = []

    def body(state: State) -> State:
        seen.append(state)
        return {"friends": (state["friend"], state["same"]), "now": hubbub.now() > 0}

    step_that(body)
    first = woken(record, lambda oid, name: ("object", oid, name))
    assert first.friends == (("object", 9, "schema.Room"),) * 2
    friend = seen[0]["friend"]
    assert isinstance(friend, OpaqueReference)
    assert friend is seen[0]["same"]
    assert repr(friend) == "<reference to schema.Room 0x9>"


@pytest.mark.rule("SP7")
def test_a_base_and_its_subclass_count_versions_each_for_itself() -> None:
    class Document1(Persistent, name="schema.Document"):
        pass

    class Report1(Document1, name="schema.Report"):
        pass

    first = record_of(made(Report1, title="t", body="b"))

    class Document2(Persistent, name="schema.Document", version=2):
        @upgrade(from_version=1)
        @staticmethod
        def add_tags(state: State) -> State:
            return {**state, "tags": ()}

    class Report2(Document2, name="schema.Report"):
        pass

    report = woken(first)
    assert (type(report), report.tags) == (Report2, ())
    second = record_of(report)
    assert b"_p_version schema.Document\x02" in second.payload

    forget("schema.Document")

    class Document3(Persistent, name="paper.Document", formerly="schema.Document", version=2):
        @upgrade(from_version=1)
        @staticmethod
        def add_tags(state: State) -> State:
            return {**state, "tags": ()}

    class Report3(Document3, name="schema.Report", version=2):
        @upgrade(from_version=1)
        @staticmethod
        def body_becomes_text(state: State) -> State:
            state["text"] = f"{state.pop('body')}{len(state['tags'])}"
            return state

    for record in (first, second):
        report = woken(record)
        assert vars(report) == {"title": "t", "tags": (), "text": "b0"}
    third = record_of(report)
    assert vars(woken(third)) == vars(report)

    class Report4(Persistent, name="schema.Report", version=2):
        pass

    with pytest.raises(NewerVersionError):
        woken(third)


@pytest.mark.rule("SP7")
def test_plain_values_are_upgraded_by_their_own_steps() -> None:
    @register(name="schema.Temperature")
    class Old(msgspec.Struct, frozen=True):
        degrees: float
        where: Any = None

    Room = room_1()  # noqa: N806
    friend = Room()
    payload, _ = encode_value([Old(32.0, friend), Old(212.0)], lambda obj: 9)

    @register(name="schema.Temperature", version=2)
    class Temperature(msgspec.Struct, frozen=True):
        degrees: float
        where: Any = None

        @upgrade(from_version=1)
        @staticmethod
        def celsius(parts: State) -> State:
            return {**parts, "degrees": (parts["degrees"] - 32) / 1.8}

    def object_of(oid: int, name: str) -> Any:
        return friend

    value = decode_value(payload, object_of).value
    assert value == [Temperature(0.0, friend), Temperature(100.0)]
    again, refs = encode_value(value, lambda obj: 9)
    assert refs == (9,)
    assert decode_value(again, object_of).value == value

    @register(name="schema.Temperature")
    class Rolled(msgspec.Struct, frozen=True):
        degrees: float
        where: Any = None

    with pytest.raises(NewerVersionError, match=r"schema.Temperature is of version 2"):
        decode_value(again, object_of)


@pytest.mark.rule("SP7")
@pytest.mark.parametrize("kind", ["dataclass", "slots", "named tuple", "enum", "flag"])
def test_every_kind_of_plain_value_counts_versions(kind: str) -> None:
    def make(version: int | None) -> Any:
        def add(parts: State) -> State:
            return {"x": parts.get("x", 0) + 1} if "x" in parts else parts

        step = upgrade(from_version=1)(add)
        cls: Any
        if kind in ("dataclass", "slots"):

            @dataclasses.dataclass(frozen=True, slots=kind == "slots")  # type: ignore[literal-required]
            class Data:
                x: int
                if version:
                    one = step

            cls = Data
        elif kind == "named tuple":

            class Row(NamedTuple):
                x: int

            cls = Row
            if version:
                cls.one = step
        elif kind == "enum":

            class Colour(enum.Enum):
                RED = 1
                if version:

                    @upgrade(from_version=1)
                    @staticmethod
                    def one(parts: State) -> State:
                        return {"name": "RED"}

            cls = Colour
        else:

            class Bits(enum.Flag):
                A = 1
                B = 2
                if version:

                    @upgrade(from_version=1)
                    @staticmethod
                    def one(parts: State) -> State:
                        return {"value": parts["value"]}

            cls = Bits
        return register(name="schema.Value", version=version)(cls)

    cls = make(None)
    value = {"enum": lambda: cls(1), "flag": lambda: cls(3)}.get(kind, lambda: cls(1))()
    old, _ = encode_value(value, no_ref)
    cls = make(2)
    found = decode_value(old, no_object).value
    assert type(found) is cls
    if kind not in ("enum", "flag"):
        assert found == cls(2)
    new, _ = encode_value(found, no_ref)
    assert new != old
    assert decode_value(new, no_object).value == found
    make(None)
    with pytest.raises(NewerVersionError):
        decode_value(new, no_object)


@pytest.mark.rule("SP7")
def test_a_step_inside_a_record_that_fails_names_the_record() -> None:
    @register(name="schema.Line")
    class Old(msgspec.Struct, frozen=True):
        text: str

    Room = room_1()  # noqa: N806
    record = record_of(made(Room, lines=(Old("x"),)))

    @register(name="schema.Line", version=2)
    class Line(msgspec.Struct, frozen=True):
        text: str

        @upgrade(from_version=1)
        @staticmethod
        def fail(parts: State) -> State:
            raise ValueError("no")

    with pytest.raises(UpgradeFailedError, match=r"object 0x7 .* schema.Line .*ValueError: no"):
        woken(record)


# --- declarations -----------------------------------------------------------------------------------------------------


def test_steps_have_to_lead_to_the_version() -> None:
    def step(state: State) -> State:
        return state

    def declare(version: Any, *from_versions: int) -> type:
        body = {f"step{n}": upgrade(from_version=v)(step) for n, v in enumerate(from_versions)}
        kwargs = {} if version is None else {"version": version}
        return types.new_class("Room", (Persistent,), kwargs, lambda names: names.update(body))

    for version, steps, why in [
        (None, (1,), "says no version: add version=2"),
        (3, (1, 3), "has a step from version 3 but is at version 3: say version=4"),
        (3, (1, 1), "has two steps from version 1"),
        (4, (1, 3), "has no step from version 2"),
        (4, (1, 2), "has no step from version 3"),
        (0, (), "is no version"),
        ("2", (), "is no version"),
        (True, (), "is no version"),
    ]:
        with pytest.raises(ConfigurationError, match=why):
            declare(version, *steps)
    for version, steps in [(4, (2, 3)), (9, ())]:
        declare(version, *steps)
    with pytest.raises(ConfigurationError, match="from_version=0 is no version"):
        upgrade(from_version=0)
    with pytest.raises(ConfigurationError, match="stands before a function"):
        upgrade(from_version=1)(3)  # type: ignore[arg-type]


@pytest.mark.rule("SP7")
def test_a_step_of_long_ago_that_was_taken_out_is_told() -> None:
    record = record_of(made(room_1(), title="a"))

    class Room(Persistent, name="schema.Room", version=4):
        @upgrade(from_version=3)
        @staticmethod
        def last(state: State) -> State:
            return state

    with pytest.raises(UpgradeFailedError, match=r"from version 1 to 2 \(there is no step"):
        woken(record)


def test_a_step_can_be_called_by_a_test_of_the_application() -> None:
    assert room_3().title_becomes_topic({"title": "a"}) == {"topic": "a"}


def test_a_container_has_no_versions() -> None:
    class Stack(hubbub.List[int], name="schema.Stack", version=2):
        pass

    with pytest.raises(ConfigurationError, match="Stack is a container"):
        record_of(Stack())


def test_a_field_can_t_be_named_as_a_version_is() -> None:
    Bad = msgspec.defstruct("Bad", [("_p_version", int)])  # noqa: N806
    register(Bad)
    with pytest.raises(hubbub.UnstorableError, match="can't have a name like _p_version"):
        encode_value(Bad(1), no_ref)
