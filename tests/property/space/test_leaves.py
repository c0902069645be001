"""Leaves of which the beginning is known: they read and are written as those of which nothing is."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.kernel import CorruptRecordError, Record
from hubbub.space.classes import find_class
from hubbub.space.containers import SortedMap
from hubbub.space.persistent import Persistent
from hubbub.space.trees import Buckets
from hubbub.space.weak import WeakRef
from tests.unit.space.small_space import SmallSpace


class Thing(Persistent):
    pass


def check_leaves(space: SmallSpace) -> None:
    """Check each newest leaf against what a codec without any knowledge makes of it."""
    connection = space.connect().connection
    for history in space.records.values():
        record = history[-1]
        if not record.class_name.endswith("Bucket"):
            continue
        alone = Record(*record.fields())
        fresh: Any = find_class(record.class_name)
        fresh = fresh()
        assert Buckets(2).fill(fresh, alone, connection.get) == bool(has_mutable(fresh))
        known = connection.get(record.oid, record.class_name)
        known._p_activate()
        assert shown(known) == shown(fresh)
        assert known.__getstate__()[1:] == fresh.__getstate__()[1:]
        assert Buckets(2).encode(known, connection.add)[:2] == (record.payload, record.refs)


def has_mutable(leaf: Any) -> bool:
    return any(type(value) is list for value in leaf.values())


def shown(leaf: Any) -> Any:
    values = [v.target if type(v) is WeakRef else v for v in leaf.values()]
    return [*leaf.keys()], [(type(value), value) for value in values]


VALUES: dict[str, Any] = {
    "tuple": lambda root: ("a", 1, ("b", b"c")),
    "simple": lambda root: "text",
    "mutable": lambda root: [1, 2],
    "new": lambda root: Thing(),
    "weak": lambda root: WeakRef(root["thing"]),
    "old": lambda root: root["thing"],
}
SHOWN = {"tuple": ("a", 1, ("b", b"c")), "simple": "text", "mutable": [1, 2]}
SHOWN_AS = {Thing: ("new", "old"), WeakRef: ("weak",)}


def same(shown: Any, expected: Any) -> bool:
    """Tell whether a value is what the model has, or the kind of it."""
    return expected in SHOWN_AS.get(type(shown), ()) or shown == expected


KINDS = st.sampled_from(["tuple", "tuple", "tuple", *VALUES])
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(
            ["behind", "behind", "behind", "anywhere", "delete", "end", "end", "abort"]
        ),
        st.integers(0, 200),
        KINDS,
        st.integers(1, 20),
    ),
    min_size=15,
    max_size=60,
)


def change(keys: list[str], kind: str | None, root: Any) -> None:
    for key in keys:
        if kind is not None:
            root["map"][key] = VALUES[kind](root)
        elif key in root["map"]:
            del root["map"][key]


@pytest.mark.rule("SP2")
@given(steps=STEPS)
@settings(max_examples=80, deadline=None)
def test_a_leaf_whose_beginning_is_known_is_as_any(steps: Any) -> None:
    space = SmallSpace()

    def begin(root: Any) -> None:
        root["thing"] = Thing()
        root["map"] = SortedMap({f"{number:05}": ("first", number) for number in range(60)})

    space.do(begin)
    clients = [space.connect(), space.connect()]
    model: dict[str, Any] = {f"{number:05}": ("first", number) for number in range(60)}
    pending, writer = dict(model), 0
    newest = 1000
    for who, step, number, kind, count in steps:
        client = clients[who]
        other = clients[1 - who]
        if step == "abort" and who == writer:
            client.abort()
            pending = dict(model)
        elif step == "end" and who == writer:
            client.commit()
            model = dict(pending)
            stored = dict(space.connect().root["map"])
            assert stored.keys() == model.keys()
            assert all(same(stored[key], model[key]) for key in model)
            other.abort()  # one at a time: what conflicts is not looked at here
            check_leaves(space)
        elif step not in ("abort", "end"):
            if who != writer:
                other.abort()
                pending, writer = dict(model), who
            keys = [f"{number:05}"]
            if step == "behind":
                keys = [f"{newest + place:05}" for place in range(count)]
                newest += count
            client.run(partial(change, keys, None if step == "delete" else kind))
            for key in keys:
                if step == "delete":
                    pending.pop(key, None)
                else:
                    pending[key] = SHOWN.get(kind, kind)
    for client in clients:
        client.abort()
    check_leaves(space)


@pytest.mark.parametrize("end", [b"\x01", b"\x92\x01", b""])
def test_damage_behind_what_is_known_is_told(end: bytes) -> None:
    codec = Buckets(2)
    leaf: Any = find_class("BTrees.OOBTree:OOBucket")
    filled = leaf()
    filled["a"] = ("x",)
    payload, refs, _ = Buckets(2).encode(filled, lambda obj: 0)
    good = Record(1, 1, "BTrees.OOBTree:OOBucket", refs, payload)
    codec.fill(leaf(), good, lambda oid, name: None)
    assert codec._leaves.read(1, payload) is not None
    damaged = b"\x91\x94" + payload[2:] + end
    with pytest.raises(CorruptRecordError):
        codec.fill(leaf(), Record(1, 2, good.class_name, (), damaged), lambda oid, name: None)
