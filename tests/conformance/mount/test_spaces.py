"""What a space does over every mount: transactions, reads, connections, watches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import hubbub.space.context as context
from hubbub.kernel import (
    ClosedError,
    ConflictError,
    NoTransactionError,
    ReadOnlyError,
    TransientError,
    UnknownObjectError,
)
from hubbub.mount import Mount, Space
from hubbub.space.containers import SortedMap
from hubbub.space.persistent import Persistent


class Counter(Persistent, name="tests.mount.Counter"):
    def __init__(self, value: int = 0) -> None:
        self.value = value


class Basket(Persistent, name="tests.mount.Basket"):
    def __init__(self) -> None:
        self.items = ["apple"]


@pytest.fixture
def open_space(open_mount: Callable[..., Mount]) -> Callable[..., Space]:
    return lambda **options: Space(open_mount(**options))


Open = Callable[..., Space]


def put(root: Any, key: str, value: Any) -> None:
    root[key] = value


def count(root: Any) -> int:
    root["counter"].value += 1
    return int(root["counter"].value)


def value(root: Any) -> int:
    return int(root["counter"].value)


def in_threads(*bodies: Callable[[], Any]) -> None:
    failures: list[BaseException] = []

    def run(body: Callable[[], Any]) -> None:
        try:
            body()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if failures:
        raise failures[0]


def test_a_transaction_commits_at_its_end(open_space: Open) -> None:
    one, two = open_space(), open_space()
    with one.transaction() as root:
        root["counter"] = Counter(3)
    assert one.read(value) == 3
    two.connect().sync()
    assert two.read(value) == 3


def test_a_transaction_that_fails_stores_nothing(open_space: Open) -> None:
    space = open_space()
    space.run(put, "counter", Counter())
    with pytest.raises(ZeroDivisionError), space.transaction() as root:
        root["counter"].value = 1 // 0
    with pytest.raises(KeyError), space.transaction() as root:
        root["counter"].value = 7
        root["other"] = Counter()
        root["nothing"]
    assert space.read(value) == 0
    assert not space.read(lambda root: "other" in root)


def test_a_transaction_raises_its_conflict(open_space: Open) -> None:
    space = open_space()
    space.run(put, "counter", Counter())
    with pytest.raises(ConflictError), space.transaction() as root:
        root["counter"].value += 1
        space.run(count)
    assert space.read(value) == 1


def test_run_runs_again_until_it_fits(open_space: Open) -> None:
    one, two = open_space(), open_space()
    one.run(put, "counter", Counter())
    two.connect().sync()

    def counting(space: Space) -> Callable[[], Any]:
        return lambda: [space.run(count, attempts=200) for _ in range(20)]

    in_threads(*(counting(space) for space in (one, two, one, two)))
    two.connect().sync()
    assert one.read(value) == two.read(value) == 80


def test_run_gives_up_in_the_end(open_space: Open) -> None:
    space = open_space()
    space.run(put, "counter", Counter())
    seen: list[tuple[float, str, float]] = []

    def unlucky(root: Any) -> None:
        seen.append((context.now(), context.unique(), context.random().random()))
        root["counter"].value += 1
        space.run(count)

    with pytest.raises(ConflictError, match="given up after 3 attempts"):
        space.run(unlucky, attempts=3)
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert space.read(value) == 3


def test_an_error_is_not_run_again(open_space: Open) -> None:
    space = open_space()
    runs: list[int] = []

    def fails(root: Any) -> None:
        runs.append(1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        space.run(fails)
    assert runs == [1]
    assert not issubclass(ValueError, TransientError)


def test_a_read_changes_nothing(open_space: Open) -> None:
    space = open_space()
    space.run(put, "counter", Counter())
    space.run(put, "basket", Basket())
    with pytest.raises(ReadOnlyError):
        space.read(count)
    with pytest.raises(ReadOnlyError):
        space.read(lambda root: root["basket"].items.append("pear"))
    assert space.read(lambda root: list(root["basket"].items)) == ["apple"]
    assert space.run(count) == 1


def test_a_read_only_space_reads(open_space: Open) -> None:
    open_space().run(put, "counter", Counter(5))
    space = open_space(read_only=True)
    assert space.read(value) == 5
    with pytest.raises(ReadOnlyError):
        space.run(count)


@pytest.mark.rule("SP1")
def test_a_transaction_sees_one_snapshot(open_space: Open) -> None:
    one, two = open_space(), open_space()
    one.run(put, "counter", Counter())
    one.run(put, "other", Counter())
    two.connect().sync()

    def look(root: Any) -> tuple[int, int]:
        first = root["counter"].value
        for _ in range(3):
            one.run(lambda root: setattr(root["other"], "value", one.run(count)))
        if two is not one:
            two.sync()
        return first, root["other"].value

    assert two.read(look) == (0, 0)
    assert one.read(value) == 3


@pytest.mark.rule("SP4")
def test_volatile_attributes_last_as_long_as_the_connection(open_space: Open) -> None:
    one, two = open_space(), open_space()
    one.run(put, "counter", Counter())
    one.run(put, "basket", Basket())
    with two.connect() as conn:
        conn.sync()
        counter, basket = conn.root["counter"], conn.root["basket"]
        counter._v_seen, basket._v_seen = "a", "b"
        assert (counter.value, basket.items) == (0, ["apple"])
        one.run(count)
        one.run(lambda root: root["basket"].items.append("pear"))
        conn.sync()
        assert conn.root["counter"] is counter
        assert (counter.value, counter._v_seen) == (1, "a")
        assert (basket.items, basket._v_seen) == (["apple", "pear"], "b")
        counter.value = 10
        conn.commit()
        conn.abort()
        assert (counter.value, counter._v_seen) == (10, "a")
    assert one.run(lambda root: hasattr(root["counter"], "_v_seen")) is False


def test_a_connection_commits_and_aborts_by_hand(open_space: Open) -> None:
    one, two = open_space(), open_space()
    one.run(put, "counter", Counter())
    conn = two.connect()
    conn.sync()
    conn.root["counter"].value = 4
    conn.root["basket"] = Basket()
    tid = conn.commit()
    assert conn.tid >= tid
    conn.root["basket"].items.append("fig")
    conn.abort()
    assert conn.root["basket"].items == ["apple"]
    conn.root["basket"].items.append("fig")
    conn.commit("more fruit")
    one.connect().sync()
    assert one.read(lambda root: (value(root), root["basket"].items)) == (4, ["apple", "fig"])
    conn.root["counter"].value = 100
    one.run(count)
    with pytest.raises(ConflictError):
        conn.commit()
    assert conn.root["counter"].value == 5
    conn.close()
    conn.close()
    with pytest.raises(ClosedError):
        conn.root  # noqa: B018
    with pytest.raises(NoTransactionError):
        space_objects(one)["counter"].value = 1


def space_objects(space: Space) -> Any:
    return space.read(lambda root: {"counter": root["counter"]})


@pytest.mark.rule("SP1")
def test_a_connection_can_look_at_the_past(open_space: Open) -> None:
    space = open_space()
    space.run(put, "counter", Counter())
    past = space.tid
    space.run(count)
    with space.connect(at=past) as old:
        assert old.root["counter"].value == 0
        old.sync()
        assert (old.tid, old.root["counter"].value) == (past, 0)
        with pytest.raises(ReadOnlyError):
            old.root["counter"].value = 3
    with pytest.raises(Exception, match="future"):
        space.connect(at=space.tid + (1 << 40))


@pytest.mark.rule("ST4")
def test_the_same_key_conflicts_and_others_merge(open_space: Open) -> None:
    one, two = open_space(), open_space()
    one.run(put, "map", SortedMap())
    two.connect().sync()
    with pytest.raises(ConflictError), two.transaction() as root:
        root["map"]["k"] = 1
        one.run(lambda root: put(root["map"], "k", 2))
    with two.transaction() as root:
        root["map"]["a"] = 1
        one.run(lambda root: put(root["map"], "b", 2))
    for space in (one, two):
        space.connect().sync()
        assert space.read(lambda root: list(root["map"].items())) == [("a", 1), ("b", 2), ("k", 2)]


@pytest.mark.rule("SP6")
@pytest.mark.parametrize("size", [0, 3, 400])
def test_an_insert_beside_a_clear_does_not_vanish(open_space: Open, size: int) -> None:
    one, two = open_space(), open_space()
    one.run(put, "map", SortedMap())

    def fill(root: Any) -> None:
        for number in range(size):
            root["map"][f"{number:05}"] = number

    one.run(fill)
    two.connect().sync()
    stored = True
    try:
        with two.transaction() as root:
            root["map"]["00200x"] = "here"
            one.run(lambda root: root["map"].clear())
    except ConflictError:
        stored = False
    two.connect().sync()
    assert two.read(lambda root: "00200x" in root["map"]) is stored
    # And the other way round: either it is refused, or it comes after the insert, as its tid says.
    one.run(fill)
    two.connect().sync()
    inserted = cleared = 0
    try:
        with two.connect() as conn:
            conn.root["map"].clear()
            one.run(lambda root: put(root["map"], "00200y", "here"))
            inserted = int(one.tid)
            cleared = int(conn.commit())
    except ConflictError:
        pass
    two.connect().sync()
    assert two.read(lambda root: "00200y" in root["map"]) is (cleared < inserted)
    if cleared:
        assert two.read(lambda root: list(root["map"])) == []


def test_changes_begins_with_now_and_follows(open_space: Open) -> None:
    one, two = open_space(), open_space()
    changes = two.changes()
    now = next(changes)
    assert now.oids is None
    one.run(put, "counter", Counter())
    change = next(changes)
    assert change.tid > now.tid
    assert change.oids
    seen: list[int] = []

    def follow() -> None:
        seen.extend(change.tid for change in changes)

    follower = threading.Thread(target=follow)
    follower.start()
    for _ in range(3):
        one.run(count)
    two.connect().sync()
    two.close()
    follower.join(10)
    assert not follower.is_alive()
    assert seen == sorted(set(seen))


def test_a_watch_answers_when_what_it_read_changed(open_space: Open) -> None:
    one, two = open_space(), open_space()
    one.run(put, "counter", Counter())
    one.run(put, "other", Counter())
    two.connect().sync()
    runs: list[int] = []

    def watched(root: Any) -> int:
        runs.append(1)
        return value(root)

    answers = two.watch(watched)
    assert next(answers) == 0
    one.run(lambda root: setattr(root["other"], "value", 9))
    two.connect().sync()
    woken: list[int] = []
    waiting = threading.Thread(target=lambda: woken.append(next(answers)))
    waiting.start()
    one.run(count)
    waiting.join(10)
    assert woken == [1]
    assert len(runs) == 2
    two.close()
    assert list(answers) == []


def test_a_watch_raises_what_its_function_raises(open_space: Open) -> None:
    space = open_space()
    with pytest.raises(KeyError):
        next(space.watch(value))
    with pytest.raises(ReadOnlyError):
        next(space.watch(lambda root: put(root, "counter", 1)))


async def test_the_async_face(open_space: Open) -> None:
    one, two = open_space(), open_space()
    await one.arun(put, "counter", Counter())
    assert await one.arun(count) == 1
    assert await one.aread(value) == 1
    answers = two.awatch(value)
    changes = two.achanges()
    await two.acall(two.sync)
    assert await anext(answers) == 1
    assert (await anext(changes)).oids is None
    coming = asyncio.ensure_future(anext(answers))
    await one.arun(count)
    assert await asyncio.wait_for(coming, 10) == 2
    assert (await asyncio.wait_for(anext(changes), 10)).oids
    gone = asyncio.ensure_future(anext(answers))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    with pytest.raises(StopAsyncIteration):
        await anext(answers)
    ending = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    two.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(ending, 10)


def test_a_closed_space_says_so(open_space: Open) -> None:
    space = open_space()
    with space:
        space.run(put, "counter", Counter())
    with pytest.raises(ClosedError):
        space.read(value)
    with pytest.raises(ClosedError):
        space.run(count)
    with pytest.raises(ClosedError):
        space.connect()


def test_an_unknown_object_is_an_error(open_space: Open) -> None:
    space = open_space()
    with pytest.raises(UnknownObjectError):
        space._mount.load(12345, space.tid)


async def test_a_call_that_waits_for_its_turn_hears_that_the_space_was_closed(
    open_space: Open,
) -> None:
    space = open_space()
    hold, busy = threading.Event(), threading.Semaphore(0)

    def block() -> None:
        busy.release()
        assert hold.wait(20)

    blocking = [asyncio.ensure_future(space.acall(block)) for _ in range(8)]
    await asyncio.to_thread(lambda: [busy.acquire() for _ in range(8)])
    waiting = asyncio.ensure_future(space.acall(block))
    await asyncio.sleep(0)
    await asyncio.to_thread(space.close)
    with pytest.raises(ClosedError):
        await waiting
    hold.set()
    await asyncio.gather(*blocking)


def test_a_walk_sees_the_space_at_one_commit_after_the_other(open_space: Open) -> None:
    one, two = open_space(), open_space()
    one.run(lambda root: root.setdefault("a", Counter(1)))
    one.run(lambda root: root.setdefault("b", Counter(10)))
    one.run(lambda root: setattr(root["a"], "value", 2))

    def both(root: Any) -> None:
        root["a"].value, root["b"].value = 3, 11

    one.run(both)
    with two.connect() as connection:
        connection.sync()
    walk = two.walk()
    seen = []
    for entry in two.feed():
        walk.go(entry)
        assert walk.tid == entry.tid
        seen.append(walk.read(lambda root: [(name, root[name].value) for name in sorted(root)]))
    assert seen == [
        [("a", 1)],
        [("a", 1), ("b", 10)],
        [("a", 2), ("b", 10)],
        [("a", 3), ("b", 11)],
    ]
    with pytest.raises(ReadOnlyError):
        walk.read(lambda root: setattr(root["a"], "value", 9))
    assert walk.read(lambda root: root["a"].value) == 3
