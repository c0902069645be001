"""Merges of records of different shapes (SP7)."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.kernel import (
    Record,
)
from hubbub.space.containers import merge_records
from hubbub.space.persistent import Persistent
from hubbub.space.steps import upgrade
from tests.unit.space.reshaping import forget, made, own_names, record_of, woken
from tests.unit.space.small_space import SmallSpace

State = dict[str, Any]

__all__ = ["own_names"]


def counter_1() -> Any:
    class Counter(Persistent, name="schema.Counter"):
        @staticmethod
        def merge(old: State, committed: State, new: State) -> State:
            return {"count": committed["count"] + new["count"] - old["count"]}

    return Counter


def counter_2() -> Any:
    class Counter(Persistent, name="schema.Counter", version=2):
        @upgrade(from_version=1)
        @staticmethod
        def in_hundreds(state: State) -> State:
            return {"hundreds": state["count"] * 100}

        @staticmethod
        def merge(old: State, committed: State, new: State) -> State:
            return {"hundreds": committed["hundreds"] + new["hundreds"] - old["hundreds"]}

    return Counter


@pytest.mark.rule("SP7")
@pytest.mark.rule("ST4")
def test_records_of_different_versions_are_upgraded_before_they_are_merged() -> None:
    Old = counter_1()  # noqa: N806
    old, committed = (record_of(made(Old, count=n)) for n in (1, 2))
    New = counter_2()  # noqa: N806
    new = record_of(made(New, hundreds=150))
    merged = merge_records(old, committed, new)
    assert not isinstance(merged, str)
    assert vars(woken(Record(7, 6, "schema.Counter", merged[1], merged[0]))) == {"hundreds": 250}
    # Where the newer class is not known it is a conflict, and nothing is mixed.
    counter_1()
    outcome = merge_records(old, committed, new)
    assert isinstance(outcome, str)
    assert outcome == "a record is of a newer version of its class than there is here"


@pytest.mark.rule("SP7")
@pytest.mark.rule("ST4")
def test_two_writers_of_an_old_record_merge() -> None:
    space = SmallSpace()
    Old = counter_1()  # noqa: N806
    space.do(lambda root: root.update(n=made(Old, count=1)))
    counter_2()
    first, second = space.connect(), space.connect()

    def add(number: int) -> Any:
        def body(root: Any) -> None:
            root["n"].hundreds += number

        return body

    first.run(add(5))
    second.run(add(7))
    first.commit()
    second.commit()
    assert space.merges == 1
    assert space.do(lambda root: root["n"].hundreds) == 112


@pytest.mark.rule("SP7")
def test_a_renamed_class_merges_with_what_was_stored_before() -> None:
    old, committed = (record_of(made(counter_1(), count=n)) for n in (1, 2))
    forget("schema.Counter")

    class Tally(Persistent, name="schema.Tally", formerly="schema.Counter"):
        @staticmethod
        def merge(old: State, committed: State, new: State) -> State:
            return {"count": committed["count"] + new["count"] - old["count"]}

    merged = merge_records(old, committed, record_of(made(Tally, count=11)))
    assert merged == (b"\x81\xa5count\x0c", ())

    class Other(Persistent, name="schema.Other"):
        pass

    assert merge_records(record_of(Other()), committed, committed) == "its class was changed"
