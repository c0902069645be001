from __future__ import annotations

from hubbub.mount import InvalidationLog


def test_it_tells_what_changed_since_a_tid() -> None:
    log = InvalidationLog(10)
    log.add(20, [1, 2])
    log.add(30, [2, 3], perhaps=[4])
    assert log.newest == 30
    assert log.since(30) == frozenset()
    assert log.since(20) == log.since(25) == frozenset({2, 3, 4})
    assert log.since(10) == frozenset({1, 2, 3, 4})
    assert log.since(9) is None
    assert log.since(31) is None


def test_a_tid_comes_once() -> None:
    log = InvalidationLog(10)
    log.add(20, [1])
    log.add(20, [2])
    log.add(15, [3])
    assert log.since(10) == frozenset({1})


def test_what_only_perhaps_changed_is_told_apart() -> None:
    log = InvalidationLog(10)
    log.add(20, [1], perhaps=[2])
    assert not log.is_unchanged(1, 19)
    assert log.is_unchanged(1, 20)
    assert not log.is_unchanged(2, 19)
    assert log.is_unchanged(2, 19, certain_only=True)
    assert not log.is_unchanged(1, 19, certain_only=True)
    assert log.is_unchanged(3, 10)
    assert not log.is_unchanged(3, 9)


def test_it_is_bounded() -> None:
    log = InvalidationLog(0, limit=100)
    for tid in range(1, 1000):
        log.add(tid, [tid, 5000 + tid % 7])
    assert log.since(0) is None
    assert log.since(998) == frozenset({999, 5000 + 999 % 7})
    assert log.since(990) is not None
    assert not log.is_unchanged(1, 500)
    assert log.is_unchanged(1, 990)
    assert not log.is_unchanged(995, 990)
    assert len(log._last) < 110
    assert len(log._last_certain) < 110
    log.reset(2000)
    assert (log.newest, log.since(999), log.since(2000)) == (2000, None, frozenset())
