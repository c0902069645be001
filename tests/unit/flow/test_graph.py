"""Graphs are checked when they are built, and say what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hubbub.flow import Component, Duplex, Graphline, Merge, Pipeline, Restart, Router, box
from hubbub.kernel import GraphError
from tests.unit.flow.stand_ins import Forever, Pass, Seen


class Grade(Component):
    """Has an outbox more."""

    outboxes = {"outbox": "good ones", "error": "bad ones"}

    async def main(self) -> None:
        async for item in self.inbox:
            await self.send(item, "outbox" if item else "error")


TWICE = Pass()

WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: Graphline(a=Forever(), linkages=["a -> b"]), "there is no part 'b' in Graphline; there are 'a'"),
    (
        lambda: Graphline(a=Forever(), b=Seen(), linkages=["a.result -> b"]),
        "part 'a' (Forever) has no outbox 'result'; it has 'outbox'",
    ),
    (
        lambda: Graphline(a=Forever(), b=Seen(), linkages=["a -> b.outbox"]),
        "part 'b' (Seen) has no inbox 'outbox'; it has 'inbox'",
    ),
    (
        lambda: Graphline(a=Pass(), b=Seen(), linkages=["a.inbox -> b"]),
        "part 'a' (Pass) has no outbox 'inbox' ('inbox' is an inbox of it); it has 'outbox'",
    ),
    (
        lambda: Graphline(a=Forever(), grade=Grade(), b=Seen(), linkages=["a -> grade -> b"]),
        "outbox grade.error (Grade) is linked to nothing in Graphline: link it (\"grade.error -> ...\"), "
        "leave it out of the outboxes that its class declares if it is not used, or declare it loose: "
        "outboxes = {'error': box('...', loose=True)}",
    ),
    (
        lambda: Graphline(a=Pass(), b=Seen(), linkages=["a -> b"]),
        "inbox a.inbox (Pass) is linked to nothing in Graphline: link it (\"... -> a.inbox\"), "
        "leave it out of the inboxes that its class declares if it is not used, or declare it loose: "
        "inboxes = {'inbox': box('...', loose=True)}",
    ),
    (
        lambda: Pipeline([1], TWICE, TWICE),
        "<Pass> stands twice in Pipeline, as 'Pass' and as 'Pass-2': make two",
    ),
    (
        lambda: Pipeline(Pipeline(TWICE, name="one"), Pipeline(TWICE, name="two")),
        "<Pass> stands twice in Pipeline, as 'one.Pass' and as 'two.Pass': make two",
    ),
    (lambda: Pipeline([1], Pass), "Pass is a class: make a component of it, Pass(...)"),
    (
        lambda: Pipeline([1], 5),
        "5 can't be a component; a Component, a function of one item, a generator or an iterable can",
    ),
    (
        lambda: Pipeline([1], lambda a, b: a),
        "<lambda> can't be a component: it takes more than one argument; "
        "a component's function takes the item (functools.partial gives it the rest)",
    ),
    (lambda: Pipeline(), "a Pipeline needs at least one part"),
    (lambda: Pipeline(Seen(), Pass()), "Seen has no outbox: it can only stand last in a Pipeline"),
    (lambda: Pipeline([1], [2]), "list has no inbox: it can only stand first in a Pipeline"),
    (
        lambda: Graphline(a=Pass(), linkages=["self -> self"]),
        "the linkage self.inbox -> self.outbox leads from the graph to itself",
    ),
    (
        lambda: Graphline(a=Pass(), linkages=["a"]),
        "'a' is no linkage; write 'part.outbox -> part.inbox'",
    ),
    (
        lambda: Graphline(a=Pass(), linkages=["a -> b c"]),
        "' b c' names no box; write 'part.box', or 'part' for its inbox",
    ),
    (
        lambda: Graphline(a=Pass(), linkages=[5]),
        "5 is no linkage; write 'part.outbox -> part.inbox' or (('part', 'outbox'), ('part', 'inbox'))",
    ),
    (
        lambda: Graphline(a=Pass(), linkages=["self -> a -> a", "a -> self"]),
        "the cycle a -> a in Graphline can fill up and stand still: give one of its inboxes a policy "
        "for when it is full, with boxes={'part.inbox': box(when_full='drop-oldest')} or in the class",
    ),
    (lambda: Merge(), "a Merge needs at least one source"),
    (lambda: Router(), "a Router needs at least one rule: Router(errors=is_error)"),
    (
        lambda: Router(otherwise=bool),
        "'otherwise' is where a Router sends what fulfils no rule; name the rule differently",
    ),
    (lambda: box(items=0), "a box has to hold at least 1 item, not 0"),
    (lambda: box(limit_bytes=0), "a box has to hold at least 1 byte, not 0"),
    (
        lambda: box(when_full="explode"),  # type: ignore[arg-type]
        "there is no policy 'explode' for a full box; there are wait, fail, latest, drop-oldest, drop-newest",
    ),
]  # fmt: skip


@pytest.mark.parametrize("build, text", WRONG, ids=[text[:40] for _, text in WRONG])
def test_what_is_wrong_is_said_when_the_graph_is_built(build: Callable[[], Any], text: str) -> None:
    with pytest.raises(GraphError) as caught:
        build()
    assert str(caught.value) == text


def test_a_graph_cant_restart_as_a_whole() -> None:
    class Restarts(Pipeline):
        restart = Restart()

    with pytest.raises(GraphError) as caught:
        Restarts([1], Seen())
    assert str(caught.value) == (
        "Restarts is a graph and can't restart as a whole; declare restart in its components"
    )


def test_both_mains_are_checked_when_the_class_is_made() -> None:
    with pytest.raises(GraphError) as caught:

        class Wrong(Component):
            def main(self) -> None:
                pass

    assert str(caught.value) == (
        "Wrong.main has to be 'async def'; "
        "code that blocks goes into a ThreadedComponent, whose main is a plain 'def'"
    )


@pytest.mark.parametrize(
    "linkages",
    [
        ["a -> b", "b.outbox->c.inbox"],
        "a -> b -> c",
        [(("a", "outbox"), ("b", "inbox")), ("b", "c")],
        {("a", "outbox"): ("b", "inbox"), "b": "c"},
        ["a -> b -> c", "a -> b"],
    ],
)
async def test_linkages_as_people_write_them(linkages: Any) -> None:
    seen = Seen()
    graph = Graphline(a=Pipeline([1, 2]), b=Pass(), c=seen, linkages=linkages)
    assert [str(linkage) for linkage in graph.linkages] == [
        "a.outbox -> b.inbox",
        "b.outbox -> c.inbox",
    ]
    await graph
    assert seen.items == [1, 2]


async def test_nested_graphs_and_boxes_that_are_passed_through() -> None:
    good, bad = Seen(), Seen()
    inner = Graphline(
        grade=Grade(), way=Pass(),
        linkages=["self -> way -> grade -> self", "grade.error -> self.error"],
        name="inner",
    )  # fmt: skip
    assert (set(inner.inboxes), set(inner.outboxes)) == ({"inbox"}, {"outbox", "error"})
    await Graphline(
        source=Pipeline([1, 0, 2]), inner=inner, good=good, bad=bad,
        linkages=["source -> inner -> good", "inner.error -> bad"],
    )  # fmt: skip
    assert (good.items, bad.items) == ([1, 2], [0])


async def test_the_bar_joins() -> None:
    seen = Seen()
    graph = [1, 2] | Pass() | (lambda x: x + 1) | seen
    assert list(graph.parts) == ["list", "Pass", "<lambda>", "Seen"]
    await graph
    assert seen.items == [2, 3]


def test_a_duplex_of_two_that_pass_on_is_refused() -> None:
    with pytest.raises(GraphError, match="can fill up and stand still"):
        Duplex(Pass(), Pass())


def test_a_graph_of_many_parts_is_built_in_linear_time() -> None:
    graph = Pipeline([1], *[Pass() for _ in range(3000)], Seen())
    assert len(graph.linkages) == 3001
    assert list(graph.parts)[3000] == "Pass-3000"
