"""Containers as answers of views (LV3)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.space.containers import (
    List,
    Log,
    Map,
    Set,
    SortedMap,
    SortedSet,
    changes_as_patch,
    container_value,
    is_container,
)
from hubbub.wire import patch as patches
from tests.unit.space.small_space import SmallSpace


def test_which_are_containers() -> None:
    made: list[Any] = [Map(), SortedMap(), Log(), List(), Set(), SortedSet()]
    assert all(map(is_container, made))
    assert not any(is_container(other) for other in ({}, [], None, object()))
    assert container_value(Map(a=1)) == {"a": 1}
    assert container_value(SortedMap(a=1)) == {"a": 1}
    assert container_value(Set([2, 1])) == container_value(SortedSet([2, 1])) == [1, 2]
    assert container_value(Log([1, 2])) == container_value(List([1, 2])) == [1, 2]


def put(root: Any, key: int, value: int) -> None:
    root["m"][key] = value


def take(root: Any, key: int) -> None:
    root["m"].pop(key, None)


def add(root: Any, many: list[int]) -> None:
    root["log"].extend(many)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 9), st.integers()),
        st.tuples(st.just("pop"), st.integers(0, 9), st.none()),
        st.tuples(st.just("clear"), st.just(0), st.none()),
        st.tuples(st.just("commit"), st.just(0), st.none()),
    ),
    max_size=20,
)


@pytest.mark.rule("LV3")
@pytest.mark.parametrize("cls", [Map, SortedMap])
@given(steps)
@settings(max_examples=60, deadline=None)
def test_the_patch_of_a_mapping_gives_what_it_holds_now(cls: Any, todo: Any) -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(m=cls({1: 1})))
    client = space.connect()
    before = container_value(client.root["m"])
    noted = []
    for what, key, value in [*todo, ("commit", 0, None)]:
        if what == "set":
            client.run(partial(put, key=key, value=value))
        elif what == "pop":
            client.run(partial(take, key=key))
        elif what == "clear":
            client.run(lambda root: root["m"].clear())
        else:
            client.commit()
            noted += list(client.changes.values())
    patch = changes_as_patch(noted)
    if patch is None:
        assert any(what == "clear" for what, _, _ in todo)
    else:
        assert patches.apply(before, patch) == container_value(client.root["m"])


@pytest.mark.rule("LV3")
@given(st.lists(st.lists(st.integers(), max_size=3), max_size=4), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_the_patch_of_a_log_gives_what_it_holds_now(additions: Any, trimmed: int) -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(log=Log(range(3))))
    space.do(lambda root: root["log"].trim(keep=trimmed))
    client = space.connect()
    before = container_value(client.root["log"])
    noted = []
    for many in additions:
        client.run(partial(add, many=many))
        client.commit()
        noted += list(client.changes.values())
    patch = changes_as_patch(noted)
    assert patch is not None
    assert patches.apply(before, patch) == container_value(client.root["log"])
    client.run(lambda root: root["log"].extend([1, 2]))
    client.run(lambda root: root["log"].trim(keep=1))
    client.commit()
    assert changes_as_patch(client.changes.values()) is None
