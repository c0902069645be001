"""Hubbub's peers: loads of what they have not seen yet, and a page that they have."""

from __future__ import annotations

import gc
import time
from typing import Any

import hubbub
from bench import apart
from bench.harness import MissingError
from bench.peers import things
from bench.peers.things import COLD, COUNT, Item
from bench.server import hosting
from bench.work import median, ring, shuffled
from hubbub import SortedMap


def cold(seconds: float, count: int = COLD) -> dict[str, float]:
    """Objects/s, each found by the one before through a key in an index that is loaded already.

    Before each round another peer rewrites them all. So the index is warm, every object is cold, and none is
    referred to by the one before: nothing can be brought along.
    """
    with hosting() as server:
        apart.alone(things.prepare, server.hub, make_index, ring(count))
        with hubbub.open(server.hub) as writer, hubbub.open(server.hub) as space:
            space.read(warm_index)
            spent, loaded, requests = 0.0, 0, 0
            while spent < seconds:
                writer.run(rewrite)
                tid = writer.tid
                while space.tid < tid:
                    time.sleep(0.001)
                before = space.stats.requests
                began = time.perf_counter()
                space.read(follow, count)
                spent += time.perf_counter() - began
                loaded += count
                requests += space.stats.requests - before
    # Some records come along with the news that they changed; only what was asked for counts.
    if requests < 0.8 * loaded:
        raise MissingError(
            f"these loads are not dependent: {requests} requests for {loaded} of them"
        )
    return {"load-cold-1": min(requests, loaded) / spent}


def make_index(root: Any, following: list[int]) -> None:
    root["index"] = SortedMap({n: Item(n, key) for n, key in enumerate(following)})


def warm_index(root: Any) -> None:
    """Load the index, and each object once."""
    for item in root["index"].values():
        assert item.key >= 0


def rewrite(root: Any) -> None:
    """Change every object, so that nobody else's copy is right."""
    for item in root["index"].values():
        item.title += "'" if len(item.title) < 20 else ""
        item.number += 1


def follow(root: Any, count: int) -> None:
    """Go round by the keys."""
    index = root["index"]
    key = 0
    for _ in range(count):
        key = index[key].key
    assert key == 0


def walk(seconds: float, count: int = COUNT) -> dict[str, float]:
    """Objects/s along links in random order, each time in a process that has never seen them."""
    rates: list[float] = []
    with hosting() as server:
        apart.alone(things.prepare, server.hub, things.make_chain, shuffled(count))
        began = time.perf_counter()
        while not rates or time.perf_counter() - began < seconds:
            rates.append(apart.alone(walk_once, server.hub, count))
    return {"load-walk": median(rates)}


def walk_once(url: str, count: int) -> float:
    """Walk in this process; return objects/s. The connection is open before the time begins."""
    with hubbub.open(url) as space:
        gc.collect()  # a full collection costs 17 ms: it must not fall to one system and not to the other
        began = time.perf_counter()
        found = space.read(count_chain)
        rate = count / (time.perf_counter() - began)
    assert found == count
    return rate


def count_chain(root: Any) -> int:
    number, item = 0, root["head"]
    while item is not None:
        number, item = number + 1, item.next
    return number


def forum(_seconds: float) -> dict[str, float]:
    """Requests to the host for a page of 100 postings with their authors that was seen before."""
    with hosting() as server:
        apart.alone(things.prepare, server.hub, things.make_forum, 1000)
        with hubbub.open(server.hub) as space:
            space.read(page)
            before = space.stats.requests
            assert len(space.read(page)) == 100
            return {"forum": float(space.stats.requests - before)}


def page(root: Any) -> list[str]:
    """Return a page as the application would show it."""
    postings = root["forum"].newest(100)
    return [f"{posting.author.name}: {posting.text}" for _, posting in postings]
