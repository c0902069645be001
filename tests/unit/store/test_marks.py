"""Sets of oids, and the walk over a graph of them, against Python's own sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubbub.store.marks import Marking, OidSet

OIDS = st.integers(0, 40) | st.integers(65_500, 65_600) | st.integers(0, (1 << 61) - 1)


@given(st.lists(st.tuples(st.booleans(), OIDS)))
def test_a_set_of_oids_is_a_set(changes: list[tuple[bool, int]]) -> None:
    made, model = OidSet(), set()
    for is_added, oid in changes:
        if is_added:
            assert made.add(oid) == (oid not in model)
            model.add(oid)
        else:
            made.discard(oid)
            model.discard(oid)
        assert (len(made), oid in made) == (len(model), oid in model)
    for oid in [0, 7, 8, 65_535, 65_536, *(oid for _, oid in changes)]:
        assert (oid in made) == (oid in model)


@given(st.dictionaries(OIDS, st.lists(OIDS, max_size=4)), st.lists(OIDS), st.integers(1, 5))
def test_a_walk_looks_at_all_that_can_be_reached_once(
    graph: dict[int, list[int]], roots: list[int], most: int
) -> None:
    marking = Marking()
    marking.reach(roots)
    looked: list[int] = []
    for piece in marking.pieces(most):
        assert 0 < len(piece) <= most
        assert piece == sorted(piece)
        looked += piece
        for oid in piece:
            marking.reach(graph.get(oid, ()))
    model, todo = set(), list(roots)
    while todo:
        oid = todo.pop()
        if oid not in model:
            model.add(oid)
            todo += graph.get(oid, ())
    assert sorted(looked) == sorted(model)
    assert len(marking.reached) == len(model)


def test_ten_million_neighbours_take_little_memory() -> None:
    made = OidSet(range(0, 10_000_000, 4096))
    assert sum(len(page) for page in made._pages.values()) < 1_300_000
