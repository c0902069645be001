"""A peer's cache never gives a version for a snapshot for which it is not right, wherever it keeps it (SP1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.kernel import Record
from hubbub.mount.cache import RecordCache

OIDS = st.integers(0, 15)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(OIDS, max_size=6, unique=True), st.booleans()),
        st.tuples(st.just("commit"), st.lists(OIDS, max_size=6, unique=True), st.booleans()),
        st.tuples(st.just("load"), OIDS, st.integers(0, 5)),
        st.tuples(st.just("load many"), st.lists(OIDS, max_size=20, unique=True), st.just(0)),
        st.tuples(st.just("look"), OIDS, st.integers(0, 5)),
        st.tuples(st.just("mark"), OIDS, st.just(0)),
    ),
    min_size=10,
    max_size=80,
)


class Space:
    """All versions of all objects, and a cache of some of them."""

    def __init__(self, cache: RecordCache) -> None:
        self.cache = cache
        self.newest = 1
        self.tids = {oid: [1] for oid in range(16)}

    def right(self, oid: int, at: int) -> int:
        return max((tid for tid in self.tids[oid] if tid <= at), default=0)

    def record(self, oid: int, at: int) -> Record:
        tid = self.right(oid, at)
        made = Record(oid, tid, "test:Thing", (oid + 1,), b"%d@%d" % (oid, tid) * 3)
        made.memo = "what was decoded" if oid % 3 else None
        return made

    def write(self, oids: list[int], sent: bool) -> None:
        """Somebody changes ``oids``; perhaps the new records are sent along."""
        before, self.newest = self.newest, self.newest + 2
        self.cache.close(oids, before + 1)
        for oid in oids:
            self.tids[oid].append(self.newest)
            if sent:
                self.cache.add(self.record(oid, self.newest), None)

    def commit(self, oids: list[int], is_late: bool) -> None:
        """This peer changes ``oids``: nobody has to close anything. Perhaps it hears of it after others' changes."""
        self.newest += 2
        for oid in oids:
            self.tids[oid].append(self.newest)
        records = [self.record(oid, self.newest) for oid in oids]
        if is_late:
            self.newest += 2
            for record in records:
                self.cache.add(record, record.tid + 1)
        elif len(records) > 1:
            self.cache.add_many(records)
        else:
            for record in records:
                self.cache.add(record, None)

    def load(self, oid: int, back: int) -> None:
        at = max(1, self.newest - back)
        is_newest = self.right(oid, at) == self.right(oid, self.newest)
        self.cache.add(self.record(oid, at), None if is_newest else at + 1)

    def look(self, oid: int, back: int) -> bool:
        at = max(1, self.newest - back)
        found = self.cache.get(oid, at)
        if found is not None:
            assert found == self.record(oid, at)
        return found is not None


@contextmanager
def space_with(limit: int, memory: int) -> Iterator[Space]:
    cache = RecordCache(limit, memory)
    try:
        yield Space(cache)
    finally:
        cache.clear()


def play(space: Space, steps: list[tuple]) -> None:
    for what, arg, how in steps:
        if what == "write":
            space.write(arg, how)
        elif what == "commit":
            space.commit(arg, how)
            for oid in (*arg, *arg):  # once from where it was, once from where it is then
                space.look(oid, 0)
        elif what == "load":
            space.load(arg, how)
            if not how:
                assert space.look(arg, 0)
        elif what == "load many":
            space.cache.add_many([space.record(oid, space.newest) for oid in arg])
        elif what == "mark":
            space.cache.make_old(arg)
        else:
            space.look(arg, how)


@pytest.mark.rule("SP1")
@settings(max_examples=400, deadline=None)
@given(STEPS, st.sampled_from([0, 2000, 1 << 20]), st.sampled_from([1, 1700, 2500]))
def test_what_it_gives_is_right(steps: list[tuple], in_files: int, memory: int) -> None:
    with space_with(memory + in_files, memory) as space:
        space.cache.add_many([space.record(oid, 1) for oid in range(16)])
        play(space, steps)


@given(STEPS, st.sampled_from([1, 900, 2500]))
def test_with_room_in_files_nothing_that_is_right_now_is_lost(
    steps: list[tuple], memory: int
) -> None:
    """But for what was written since, without its record, or with one that may have been changed."""
    with space_with(1 << 20, memory) as space:
        space.cache.add_many([space.record(oid, 1) for oid in range(16)])
        changed: set[int] = set()
        for what, arg, how in steps:
            if (what, bool(how)) in (("write", False), ("commit", True)):
                changed.update(arg)
            elif what in ("write", "commit", "load many"):
                changed.difference_update(arg)
            elif what != "look":
                continue
            play(space, [(what, arg, how)])
        assert [oid for oid in range(16) if not space.look(oid, 0)] == sorted(changed)
