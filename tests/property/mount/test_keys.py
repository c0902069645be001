"""Transactions that overlap on one sorted map: what commits has all of its keys, and what conflicts has none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubbub.kernel import ConflictError
from hubbub.mount import LocalMount, RemoteMount, Space, SpaceConnection
from hubbub.space.containers import SortedMap
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore
from tests.conformance.mount.serving import HostThread

WRITERS = 3
KEYS = 400


class Note(Persistent, name="tests.keys.Note"):
    """What a value may refer to."""

    def __init__(self, text: str) -> None:
        self.text = text


class Writer:
    """One connection with a transaction that is not committed yet: what it began with, and what it sees."""

    def __init__(self, connection: SpaceConnection) -> None:
        self.connection = connection
        self.snapshot: dict[str, Any] = {}
        self.seen: dict[str, Any] = {}
        self.has_cleared = False

    @property
    def map(self) -> Any:
        return self.connection.root["map"]

    def begin(self, stored: dict[str, Any]) -> None:
        self.connection.sync()
        self.snapshot, self.seen, self.has_cleared = dict(stored), dict(stored), False

    def put(self, first: int, count: int, value: Any) -> None:
        for number in range(first, min(KEYS, first + count)):
            key = f"k{number:04}"
            self.map[key] = Note(value) if number % 7 == 0 else (value, number)
            self.seen[key] = value if number % 7 == 0 else (value, number)

    def delete(self, place: int) -> None:
        if self.seen:
            key = sorted(self.seen)[place % len(self.seen)]
            del self.map[key]
            del self.seen[key]

    def clear(self) -> None:
        self.map.clear()
        self.seen.clear()
        self.has_cleared = True

    def commit(self, stored: dict[str, Any]) -> list[dict[str, Any]]:
        """Commit; return what may be stored then."""
        assert shown(self.map) == self.seen
        try:
            self.connection.commit()
        except ConflictError:
            return [stored]
        after = dict(stored)
        for key in self.snapshot.keys() - self.seen.keys():
            assert self.has_cleared or key in after  # who deletes what is gone conflicts
            after.pop(key, None)
        for key, value in self.seen.items():
            if self.snapshot.get(key) != value:
                after[key] = value
        # Who clears a map of many nodes clears all of it. In a small one, what was added beside that may stay.
        return [after, self.seen] if self.has_cleared else [after]


def shown(found: Any) -> dict[str, Any]:
    return {key: value.text if isinstance(value, Note) else value for key, value in found.items()}


def is_sound(found: Any, stored: dict[str, Any]) -> None:
    assert shown(found) == stored
    assert list(found) == sorted(stored)
    assert all(key in found for key in stored)
    found._check()


put = st.tuples(
    st.just("put"), st.integers(0, KEYS), st.sampled_from((1, 1, 2, 5, 40)), st.text("xyz")
)
step = st.tuples(
    st.integers(0, WRITERS - 1),
    st.one_of(
        put,
        put,
        put,
        st.tuples(st.just("delete"), st.integers(0, KEYS)),
        st.just(("clear",)),
        st.just(("commit",)),
        st.just(("commit",)),
        st.just(("commit",)),
    ),
)


@pytest.mark.rule("ST4")
@pytest.mark.rule("SP6")
@pytest.mark.parametrize("kind", ["local", "peers"])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.sampled_from((0, 20, 58, 61, 120)), steps=st.lists(step, max_size=40))
def test_keys_of_commits_are_all_there(
    kind: str, size: int, steps: list[tuple[int, tuple[Any, ...]]]
) -> None:
    store = MemoryStore()
    server = HostThread(store) if kind == "peers" else None
    if server is None:
        spaces = [Space(LocalMount(store))]
    else:
        spaces = [Space(RemoteMount(server.url)) for _ in range(WRITERS)]
    try:
        stored = {f"k{2 * number:04}": ("", number) for number in range(size)}
        spaces[0].run(lambda root: root.__setitem__("map", SortedMap(stored)))
        writers = [Writer(spaces[n % len(spaces)].connect()) for n in range(WRITERS)]
        for writer in writers:
            writer.begin(stored)
        for number, (how, *arguments) in [*steps, *((n, ("commit",)) for n in range(WRITERS))]:
            writer = writers[number]
            if how == "commit":
                possible = writer.commit(stored)
                writer.connection.sync()
                stored = shown(writer.map)
                assert stored in possible
                writer.begin(stored)
                is_sound(writer.map, stored)
            else:
                getattr(writer, how)(*arguments)
        for writer in writers:
            writer.begin(stored)
            is_sound(writer.map, stored)
    finally:
        for space in spaces:
            space.close()
        if server is not None:
            server.close()
