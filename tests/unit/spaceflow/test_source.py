from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub import Hub, Persistent
from hubbub.flow import Backoff, Component, Pipeline, Restart, Runner
from hubbub.kernel import ClosedError, ComponentFailedError, FeedGapError, GraphError
from hubbub.mount import FeedEntry
from hubbub.space.containers import Log
from hubbub.spaceflow import SpaceSink, SpaceSource, handled_up_to
from hubbub.store import MemoryStore
from hubbub.testing import TestHub
from tests.conformance.mount.serving import HostThread


class Counter(Persistent):
    def __init__(self) -> None:
        self.count = 0


def up(root: Any, count: int) -> None:
    root.setdefault("counter", Counter()).count = count


def count_at(root: Any, commit: FeedEntry) -> tuple[int, int]:
    return commit.tid, root["counter"].count


@pytest.fixture(params=["embedded", "peer"])
def space(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "embedded":
        with hubbub.open("memory:") as space:
            yield space
        return
    server = HostThread(MemoryStore())
    with hubbub.open(server.url) as space:
        yield space
    server.close()


class Gather(Component):
    """Keeps what comes."""

    outboxes = {}

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._more = asyncio.Event()

    async def main(self) -> None:
        async for item in self.inbox:
            self.items.append(item)
            self._more.set()

    async def until(self, count: int) -> None:
        while len(self.items) < count:
            self._more.clear()
            await self._more.wait()


async def gathered(source: SpaceSource) -> list[Any]:
    gather = Gather()
    await Pipeline(source, gather)
    return gather.items


@pytest.mark.rule("ST1")
async def test_each_commit_is_sent_as_the_space_was_then(space: Any) -> None:
    for count in range(1, 301):
        await space.arun(up, count)
    items = await gathered(SpaceSource(space, of=count_at, follow=False))
    assert [count for _, count in items] == list(range(1, 301))
    tids = [tid for tid, _ in items]
    assert tids == sorted(set(tids))
    entries = await gathered(SpaceSource(space, since=tids[199], follow=False))
    assert [entry.tid for entry in entries] == tids[200:]
    assert entries[0].label.command == "peer"


async def test_what_happens_is_followed_and_ends_with_the_graph(space: Any) -> None:
    await space.arun(up, 1)
    now, all_of_it = Gather(), Gather()
    started = asyncio.Event()

    async with Runner() as runner:
        runner.start(Pipeline(SpaceSource(space, of=count_at), all_of_it))
        await all_of_it.until(1)
        source = SpaceSource(space, since="now", of=count_at)
        begin = source._place.newest

        async def newest() -> Any:
            tid = await begin()
            started.set()
            return tid

        source._place.newest = newest  # type: ignore[method-assign]
        runner.start(Pipeline(source, now))
        await started.wait()
        await space.arun(up, 2)
        await space.arun(up, 3)
        await all_of_it.until(3)
        await now.until(2)
        runner.finish()
        await runner.wait()
    assert [count for _, count in all_of_it.items] == [1, 2, 3]
    assert [count for _, count in now.items] == [2, 3]


async def test_nothing_is_sent_for_none_and_all_that_is_yielded(space: Any) -> None:
    for count in (1, 2, 3, 4):
        await space.arun(up, count)

    def even(root: Any, commit: FeedEntry) -> int | None:
        count: int = root["counter"].count
        return count if count % 2 == 0 else None

    def so_many(root: Any, commit: FeedEntry) -> Iterator[int]:
        for _ in range(root["counter"].count):
            yield root["counter"].count

    assert await gathered(SpaceSource(space, of=even, follow=False)) == [2, 4]
    assert await gathered(SpaceSource(space, of=so_many, follow=False)) == [
        1, 2, 2, 3, 3, 3, 4, 4, 4, 4
    ]  # fmt: skip


async def test_what_came_before_a_failure_is_sent_before_it(space: Any) -> None:
    for count in (1, 2, 3):
        await space.arun(up, count)

    def fails(root: Any, commit: FeedEntry) -> int:
        count: int = root["counter"].count
        if count == 3:
            raise ValueError("three")
        return count

    def keep(item: int) -> None:
        seen.append(item)

    seen: list[int] = []
    with pytest.raises(ComponentFailedError, match="three"):
        await Pipeline(SpaceSource(space, of=fails), keep)

    def changes(root: Any, commit: FeedEntry) -> None:
        root["counter"].count = 9

    with pytest.raises(ComponentFailedError, match="ReadOnlyError"):
        await Pipeline(SpaceSource(space, of=changes), keep)


async def test_a_tid_of_the_future_is_refused_clearly(space: Any) -> None:
    await space.arun(up, 1)
    with pytest.raises(ComponentFailedError, match="in the future of this space") as caught:
        await gathered(SpaceSource(space, since=space.tid + 1))
    assert isinstance(caught.value.__cause__, FeedGapError)
    with pytest.raises(GraphError, match="since is a tid"):
        SpaceSource(space, since="yesterday")  # type: ignore[arg-type]


async def test_where_the_feed_was_packed_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with hubbub.open("memory:") as space:
        for count in (1, 2, 3):
            space.run(up, count)
        tids = [entry.tid for entry in space.feed()]
        monkeypatch.setattr(MemoryStore, "feed_floor", tids[1])
        with pytest.raises(ComponentFailedError, match="no longer reaches back to"):
            await gathered(SpaceSource(space, since=tids[0]))
        assert len(await gathered(SpaceSource(space, since=tids[1], follow=False))) == 1


async def test_a_space_that_is_closed_meanwhile_fails_the_graph() -> None:
    space = hubbub.open("memory:")
    space.run(up, 1)
    gather = Gather()

    async def main() -> None:
        await Pipeline(SpaceSource(space), gather)

    task = asyncio.create_task(main())
    await gather.until(1)
    space.close()
    with pytest.raises(ComponentFailedError) as caught:
        await task
    assert isinstance(caught.value.__cause__, ClosedError)


async def test_from_a_space_into_another_each_commit_once_with_any_number_of_starts(
    tmp_path: Path,
) -> None:
    def copy(root: Any, items: list[Any]) -> None:
        root.setdefault("log", Log()).extend(items)

    with hubbub.open("memory:") as shop, hubbub.open(tmp_path / "copy.hub") as target:
        for start in range(5):
            for count in range(4):
                shop.run(up, 4 * start + count)
            since = target.read(handled_up_to, "copy", "shop")
            assert (since is None) == (start == 0)
            await Pipeline(
                SpaceSource(shop, since=since, of=count_at, origin="shop", follow=False),
                SpaceSink(target, copy, name="copy", batch=3),
            )
        counts = target.read(lambda root: [count for _, count in root["log"]])
    assert counts == list(range(20))


@pytest.mark.rule("FL1")
async def test_back_pressure_reaches_the_feed(space: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubbub.spaceflow.source._MOST_UNHANDLED", 5)
    for count in range(20):
        await space.arun(up, count)
    kept: list[Any] = []

    class Keeps(Component):
        outboxes = {}

        async def main(self) -> None:
            async for _ in self.inbox:
                kept.append(self.keep())
                if len(kept) == 5:
                    full.set()

    full = asyncio.Event()
    async with Runner() as runner:
        running = runner.start(Pipeline(SpaceSource(space, follow=False), Keeps()))
        await full.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(kept) == 5
        while not running.is_over:
            while kept:
                for token in kept.pop(0):
                    token.release()
            await asyncio.sleep(0)


async def test_the_hub_of_this_process_is_a_source_and_a_sink() -> None:
    gather = Gather()

    def twice(root: Any, items: list[Any]) -> None:
        root.setdefault("log", Log()).extend(2 * count for _, count in items if count < 100)

    def graphs() -> Any:
        return Pipeline(
            SpaceSource(hub, of=lambda root, commit: count_at(root, commit) if "log" not in root else None),
            SpaceSink(hub, twice, name="twice"),
            gather,
        )  # fmt: skip

    hub = Hub(graphs=[graphs])
    async with TestHub(hub) as t:
        await t.run(up, 7)
        await gather.until(1)
        assert [count for _, count in gather.items] == [7]
        assert await t.read(lambda root: list(root["log"])) == [14]
        assert hub.beside.failure is None


async def test_a_source_that_restarts_goes_on_where_it_was(space: Any) -> None:
    for count in range(10):
        await space.arun(up, count)
    failures = [3, 3, 6]

    def fails(root: Any, commit: FeedEntry) -> Iterator[int]:
        count: int = root["counter"].count
        yield count
        if failures and failures[0] == count:
            failures.pop(0)
            raise ValueError("again, please")
        yield count

    def copy(root: Any, items: list[Any]) -> None:
        root.setdefault("log", Log()).extend(items)

    source = SpaceSource(space, of=fails, follow=False)
    source.restart = Restart(backoff=Backoff(first_s=0), item="again")
    with hubbub.open("memory:") as target:
        await Pipeline(source, SpaceSink(target, copy, name="copy"))
        assert target.read(lambda root: list(root["log"])) == [n for n in range(10) for _ in "ab"]


async def test_a_source_whose_receiver_fails_in_the_middle_and_restarts(space: Any) -> None:
    for count in range(10):
        await space.arun(up, count)
    failures = 3

    def copy(root: Any, items: list[Any]) -> None:
        nonlocal failures
        root.setdefault("log", Log()).extend(items)
        if failures:
            failures -= 1
            raise ValueError("not now")

    with hubbub.open("memory:") as target:
        sink = SpaceSink(target, copy, name="copy", batch=3)
        sink.restart = Restart(backoff=Backoff(first_s=0), item="again")
        await Pipeline(SpaceSource(space, of=count_at, follow=False), sink)
        assert [c for _, c in target.read(lambda root: list(root["log"]))] == list(range(10))
