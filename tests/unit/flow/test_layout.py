"""Where parts go: from sources to sinks, few crossings, no part lost."""

from hypothesis import given
from hypothesis import strategies as st

from hubbub.flow.layout import laid_out


def test_a_pipeline_is_one_row() -> None:
    assert laid_out("abc", [("a", "b"), ("b", "c")]).columns == [["a"], ["b"], ["c"]]


def test_a_long_linkage_goes_through_the_columns_between() -> None:
    layout = laid_out("abcd", [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    assert layout.ways == [[], [], [], [(3, 1), (3, 2)]]
    assert set(layout.columns[1]) == {"b", (3, 1)}


def test_what_leads_back_does_not_move_its_target() -> None:
    layout = laid_out("abc", [("a", "b"), ("b", "c"), ("c", "b")])
    assert layout.columns == [["a"], ["b"], ["c"]]


def test_a_source_stands_right_before_what_it_leads_to() -> None:
    layout = laid_out("abcd", [("a", "b"), ("b", "c"), ("d", "c")])
    assert "d" in layout.columns[1]


def test_two_rows_do_not_cross() -> None:
    layout = laid_out("abxy", [("a", "y"), ("b", "x")])
    left, right = layout.columns
    assert [{"a": "y", "b": "x"}[str(node)] for node in left] == right


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_every_part_has_one_place_and_every_linkage_its_way(edges: list[tuple[int, int]]) -> None:
    nodes = [f"n{n}" for n in range(10)]
    named = [(f"n{a}", f"n{b}") for a, b in dict.fromkeys(edges)]
    layout = laid_out(nodes, named)
    placed = [node for column in layout.columns for node in column]
    assert sorted(node for node in placed if isinstance(node, str)) == nodes
    assert len(placed) == len(set(placed))
    assert {node for way in layout.ways for node in way} == {
        node for node in placed if isinstance(node, tuple)
    }
    assert len(layout.ways) == len(named)
