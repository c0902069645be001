"""Hubbub's peers: reading what is loaded, and what a loaded object costs in memory."""

from __future__ import annotations

import gc
from typing import Any

import hubbub
from bench import apart
from bench.peers import things
from bench.peers.loads import count_chain
from bench.peers.things import Item
from bench.server import hosting, resident_bytes
from bench.work import read_ns, shuffled

MANY = 50_000


def read_warm(seconds: float) -> dict[str, float]:
    """Nanoseconds for an attribute of a loaded object."""
    with hosting() as server:
        apart.alone(things.prepare, server.hub, things.make_counters, 1)
        with hubbub.open(server.hub) as space:
            return {"read-warm": space.read(time_item, seconds)}


def time_item(root: Any, seconds: float) -> float:
    item = root["counter 0"]
    assert isinstance(item, Item)
    return read_ns(item, seconds)


def memory_object(_seconds: float, count: int = MANY) -> dict[str, float]:
    """Bytes of a peer's memory for each object that it has loaded, cached records and all."""
    with hosting() as server:
        apart.alone(things.prepare, server.hub, things.make_chain, shuffled(count))
        return {"memory-object": apart.alone(grow, server.hub, count)}


def grow(url: str, count: int) -> float:
    with hubbub.open(url) as space, space.connect() as connection:
        gc.collect()
        before = resident_bytes()
        assert count_chain(connection.root) == count
        gc.collect()
        return (resident_bytes() - before) / count
