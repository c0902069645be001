"""ZODB: durable commits. The work is that of `bench.peers.commits`."""

from __future__ import annotations

import time

from transaction.interfaces import TransientError

from bench import apart
from bench.apart import Gate
from bench.peers.things import COUNT, LINE
from bench.rivals import things
from bench.rivals.databases import SYSTEMS, Open, connected
from bench.work import median


def one(seconds: float, system: str) -> dict[str, float]:
    """Commits/s of one client, each of one object."""
    return {"commit-1": rate(seconds, 1, system)}


def sixteen(seconds: float, system: str) -> dict[str, float]:
    """Commits/s of 16 client processes together, each of an object of its own."""
    return {"commit-16": rate(seconds, 16, system)}


def rate(seconds: float, clients: int, system: str) -> float:
    """Return the commits/s of ``clients`` processes together."""
    with SYSTEMS[system]() as open_storage:
        apart.alone(things.prepare, open_storage, things.make_counters, clients)
        return float(sum(apart.together(clients, add_up, open_storage, seconds)))


def add_up(index: int, gate: Gate, open_storage: Open, seconds: float) -> float:
    """Add to a counter again and again; return commits/s."""
    with connected(open_storage) as connection:
        counter = connection.root()[f"counter {index}"]
        commit = connection.transaction_manager.commit
        for _ in range(20):
            counter.number += 1
            commit()
        gate.wait()
        count, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            counter.number += 1
            commit()
            count += 1
        found = count / (time.perf_counter() - began)
        gate.wait()
    return found


def hotspot(seconds: float, system: str, clients: int = 4) -> dict[str, float]:
    """Messages/s that ``clients`` processes add to one B-tree, each under a new key, conflicts retried."""
    with SYSTEMS[system]() as open_storage:
        apart.alone(things.prepare, open_storage, things.make_map)
        found = apart.together(clients, add_messages, open_storage, seconds)
    return {
        "hotspot-4": sum(good for good, _ in found),
        "hotspot-4-conflicts": sum(bad for _, bad in found),
    }


def add_messages(index: int, gate: Gate, open_storage: Open, seconds: float) -> tuple[float, float]:
    """Add messages; return messages/s and repeated attempts/s."""
    with connected(open_storage) as connection:
        manager = connection.transaction_manager
        tree = connection.root()["map"]
        len(tree)
        gate.wait()
        count = conflicts = 0
        began = time.perf_counter()
        while time.perf_counter() < began + seconds:
            try:
                tree[f"{time.time_ns():020d}{index:012d}"] = (index, count, LINE)
                manager.commit()
                count += 1
            except TransientError:
                manager.abort()
                conflicts += 1
        spent = time.perf_counter() - began
        gate.wait()
    return count / spent, conflicts / spent


def bulk(seconds: float, system: str, count: int = COUNT) -> dict[str, float]:
    """Objects/s of one transaction with ``count`` new objects, from making them to the commit."""
    rates: list[float] = []
    with SYSTEMS[system]() as open_storage, connected(open_storage) as connection:
        root = connection.root()
        began = time.perf_counter()
        while not rates or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            root[f"holder {len(rates)}"] = things.Holder(
                [things.Item(number) for number in range(count)]
            )
            connection.transaction_manager.commit()
            rates.append(count / (time.perf_counter() - start))
    return {"bulk": median(rates)}
