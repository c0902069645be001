"""Other oids are put into payloads of every kind, and objects read from them are what they were."""

from __future__ import annotations

from typing import Any

import persistent
import pytest
from BTrees.IOBTree import IOBTree
from BTrees.OOBTree import OOTreeSet
from hypothesis import given
from hypothesis import strategies as st

from hubbub import List, Log, Map, Persistent, SortedMap, WeakRef
from hubbub.kernel import Record, UnstorableError
from hubbub.mount import LocalMount, Space
from hubbub.space.rereferring import Rereferrer
from hubbub.store import MemoryStore


class Leaf(Persistent, name="test.rereferring.Leaf"):
    def __init__(self, number: int) -> None:
        self.number = number


leaves = st.builds(Leaf, st.integers(0, 9))
keys = st.one_of(st.text(max_size=3), st.integers(), st.binary(max_size=3))
values = st.recursive(
    st.one_of(
        st.none(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(max_size=5),
        leaves,
        leaves.map(WeakRef),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.tuples(keys), inner, max_size=3),
        st.lists(leaves, max_size=3).map(set),
        st.lists(leaves, max_size=3).map(frozenset),
    ),
    max_leaves=12,
)


def log_of(items: list[Any]) -> Log:
    log: Log[Any] = Log()
    for item in items:
        log.append(item)
    return log


containers = st.one_of(
    values,
    st.dictionaries(keys, values, max_size=80).map(Map),
    st.dictionaries(st.integers(), values, max_size=80).map(SortedMap),
    st.lists(values, max_size=9).map(List),
    st.lists(values, max_size=60).map(log_of),
    st.dictionaries(st.integers(-(2**31), 2**31 - 1), values, max_size=200).map(IOBTree),
    st.sets(st.text(max_size=3), max_size=90).map(OOTreeSet),
)


def plain(value: Any) -> Any:
    """Return a value that can be compared, whatever objects are in it."""
    if isinstance(value, Leaf):
        return ("leaf", value.number)
    if isinstance(value, WeakRef):
        return ("weak", plain(value()))
    if isinstance(value, Log | List):
        return (type(value).__name__, [plain(item) for item in value])
    if isinstance(value, persistent.Persistent) and hasattr(value, "items"):
        return (type(value).__name__, [(key, plain(item)) for key, item in value.items()])
    if isinstance(value, OOTreeSet):
        return ("set", list(value))
    if isinstance(value, dict):
        return [(key, plain(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return (type(value), [plain(item) for item in value])
    if isinstance(value, set | frozenset):
        return (type(value), sorted(plain(item) for item in value))
    return (type(value), value)


@given(containers, st.sampled_from([1, 1000, 2**40]))
def test_a_moved_graph_is_what_it_was(value: Any, shift: int) -> None:
    store = MemoryStore()
    with Space(LocalMount(store)) as space:
        space.run(lambda root: root.__setitem__("it", value))
        # Objects that belong to a space already are of no use for the next example.
        wanted = space.read(lambda root: plain(root["it"]))
        records = store.current(-1, store.last_tid, 10_000)
    rewrite = Rereferrer(lambda oid: oid + shift if oid else 0)
    moved = MemoryStore()
    mount = LocalMount(moved)
    from hubbub.kernel import Changeset

    writes = []
    for record in records:
        new = rewrite.rewritten(record)
        assert new.refs == tuple(oid + shift for oid in record.refs)
        writes.append(
            Record(
                record.oid + shift if record.oid else 0, 0, new.class_name, new.refs, new.payload
            )
        )
    mount.commit(Changeset(0, writes))
    with Space(mount) as space:
        assert space.read(lambda root: plain(root["it"])) == wanted
        # And as bytes: what is written from it is what is stored.
        back = Rereferrer(lambda oid: oid - shift if oid else 0)
        for old, new in zip(records, writes, strict=True):
            assert back.rewritten(new).payload == old.payload


def test_what_is_not_known_is_not_guessed() -> None:
    rewrite = Rereferrer(lambda oid: oid + 1)
    with pytest.raises(UnstorableError, match="refers to others in a way that is not known here"):
        rewrite.rewritten(Record(1, 1, "app:Odd", (77,), b"\x92\xc3\x4d"))
