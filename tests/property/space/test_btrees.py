"""All families of `BTrees`, and the typed maps: stored, and merged as the second change put on the first."""

from __future__ import annotations

import importlib
import struct
from typing import Any

import BTrees
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.space.containers import IntIntMap, IntMap
from tests.unit.space.small_space import Conflict, SmallSpace

FAMILIES = sorted(name for name in BTrees.__all__ if name.startswith("BTrees."))
WAYS = {
    "I": st.integers(-(2**31), 2**31 - 1),
    "U": st.integers(0, 2**32 - 1),
    "L": st.integers(-(2**63), 2**63 - 1),
    "Q": st.integers(0, 2**64 - 1),
    "F": st.floats(width=32, allow_nan=False),
    "O": st.text(max_size=4),
}


def kinds_of(family: str) -> tuple[Any, Any]:
    """Return strategies of keys and values."""
    letters = family.removeprefix("BTrees.")
    if letters.startswith("fs"):
        return st.binary(min_size=2, max_size=2), st.binary(min_size=6, max_size=6)
    return WAYS[letters[0]], WAYS[letters[1]]


def classes_of(family: str) -> tuple[Any, ...]:
    module = importlib.import_module(family)
    letters = family.removeprefix("BTrees.").removesuffix("BTree")
    return tuple(getattr(module, letters + name) for name in ("BTree", "Bucket", "TreeSet", "Set"))


def test_all_families_are_here() -> None:
    assert len(FAMILIES) == 22


@pytest.mark.rule("SP2")
@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_what_is_stored_in_a_tree_comes_back(family: str, data: Any) -> None:
    keys, values = kinds_of(family)
    items = data.draw(st.dictionaries(keys, values, max_size=12))
    many = dict([*items.items(), *filler(family)])
    tree, bucket, tree_set, plain_set = classes_of(family)
    space = SmallSpace()
    space.do(
        lambda root: root.update(
            tree=tree(many), bucket=bucket(items), tree_set=tree_set(many), set=plain_set(items)
        )
    )
    root = space.connect().root
    assert list(root["tree"].items()) == sorted(many.items())
    assert list(root["bucket"].items()) == sorted(items.items())
    assert list(root["tree_set"]) == sorted(many)
    assert list(root["set"]) == sorted(items)
    assert [type(root[name]) for name in ("tree", "bucket")] == [tree, bucket]
    root["tree"]._check()


def filler(family: str) -> list[tuple[Any, Any]]:
    """Return items enough that a tree has several buckets."""
    letters = family.removeprefix("BTrees.")
    key, value = letters[0], letters[1]
    if key == "f":
        return [(struct.pack(">H", n), b"%06d" % n) for n in range(600)]
    return [(f"k{n:03}" if key == "O" else n, f"v{n}" if value == "O" else n) for n in range(150)]


@pytest.mark.rule("ST4", "SP9")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("is_set", [False, True])
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_two_writers_of_a_tree_merge_or_conflict(family: str, is_set: bool, data: Any) -> None:
    keys, values = kinds_of(family)
    cls = classes_of(family)[2 if is_set else 0]
    before = data.draw(st.dictionaries(keys, values, min_size=1, max_size=8))
    known = st.sampled_from(sorted(before))
    writes = st.dictionaries(
        st.one_of(known, keys), st.one_of(st.none(), values), min_size=1, max_size=4
    )
    changes = [data.draw(writes), data.draw(writes)]
    space = SmallSpace()
    space.do(lambda root: root.update(t=cls(before)))
    clients = [space.connect(), space.connect()]
    models = [dict(before), dict(before)]
    for client, model, change in zip(clients, models, changes, strict=True):
        client.run(lambda root: apply(root["t"], model, change, is_set))  # noqa: B023
    clients[0].commit()
    wanted = dict(models[0])
    try:
        clients[1].commit()
        for key in {*before, *models[1]}:
            if before.get(key) != models[1].get(key) or (key in before) != (key in models[1]):
                wanted.pop(key, None)
                if key in models[1]:
                    wanted[key] = models[1][key]
    except Conflict:
        pass
    found = space.connect().root["t"]
    if is_set:
        assert set(found) == set(wanted)
    else:
        assert dict(found.items()) == wanted
    found._check()


def apply(tree: Any, model: dict[Any, Any], change: dict[Any, Any], is_set: bool) -> None:
    for key, value in change.items():
        if value is None:
            if key in tree:
                if is_set:
                    tree.remove(key)
                else:
                    del tree[key]
            model.pop(key, None)
        elif is_set:
            tree.insert(key)
            model.setdefault(key, value)
        else:
            tree[key] = model[key] = value


@pytest.mark.parametrize("cls", [IntMap, IntIntMap])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "pop", "setdefault", "insert", "delete", "popitem", "clear"]),
            st.integers(-5, 200),
            st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=60,
    ),
    st.integers(-5, 200),
    st.integers(-5, 200),
)
@settings(max_examples=60, deadline=None)
def test_a_map_of_ints_does_what_a_dict_does(cls: Any, steps: Any, low: int, high: int) -> None:
    space = SmallSpace()
    start = {n: n for n in range(0, 150, 2)}
    space.do(lambda root: root.update(m=cls(start)))
    model = dict(start)

    def change(root: Any) -> None:
        tree = root["m"]
        for name, key, value in steps:
            if name == "set":
                tree[key] = model[key] = value
            elif name == "pop":
                assert tree.pop(key, None) == model.pop(key, None)
            elif name == "setdefault":
                assert tree.setdefault(key, value) == model.setdefault(key, value)
            elif name == "insert":
                assert tree.insert(key, value) == (key not in model)
                model.setdefault(key, value)
            elif name == "delete" and key in model:
                del tree[key], model[key]
            elif name == "popitem" and model:
                first = min(model)
                assert tree.popitem() == (first, model.pop(first))
            elif name == "clear":
                tree.clear()
                model.clear()

    space.do(change)
    tree = space.connect().root["m"]
    assert type(tree) is cls
    assert list(tree.items()) == sorted(model.items())
    assert list(tree.keys(after=low, before=high)) == sorted(k for k in model if low < k < high)
    assert list(tree.items(low, high)) == sorted(
        (k, v) for k, v in model.items() if low <= k <= high
    )
    assert (
        tree.newest(5, before=high)
        == sorted(((k, v) for k, v in model.items() if k < high), reverse=True)[:5]
    )
    assert tree.oldest(3) == sorted(model.items())[:3]
    assert list(reversed(tree)) == sorted(model, reverse=True)
