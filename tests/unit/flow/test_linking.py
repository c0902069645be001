"""Linkages as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.flow.graph import Linkage, Place
from hubbub.flow.linking import linkages_of, place_of
from hubbub.kernel import GraphError

AB = Linkage(Place("a", "outbox"), Place("b", "inbox"))


@pytest.mark.parametrize(
    "written, linkages",
    [
        ("a -> b", [AB]),
        (["a->b"], [AB]),
        (["a.outbox -> b.inbox"], [AB]),
        ([" a . outbox  ->  b "], [AB]),
        ([(("a", "outbox"), ("b", "inbox"))], [AB]),
        ({("a", "outbox"): ("b", "inbox")}, [AB]),
        ([AB], [AB]),
        (
            ["a -> b -> c.control"],
            [AB, Linkage(Place("b", "outbox"), Place("c", "control"))],
        ),
        (["self -> a"], [Linkage(Place("self", "inbox"), Place("a", "inbox"))]),
        (["a -> self"], [Linkage(Place("a", "outbox"), Place("self", "outbox"))]),
        (["self.other -> a"], [Linkage(Place("self", "other"), Place("a", "inbox"))]),
    ],
)
def test_each_form_means_the_same(written: Any, linkages: list[Linkage]) -> None:
    assert linkages_of(written) == linkages


@pytest.mark.parametrize(
    "written", [["a"], ["a -> "], ["a => b"], [3], [("a", "b", "c")], ["a.b.c -> d"]]
)
def test_what_is_none_says_how_one_is_written(written: Any) -> None:
    with pytest.raises(GraphError, match=r"part\.(out)?box"):
        linkages_of(written)


def test_a_place_without_a_box_is_that_of_the_usual_name() -> None:
    assert place_of("filter", "inbox") == Place("filter", "inbox")
    assert place_of(("filter", "error"), "inbox") == Place("filter", "error")
