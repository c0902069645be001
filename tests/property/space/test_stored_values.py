"""Any value through commits, merges of attributes and reloads, in memory and in a file (SP2, SP8)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hubbub
from hubbub.space.persistent import Persistent
from hubbub.space.weak import WeakRef
from tests.property.space.values import Cell, Fixed, Line, Pair, Settings, same, values

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


class Holder(Persistent, name="tests.stored.Holder"):
    """What values are attributes of."""

    value: Any = None
    other: Any = None


@pytest.fixture(scope="module")
def space():
    with hubbub.open("memory:") as space:
        space.run(lambda root: root.update(holder=Holder(), map=hubbub.Map(), log=hubbub.Log()))
        yield space


def reread(space, how):
    """Return what ``how(root)`` gives in a connection that has read nothing yet."""
    with space.connect() as connection:
        return how(connection.root)


@pytest.mark.rule("SP2")
@given(value=values)
@settings(max_examples=150, deadline=None)
def test_a_committed_value_comes_back_type_for_type_from_each_place(space, value):
    def put(root):
        root["holder"].value = value
        root["map"]["key"] = value
        root["log"].append(value)
        root["list"] = hubbub.List([value])

    space.run(put)
    assert same(reread(space, lambda root: root["holder"].value), value)
    assert same(reread(space, lambda root: root["map"]["key"]), value)
    assert same(reread(space, lambda root: root["log"].last(1)[0]), value)
    assert same(reread(space, lambda root: root["list"][0]), value)


@pytest.mark.rule("SP2")
@given(many=st.lists(values, min_size=20, max_size=20))
@settings(max_examples=4, deadline=None)
def test_values_come_back_from_a_file_that_was_closed(tmp_path_factory, many):
    path = tmp_path_factory.mktemp("values") / "data.hub"
    with hubbub.open(str(path)) as space:
        for number, value in enumerate(many):
            space.run(lambda root, n=number, v=value: root.__setitem__(n, v))
    with hubbub.open(str(path)) as space:
        found = space.read(lambda root: [root[number] for number in range(len(many))])
    assert same(found, many)


def change(value: Any, data: Any) -> bool:
    """Change ``value`` or something in it in place; tell whether that could be done."""
    kind = type(value)
    inside: list[Any] = []
    if kind is dict:
        inside = list(value.values())
    elif isinstance(value, (list, tuple)):
        inside = list(value)
    elif kind in (Line, Cell, Settings, Pair):
        inside = [
            getattr(value, n) for n in ("begin", "end", "content", "values") if hasattr(value, n)
        ]
    elif kind is Fixed:
        return False  # said to be frozen all through
    for part in data.draw(st.permutations(inside)):
        if change(part, data):
            return True
    if kind is list:
        value.append("more")
    elif kind is dict:
        value["more"] = "more"
    elif kind is set:
        value.add("more than there was")
    elif kind is bytearray:
        value.append(7)
    elif kind is Settings:
        value.more = ("more", copy.copy(value.more))
    elif kind is Cell:
        value.content = ("more", 0)
    else:
        return False
    return True


@pytest.mark.rule("SP8")
@given(value=values, data=st.data())
@settings(max_examples=250, deadline=None)
def test_a_change_in_place_is_stored_and_an_abort_undoes_it(space, value, data):
    space.run(lambda root: setattr(root["holder"], "value", value))
    with space.connect() as connection:
        holder = connection.root["holder"]
        before = copy.deepcopy(holder.value)
        is_changed = change(holder.value, data)
        connection.abort()
        assert same(holder.value, before)
        is_changed = change(holder.value, data)
        after = copy.deepcopy(holder.value)
        connection.commit()
        assert same(holder.value, after)
        assert is_changed or same(after, before)
    assert same(reread(space, lambda root: root["holder"].value), after)


@pytest.mark.rule("SP2")
@given(
    value=st.recursive(
        st.sampled_from(["one", "two", 1]),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.builds(Settings, inner, inner),
            st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ),
        max_leaves=8,
    )
)
@settings(max_examples=80, deadline=None)
def test_references_strong_and_weak_come_back_wherever_they_stand(space, value):
    def put_in(value: Any, root: Any) -> Any:
        """Return ``value`` with references for names."""
        if type(value) is list:
            return [put_in(part, root) for part in value]
        if type(value) is tuple:
            return tuple(put_in(part, root) for part in value)
        if type(value) is dict:
            return {key: put_in(part, root) for key, part in value.items()}
        if type(value) is Settings:
            return Settings(put_in(value.values, root), put_in(value.more, root))
        return {"one": root["holder"], "two": WeakRef(root["map"])}.get(value, value)

    space.run(lambda root: root.__setitem__("refs", put_in(value, root)))
    with space.connect() as connection:
        root = connection.root
        assert root["refs"] == put_in(value, root)
