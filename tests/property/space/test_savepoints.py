"""Random nested savepoints against a plain model of dicts and lists (SP5, SP8)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from hubbub.kernel import NoTransactionError
from hubbub.space.connection import Connection
from hubbub.space.containers import Log, Map, SortedMap
from hubbub.space.context import Transaction, running
from hubbub.space.persistent import Persistent
from hubbub.space.savepoints import Savepoint
from tests.unit.space.small_space import Client, SmallSpace

KEYS = st.integers(0, 60)
VALUES = st.integers(0, 9)


class Box(Persistent, name="tests.savepoints.Box"):
    """Something of everything."""

    def __init__(self) -> None:
        self.value = 0
        self.tags: list[int] = []
        self.lines: Log[Any] = Log()
        self.map: SortedMap[int, Any] = SortedMap()
        self.inner: Map[str, Box] = Map()


class _Small(Client):
    """A client whose cache may hold hardly anything, so that a savepoint makes ghosts of what it can."""

    def __init__(self, space: SmallSpace, cache_objects: int) -> None:
        super().__init__(space)
        self.connection = Connection(self, cache_objects=cache_objects)
        self.begin()


def empty() -> dict[str, Any]:
    return {"value": 0, "tags": [], "lines": [], "map": {}, "inner": {}}


def seen(box: Any) -> dict[str, Any]:
    return {
        "value": box.value,
        "tags": list(box.tags),
        "lines": list(box.lines),
        "map": dict(box.map.items()),
        "inner": {name: seen(inner) for name, inner in box.inner.items()},
    }


class Savepoints(RuleBasedStateMachine):
    """One transaction after the other, with savepoints in them."""

    @initialize(cache_objects=st.sampled_from((1, 1000)))
    def begin(self, cache_objects: int) -> None:
        self.space = SmallSpace()
        self.client = _Small(self.space, cache_objects)
        self.client.run(lambda root: root.update(box=Box()))
        self.client.commit()
        self.stored = empty()
        self.start()

    def start(self) -> None:
        self.model = copy.deepcopy(self.stored)
        self.notices: list[int] = []
        self.points: list[tuple[Savepoint, dict[str, Any], list[int]]] = []
        self.gone: list[Savepoint] = []
        self.held: list[int] | None = None

    @property
    def transaction(self) -> Transaction:
        return self.client.transaction

    def do(self, change: Any) -> None:
        self.client.run(lambda root: change(root["box"]))

    def both(self, path: list[str], change: Any, model_change: Any) -> None:
        """Change the box at ``path``, or the one on the way where that ends, and its model."""

        def apply(box: Any) -> None:
            model = self.model
            for name in path:
                if name not in model["inner"]:
                    break
                model, box = model["inner"][name], box.inner[name]
            change(box)
            model_change(model)

        self.do(apply)

    paths = st.lists(st.sampled_from("ab"), max_size=2)

    @rule(path=paths, value=VALUES)
    def set_value(self, path: list[str], value: int) -> None:
        self.both(path, lambda b: setattr(b, "value", value), lambda m: m.update(value=value))

    @rule(path=paths, value=VALUES)
    def change_in_place(self, path: list[str], value: int) -> None:
        self.both(path, lambda b: b.tags.append(value), lambda m: m["tags"].append(value))

    @rule()
    def hold(self) -> None:
        """A list inside an object that somebody has in hand is that of the object until the next way back."""
        self.held = self.client.run(lambda root: root["box"].tags)

    @precondition(lambda self: self.held is not None)
    @rule(value=VALUES)
    def change_what_is_held(self, value: int) -> None:
        assert self.held is not None
        self.held.append(value)
        self.model["tags"].append(value)

    @rule(path=paths, count=st.integers(1, 8), size=st.sampled_from((1, 300)))
    def append(self, path: list[str], count: int, size: int) -> None:
        items = ["x" * size] * count
        self.both(path, lambda b: b.lines.extend(items), lambda m: m["lines"].extend(items))

    @rule(path=paths, keys=st.lists(KEYS, min_size=1, max_size=40), value=VALUES)
    def put(self, path: list[str], keys: list[int], value: int) -> None:
        items = dict.fromkeys(keys, value)
        self.both(path, lambda b: b.map.update(items), lambda m: m["map"].update(items))

    @rule(path=paths, key=KEYS)
    def take(self, path: list[str], key: int) -> None:
        self.both(path, lambda b: b.map.pop(key, None), lambda m: m["map"].pop(key, None))

    @rule(path=paths, name=st.sampled_from("ab"))
    def nest(self, path: list[str], name: str) -> None:
        self.both(
            path,
            lambda b: b.inner.update({name: Box()}),
            lambda m: m["inner"].update({name: empty()}),
        )

    @rule(notice=VALUES)
    def send(self, notice: int) -> None:
        self.transaction.notices.append(notice)
        self.notices.append(notice)

    @rule()
    def save(self) -> None:
        with running(self.transaction):
            point = self.transaction.savepoint()
        self.points.append((point, copy.deepcopy(self.model), list(self.notices)))

    @precondition(lambda self: self.points)
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.points) - 1))
        point, model, notices = self.points[place]
        with running(self.transaction):
            point.rollback()
        self.gone += [later for later, _, _ in self.points[place + 1 :]]
        del self.points[place + 1 :]
        self.held = None
        self.model, self.notices = copy.deepcopy(model), list(notices)

    @precondition(lambda self: self.gone)
    @rule()
    def go_back_to_what_is_gone(self) -> None:
        with pytest.raises(NoTransactionError, match="savepoint is gone"):
            self.gone[-1].rollback()

    @rule()
    def commit(self) -> None:
        old = [point for point, _, _ in self.points]
        self.client.commit()
        self.stored = self.model
        self.start()
        self.gone = old
        assert self.client.connection.source is self.client
        self.space.do(lambda root: self.check(root["box"]))

    @rule()
    def abort(self) -> None:
        self.client.abort()
        self.start()

    def check(self, box: Any) -> None:
        assert seen(box) == self.model

    @invariant()
    def is_as_the_model(self) -> None:
        if hasattr(self, "model"):
            self.do(self.check)
            assert self.transaction.notices == self.notices


@pytest.mark.rule("SP5")
class TestSavepoints(Savepoints.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
