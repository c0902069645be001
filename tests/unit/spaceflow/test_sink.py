from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub import Persistent
from hubbub.flow import Backoff, Component, Graphline, Pipeline, Restart, Router, Runner
from hubbub.kernel import ComponentFailedError, GraphError
from hubbub.space.containers import Log
from hubbub.spaceflow import SpaceSink, handled_up_to
from tests.conformance.mount.serving import HostThread
from tests.unit.spaceflow.sending import Sender


def store(root: Any, items: list[Any]) -> None:
    root.setdefault("log", Log()).extend(items)


def stored(space: Any) -> list[Any]:
    return list(space.read(lambda root: list(root.get("log", ()))))


@pytest.fixture(params=["embedded", "peer"])
def space(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "embedded":
        with hubbub.open("memory:") as space:
            yield space
        return
    server = HostThread(hubbub.store.MemoryStore())
    with hubbub.open(server.url) as space:
        yield space
    server.close()


async def test_items_are_stored_in_batches_and_let_go_when_that_is_durable(space: Any) -> None:
    sender = Sender(list(range(250)))
    sink = SpaceSink(space, store, name="log", batch=50)
    before = space.stats.commits
    await Pipeline(sender.source(), sink)
    assert stored(space) == list(range(250))
    assert sender.is_done
    assert (sink.stored, sink.skipped) == (250, 0)
    assert 5 <= space.stats.commits - before <= 20


async def test_what_comes_again_is_skipped(space: Any) -> None:
    sender = Sender(list("abcdef"))
    await Pipeline(
        sender.source(order=[0, 1, 3, 1, 0, 4, 3]), SpaceSink(space, store, name="log", batch=2)
    )
    again = SpaceSink(space, store, name="log", batch=4)
    await Pipeline(sender.source(order=[0, 1, 2, 3, 4, 5]), again)
    assert stored(space) == list("abdecf")
    assert (again.stored, again.skipped) == (2, 4)
    # Where nothing is new nothing is committed.
    tid = space.tid
    await Pipeline(sender.source(order=[5, 0]), SpaceSink(space, store, name="log"))
    assert space.tid == tid


async def test_the_senders_floor_keeps_what_is_remembered_small(space: Any) -> None:
    sender = Sender(list(range(300)))
    await Pipeline(sender.source(), SpaceSink(space, store, name="log", batch=10))

    def remembered(root: Any) -> tuple[int, int]:
        handled = root["hubbub.handled"]["log"]["a"]
        return handled.floor, len(handled.runs)

    floor, runs = space.read(remembered)
    assert floor >= 270
    assert runs == 1
    assert space.read(handled_up_to, "log", "a") == floor - 1
    assert space.read(handled_up_to, "log", "nobody") is None
    assert space.read(handled_up_to, "other", "a") is None


async def test_two_sinks_of_one_space_do_not_know_each_other(space: Any) -> None:
    sender = Sender(["x"])

    def elsewhere(root: Any, items: list[Any]) -> None:
        root.setdefault("other", Log()).extend(items)

    await Pipeline(sender.source(order=[0]), SpaceSink(space, store, name="one"))
    await Pipeline(sender.source(order=[0]), SpaceSink(space, elsewhere, name="two"))
    assert stored(space) == ["x"]
    assert space.read(lambda root: list(root["other"])) == ["x"]


async def test_two_sinks_of_one_name_at_a_time_are_refused(space: Any) -> None:
    graph = Graphline(
        a=Sender([1]).source(),
        b=Sender([1], "b").source(),
        one=SpaceSink(space, store, name="log"),
        two=SpaceSink(space, store, name="log"),
        linkages=["a -> one", "b -> two"],
    )
    with pytest.raises(GraphError, match=r"two sinks write to .* by the name 'log'"):
        await graph
    with pytest.raises(GraphError, match="needs a name"):
        SpaceSink(space, store, name="")
    with pytest.raises(GraphError, match="is no space"):
        SpaceSink(object(), store, name="log")  # type: ignore[arg-type]


async def test_an_item_that_becomes_several_is_stored_part_by_part(space: Any) -> None:
    def words(line: str) -> Iterator[str]:
        yield from line.split()

    lines = ["one", "two words", "now three words", ""]
    sender = Sender(lines)
    await Pipeline(sender.source(), words, SpaceSink(space, store, name="log", batch=2))
    sender.forget()
    await Pipeline(sender.source(), words, SpaceSink(space, store, name="log", batch=3))
    assert stored(space) == " ".join(lines).split()


async def test_an_item_that_stems_from_several_is_refused(space: Any) -> None:
    class Pairs(Component):
        async def main(self) -> None:
            while True:
                first = await self.inbox.get()
                kept = self.keep()
                second = await self.inbox.get()
                self.resume(kept)
                await self.send((first, second))

    with pytest.raises(ComponentFailedError, match="stems from 2 numbered ones"):
        await Pipeline(Sender([1, 2]).source(), Pairs(), SpaceSink(space, store, name="log"))
    assert stored(space) == []


async def test_what_is_not_tracked_is_stored_as_it_comes(space: Any) -> None:
    await Pipeline([1, 1, 2], SpaceSink(space, store, name="log"))
    assert stored(space) == [1, 1, 2]
    assert space.read(lambda root: "hubbub.handled" in root) is False


async def test_one_call_for_each_item_and_the_items_go_on_when_they_are_stored(space: Any) -> None:
    seen = []

    def one(root: Any, item: int) -> None:
        root.setdefault("log", Log()).append(item)

    def after(item: int) -> None:
        seen.append((item, item in stored(space)))

    sender = Sender([4, 5, 6])
    await Pipeline(
        sender.source(order=[0, 1, 2, 1]),
        SpaceSink(space, one, name="log", per_item=True),
        after,
    )
    assert stored(space) == [4, 5, 6]
    assert seen == [(4, True), (5, True), (6, True), (5, True)]
    assert sender.is_done


@pytest.mark.rule("FL3")
async def test_a_write_that_fails_takes_the_graph_down_and_nothing_is_handled(space: Any) -> None:
    def fails(root: Any, items: list[Any]) -> None:
        store(root, items)
        raise ValueError("no")

    sender = Sender([1, 2])
    with pytest.raises(ComponentFailedError, match="ValueError: no"):
        await Pipeline(sender.source(), SpaceSink(space, fails, name="log"))
    assert stored(space) == []
    assert sender.handled == set()


@pytest.mark.parametrize("item", ["again", "skip"])
async def test_a_sink_that_restarts_tries_the_batch_again_or_lets_it_go(
    space: Any, item: Any
) -> None:
    failures = 1

    def fails(root: Any, items: list[Any]) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise ValueError("not yet")
        store(root, items)

    sender = Sender([1, 2])
    sink = SpaceSink(space, fails, name="log", batch=1)
    sink.restart = Restart(backoff=Backoff(first_s=0), item=item)
    await Pipeline(sender.source(), sink)
    assert stored(space) == ([1, 2] if item == "again" else [2])
    assert sender.is_done


async def test_stopped_while_it_writes_it_has_handled_nothing_and_skips_it_later(
    space: Any,
) -> None:
    written = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tells(root: Any, items: list[Any]) -> None:
        store(root, items)
        loop.call_soon_threadsafe(written.set)

    sender = Sender([1])

    class Holds(Component):
        """Keeps the item unhandled though it is stored, as a crash before the acknowledgement does."""

        async def main(self) -> None:
            async for _ in self.inbox:
                await asyncio.Event().wait()

    async with Runner() as runner:
        runner.start(Pipeline(sender.source(), SpaceSink(space, tells, name="log"), Holds()))
        await written.wait()
    assert sender.handled == set()
    await Pipeline(sender.source(), SpaceSink(space, store, name="log"))
    assert stored(space) == [1]
    assert sender.is_done


async def test_it_opens_and_closes_what_it_is_given_by_name(tmp_path: Path) -> None:
    path = tmp_path / "data.hub"
    await Pipeline([1, 2], SpaceSink(path, store, name="log"))
    await Pipeline([3], SpaceSink(str(path), store, name="log"))
    with hubbub.open(path) as space:
        assert stored(space) == [1, 2, 3]


async def test_senders_that_were_not_heard_of_for_long_are_forgotten_at_the_limit(
    space: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubbub.spaceflow.positions.ORIGINS", 10)
    for number in range(12):
        sender = Sender([number], f"sender {number}")
        await Pipeline(sender.source(), SpaceSink(space, store, name="log"))
    origins = space.read(lambda root: set(root["hubbub.handled"]["log"]))
    assert origins == {f"sender {number}" for number in range(2, 12)}


class Total(Persistent):
    def __init__(self) -> None:
        self.value = 0


async def test_writes_that_meet_others_are_run_again(space: Any) -> None:
    """Nothing of what is written here merges."""

    def add(root: Any, numbers: list[int]) -> None:
        root.setdefault("total", Total()).value += sum(numbers)

    senders = [Sender(list(range(200)), name) for name in "abc"]
    sinks = [SpaceSink(space, add, name=sender.origin, batch=10) for sender in senders]
    async with Runner() as runner:
        for sender, sink in zip(senders, sinks, strict=True):
            runner.start(Pipeline(sender.source(), sink))
        await runner.wait()
    assert space.read(lambda root: root["total"].value) == 3 * sum(range(200))


async def test_what_is_sent_several_ways_has_a_sink_for_each(space: Any) -> None:
    def odd(root: Any, numbers: list[int]) -> None:
        root.setdefault("odd", Log()).extend(numbers)

    sender = Sender(list(range(40)))
    for again in range(2):
        if again:
            sender.forget(10)
        await Graphline(
            numbers=sender.source(),
            which=Router(odd=lambda n: n % 2),
            odd=SpaceSink(space, odd, name="odd", batch=7),
            even=SpaceSink(space, store, name="even", batch=5),
            linkages=["numbers -> which", "which.odd -> odd", "which.otherwise -> even"],
        )
        assert sender.is_done
    assert stored(space) == list(range(0, 40, 2))
    assert space.read(lambda root: list(root["odd"])) == list(range(1, 40, 2))


async def test_graphs_of_several_senders_may_have_sinks_of_one_name(space: Any) -> None:
    """As a server has a graph for each connection."""
    senders = [Sender([f"{name} {n}" for n in range(100)], name) for name in "abc"]
    async with Runner() as runner:
        for sender in senders:
            runner.start(Pipeline(sender.source(), SpaceSink(space, store, name="log", batch=7)))
        await runner.wait()
    everything = stored(space)
    for sender in senders:
        assert [text for text in everything if text[0] == sender.origin] == sender.items
