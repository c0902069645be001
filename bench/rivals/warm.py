"""ZODB: reading what is loaded, and what a loaded object costs in memory."""

from __future__ import annotations

import gc

from bench import apart
from bench.peers.loads import count_chain
from bench.peers.warm import MANY
from bench.rivals import things
from bench.rivals.databases import SYSTEMS, Open, connected
from bench.server import resident_bytes
from bench.work import read_ns, shuffled


def read_warm(seconds: float, system: str) -> dict[str, float]:
    """Nanoseconds for an attribute of a loaded object."""
    with SYSTEMS[system]() as open_storage:
        apart.alone(things.prepare, open_storage, things.make_counters, 1)
        with connected(open_storage) as connection:
            item = connection.root()["counter 0"]
            assert item.number == 0
            return {"read-warm": read_ns(item, seconds)}


def memory_object(_seconds: float, system: str, count: int = MANY) -> dict[str, float]:
    """Bytes of a client's memory for each object that it has loaded."""
    with SYSTEMS[system]() as open_storage:
        apart.alone(things.prepare, open_storage, things.make_chain, shuffled(count))
        return {"memory-object": apart.alone(grow, open_storage, count)}


def grow(open_storage: Open, count: int) -> float:
    with connected(open_storage) as connection:
        gc.collect()
        before = resident_bytes()
        assert count_chain(connection.root()) == count
        gc.collect()
        return (resident_bytes() - before) / count
