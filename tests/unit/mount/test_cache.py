from __future__ import annotations

from hubbub.kernel import Record
from hubbub.mount.cache import RecordCache


def record(oid: int, tid: int, size: int = 0) -> Record:
    return Record(oid, tid, "test:Thing", (), b"x" * size)


def tid_of(cache: RecordCache, oid: int, at: int) -> int | None:
    found = cache.get(oid, at)
    return found.tid if found else None


def test_a_version_is_right_until_it_is_closed() -> None:
    cache = RecordCache(1 << 20)
    cache.add(record(1, 10), None)
    assert [tid_of(cache, 1, at) for at in (9, 10, 999)] == [None, 10, 10]
    cache.close([1, 2], 21)
    assert [tid_of(cache, 1, at) for at in (20, 21)] == [10, None]
    cache.close([1], 50)
    assert tid_of(cache, 1, 30) is None
    cache.add(record(1, 25), None)
    assert [tid_of(cache, 1, at) for at in (20, 21, 25, 99)] == [10, None, 25, 25]


def test_what_is_learned_later_widens_a_version() -> None:
    cache = RecordCache(1 << 20)
    cache.add(record(1, 10), 16)
    cache.add(record(1, 10), 12)
    assert [tid_of(cache, 1, at) for at in (15, 16)] == [10, None]
    cache.add(record(1, 10), None)
    assert tid_of(cache, 1, 99) == 10


def test_an_older_version_ends_where_the_newer_begins() -> None:
    cache = RecordCache(1 << 20)
    cache.add(record(1, 20), None)
    cache.add(record(1, 10), None)
    assert [tid_of(cache, 1, at) for at in (9, 10, 19, 20)] == [None, 10, 10, 20]


def test_few_versions_of_one_object_are_kept() -> None:
    cache = RecordCache(1 << 20)
    for tid in range(1, 100):
        cache.add(record(1, tid), None)
    assert tid_of(cache, 1, 99) == 99
    assert tid_of(cache, 1, 95) == 95
    assert tid_of(cache, 1, 50) is None


def test_its_bytes_are_bounded_and_what_is_used_stays() -> None:
    cache = RecordCache(100_000)
    cache.add(record(0, 1, 100), None)
    for oid in range(1, 2000):
        cache.add(record(oid, 1, 100), None)
        assert tid_of(cache, 0, 1) == 1
        assert cache.byte_count <= 100_000
    assert tid_of(cache, 1, 1) is None
    assert tid_of(cache, 1999, 1) == 1
    cache.clear()
    assert cache.byte_count == 0
    assert tid_of(cache, 0, 1) is None


def test_many_are_added_as_one_by_one() -> None:
    cache = RecordCache(1 << 20)
    cache.add_many([record(oid, 10) for oid in range(5)])
    assert [tid_of(cache, oid, 10) for oid in range(6)] == [10, 10, 10, 10, 10, None]
    cache.close([2], 15)
    cache.add_many([record(oid, 12) for oid in (1, 2)] + [record(7, 12)])
    assert [tid_of(cache, oid, 99) for oid in (0, 1, 2, 7)] == [10, 12, 12, 12]
    assert [tid_of(cache, oid, 11) for oid in (1, 2, 7)] == [10, 10, None]
    size = cache.byte_count
    cache.add_many([record(7, 12)])
    assert cache.byte_count == size


def test_what_comes_together_is_not_made_old_by_itself() -> None:
    cache = RecordCache(1 << 20, 10_000)
    for first in range(0, 50, 5):
        cache.add_many([record(oid, 1) for oid in range(first, first + 5)])
        assert set(range(first, first + 5)) <= cache.recent.keys()
    # But for what is more than there is room for at a time.
    cache.add_many([record(oid, 1) for oid in range(100, 130)])
    assert not cache.recent
    cache.add_many([record(oid, 1) for oid in range(200, 230)])
    assert len(cache._old.newest) == 30
    assert [tid_of(cache, oid, 1) for oid in (0, 49, 100, 129, 200)] == [1] * 5
    cache.clear()


def test_recent_holds_what_was_used_lately_and_is_right_now() -> None:
    cache = RecordCache(1 << 20)
    cache.add_many([record(oid, 10) for oid in range(3)])
    assert set(cache.recent) == {0, 1, 2}
    cache.make_old(1)
    cache.make_old(9)
    cache.close([2], 20)
    assert set(cache.recent) == {0}
    assert (tid_of(cache, 2, 19), tid_of(cache, 2, 20)) == (10, None)
    assert tid_of(cache, 1, 10) == 10
    assert set(cache.recent) == {0, 1}
    cache.make_old(1)
    cache.close([1], 30)
    assert (tid_of(cache, 1, 29), tid_of(cache, 1, 30)) == (10, None)


def test_it_says_when_bytes_ran_out() -> None:
    cache = RecordCache(10_000)
    cache.add(record(1, 1, 4000), None)
    cache.add(record(2, 1, 4000), None)
    assert not cache.has_dropped
    cache.add_many([record(oid, 1, 1000) for oid in range(10, 20)])
    assert cache.has_dropped


def test_what_a_file_holds_of_an_object_does_not_come_back_when_it_was_replaced() -> None:
    cache = RecordCache(1 << 20, 2500)
    cache.add_many([record(oid, 10) for oid in range(8)])
    cache.add_many([record(oid, 10) for oid in range(10, 20)])
    cache.add_many([record(oid, 10) for oid in range(20, 30)])
    cache.add_many([record(oid, 12) for oid in (1, 2)])
    cache.add(record(1, 14), 15)
    assert [tid_of(cache, 1, at) for at in (14, 16, 99)] == [14, None, None]
    assert [tid_of(cache, oid, 16) for oid in (0, 1, 2)] == [10, None, 12]
    cache.clear()


def test_what_leaves_memory_before_its_past_versions_is_in_no_file() -> None:
    cache = RecordCache(1 << 20, 2500)
    for first in (0, 10, 20):
        cache.add_many([record(oid, 10) for oid in range(first, first + 8)])
    cache.add_many([record(oid, 12) for oid in (1, 2)])
    cache.add(record(1, 11), 12)
    cache.make_old(1)
    cache.add_many([record(oid, 10) for oid in range(30, 32)])
    cache.add(record(1, 14), 15)
    assert [tid_of(cache, 1, at) for at in (11, 14, 16)] == [11, 14, None]
    cache.add_many([record(oid, 10) for oid in range(40, 48)])
    cache.add_many([record(oid, 10) for oid in range(50, 58)])
    assert [tid_of(cache, 1, at) for at in (11, 14, 16)] == [None, None, None]
    assert [tid_of(cache, oid, 16) for oid in (0, 2, 30)] == [10, 12, 10]
    cache.clear()
