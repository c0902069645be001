"""Prefetching brings many objects in one round trip, and a page whose objects are kept asks the host nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from hubbub.kernel import Changeset, Record
from hubbub.mount import Mount, RemoteMount, Space
from hubbub.mount.cache import RecordCache
from hubbub.space.containers import Map
from hubbub.space.persistent import Persistent

Open = Callable[..., Mount]


class Story(Persistent, name="tests.prefetch.Story"):
    def __init__(self, title: str) -> None:
        self.title = title
        self.text = "x" * 2000


def fill(root: Any) -> None:
    root["stories"] = Map()
    for number in range(300):
        root["stories"][str(number)] = Story(f"story {number}")


def page(root: Any) -> list[str]:
    return sorted(story.title for story in root["stories"].values())


def test_many_objects_come_in_one_round_trip(open_mount: Open) -> None:
    one, two = Space(open_mount()), open_mount()
    one.run(fill)
    two.sync()
    space = Space(two)
    with space.transaction() as root:
        wanted = list(root["stories"].values())
        before = space.stats.requests
        came = space.prefetch(wanted)
        asked = space.stats.requests - before
        if isinstance(two, RemoteMount):
            assert came > 200
            assert asked == 1
            assert space.stats.prefetched == came
        assert page(root) == sorted(f"story {number}" for number in range(300))
        # All of them are here: there is nothing to ask for.
        assert space.stats.requests == before + asked
        assert space.prefetch(wanted, [story._p_oid and story for story in wanted]) == 0
        assert space.stats.requests == before + asked


def test_a_warm_page_asks_the_host_nothing(open_mount: Open) -> None:
    one, two = Space(open_mount()), open_mount()
    one.run(fill)
    two.sync()
    space = Space(two)
    assert len(space.read(page)) == 300
    before = space.stats
    for _ in range(3):
        assert len(space.read(page)) == 300
    # Another thread's view begins with ghosts: they wake from what is kept.
    assert len(space.run(page)) == 300
    fresh = space.connect()
    assert len(page(fresh.root)) == 300
    after = space.stats
    assert after.requests == before.requests
    if isinstance(two, RemoteMount):
        assert after.cache_misses == before.cache_misses
        assert after.cache_hits - before.cache_hits >= 300
        assert before.hit_rate < after.hit_rate < 1
        assert after.cached_records >= 300
        assert 600_000 < after.cached_bytes < 256 << 20


def test_what_does_not_fit_is_let_go_of_and_counted(open_mount: Open) -> None:
    one = open_mount()
    oids = [one.new_oid() for _ in range(200)]
    tid, _ = one.commit(Changeset(0, [Record(oid, 0, "t:T", (), b"x" * 1000) for oid in oids]))
    two = open_mount(cache_bytes=20_000) if isinstance(one, RemoteMount) else one
    two.sync()
    came = two.prefetch([*oids, 999_999, oids[0]], tid)
    for oid in oids:
        assert two.load(oid, tid).payload == b"x" * 1000
    if isinstance(two, RemoteMount):
        assert came == 200
        stats = two.stats
        assert stats.evictions > 100
        assert stats.cached_bytes <= 20_000
        assert stats.cache_misses > 100


def test_a_prefetch_is_as_of_its_snapshot(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid = one.new_oid()
    first, _ = one.commit(Changeset(0, [Record(oid, 0, "t:T", (), b"1")]))
    two.sync()
    second, _ = one.commit(Changeset(0, [Record(oid, first, "t:T", (), b"2")]))
    two.sync()
    two.prefetch([oid], first)
    assert two.load(oid, first).payload == b"1"
    two.prefetch([oid], second)
    assert two.load(oid, two.begin()).payload == b"2"
    assert two.load(oid, first).payload == b"1"


def test_a_peer_that_keeps_its_records_in_files_sees_and_changes_the_same(
    open_mount: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for two records in memory; some were woken before, by this connection or another one."""
    monkeypatch.setattr("hubbub.mount.replica.RecordCache", partial(RecordCache, memory_bytes=5000))
    one, two = Space(open_mount()), open_mount()
    one.run(fill)
    two.sync()
    space = Space(two)
    expected = sorted(f"story {number}" for number in range(300))
    assert space.read(page) == expected
    if isinstance(two, RemoteMount):
        assert len(two._replica.cache._spilled) > 200
    before = space.stats.requests
    with space.connect() as connection:
        for _ in range(2):
            assert page(connection.root) == expected
            connection.abort()
            for story in connection.root["stories"].values():
                story._p_deactivate()
    assert space.read(page) == expected
    assert space.stats.requests == before
    for number in (0, 7, 299):
        space.run(rename, number, f"{number} by two")
        one.run(rename, number + 1 if number < 299 else 5, f"{number} by one")
    two.sync()
    assert space.read(page) == one.read(page)
    assert space.stats.evictions == 0


def rename(root: Any, number: int, title: str) -> None:
    root["stories"][str(number)].title = title
