"""Graphs for synchronous code."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

import pytest

from hubbub.flow import Background, Component, Graphline, Pipeline, background, box
from hubbub.kernel import (
    BoxFullError,
    ClosedError,
    ComponentFailedError,
    Finished,
    GraphError,
)
from tests.unit.flow.stand_ins import Fails, Forever, Pass, Seen


class Never(Component):
    """Reads nothing until it is cancelled."""

    async def main(self) -> None:
        await asyncio.Event().wait()

    def finish(self) -> None:
        self.running.cancel(self)


def test_what_is_put_in_comes_out() -> None:
    with background(Pipeline(str.strip, str.upper)) as graph:
        graph.put(" a ")
        graph.put(" b ")
        assert (graph.get(timeout_s=10), graph.get()) == ("A", "B")
        graph.finish()
        graph.finish()
        assert list(graph) == []


def test_iterating_ends_when_the_graph_has() -> None:
    with background(Pipeline(range(300), lambda x: x + 1)) as graph:
        assert list(graph) == list(range(1, 301))
        with pytest.raises(Finished):
            graph.get()


@pytest.mark.rule("FL2")
def test_closing_drains_though_nobody_reads() -> None:
    done: list[int] = []

    def work(item: int) -> int:
        done.append(item)
        return item

    with background(Pipeline(Pass(), work)) as graph:
        for number in range(250):
            graph.put(number)
    assert done == list(range(250))


def test_closing_ends_sources_inside() -> None:
    seen = Seen()
    graph = Graphline(
        source=Forever(), seen=seen, linkages=["source -> seen", "self -> seen"]
    )  # fmt: skip
    with background(graph) as running:
        running.put("x")
    assert "x" in seen.items


def test_putting_times_out_where_there_is_no_room() -> None:
    with background(Never()) as graph:
        for number in range(100):
            graph.put(number)
        with pytest.raises(BoxFullError) as caught:
            graph.put(101, timeout_s=0.001)
        assert str(caught.value) == "there was no room in 'inbox' for 0.001 s"
        with pytest.raises(TimeoutError):
            graph.get(timeout_s=0)


@pytest.mark.rule("FL3")
class Bounded(Never):
    """Reads nothing, and has room for two items, or so many bytes."""

    def __init__(self, **bounds: Any) -> None:
        self.inboxes = {"inbox": box("items", **bounds)}


@pytest.mark.rule("FL1")
@pytest.mark.parametrize(
    "bounds, item", [({"items": 2}, "item"), ({"limit_bytes": 200}, b"x" * 100)]
)
def test_the_declared_bounds_hold_for_what_is_put_in(bounds: dict[str, Any], item: Any) -> None:
    with background(Pipeline(Bounded(**bounds), Seen())) as graph:
        graph.put(item)
        graph.put(item)
        with pytest.raises(BoxFullError):
            graph.put(item, timeout_s=0.01)


def test_the_declared_policy_holds_for_what_is_put_in() -> None:
    with background(Bounded(items=1, when_full="fail"), outbox="none") as graph:
        graph.put(1)
        with pytest.raises(BoxFullError, match="inbox"):
            graph.put(2)


def test_a_bound_that_a_graph_sets_anew_holds_for_what_is_put_in() -> None:
    graph = Graphline(
        never=Never(),
        seen=Seen(),
        linkages=["self -> never -> seen"],
        boxes={"never": box("one", items=1)},
    )
    with background(graph) as behind:
        behind.put(1)
        with pytest.raises(BoxFullError):
            behind.put(2, timeout_s=0.01)


def test_getting_times_out_where_nothing_comes() -> None:
    with (
        background(Pass()) as graph,
        pytest.raises(TimeoutError, match=r"nothing came out of 'outbox' for 0\.01 s"),
    ):
        graph.get(timeout_s=0.01)


def test_a_failure_is_raised_wherever_the_graph_is_touched_and_at_the_end() -> None:
    with pytest.raises(ComponentFailedError, match="at 1"), background(Fails([1])) as graph:
        graph.put(0)
        graph.put(1)
        assert graph.get() == 0
        for touch in (graph.get, lambda: graph.put(2), graph.get):
            with pytest.raises(ComponentFailedError, match="at 1"):
                touch()


@pytest.mark.rule("FL3")
def test_a_failure_beside_it_ends_it() -> None:
    with (
        pytest.raises(ComponentFailedError, match="at 1"),
        background(Pass(), Pipeline([1], Fails([1]), Seen())) as graph,
        pytest.raises(ComponentFailedError, match="at 1"),
    ):
        graph.get()


def test_leaving_by_an_exception_stops_the_graph() -> None:
    with pytest.raises(KeyError), background(Never()):
        raise KeyError("mine")


def test_errors_name_what_is_wrong() -> None:
    with background(Pass()) as graph, background(Seen(), outbox="result") as other:
        with pytest.raises(GraphError) as caught:
            other.get()
        assert str(caught.value) == "<Seen> has no outbox 'result'; it has none"
    for use in (lambda: graph.put(1), graph.get):
        with pytest.raises(ClosedError) as closed:
            use()
        assert str(closed.value) == "<Pass> has ended"
    with background(Seen(), inbox="wrong") as graph, pytest.raises(GraphError) as caught:
        graph.put(1)
    assert str(caught.value) == "<Seen> has no inbox 'wrong'; it has 'inbox'"


def test_one_that_was_never_begun_can_be_closed() -> None:
    graph = background(Pass())
    with pytest.raises(ClosedError) as caught:
        graph.put(1)
    assert str(caught.value) == "<Pass> does not run: use background(...) in a with block"
    graph.close()
    graph.stop()


def test_one_that_cant_be_started_says_why() -> None:
    seen = Seen()
    with background(seen):
        pass
    with pytest.raises(GraphError, match="runs already, or has run"), background(seen):
        pass


def test_threads_take_turns_at_reading() -> None:
    with background(Pass()) as graph, concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(graph.get) for _ in range(20)]
        for number in range(20):
            graph.put(number)
        assert sorted(got.result() for got in asked) == list(range(20))


def test_a_thread_that_waits_hears_of_the_end() -> None:
    class Tells(Pass):
        inboxes = {"inbox": box("anything", loose=True)}

    waits = threading.Event()

    def wait(graph: Background) -> Any:
        waits.set()
        return graph.get()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with background(Tells()) as graph:
            asked = pool.submit(wait, graph)
            waits.wait()
        with pytest.raises((Finished, ClosedError)):
            asked.result()


def test_put_after_the_graph_has_ended_by_itself() -> None:
    with background(Seen(wanted=1)) as graph:
        graph.put(1)
        with pytest.raises(ClosedError):
            while True:
                graph.put(2)
