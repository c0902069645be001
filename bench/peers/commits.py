"""Hubbub's peers: durable commits, by one, by many, at one spot, and a large one."""

from __future__ import annotations

import time
from typing import Any

import hubbub
from bench import apart
from bench.apart import Gate
from bench.peers import things
from bench.peers.things import COUNT, LINE, Holder, Item
from bench.server import hosting
from bench.work import median


def one(seconds: float) -> dict[str, float]:
    """Commits/s of one peer, each of one object, durable before the next begins."""
    return {"commit-1": rate(seconds, 1)}


def sixteen(seconds: float) -> dict[str, float]:
    """Commits/s of 16 peer processes together, each of an object of its own."""
    return {"commit-16": rate(seconds, 16)}


def rate(seconds: float, peers: int) -> float:
    """Return the commits/s of ``peers`` processes together."""
    with hosting() as server:
        apart.alone(things.prepare, server.hub, things.make_counters, peers)
        return float(sum(apart.together(peers, add_up, server.hub, seconds)))


def add_up(index: int, gate: Gate, url: str, seconds: float) -> float:
    """Add to a counter again and again; return commits/s."""
    name = f"counter {index}"

    def add(root: Any) -> None:
        root[name].number += 1

    with hubbub.open(url) as space:
        for _ in range(20):
            space.run(add)
        gate.wait()
        count, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            space.run(add)
            count += 1
        found = count / (time.perf_counter() - began)
        gate.wait()
    return found


def hotspot(seconds: float, peers: int = 4) -> dict[str, float]:
    """Messages/s that ``peers`` processes add to one sorted map, each under a new key, conflicts retried."""
    with hosting() as server:
        apart.alone(things.prepare, server.hub, things.make_map)
        found = apart.together(peers, add_messages, server.hub, seconds)
    return {
        "hotspot-4": sum(good for good, _ in found),
        "hotspot-4-conflicts": sum(bad for _, bad in found),
    }


def add_messages(index: int, gate: Gate, url: str, seconds: float) -> tuple[float, float]:
    """Add messages; return messages/s and repeated attempts/s."""
    attempts = 0

    def add(root: Any, number: int) -> None:
        nonlocal attempts
        attempts += 1
        root["map"][hubbub.unique()] = (index, number, LINE)

    with hubbub.open(url) as space:
        space.run(add, 0)
        gate.wait()
        attempts = count = 0
        began = time.perf_counter()
        while time.perf_counter() < began + seconds:
            space.run(add, count)
            count += 1
        spent = time.perf_counter() - began
        gate.wait()
    return count / spent, (attempts - count) / spent


def bulk(seconds: float, count: int = COUNT) -> dict[str, float]:
    """Objects/s of one transaction with ``count`` new objects, from making them to the durable commit."""
    rates: list[float] = []
    with hosting() as server, hubbub.open(server.hub) as space:
        began = time.perf_counter()
        while not rates or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            space.run(store, f"holder {len(rates)}", count)
            rates.append(count / (time.perf_counter() - start))
    return {"bulk": median(rates)}


def store(root: Any, name: str, count: int) -> None:
    root[name] = Holder([Item(number) for number in range(count)])
