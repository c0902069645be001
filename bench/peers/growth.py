"""Hubbub's peers: what grows with their number, and with the objects in the space."""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hubbub
from bench import apart
from bench.peers import things
from bench.peers.bulk_space import PER_PAGE, build
from bench.peers.commits import rate
from bench.server import cpu_seconds, hosting, serving
from hubbub.mount.remote import RemoteMount

_SAMPLE = 500


def commits(seconds: float, peers: int) -> dict[str, float]:
    """Commits/s of ``peers`` processes together."""
    return {"commits/s": rate(seconds, peers)}


def objects(seconds: float, count: int) -> dict[str, float]:
    """Microseconds of a cold load and of a commit, of objects picked at random out of ``count``."""
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "bench.hub"
        apart.alone(build, data, count)
        with serving("", data) as server:
            return dict(apart.alone(load_and_commit, server.hub, seconds, count))


def load_and_commit(url: str, seconds: float, count: int) -> dict[str, float]:
    """Load objects that this peer has forgotten, again and again, then commit to them one by one.

    They are one of a page each: what a load brings along of its own page is none of them.
    """
    chance = random.Random(3)
    pages = range(count // PER_PAGE)
    chosen = chance.sample(pages, min(_SAMPLE, len(pages)))
    places = [page * PER_PAGE + chance.randrange(PER_PAGE) for page in chosen]
    with hubbub.open(url) as writer, hubbub.open(url) as space, space.connect() as connection:
        mount = space._mount
        assert isinstance(mount, RemoteMount)
        items = items_at(connection.root, places)
        loading, loads = 0.0, 0
        while loading < seconds / 2:
            for item in items:
                item._p_deactivate()
            mount.forget()
            before = space.stats.requests
            loading += timed_touch(items)
            loads += space.stats.requests - before
        writer.run(rewrite, places)  # they are loaded by then
        commits_done, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds / 2:
            writer.run(rewrite, places[commits_done % len(places) :][:1])
            commits_done += 1
        committing = time.perf_counter() - began
    return {
        "us/load": loading / loads * 1e6,
        "us/commit": committing / commits_done * 1e6,
    }


def items_at(root: Any, places: list[int]) -> list[Any]:
    pages = root["pages"]
    return [pages[place // PER_PAGE].items[place % PER_PAGE] for place in places]


def timed_touch(items: list[Any]) -> float:
    """Return how long it takes to load ``items``, one after the other."""
    began = time.perf_counter()
    for item in items:
        assert item.number >= 0
    return time.perf_counter() - began


def rewrite(root: Any, places: list[int]) -> None:
    for item in items_at(root, places):
        item.key += 1


def followers(seconds: float, count: int) -> dict[str, float]:
    """Microseconds of the host's processor for a commit that ``count`` mounted peers are told of."""
    with hosting() as server:
        apart.alone(things.prepare, server.hub, things.make_counters, 1)
        with ExitStack() as stack:
            spaces = [stack.enter_context(hubbub.open(server.hub)) for _ in range(count)]
            writer = spaces[0]
            for space in spaces:
                space.read(look)
            done, before, began = 0, cpu_seconds(server.pid), time.perf_counter()
            while time.perf_counter() < began + max(seconds, 1.0):
                for _ in range(50):
                    writer.run(add)
                done += 50
                for space in spaces:
                    assert space.tid  # takes in what has arrived
            return {"us/commit": (cpu_seconds(server.pid) - before) / done * 1e6}


def look(root: Any) -> int:
    return int(root["counter 0"].number)


def add(root: Any) -> None:
    root["counter 0"].number += 1
