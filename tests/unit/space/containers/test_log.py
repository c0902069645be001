"""Log: what an addition costs, and its edges. `tests/property/space/test_logs.py` has the rest."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hubbub.kernel import NoTransactionError, UnstorableError
from hubbub.space.classes import register
from hubbub.space.containers import Log
from hubbub.space.containers.loghead import HeadCodec
from hubbub.space.persistent import Persistent
from tests.unit.space.small_space import Conflict, SmallSpace


@register
class Line(msgspec.Struct, frozen=True):
    author: str
    text: str
    at: float


class Member(Persistent):
    pass


def world(log: Log[Any]) -> SmallSpace:
    space = SmallSpace()
    space.do(lambda root: root.update(log=log))
    return space


def test_an_addition_writes_its_own_bytes_and_about_a_kilobyte() -> None:
    space = world(Log(Line("ann", f"line {n}", 1.0) for n in range(100_000)))
    client = space.connect()
    sizes = []
    for n in range(400):
        client.run(lambda root, n=n: root["log"].append(Line("ann", f"more {n}", 2.0)))  # type: ignore[misc]
        sizes.append(client.commit())
    assert max(sizes) < 2048
    assert sum(sizes) / len(sizes) < 1024
    client.run(lambda root: root["log"].append("x" * 10_000))
    assert client.commit() < 12_000
    client.run(lambda root: root["log"].append("small"))
    assert client.commit() < 2048
    log = space.connect().root["log"]
    assert len(log) == 100_402
    assert log[50_000].text == "line 50000"
    assert log[-1] == "small"


def test_reading_the_end_wakes_only_what_holds_it() -> None:
    space = world(Log(f"line {n}" for n in range(50_000)))
    client = space.connect()
    log = client.root["log"]
    assert log.end == 50_000
    client.loads = 0
    assert log.last(3) == ["line 49997", "line 49998", "line 49999"]
    assert client.loads <= 1
    assert log[100] == "line 100"
    assert client.loads <= 6


def test_in_a_plain_unit_test_it_is_an_ordinary_object() -> None:
    log: Log[Any] = Log()
    for n in range(2000):
        log.append(n)
    assert list(log) == list(range(2000))
    assert log.last(2) == [1998, 1999]
    assert log.since(1998) == ([1998, 1999], 2000)
    assert log.trim(keep=5) == 1995
    assert (log.first, log.end, len(log), bool(log)) == (1995, 2000, 5, True)
    assert log.since(0) == ([1995, 1996, 1997, 1998, 1999], 2000)
    with pytest.raises(IndexError, match="kept are 1995 to 1999"):
        log[0]
    log.trim(keep=0)
    assert (len(log), bool(log), log.end) == (0, False, 2000)
    with pytest.raises(IndexError, match="empty"):
        log[-1]


@pytest.mark.rule("SP2")
def test_what_cannot_be_stored_is_refused_when_it_is_added() -> None:
    log: Log[Any] = Log([1])
    with pytest.raises(UnstorableError, match=r"Log item\[1\]"):
        log.extend([2, ["a", object()]])
    assert list(log) == [1]


def test_outside_a_transaction_nothing_is_added() -> None:
    space = world(Log([1]))
    log = space.connect().root["log"]
    with pytest.raises(NoTransactionError):
        log.append(2)
    with pytest.raises(NoTransactionError):
        log.trim(keep=0)
    assert list(log) == [1]


def test_attributes_are_refused_loudly() -> None:
    log: Log[Any] = Log()
    with pytest.raises(AttributeError, match="title"):
        log.title = "x"  # type: ignore[attr-defined]


@pytest.mark.rule("ST4")
def test_additions_of_two_transactions_merge_whatever_they_sealed() -> None:
    space = world(Log("x" * 100 for _ in range(9)))
    one, two = space.connect(), space.connect()
    one.run(lambda root: root["log"].extend(["one" * 50] * 60))
    two.run(lambda root: root["log"].extend(["two" * 50] * 60))
    one.commit()
    two.commit()
    log = space.connect().root["log"]
    assert list(log) == ["x" * 100] * 9 + ["one" * 50] * 60 + ["two" * 50] * 60
    assert space.merges == 1


@pytest.mark.rule("ST4")
def test_a_merge_keeps_all_references() -> None:
    space = world(Log())
    one, two = space.connect(), space.connect()
    one.run(lambda root: root["log"].append(Member()))
    two.run(lambda root: root["log"].extend([Member(), "x", Member()]))
    one.commit()
    two.commit()
    oid = space.connect().root["log"]._p_oid
    record = space.newest(int.from_bytes(oid, "big"))
    assert record is not None
    found = space.connect().root["log"]
    oids = [int.from_bytes(m._p_oid, "big") for m in found if m != "x"]
    assert list(record.refs) == oids
    assert len(oids) == 3


@pytest.mark.rule("ST4")
def test_trims_merge_with_additions() -> None:
    space = world(Log(range(20)))
    one, two = space.connect(), space.connect()
    one.run(lambda root: root["log"].append("one"))
    two.run(lambda root: root["log"].trim(keep=5))
    one.commit()
    two.commit()
    assert list(space.connect().root["log"]) == [15, 16, 17, 18, 19, "one"]
    one, two = space.connect(), space.connect()
    one.run(lambda root: root["log"].trim(keep=1))
    two.run(lambda root: root["log"].append("two"))
    one.commit()
    two.commit()
    log = space.connect().root["log"]
    assert (list(log), log.first, log.end) == (["one", "two"], 20, 22)
    one, two = space.connect(), space.connect()
    one.run(lambda root: root["log"].append("three"))
    two.run(lambda root: (root["log"].append("mine"), root["log"].trim(keep=0)))
    one.commit()
    with pytest.raises(Conflict, match="trimmed"):
        two.commit()


def test_what_is_trimmed_is_let_go_of() -> None:
    space = world(Log("x" * 100 for _ in range(20_000)))
    space.do(lambda root: root["log"].trim(keep=100))
    oid = int.from_bytes(space.connect().root["log"]._p_oid, "big")
    reachable, queue = set(), [oid]
    while queue:
        record = space.newest(queue.pop())
        assert record is not None
        reachable.add(record.oid)
        queue.extend(ref for ref in record.refs if ref not in reachable)
    kept = sum(len(space.records[o][-1].payload) for o in reachable)
    assert kept < 100 * 200 + 4096 + 1024


@pytest.mark.rule("LV3")
def test_an_addition_is_noted_with_its_position() -> None:
    space = world(Log(["a"]))
    client = space.connect()
    client.run(lambda root: root["log"].extend(["b", "c"]))
    client.commit()
    (changes,) = client.changes.values()
    assert [value for key, value in changes.items() if type(key) is int] == ["b", "c"]
    assert [key for key in changes if type(key) is int] == [1, 2]


@pytest.mark.rule("SP8")
def test_an_item_that_is_changed_in_place_is_written_anew() -> None:
    space = world(Log(["a"]))
    client = space.connect()
    client.run(lambda root: root["log"].extend(["b", ["c"], "d"]))
    client.commit()
    client.run(lambda root: root["log"][2].append("e"))
    client.commit()
    client.run(lambda root: root["log"].append("f"))
    client.commit()
    assert space.do(lambda root: list(root["log"])) == ["a", "b", ["c", "e"], "d", "f"]


@pytest.mark.rule("SP2")
@pytest.mark.parametrize(
    "item", ["x" * 40, (1, "two"), Line("ann", "hello", 1.0), 1 << 70, None, b"", "\ud800"]
)
def test_items_written_one_by_one_are_those_written_at_once(item: Any) -> None:
    one, other = world(Log()), world(Log())
    client = one.connect()
    for _ in range(100):
        client.run(lambda root: root["log"].append(item))
        client.commit()
    other.do(lambda root: root["log"].extend([item] * 100))
    assert one.do(lambda root: list(root["log"])) == [item] * 100
    assert other.do(lambda root: list(root["log"])) == [item] * 100
    # Also where the head was not woken from a record: nothing stays in memory of what was sealed.
    assert client.run(lambda root: root["log"].last(100)) == [item] * 100


def test_what_is_sealed_and_stored_is_known_by_its_oid() -> None:
    space = world(Log())
    client = space.connect()
    # A connection that keeps its objects awake from one transaction to the next.
    client.connection.invalidate_all = lambda: None  # type: ignore[method-assign]
    for n in range(60):
        client.run(lambda root, n=n: root["log"].append(f"{n:060}"))  # type: ignore[misc]
        client.commit()
    parts = client.root["log"]._parts
    assert len(parts) > 3
    assert {type(part.ref) for part in parts[:-2]} == {int}
    assert client.run(lambda root: list(root["log"])) == [f"{n:060}" for n in range(60)]


@pytest.mark.rule("SP5")
def test_a_log_whose_commit_failed_keeps_nothing_of_the_oids_it_lost() -> None:
    space = world(Log())
    client = space.connect()
    log: Log[str] = Log(["a" * 5000])
    log.append("b")

    def fail(root: Any) -> None:
        root.update(other=log)
        client.connection.prepare()

    client.run(fail)
    client.abort()
    other: Log[str] = Log(["c" * 5000])
    other.append("d")
    client.run(lambda root: root.update(other=other, late=log))
    client.commit()
    assert space.do(lambda root: list(root["late"])) == ["a" * 5000, "b"]
    assert space.do(lambda root: list(root["other"])) == ["c" * 5000, "d"]


def test_a_head_is_encoded_from_its_pieces_as_it_would_be_anew() -> None:
    client = world(Log()).connect()
    client.connection.invalidate_all = lambda: None  # type: ignore[method-assign]
    codec = HeadCodec()

    def add(root: Any, item: str) -> None:
        log, ref_of = root["log"], client.connection.add
        log.append(item)
        known = codec._encode_known(log.__dict__, ref_of)
        assert known is not None
        assert known == codec._encode_any(log, ref_of)

    for n in range(200):
        client.run(lambda root, n=n: add(root, f"{n:060}"))  # type: ignore[misc]
        client.commit()
