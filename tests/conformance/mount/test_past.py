"""The past over every mount: reading it, its transactions and revisions, differences, undo and redo."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import hubbub
from hubbub.kernel import (
    ConfigurationError,
    ReadOnlyError,
    StoreError,
    Tid,
    UndoError,
    UnknownObjectError,
    tid_text,
    tid_time,
)
from hubbub.mount import Mount, Space
from hubbub.mount.history import MISSING, Reference
from hubbub.space.blob import Blob
from hubbub.space.containers import List, Log, Map, SortedMap
from hubbub.space.persistent import Persistent


class Account(Persistent, name="tests.past.Account"):
    def __init__(self, amount: int = 0) -> None:
        self.amount = amount
        self.notes: list[str] = []


class Sum(Persistent, name="tests.past.Sum"):
    """Merges: additions and their undos never conflict."""

    def __init__(self) -> None:
        self.total = 0

    @staticmethod
    def merge(old: dict[str, Any], committed: dict[str, Any], new: dict[str, Any]) -> Any:
        return {"total": committed["total"] + new["total"] - old["total"]}


@pytest.fixture
def space(open_mount: Callable[..., Mount]) -> Space:
    return Space(open_mount())


def put(root: Any, key: str, value: Any) -> None:
    root[key] = value


def change(space: Space, fn: Callable[..., Any], *args: Any, **options: Any) -> Tid:
    """Run ``fn`` and return the tid of its commit."""
    space.run(fn, *args, **options)
    return space.tid


def amounts(root: Any) -> dict[str, int]:
    return {key: value.amount for key, value in root.items()}


def pay(root: Any, key: str, amount: int) -> None:
    root[key].amount += amount


# --- reading it -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("ST7")
def test_a_space_reads_as_it_was(space: Space) -> None:
    first = change(space, put, "ann", Account(1))
    second = change(space, pay, "ann", 10)
    change(space, put, "bob", Account(5))
    assert space.at(0).read(amounts) == {}
    assert space.at(first).read(amounts) == {"ann": 1}
    assert space.at(tid_text(second)).read(amounts) == {"ann": 11}
    assert space.at(space.tid).read(amounts) == {"ann": 11, "bob": 5}
    with space.connect(at=first) as past:
        assert past.root["ann"].amount == 1
        past.sync()
        assert past.root["ann"].amount == 1


def test_a_time_means_the_last_transaction_at_or_before_it(space: Space) -> None:
    before = time.time()
    first = change(space, put, "ann", Account(1))
    while tid_time(space.tid) - tid_time(first) < 0.002:
        change(space, pay, "ann", 1)
    at_first = tid_time(first) + 0.000001
    moment = datetime.fromtimestamp(at_first, UTC)
    assert space.at(before - 1).read(amounts) == {}
    assert space.at(at_first).read(amounts) == {"ann": 1}
    assert space.at(moment).read(amounts) == {"ann": 1}
    assert space.at(moment.isoformat()).read(amounts) == {"ann": 1}
    assert space.at(moment.astimezone().replace(tzinfo=None).isoformat()).read(amounts) == {
        "ann": 1
    }
    assert space.at(time.time()).read(amounts) == space.read(amounts)


def test_the_future_and_nonsense_are_told(space: Space) -> None:
    change(space, put, "ann", Account(1))
    with pytest.raises(StoreError, match="is in the future of this space, which ends at"):
        space.at(space.tid + 1)
    with pytest.raises(StoreError, match="is in the future"):
        space.at(datetime.now(UTC) + timedelta(days=1))
    for nonsense in ("yesterday", -1, True, float("nan")):
        with pytest.raises(ConfigurationError, match="is no moment of a space"):
            space.at(nonsense)


def test_the_past_cannot_be_changed(space: Space) -> None:
    first = change(space, put, "ann", Account(1))
    past = space.at(first)
    with pytest.raises(ReadOnlyError):
        past.run(pay, "ann", 1)
    with pytest.raises(ReadOnlyError, match="opened to read only"):
        past.undo(first)
    with space.connect(at=first) as connection, pytest.raises(ReadOnlyError):
        connection.root["ann"].amount = 3


def test_whoever_follows_the_past_sees_one_answer_and_the_end(space: Space) -> None:
    first = change(space, put, "ann", Account(1))
    change(space, pay, "ann", 1)
    past = space.at(first)
    assert list(past.watch(amounts)) == [{"ann": 1}]
    assert [c.tid for c in past.changes()] == [first]
    assert [entry.tid for entry in past.feed()] == [first]
    assert [entry.tid for entry in past.transactions(newest_first=True)] == [first]

    async def follow() -> list[Any]:
        return [answer async for answer in past.awatch(amounts)]

    assert asyncio.run(follow()) == [{"ann": 1}]
    past.close()
    assert space.read(amounts) == {"ann": 2}


# --- its transactions -------------------------------------------------------------------------------------------------


def noted(root: Any) -> None:
    root["ann"].amount += 1
    hubbub.note("noted inside")
    hubbub.annotate(cheque=17, to=["bob"])


def test_transactions_say_who_what_and_why(space: Space) -> None:
    change(space, put, "ann", Account(1), note="opened", user="password:eve", extra={"by": "form"})
    change(space, noted)
    with space.transaction(note="by block", extra={"a": 1}) as root:
        root["ann"].amount += 1
        hubbub.annotate(b=2)
    with space.connect() as connection:
        connection.root["ann"].amount += 1
        connection.commit("by hand", user="ann", extra={"c": None})
    labels = [entry.label for entry in space.transactions()]
    assert [label.note for label in labels] == ["opened", "noted inside", "by block", "by hand"]
    assert [label.identity for label in labels] == ["password:eve", "", "", "ann"]
    more = [{"by": "form"}, {"cheque": 17, "to": ["bob"]}, {"a": 1, "b": 2}, {"c": None}]
    assert [label.more() for label in labels] == more
    assert labels[0].command == "peer"


def test_a_label_holds_plain_values_within_bounds(space: Space) -> None:
    for extra in ({"a": object()}, {"a": 1 << 70}, {"a": "x" * 70_000}):
        with pytest.raises(StoreError, match="extra"):
            space.run(put, "a", 1, extra=extra)
    with pytest.raises(StoreError, match="note: is longer"):
        space.run(put, "a", 1, note="x" * 70_000)
    assert space.read(dict) == {}


def test_transactions_come_in_both_orders(space: Space) -> None:
    tids = [change(space, put, "n", number) for number in range(30)]
    assert [entry.tid for entry in space.transactions()] == tids
    assert [entry.tid for entry in space.transactions(newest_first=True)] == tids[::-1]
    bounds: Any = {"after": tids[4], "before": tids[20]}
    assert [entry.tid for entry in space.transactions(**bounds)] == tids[5:20]
    assert [entry.tid for entry in space.transactions(**bounds, newest_first=True)] == tids[19:4:-1]
    assert list(space.transactions(after=tids[-1], newest_first=True)) == []
    assert next(space.transactions(newest_first=True)).time == pytest.approx(tid_time(tids[-1]))


def test_an_object_has_a_history(space: Space) -> None:
    first = change(space, put, "ann", Account(1))
    change(space, put, "bob", Account(2))
    second = change(space, pay, "ann", 3, note="more")
    with space.connect() as connection:
        ann = connection.root["ann"]
        revisions = list(space.history(ann))
        assert [revision.tid for revision in revisions] == [second, first]
        assert [revision.label.note for revision in revisions] == ["more", revisions[1].label.note]
        assert all(r.class_name == "tests.past.Account" and r.byte_count for r in revisions)
        oid = int.from_bytes(ann._p_oid, "big")
    assert [revision.tid for revision in space.history(oid, before=second)] == [first]
    assert [revision.tid for revision in space.at(first).history(oid)] == [first]
    assert list(space.history(999_999)) == []
    with pytest.raises(TypeError, match="has no history"):
        space.history(Account())


# --- differences ------------------------------------------------------------------------------------------------------


def test_two_states_of_an_object_are_compared(space: Space) -> None:
    def make(root: Any) -> None:
        root["ann"] = Account(1)
        root["map"] = SortedMap({"a": 1, "b": 2})
        root["keys"] = Map([((1, 2), "x")])
        root["log"] = Log(["one"])
        root["list"] = List([1, 2])

    def alter(root: Any) -> None:
        root["ann"].amount = True
        root["ann"].notes.append("hi")
        root["ann"].friend = root["map"]
        root["map"].update(b=3, c=4)
        del root["map"]["a"]
        root["keys"][3, 4] = "y"
        root["log"].append("two")
        root["list"].append(3)

    first = change(space, make)
    second = change(space, alter)
    with space.connect() as connection:
        found = {key: space.diff(value, first).changes for key, value in connection.root.items()}
        whole = space.diff(connection.root["ann"], first, second)
        reference = Reference(
            int.from_bytes(connection.root["map"]._p_oid, "big"), "hubbub.SortedMap"
        )
    assert found == {
        "ann": {"amount": (1, True), "notes": ([], ["hi"]), "friend": (MISSING, reference)},
        "map": {"a": (1, MISSING), "b": (2, 3), "c": (MISSING, 4)},
        "keys": {(3, 4): (MISSING, "y")},
        "log": {1: (MISSING, "two")},
        "list": {2: (MISSING, 3)},
    }
    assert (whole.class_name, whole.before, whole.after) == ("tests.past.Account", first, second)
    assert space.diff(whole.oid, second, second).changes == {}
    assert space.diff(whole.oid, 0, first).changes == {
        "amount": (MISSING, 1),
        "notes": (MISSING, []),
    }
    with pytest.raises(UnknownObjectError):
        space.diff(999_999, first, second)


# --- undo -------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("ST7")
def test_a_transaction_is_undone_and_redone(space: Space) -> None:
    change(space, put, "ann", Account(1))
    paid = change(space, pay, "ann", 10)
    other = space.connect()
    assert other.root["ann"].amount == 11
    undone = space.undo(paid, note="wrong account", user="eve")
    assert undone == space.tid
    assert space.read(amounts) == {"ann": 1}
    other.sync()
    assert other.root["ann"].amount == 1
    label = next(space.transactions(newest_first=True)).label
    assert (label.command, label.note, label.identity) == ("undo", "wrong account", "eve")
    assert label.more() == {"undone": [tid_text(paid)]}
    redone = space.undo(undone)
    assert space.read(amounts) == {"ann": 11}
    space.undo(redone)
    assert space.read(amounts) == {"ann": 1}
    space.undo(undone)
    assert space.read(amounts) == {"ann": 11}
    space.undo(paid)  # it is as that left it
    again = change(space, pay, "ann", 10)
    more = change(space, pay, "ann", 1)
    space.undo([paid, more])
    assert space.read(amounts) == {"ann": 1}
    with pytest.raises(UndoError):
        space.undo(again)


@pytest.mark.rule("ST7")
def test_what_was_changed_again_is_merged_or_a_conflict(space: Space) -> None:
    def make(root: Any) -> None:
        root["sum"], root["ann"], root["map"] = Sum(), Account(1), Map(a=1)

    def add(root: Any, amount: int) -> None:
        root["sum"].total += amount

    change(space, make)
    five = change(space, add, 5)
    change(space, add, 7)
    space.undo(five)
    assert space.read(lambda root: root["sum"].total) == 7

    b = change(space, lambda root: put(root["map"], "b", 2))
    change(space, lambda root: put(root["map"], "c", 3))
    space.undo(b)
    assert space.read(lambda root: dict(root["map"].items())) == {"a": 1, "c": 3}

    paid = change(space, pay, "ann", 10)
    again = change(space, pay, "ann", 100)
    tid = space.tid
    with pytest.raises(UndoError) as caught:
        space.undo(paid)
    told = str(caught.value)
    assert tid_text(paid) in told
    assert f"tests.past.Account was changed again by transaction {tid_text(again)}" in told
    assert space.tid == tid
    space.undo([paid, again])
    assert space.read(lambda root: root["ann"].amount) == 1


def test_several_transactions_are_undone_at_once(space: Space) -> None:
    def add(root: Any, amount: int) -> None:
        root["sum"].total += amount

    change(space, put, "sum", Sum())
    tids = [change(space, add, 1 << power) for power in range(6)]
    undone = space.undo([tids[0], tids[2], tids[4]])  # others between and after
    assert space.read(lambda root: root["sum"].total) == 0b101010
    space.undo(undone)
    assert space.read(lambda root: root["sum"].total) == 0b111111
    space.undo(tids[4:])
    assert space.read(lambda root: root["sum"].total) == 0b001111


def test_what_an_undone_transaction_has_made_is_left_to_the_pack(space: Space) -> None:
    change(space, put, "ann", Account(1))

    def make(root: Any) -> None:
        root["bob"] = Account(2)
        root["map"] = SortedMap((n, n) for n in range(200))

    made = change(space, make)
    undone = space.undo(made)
    assert space.read(amounts) == {"ann": 1}
    space.undo(undone)
    assert space.read(lambda root: (root["bob"].amount, len(root["map"]))) == (2, 200)


def test_what_was_made_and_changed_since_stands_against_an_undo(space: Space) -> None:
    made = change(space, put, "bob", Account(2))
    paid = change(space, pay, "bob", 1)
    with pytest.raises(UndoError, match=r"Account was changed again .*would take it away"):
        space.undo(made)
    space.undo([paid, made])
    assert space.read(dict) == {}


def test_a_leaf_that_was_split_is_not_lost(space: Space) -> None:
    def fill(root: Any, low: int, high: int) -> None:
        root.setdefault("map", SortedMap()).update((n, n) for n in range(low, high))

    change(space, fill, 0, 20)
    split = change(space, fill, 20, 45)
    more = change(space, fill, 44, 50)
    with pytest.raises(UndoError):
        space.undo(split)
    assert space.read(lambda root: list(root["map"])) == list(range(50))
    space.undo([more, split])
    assert space.read(lambda root: list(root["map"])) == list(range(20))


def test_a_log_is_shortened_where_nothing_came_behind(space: Space) -> None:
    change(space, put, "log", Log(["a"]))
    added = change(space, lambda root: root["log"].extend(["b" * 300] * 20))
    trimmed = change(space, lambda root: root["log"].trim(keep=2))
    space.undo(trimmed)
    assert space.read(lambda root: len(root["log"])) == 21
    with pytest.raises(UndoError):
        space.undo(trimmed)
    space.undo([space.tid, trimmed, added])
    assert space.read(lambda root: list(root["log"])) == ["a"]
    trimmed = change(space, lambda root: root["log"].trim(keep=0))
    change(space, lambda root: root["log"].append("c"))
    with pytest.raises(UndoError, match="Log was changed again"):
        space.undo(trimmed)


def test_a_blob_comes_back_with_its_bytes(space: Space) -> None:
    def write(root: Any, data: bytes) -> None:
        root.setdefault("blob", Blob()).write_from(data)

    def read(root: Any) -> bytes:
        return bytes(root["blob"].read())

    change(space, write, b"first")
    long = change(space, write, b"long" * 500_000)
    last = change(space, write, b"")
    undone = space.undo([long, last])
    assert space.read(read) == b"first"
    space.undo(undone)
    assert space.read(read) == b""
    space.undo(space.tid)
    assert space.read(read) == b"first"
    with space.at(long) as past:
        assert past.read(read) == b"long" * 500_000
    before = space.tid
    with pytest.raises(UndoError):
        space.undo(long)
    assert space.tid == before


def test_the_root_becomes_empty_and_stays(space: Space) -> None:
    first = change(space, put, "a", 1)
    undone = space.undo(first)
    assert space.read(dict) == {}
    change(space, put, "b", 2)
    assert space.read(dict) == {"b": 2}
    with pytest.raises(UndoError):
        space.undo([undone, first, first + 1])


def test_what_cannot_be_undone_is_told(space: Space) -> None:
    first = change(space, put, "a", 1)
    with pytest.raises(UndoError, match="no transaction was named"):
        space.undo([])
    for nothing in (first - 1, first + 1, 5):
        with pytest.raises(UndoError, match="there is no transaction"):
            space.undo(nothing)
    with space.connect() as connection:
        connection._open().objects.add(Account(1))
        orphan = connection.commit()
    with pytest.raises(UndoError, match="only made objects to which nothing refers"):
        space.undo(orphan)
