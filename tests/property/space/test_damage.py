"""Damaged records of persistent objects: an error, or some state; never a crash, never another error."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from BTrees.LOBTree import LOBTree
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.kernel import CorruptRecordError, Record
from hubbub.space.classes import class_name
from hubbub.space.containers import List, Log, Map, SortedMap, merge_records
from hubbub.space.persistent import Persistent
from hubbub.space.states import class_for, fill_object
from tests.unit.space.small_space import SmallSpace


class Room(Persistent):
    pass


def _records() -> list[Record]:
    space = SmallSpace()

    def fill(root: Any) -> None:
        room = root["room"] = Room()
        room.tags, room.pos, room.log = ["a"], (1, 2.5), Log(["x" * 90] * 400)
        root["map"] = Map((n, str(n)) for n in range(200))
        root["small"] = Map({"a": 1, (1, 2): [3]})
        root["sorted"] = SortedMap((str(n), room) for n in range(200))
        root["tree"] = LOBTree({n: n for n in range(200)})
        root["list"] = List([1, ("x", room)])

    space.do(fill)
    return [history[-1] for history in space.records.values()]


records = _records()


@pytest.mark.rule("SP3", "ST6")
@given(st.sampled_from(records), st.data())
@settings(max_examples=600, deadline=None)
def test_a_damaged_record_is_an_error_or_a_state(record: Record, data: st.DataObject) -> None:
    before = set(sys.modules)
    payload = bytearray(record.payload)
    for _ in range(data.draw(st.integers(0, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(payload)] * 3 + [len(payload) // 2]))
    damaged = Record(record.oid, 1, record.class_name, record.refs, bytes(payload[:cut]))

    def object_of(oid: int, name: str) -> Any:
        cls = class_for(name)
        return cls.__new__(cls)

    cls = class_for(record.class_name)
    obj = cls.__new__(cls)
    try:
        fill_object(obj, damaged, object_of)
    except CorruptRecordError:
        pass
    outcome = merge_records(record, damaged, record)
    assert isinstance(outcome, (str, tuple))
    assert set(sys.modules) == before


def test_all_kinds_of_records_are_there() -> None:
    assert {record.class_name for record in records} >= {
        "hubbub.Log",
        "hubbub.LogChunk",
        "hubbub.Map",
        "hubbub.SortedMap",
        "hubbub.List",
        "BTrees.OOBTree:OOBucket",
        "BTrees.LOBTree:LOBTree",
        class_name(Room),
    }
