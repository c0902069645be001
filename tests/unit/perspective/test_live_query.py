"""Live queries: joining, failing, and containers whose changes come from more than one commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import hubbub
from hubbub.kernel import Commit, FakeClock, Label
from hubbub.perspective.live_query import LiveQueries, Update
from hubbub.space.connection import Connection
from hubbub.space.containers import Map, SortedMap, merge_records
from hubbub.space.live import LiveSpace
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore
from hubbub.store.ledger import Ledger
from hubbub.wire import patch as patches


class Box(Persistent):
    def __init__(self, value: Any = 0) -> None:
        self.value = value


class Watched:
    """A space with live queries; `seen` is what watchers have who apply what they get."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = Ledger(MemoryStore(), self.clock, merge_records)
        self.live = LiveSpace(self.ledger)
        self.queries = LiveQueries(self.live, self._take)
        self.seen: dict[str, Any] = {}
        self.updates: list[Update] = []
        self._tids: dict[str, str] = {}

    def pending(self, body: Callable[[Connection], Any]) -> Commit:
        return self.live.execute(body, Label())[1]

    def settle(self, *commits: Commit) -> None:
        self.ledger.store.write([commit for commit in commits if commit.is_durable])
        self.ledger.settle(commits)
        self.queries.committed(self.live.absorb())

    def run(self, body: Callable[[Connection], Any]) -> None:
        self.settle(self.pending(body))

    def watch(self, who: str, body: Callable[[Connection], Any], form: str = "json") -> None:
        self.queries.watch((who, 1), form, body, "a query", body)

    def _take(self, updates: list[Update]) -> None:
        for update in updates:
            self.updates.append(update)
            for who, _ in update.watchers:
                if update.failure is not None:
                    self.seen[who] = "ended"
                elif "json" in update.patch and self._tids[who] == update.base_tid:
                    ops = msgspec.json.decode(update.patch["json"])
                    self.seen[who] = patches.apply(self.seen[who], ops)
                elif not update.value:
                    self.queries.refresh((who, 1))
                    continue
                elif "json" in update.value:
                    self.seen[who] = msgspec.json.decode(update.value["json"])
                self._tids[who] = update.tid


def minutes(connection: Connection) -> dict[str, int]:
    return {"minute": int(hubbub.now() // 60), "count": connection.root["count"]}


def count(connection: Connection) -> int:
    return connection.root["count"]


def the_map(connection: Connection) -> Any:
    return connection.root["map"]


@pytest.fixture
def space() -> Watched:
    space = Watched()
    space.run(lambda c: c.root.update(count=0, map=Map(a=1), box=Box()))
    return space


def set_item(key: str, value: Any) -> Callable[[Connection], None]:
    def body(connection: Connection) -> None:
        connection.root["map"][key] = value

    return body


@pytest.mark.rule("LV2")
def test_who_joins_gets_the_answer_that_is_there(space: Watched) -> None:
    for who, form in (("ann", "json"), ("bob", "json"), ("zoe", "msgpack")):
        space.watch(who, count, form)
    assert space.queries.runs == 1
    assert space.seen["bob"] == 0
    assert set(space.updates[-1].value) == {"msgpack"}


@pytest.mark.rule("LV1")
def test_who_joins_later_does_not_move_the_ground_under_the_others(space: Watched) -> None:
    space.watch("ann", minutes)
    space.clock.advance(60)
    space.run(lambda c: c.add(Box()))
    space.watch("bob", minutes)
    space.run(lambda c: c.root.update(count=1))
    fresh = space.live.query(minutes)[0]
    assert space.seen == {"ann": fresh, "bob": fresh}


@pytest.mark.rule("LV1")
def test_an_answer_that_can_not_be_sent_ends_its_own_watch_only(space: Watched) -> None:
    space.watch("ann", the_map)
    space.watch("bob", lambda c: c.root["box"].value)

    def body(connection: Connection) -> None:
        connection.root["map"]["b"] = Box()
        connection.root["box"].value = 5

    space.run(body)
    assert space.seen == {"ann": "ended", "bob": 5}


@pytest.mark.rule("LV3")
def test_a_commit_that_does_not_tell_its_changes_is_not_passed_over(space: Watched) -> None:
    space.watch("ann", the_map)
    told, silent = space.pending(set_item("b", 2)), space.pending(set_item("c", 3))
    silent.changes = {}  # as a merge leaves it
    space.settle(told, silent)
    assert space.seen["ann"] == {"a": 1, "b": 2, "c": 3}


@pytest.mark.rule("LV2", "LV3")
def test_what_else_a_commit_writes_is_no_part_of_a_watched_container(space: Watched) -> None:
    space.watch("ann", the_map)

    def body(connection: Connection) -> None:
        connection.root["map"]["b"] = 2
        connection.root["box"].value = 1

    space.run(body)
    runs = space.queries.runs
    space.run(lambda c: setattr(c.root["box"], "value", 2))
    for number in range(100):  # buckets split
        space.run(set_item(f"key {number}", number))
    assert space.queries.runs == runs
    assert len(space.seen["ann"]) == 102
    silent = space.pending(set_item("key 50", "other"))
    silent.changes = {}
    space.settle(silent)  # the buckets that were made meanwhile are watched, too
    assert space.seen["ann"]["key 50"] == "other"


def test_a_watch_that_is_opened_again_has_left_its_first_query(space: Watched) -> None:
    space.watch("ann", count)
    space.watch("ann", the_map)
    assert len(space.queries) == 1
    space.queries.unwatch(("ann", 1))
    assert len(space.queries) == 0
    assert space.queries._readers == {}


@pytest.mark.rule("LV3")
def test_a_key_that_the_map_refuses_is_no_change(space: Watched) -> None:
    space.run(lambda c: c.root.__setitem__("sorted", SortedMap(b=2)))
    space.watch("ann", lambda c: c.root["sorted"])

    def body(connection: Connection) -> None:
        tree = connection.root["sorted"]
        tree["a"] = 1
        with pytest.raises(TypeError):
            tree[3] = 1

    space.run(body)
    assert space.seen["ann"] == {"a": 1, "b": 2}
