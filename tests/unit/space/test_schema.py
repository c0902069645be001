"""Classes that change their shape: defaults and former names (SP7)."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, NamedTuple

import msgspec
import pytest

import hubbub
from hubbub.kernel import (
    ConfigurationError,
    ReadOnlyError,
)
from hubbub.space.classes import class_name, find_class
from hubbub.space.codec import UnknownValue, decode_value, encode_value
from hubbub.space.containers import Log, Map
from hubbub.space.context import Transaction, running
from hubbub.space.defaults import default_factory
from hubbub.space.persistent import Persistent
from hubbub.space.registering import register
from tests.unit.space.reshaping import forget, made, no_object, no_ref, own_names, record_of, woken
from tests.unit.space.small_space import SmallSpace

State = dict[str, Any]

__all__ = ["own_names"]


@pytest.mark.rule("SP7")
def test_an_added_attribute_has_the_default_of_its_class_and_a_removed_one_stays_until_it_is_deleted() -> (
    None
):
    class Old(Persistent, name="schema.Room"):
        pass

    record = record_of(made(Old, title="a", gone=1))

    class New(Persistent, name="schema.Room"):
        topic = "nothing yet"

    room = woken(record)
    assert (type(room), room.title, room.topic) == (New, "a", "nothing yet")
    assert vars(room) == {"title": "a", "gone": 1}


@pytest.mark.rule("SP7")
@pytest.mark.rule("SP8")
def test_a_default_that_a_factory_makes_is_the_object_s_own_and_stored_once_it_is_changed() -> None:
    class Old(Persistent, name="schema.Room"):
        pass

    space = SmallSpace()
    space.do(lambda root: root.update(a=made(Old, title="a"), b=made(Old, title="b")))

    class New(Persistent, name="schema.Room"):
        tags: list[str] = default_factory(list)

    client = space.connect()
    assert client.run(lambda root: (root["a"].tags, root["b"].tags)) == ([], [])
    assert client.commit() == 0, "reading it rewrites nothing"
    client.run(lambda root: root["a"].tags.append("x"))
    client.commit()
    assert space.do(lambda root: (type(root["a"]), root["a"].tags, root["b"].tags)) == (
        New,
        ["x"],
        [],
    )
    assert New().tags == []
    assert isinstance(New.__dict__["tags"], type(New.tags))


def test_a_default_can_t_be_a_persistent_object_and_is_not_for_plain_classes() -> None:
    class Old(Persistent, name="schema.Room"):
        pass

    record = record_of(made(Old, title="a"))

    class New(Persistent, name="schema.Room"):
        lines: Any = default_factory(Log)

    assert New is not Old
    with pytest.raises(ConfigurationError, match="'lines' is a persistent object"):
        woken(record)

    @register
    class Plain(msgspec.Struct):
        x: int
        tags = default_factory(list)  # type: ignore[var-annotated]

    with pytest.raises(ConfigurationError, match="Plain is a plain class"):
        encode_value(Plain(1), no_ref)


@pytest.mark.rule("SP7")
def test_a_query_reads_old_states_with_mutable_values_in_them() -> None:
    """What is written otherwise now was not changed by the query."""

    @register(name="schema.Line")
    class OldLine(msgspec.Struct):
        text: str

    class Room(Persistent, name="schema.Room"):
        pass

    space = SmallSpace()
    space.do(lambda root: root.update(a=made(Room, lines=[OldLine("x")])))

    @register(name="schema.Line")
    class Line(msgspec.Struct):
        text: str
        stars: int = 0

    client = space.connect()
    client.connection.read_only = True
    with running(Transaction(client.connection, 0.0, read_only=True)):
        client.connection.track()
        assert client.root["a"].lines == [Line("x", 0)]
        client.connection.end_track()
        client.connection.track()
        client.root["a"].lines[0].stars = 1
        with pytest.raises(ReadOnlyError, match="changed a value inside"):
            client.connection.end_track()


@pytest.mark.rule("SP7")
def test_a_value_that_does_not_fit_says_so() -> None:
    @register(name="schema.Line")
    class Old(msgspec.Struct, frozen=True):
        text: str

    payload, _ = encode_value(Old("x"), no_ref)

    @register(name="schema.Line")
    class Line(msgspec.Struct, frozen=True):
        text: str
        author: str

    value = decode_value(payload, no_object).value
    assert (value.text, value.hubbub_misfit) == ("x", "there is no 'author'")
    with pytest.raises(hubbub.UnknownClassError) as caught:
        value.author  # noqa: B018
    assert str(caught.value) == (
        "a stored value does not fit its class schema.Line as it is here (there is no 'author') to use 'author': "
        "give the class a default or an upgrade step"
    )
    assert encode_value(value, no_ref)[0] == payload


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("SP7")
def test_a_renamed_class_is_found_by_its_former_names_and_stored_by_the_new_one() -> None:
    class Post(Persistent, name="blog:Post"):
        pass

    space = SmallSpace()
    space.do(lambda root: root.update(a=made(Post, title="a"), both=[made(Post, title="b")]))
    forget("blog:Post")

    class Story(Persistent, name="forum.Story", formerly="blog:Post"):
        pass

    client = space.connect()
    first = client.run(lambda root: root["a"])
    assert type(first) is Story
    assert client.run(lambda root: (root["a"].title, root["both"][0].title)) == ("a", "b")
    assert client.commit() == 0, "reading rewrites nothing"
    client.run(lambda root: setattr(root["a"], "title", "c"))
    client.commit()
    names = sorted(
        history[-1].class_name for history in space.records.values() if len(history[0].refs) == 0
    )
    assert names == ["blog:Post", "forum.Story"]
    assert space.do(lambda root: root["a"].title) == "c"


@pytest.mark.rule("SP7")
def test_plain_values_are_found_by_former_names_and_in_another_form() -> None:
    @register(name="blog:Line")
    @dataclasses.dataclass(frozen=True)
    class Line:
        author: str
        text: str

    @register(name="blog:Mood")
    class Mood(enum.Enum):
        GLAD = 1
        SAD = 2

    payload, _ = encode_value((Line("ann", "hi"), Mood.SAD), no_ref)
    for name in ("blog:Line", "blog:Mood"):
        forget(name)
    assert [type(part) for part in decode_value(payload, no_object).value] == [UnknownValue] * 2

    @register(formerly=("blog:Line", "blog:OlderLine"))
    class Said(msgspec.Struct, frozen=True):
        author: str
        text: str
        stars: int = 0

    @register(formerly="blog:Mood")
    class Feeling(enum.Enum):
        GLAD = 1
        BLUE = 2
        SAD = 2  # noqa: PIE796 - the former name

    value = decode_value(payload, no_object).value
    assert value == (Said("ann", "hi", 0), Feeling.BLUE)
    again, _ = encode_value(value, no_ref)
    assert class_name(Said).encode() in again
    assert b"blog" not in again

    forget("blog:Line")

    @register(formerly="blog:Line")
    class Pair(NamedTuple):
        author: str
        text: str

    assert decode_value(payload, no_object).value == (Pair("ann", "hi"), Feeling.SAD)


def test_a_name_belongs_to_one_class() -> None:
    class Post(Persistent, name="blog:Post"):
        pass

    with pytest.raises(ConfigurationError, match=r"it is the name of blog:Post"):

        class Story(Persistent, name="forum.Story", formerly="blog:Post"):
            pass

    class Tale(Persistent, name="forum.Tale", formerly="blog:Tale"):
        pass

    with pytest.raises(ConfigurationError, match=r"it is a former name of forum.Tale"):

        class Other(Persistent, name="blog:Tale"):
            pass

    with pytest.raises(ConfigurationError, match="is no stored name"):
        register(formerly=("",))(Post)

    # The same class once more, as after a reload.
    class TaleAgain(Persistent, name="forum.Tale", formerly="blog:Tale"):
        pass

    assert find_class("blog:Tale") is TaleAgain


@pytest.mark.rule("SP7")
def test_a_renamed_container_and_its_inner_nodes_are_found() -> None:
    class Tags(Map[str, int], name="blog:Tags"):
        pass

    space = SmallSpace()
    space.do(lambda root: root.update(tags=Tags({f"{n:04}": n for n in range(2500)})))
    forget("blog:Tags")

    class Labels(Map[str, int], name="forum.Labels", formerly="blog:Tags"):
        pass

    assert space.do(lambda root: type(root["tags"])) is Labels
    assert space.do(lambda root: sum(root["tags"].values())) == sum(range(2500))
    space.do(lambda root: root["tags"].update({f"{n:04}a": n for n in range(2500)}))
    assert space.do(lambda root: sum(root["tags"].values())) == 2 * sum(range(2500))
