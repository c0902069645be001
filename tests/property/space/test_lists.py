"""List against list."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.space.containers import List
from tests.unit.space.small_space import SmallSpace

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers()),
        st.tuples(st.just("extend"), st.lists(st.integers(), max_size=4)),
        st.tuples(st.just("insert"), st.integers(-5, 5), st.integers()),
        st.tuples(st.just("pop"), st.integers(-5, 5)),
        st.tuples(st.just("remove"), st.integers(-3, 3)),
        st.tuples(st.just("__setitem__"), st.integers(-5, 5), st.integers()),
        st.tuples(
            st.just("__setitem__"),
            st.slices(5),
            st.lists(st.integers(), max_size=3),
        ),
        st.tuples(st.just("__delitem__"), st.one_of(st.integers(-5, 5), st.slices(5))),
        st.tuples(st.sampled_from(["reverse", "sort", "clear", "commit", "abort"])),
    ),
    max_size=30,
)


def attempt(target: Any, name: str, args: Any) -> Any:
    try:
        return getattr(target, name)(*args)
    except (IndexError, ValueError) as error:
        return type(error)


@given(steps)
@settings(max_examples=200, deadline=None)
def test_a_list_does_what_a_list_does(todo: Any) -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(items=List([3, 1, 2])))
    client = space.connect()
    model, stored = [3, 1, 2], [3, 1, 2]
    for name, *args in todo:
        if name == "commit":
            client.commit()
            stored = list(model)
        elif name == "abort":
            client.abort()
            model = list(stored)
        else:
            found = client.run(lambda root: attempt(root["items"], name, args))  # noqa: B023
            assert found == attempt(model, name, args)
        items = client.root["items"]
        assert list(items) == model
        assert (len(items), items.copy(), items[1:]) == (len(model), model, model[1:])
    assert list(space.connect().root["items"]) == stored
