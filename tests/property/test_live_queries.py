"""Live queries against running everything afresh (LV1, LV2, LV3).

Random commands change a small graph; groups of commits settle at random moments. After each group every watcher's
answer, patched as a client patches it, must equal the query run afresh at that tid.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubbub.kernel import Commit, FakeClock, Label, tid_text
from hubbub.perspective.live_query import LiveQueries, Update
from hubbub.space.connection import Connection
from hubbub.space.containers import (
    Log,
    Map,
    SortedMap,
    container_value,
    is_container,
    merge_records,
)
from hubbub.space.live import LiveSpace
from hubbub.space.persistent import Persistent
from hubbub.space.presence import Presence
from hubbub.store import MemoryStore
from hubbub.store.ledger import Ledger
from hubbub.wire.patch import apply

KEYS = st.sampled_from(["a", "b", "c", "d"])
NUMBERS = st.integers(-3, 3)


class Node(Persistent):
    def __init__(self) -> None:
        self.value = 0
        self.plain: list[int] = []
        self.child: Node | None = None
        self.log: Log[int] = Log()
        self.map: Map[str, int] = Map()
        self.sorted: SortedMap[str, int] = SortedMap()
        self.here: Presence[int] = Presence()


def value(node: Any) -> Any:
    return node.value


def through_child(node: Any) -> Any:
    return None if node.child is None else [node.child.value, *node.child.plain]


def plain(node: Any) -> Any:
    return list(node.plain)


def last(node: Any) -> Any:
    return node.log.last(3)


def total(node: Any) -> Any:
    return sum(node.sorted.values())


def lazily(node: Any) -> Any:
    # Objects wake only while the answer is being written.
    return {"items": list(node.map.items()), "child": node.child.value if node.child else None}


def here(node: Any) -> Any:
    return dict(node.here)


def whole_log(node: Any) -> Any:
    return node.log


def whole_map(node: Any) -> Any:
    return node.map


def whole_sorted(node: Any) -> Any:
    return node.sorted


def fails_at_three(node: Any) -> Any:
    if node.value == 3:
        raise LookupError("three")
    return node.value * 10


QUERIES = [
    value,
    through_child,
    plain,
    last,
    total,
    lazily,
    here,
    whole_log,
    whole_map,
    whole_sorted,
    fails_at_three,
]
CONTAINERS = {whole_log, whole_map, whole_sorted}


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.ledger = Ledger(self.store, FakeClock(), merge_records)
        self.live = LiveSpace(self.ledger)
        self.queries = LiveQueries(self.live, self.take)
        self.waiting: list[Commit] = []
        self.answers: dict[tuple[str, int], Any] = {}
        self.tids: dict[tuple[str, int], str] = {}
        self.watching: dict[tuple[str, int], tuple[str, Any]] = {}
        self.next_id = 0
        self.command(lambda c: c.root.update({"x": Node(), "y": Node()}))
        self.settle()

    def take(self, updates: list[Update]) -> None:
        for update in updates:
            for watcher in update.watchers:
                if update.failure is not None:
                    self.answers.pop(watcher, None)
                    self.watching.pop(watcher, None)
                    continue
                assert update.tid >= self.tids.get(watcher, ""), "an answer went back"
                patch = update.patch.get("json")
                if patch is not None and self.tids.get(watcher) == update.base_tid:
                    self.answers[watcher] = apply(self.answers[watcher], msgspec.json.decode(patch))
                else:
                    self.answers[watcher] = msgspec.json.decode(update.value["json"])
                self.tids[watcher] = update.tid

    def command(self, body: Any) -> None:
        _, commit = self.live.execute(body, Label())
        self.waiting.append(commit)

    def change(self, name: str, body: Any) -> None:
        self.command(lambda c: body(c.root[name]))

    @rule(name=st.sampled_from(["x", "y"]), query=st.sampled_from(QUERIES))
    def watch(self, name: str, query: Any) -> None:
        self.next_id += 1
        watcher = ("s", self.next_id)
        self.watching[watcher] = (name, query)
        body = self.body(name, query)
        self.queries.watch(watcher, "json", (name, query.__name__), query.__name__, body)

    def body(self, name: str, query: Any) -> Any:
        return lambda c: query(c.root[name])

    @precondition(lambda self: self.watching)
    @rule(data=st.data())
    def unwatch(self, data: Any) -> None:
        watcher = data.draw(st.sampled_from(sorted(self.watching)))
        self.queries.unwatch(watcher)
        del self.watching[watcher]
        self.answers.pop(watcher, None)

    @rule(name=st.sampled_from(["x", "y"]), number=NUMBERS)
    def set_value(self, name: str, number: int) -> None:
        self.change(name, lambda n: setattr(n, "value", number))

    @rule(name=st.sampled_from(["x", "y"]), number=NUMBERS)
    def change_inside(self, name: str, number: int) -> None:
        self.change(name, lambda n: n.plain.append(number))

    @rule(name=st.sampled_from(["x", "y"]))
    def new_child(self, name: str) -> None:
        self.change(name, lambda n: setattr(n, "child", Node()))

    @rule()
    def share_child(self) -> None:
        self.command(lambda c: setattr(c.root["x"], "child", c.root["y"]))

    @rule(name=st.sampled_from(["x", "y"]), number=NUMBERS)
    def append(self, name: str, number: int) -> None:
        self.change(name, lambda n: n.log.append(number))

    @rule(name=st.sampled_from(["x", "y"]), keep=st.integers(0, 4))
    def trim(self, name: str, keep: int) -> None:
        self.change(name, lambda n: n.log.trim(keep=keep))

    @rule(name=st.sampled_from(["x", "y"]), key=KEYS, number=NUMBERS)
    def put(self, name: str, key: str, number: int) -> None:
        def body(node: Any) -> None:
            node.map[key] = number
            node.sorted[key] = number
            node.here[key] = number

        self.change(name, body)

    @rule(name=st.sampled_from(["x", "y"]), key=KEYS)
    def drop(self, name: str, key: str) -> None:
        def body(node: Any) -> None:
            node.map.pop(key, None)
            node.sorted.pop(key, None)
            node.here.pop(key, None)

        self.change(name, body)

    @rule(name=st.sampled_from(["x", "y"]))
    def clear(self, name: str) -> None:
        def body(node: Any) -> None:
            node.map.clear()
            node.sorted.clear()

        self.change(name, body)

    @rule(name=st.sampled_from(["x", "y"]), count=st.integers(30, 90))
    def fill(self, name: str, count: int) -> None:
        """Enough for buckets to split."""

        def body(node: Any) -> None:
            for number in range(count):
                node.map[f"k{number}"] = number
                node.sorted[f"k{number}"] = number
                node.log.append(number)

        self.change(name, body)

    @rule()
    def settle(self) -> None:
        done, self.waiting = self.waiting, []
        if not done:
            return
        self.store.write([c for c in done if c.is_durable])
        self.ledger.settle(done)
        self.queries.committed(self.live.absorb())

    @rule()
    def fail(self) -> None:
        self.waiting.clear()
        self.live.roll_back()

    @invariant()
    def answers_are_what_a_fresh_run_gives(self) -> None:
        for watcher, (name, query) in self.watching.items():

            def body(connection: Connection, name: str = name, query: Any = query) -> Any:
                fresh = query(connection.root[name])
                if is_container(fresh):
                    fresh = container_value(fresh)
                return msgspec.json.decode(msgspec.json.encode(fresh))

            fresh, _, tid = self.live.query(body)
            assert self.answers[watcher] == fresh, (query.__name__, tid_text(tid))


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.rule("LV1", "LV2", "LV3")
class TestLiveQueries(Machine.TestCase):  # type: ignore[name-defined,misc,valid-type]
    """See the head of the file."""
