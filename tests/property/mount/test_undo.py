"""Random histories of writes and undos against a plain model that keeps every state (ST7)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hubbub.kernel import FakeClock, UndoError
from hubbub.mount import LocalMount, Space
from hubbub.space.containers import SortedMap
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore

NAMES = "abc"
KEYS = st.integers(0, 80)


class Total(Persistent, name="tests.undo.Total"):
    """Merges, so that any addition can be undone at any time."""

    def __init__(self) -> None:
        self.value = 0

    @staticmethod
    def merge(old: dict[str, Any], committed: dict[str, Any], new: dict[str, Any]) -> Any:
        return {"value": committed["value"] + new["value"] - old["value"]}


class Cell(Persistent, name="tests.undo.Cell"):
    """Does not merge."""

    def __init__(self) -> None:
        self.value = 0


class Undos(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.space = Space(LocalMount(MemoryStore(), clock=FakeClock()))
        self.space.run(self.fill)
        self.model: dict[str, Any] = {"total": 0, "cells": dict.fromkeys(NAMES, 0), "map": {}}
        # Tid -> what it has done: additions, writes of cells and keys as (before, after); and the states behind it.
        self.done: dict[int, dict[str, Any]] = {}
        self.states: dict[int, Any] = {int(self.space.tid): self.copy()}

    @staticmethod
    def fill(root: Any) -> None:
        root["total"], root["map"] = Total(), SortedMap()
        for name in NAMES:
            root[name] = Cell()

    def copy(self) -> dict[str, Any]:
        return {
            "total": self.model["total"],
            "cells": dict(self.model["cells"]),
            "map": dict(self.model["map"]),
        }

    @staticmethod
    def seen(root: Any) -> dict[str, Any]:
        return {
            "total": root["total"].value,
            "cells": {name: root[name].value for name in NAMES},
            "map": dict(root["map"].items()),
        }

    def note(self, before: dict[str, Any]) -> None:
        after = self.copy()
        cells: dict[str, Any] = {}
        keys: dict[int, Any] = {}
        for name in NAMES:
            if before["cells"][name] != after["cells"][name]:
                cells[name] = (before["cells"][name], after["cells"][name])
        for key in before["map"].keys() | after["map"].keys():
            pair = (before["map"].get(key), after["map"].get(key))
            if pair[0] != pair[1]:
                keys[key] = pair
        tid = int(self.space.tid)
        self.done[tid] = {
            "total": after["total"] - before["total"],
            "cells": cells,
            "map": keys,
        }
        self.states[tid] = after

    @rule(
        amount=st.integers(0, 3),
        names=st.sets(st.sampled_from(NAMES)),
        keys=st.dictionaries(KEYS, st.one_of(st.none(), st.integers(0, 3)), max_size=30),
    )
    def write(self, amount: int, names: set[str], keys: dict[int, int | None]) -> None:
        before = self.copy()

        def body(root: Any) -> None:
            if amount:
                root["total"].value += amount
            for name in names:
                root[name].value += 1
            for key, value in keys.items():
                if value is None:
                    root["map"].pop(key, None)
                else:
                    root["map"][key] = value

        old = self.space.tid
        self.space.run(body)
        self.model["total"] += amount
        for name in names:
            self.model["cells"][name] += 1
        for key, value in keys.items():
            if value is None:
                self.model["map"].pop(key, None)
            else:
                self.model["map"][key] = value
        if self.space.tid != old:
            self.note(before)

    @precondition(lambda self: self.done)
    @rule(data=st.data(), count=st.integers(1, 3))
    def undo(self, data: st.DataObject, count: int) -> None:
        every = sorted(self.done)
        some = st.lists(st.sampled_from(every), min_size=1, max_size=count, unique=True)
        tids = data.draw(st.one_of(some, st.just(every[-count:])))
        before = self.copy()
        old = self.space.tid
        try:
            self.space.undo(tids)
        except UndoError:
            # Nothing has happened; and what nobody has touched since can always be undone.
            assert self.space.tid == old
            assert tids != every[-len(tids) :], "the newest transactions could not be undone"
            return
        self.expect(tids)
        self.note(before)

    def expect(self, tids: list[int]) -> None:
        """Take back, newest first, what they have done: an addition always, else what is still as it was left."""
        for tid in sorted(tids, reverse=True):
            done = self.done[tid]
            self.model["total"] -= done["total"]
            for name, (former, left) in done["cells"].items():
                assert self.model["cells"][name] == left, "it was changed again, and that is lost"
                self.model["cells"][name] = former
            for key, (former, left) in done["map"].items():
                assert self.model["map"].get(key) == left, "it was changed again, and that is lost"
                if former is None:
                    del self.model["map"][key]
                else:
                    self.model["map"][key] = former

    @invariant()
    def is_as_the_model(self) -> None:
        if hasattr(self, "model"):
            assert self.space.read(self.seen) == self.model

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        tid = data.draw(st.sampled_from(sorted(self.states)))
        with self.space.at(tid) as past:
            assert past.read(self.seen) == self.states[tid]

    def teardown(self) -> None:
        if hasattr(self, "space"):
            self.space.close()


@pytest.mark.rule("ST7")
class TestUndos(Undos.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
