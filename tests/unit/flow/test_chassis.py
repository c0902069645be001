"""Pipelines and graphlines: names, joints, bounds."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.flow import Graphline, Pipeline, Threaded, box
from hubbub.kernel import GraphError
from tests.unit.flow.stand_ins import Forever, Idle, Loose, Pass, Seen


def test_parts_are_named_after_what_they_are() -> None:
    assert list(Pipeline(range(3), Pass(), Pass(), Threaded(abs), Seen()).parts) == [
        "range",
        "Pass",
        "Pass-2",
        "abs",
        "Seen",
    ]


def test_the_bar_makes_one_pipeline_and_a_named_one_stays_whole() -> None:
    assert len((range(3) | Pass() | Pass() | print).parts) == 4
    named = Pipeline(Pass(), Pass(), name="twice")
    assert list((range(3) | named | print).parts) == ["range", "twice", "print"]


def test_a_pipeline_shows_the_first_inbox_and_the_last_outbox() -> None:
    assert (set(Pipeline(Pass()).inboxes), set(Pipeline(Pass()).outboxes)) == (
        {"inbox"},
        {"outbox"},
    )
    closed = Pipeline(Forever(), Seen())
    assert (dict(closed.inboxes), dict(closed.outboxes)) == ({}, {})


@pytest.mark.parametrize(
    "parts, text",
    [
        ((), "at least one part"),
        ((Pass(), Forever()), "Forever has no inbox: it can only stand first"),
        ((Seen(), Pass()), "Seen has no outbox: it can only stand last"),
        ((Pass(), Idle(), Pass()), "Idle has no inbox: it can only stand first"),
        (("text", print), "can't be a component"),
    ],
)
def test_parts_that_do_not_fit_are_told(parts: Any, text: str) -> None:
    with pytest.raises(GraphError, match=text):
        Pipeline(*parts)


def test_a_graphline_bounds_boxes_anew() -> None:
    graph = Graphline(
        a=range(3),
        b=Seen(),
        linkages=["a -> b"],
        boxes={"b": box(items=2, when_full="drop-newest")},
    )
    (linkage,) = graph.describe().linkages
    assert (linkage.limit_items, linkage.when_full) == (2, "drop-newest")


def test_a_graphline_refuses_what_makes_no_sense() -> None:
    with pytest.raises(GraphError, match="itself"):
        Graphline(a=Loose(), linkages=["self -> self"])
    with pytest.raises(GraphError, match="that is the graph"):
        Graphline(self=Loose(), linkages=[])
    with pytest.raises(GraphError, match="no part 'c'"):
        Graphline(a=range(3), b=Seen(), linkages=["a -> b"], boxes={"c": box(items=2)})
