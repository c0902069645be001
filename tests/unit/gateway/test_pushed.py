"""Which records go along with the news that they changed."""

from __future__ import annotations

from hubbub.gateway.pushed import Pushed
from hubbub.kernel import Record


def changed(*oids: int, size: int = 10) -> dict[int, Record]:
    return {oid: Record(oid, 5, "a:B", (), b"x" * size) for oid in oids}


def wants(*oids: int) -> Pushed:
    pushed = Pushed()
    pushed.told(oids)
    for oid in oids:
        pushed.asked(oid)
    return pushed


def chosen(pushed: Pushed, *commits: dict[int, Record]) -> set[int]:
    last = {oid: record for commit in commits for oid, record in commit.items()}
    return {record.oid for record in pushed.chosen(last, commits)}


def test_only_what_is_asked_for_after_it_changed_is_pushed() -> None:
    pushed = Pushed()
    pushed.asked(1)
    assert chosen(pushed, changed(1)) == set()
    pushed.told([1])
    assert chosen(pushed, changed(1)) == set()
    pushed.asked(1)
    assert chosen(pushed, changed(1)) == {1}


def test_it_ends_if_nobody_asks_again() -> None:
    pushed = wants(1)
    times = 0
    while chosen(pushed, changed(1)):
        times += 1
    assert times == 256
    pushed.told([1])
    pushed.asked(1)
    assert chosen(pushed, changed(1)) == {1}


def test_what_a_commit_writes_with_it_comes_along() -> None:
    pushed = wants(1)
    assert chosen(pushed, changed(1, 2), changed(3)) == {1, 2}
    assert chosen(pushed, changed(2)) == {2}
    assert chosen(pushed, changed(*range(1, 100))) == {1, 2}


def test_large_ones_and_what_is_over_the_budget_stay() -> None:
    assert chosen(wants(1), changed(1, size=(16 << 10) + 1)) == set()
    assert len(chosen(wants(*range(20)), changed(*range(20), size=16 << 10))) == 4


def test_own_writes_are_not_pushed() -> None:
    pushed = wants(1, 2)
    assert [r.oid for r in pushed.chosen(changed(2), [changed(1, 2)])] == [2]


def test_what_is_remembered_is_bounded() -> None:
    pushed = wants(*range(20_000))
    assert len(pushed.wanted) <= 10_000
    pushed.clear()
    assert chosen(pushed, changed(1)) == set()
