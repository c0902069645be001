"""Random graphs under random failure never hang, lose or double an item outside of what was declared (FL1 to FL3)."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hubbub.flow import ComponentFailedError, Graphline, Runner, Running
from tests.property.flow.planned import (
    LEAVES,
    NODES,
    Mistake,
    Plan,
    Run,
    Sink,
    Source,
    build,
    copies,
)
from tests.property.flow.simulated import simulate


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """There are many restarts, and each would be told of with its stack."""
    log = logging.getLogger("hubbub.flow")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


BOUNDS = st.sampled_from([1, 1, 2, 3, 100])
FAILS_AT = st.frozensets(st.integers(0, 12), max_size=3)


def leaves(threads: bool) -> st.SearchStrategy[Plan]:
    kinds = [kind for kind in LEAVES if threads or kind != "threaded"]
    return st.builds(
        Plan,
        st.sampled_from(kinds + ["threaded"] * 4 * threads),
        st.just(()),
        BOUNDS,
        FAILS_AT,
        st.sampled_from(["skip", "again"]),
    )


def plans(threads: bool) -> st.SearchStrategy[Plan]:
    def grow(inner: st.SearchStrategy[Plan]) -> st.SearchStrategy[Plan]:
        parts = st.lists(inner, min_size=1, max_size=3).map(tuple)
        return st.builds(Plan, st.sampled_from(NODES), parts, BOUNDS)

    return st.recursive(leaves(threads), grow, max_leaves=7)


def runs(threads: bool = False) -> st.SearchStrategy[Run]:
    pauses = st.sampled_from([0.0, 0.0, 0.1, 1.0])
    after = st.tuples(st.sampled_from(["finish", "stop"]), st.sampled_from([0.0, 0.1, 0.7, 3.0]))
    return st.builds(
        Run,
        plans(threads),
        st.lists(st.integers(0, 20), min_size=1, max_size=3).map(tuple),
        st.tuples(pauses, pauses),
        BOUNDS,
        st.sampled_from(["wait", "wait", "wait", "drop-oldest", "drop-newest", "latest"]),
        st.none() | after,
    )


class Outcome:
    """What has happened."""

    def __init__(self, sources: list[Source], sink: Sink) -> None:
        self.sources = sources
        self.sink = sink
        self.failure: ComponentFailedError | None = None
        self.running: Running
        self.dropped = 0


async def carry_out(run: Run) -> Outcome:
    """Run the graph to its end, whatever that is."""
    first = 0
    sources = []
    for count in run.counts:
        sources.append(Source(range(first, first + count), run.pauses_s[0]))
        first += count
    sink = Sink(run.bound, run.when_full, run.pauses_s[1])
    parts: dict[str, Any] = {f"source{n}": source for n, source in enumerate(sources)}
    graph = Graphline(
        **parts,
        plan=build(run.plan),
        sink=sink,
        linkages=[*(f"source{n} -> plan" for n in range(len(sources))), "plan -> sink"],
    )
    outcome = Outcome(sources, sink)
    try:
        async with Runner() as runner:
            outcome.running = runner.start(graph)
            if run.after is not None:
                what, when_s = run.after
                await asyncio.sleep(when_s)
                getattr(outcome.running, what)()
            await outcome.running
    except ComponentFailedError as failure:
        outcome.failure = failure
    outcome.dropped = sink.inbox.dropped
    return outcome


def expected(run: Run, outcome: Outcome) -> Counter[int]:
    """Return how often each item that a source has begun to send comes out."""
    return Counter(
        {item: copies(run.plan, item) for source in outcome.sources for item in source.begun}
    )


def check(run: Run) -> None:
    outcome = simulate(carry_out(run), has_threads=run.plan.has_threads)
    assert outcome.failure is None, outcome.failure
    model = expected(run, outcome)
    got = outcome.sink.got
    handled: Counter[int] = sum((s.handled for s in outcome.sources), Counter())
    assert all(times == 1 for times in handled.values()), "handled more than once"
    assert not got - model, "doubled, or made up"
    if run.after is not None and run.after[0] == "stop":
        if run.when_full == "wait":
            assert not {i for i in handled if got[i] < model[i]}, "handled, and never came"
        return
    if run.after is None:
        assert [len(source.begun) for source in outcome.sources] == list(run.counts)
    assert got.total() + outcome.dropped == model.total(), "lost"
    cancelled = {source.begun[-1] for source in outcome.sources if source.begun and run.after}
    assert set(model) - cancelled <= set(handled), (
        "never handled"
    )  # it ended with its token in hand
    assert outcome.running.left == 0


@pytest.mark.rule("FL1", "FL2", "FL3")
@example(Run(Plan("fan-out", (Plan("function"), Plan("component"))), (3,)))
@example(Run(Plan("component"), (6, 1, 17), (0, 0.1), 2, "drop-newest", ("finish", 0)))
@example(Run(Plan("sequence", (Plan("pipeline", (Plan("slow"), Plan("ring"))),)), (9,), (0, 0.1)))
@given(run=runs())
@settings(max_examples=400, deadline=None)
def test_a_graph_never_hangs_loses_or_doubles(run: Run) -> None:
    check(run)


@pytest.mark.rule("FL1", "FL2", "FL3", "FL4")
@example(
    Run(
        Plan("fan-out", (Plan("component"), Plan("threaded"))),
        (3,),
        (0, 0.1),
        after=("finish", 0.1),
    )
)
@given(run=runs(threads=True).filter(lambda run: run.plan.has_threads))
@settings(max_examples=60, deadline=None)
def test_neither_does_one_with_threads(run: Run) -> None:
    check(run)


@pytest.mark.rule("FL3")
@given(run=runs(), at=st.integers(0, 20), kind=st.sampled_from(["component", "slow", "twice"]))
@settings(max_examples=200, deadline=None)
def test_a_failure_takes_everything_down_and_nothing_is_handled_that_was_not(
    run: Run, at: int, kind: Any
) -> None:
    bad = Plan(kind, fails_at=frozenset([at]), item=None)
    run = Run(Plan("pipeline", (run.plan, bad), run.bound), *_rest(run))
    outcome = simulate(carry_out(run), has_threads=run.plan.has_threads)
    if outcome.failure is not None:
        assert isinstance(outcome.failure.__cause__, Mistake)
        assert outcome.failure.component == "plan.p1"
    model = expected(run, outcome)
    assert not outcome.sink.got - model
    handled: Counter[int] = sum((s.handled for s in outcome.sources), Counter())
    assert all(times == 1 for times in handled.values())
    if run.when_full == "wait":
        assert not {item for item in handled if outcome.sink.got[item] < model[item]}


def _rest(run: Run) -> tuple[Any, ...]:
    return run.counts, run.pauses_s, run.bound, run.when_full, run.after
