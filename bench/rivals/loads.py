"""ZODB: loads of what a client has not seen yet. The work is that of `bench.peers.loads`."""

from __future__ import annotations

import gc
import time
from typing import Any

from bench import apart
from bench.peers.loads import count_chain, follow, rewrite, warm_index
from bench.peers.things import COLD, COUNT
from bench.rivals import things
from bench.rivals.databases import SYSTEMS, Open, connected
from bench.work import median, ring, shuffled


def cold(seconds: float, system: str, count: int = COLD) -> dict[str, float]:
    """Objects/s, each found by the one before through a key in an index that is loaded already."""
    with SYSTEMS[system]() as open_storage:
        apart.alone(things.prepare, open_storage, things.make_index, ring(count))
        with connected(open_storage) as writer, connected(open_storage) as reader:
            root = reader.root()
            warm_index(root)
            spent, loaded = 0.0, 0
            while spent < seconds:
                writer.transaction_manager.begin()
                rewrite(writer.root())
                writer.transaction_manager.commit()
                reach(reader, writer)
                began = time.perf_counter()
                follow(root, count)
                spent += time.perf_counter() - began
                loaded += count
    return {"load-cold-1": loaded / spent}


def reach(reader: Any, writer: Any) -> None:
    """Begin transactions until ``reader`` sees the last one of ``writer``."""
    key = writer.root()["index"]
    newest = key[0].number
    while True:
        reader.transaction_manager.begin()
        if reader.root()["index"][0].number == newest:
            return
        time.sleep(0.001)


def walk(seconds: float, system: str, count: int = COUNT) -> dict[str, float]:
    """Objects/s along links in random order, all of them prefetched by one call, each time in a new process."""
    rates: list[float] = []
    with SYSTEMS[system]() as open_storage:
        apart.alone(things.prepare, open_storage, things.make_chain, shuffled(count))
        oids = apart.alone(oids_of_chain, open_storage)
        began = time.perf_counter()
        while not rates or time.perf_counter() - began < seconds:
            rates.append(apart.alone(walk_once, open_storage, oids))
    return {"load-walk": median(rates)}


def oids_of_chain(open_storage: Open) -> list[bytes]:
    """Return what to prefetch: a client has to know it beforehand."""
    with connected(open_storage) as connection:
        return [item._p_oid for item in connection.root()["holder"].items]


def walk_once(open_storage: Open, oids: list[bytes]) -> float:
    """Walk in this process; return objects/s. The connection is open before the time begins."""
    with connected(open_storage) as connection:
        gc.collect()  # as in `bench.peers.loads`
        began = time.perf_counter()
        connection.prefetch(oids)
        found = count_chain(connection.root())
        rate = len(oids) / (time.perf_counter() - began)
    assert found == len(oids)
    return rate
