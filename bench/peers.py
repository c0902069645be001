"""Peers: commits per second, cold and warm reads."""

from __future__ import annotations

import time
from typing import Any

import hubbub
from bench.application import Item
from bench.server import Server
from hubbub import Persistent


class Counter(Persistent):
    """One object to write."""

    def __init__(self) -> None:
        self.value = 0


def commits(server: Server, seconds: float) -> float:
    """One-object durable commits/s of one peer."""
    with hubbub.open(server.hub) as space:

        def begin(root: Any) -> None:
            root["counter"] = Counter()

        def add(root: Any) -> None:
            root["counter"].value += 1

        space.run(begin)
        for _ in range(20):
            space.run(add)
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            space.run(add)
            count += 1
        return count / (time.perf_counter() - began)


def cold_reads(server: Server) -> float:
    """Objects/s along a chain that this peer has never seen."""
    with hubbub.open(server.hub) as space:

        def walk(root: Any) -> int:
            count, item = 0, root["first"]
            while item is not None:
                assert item.number == count
                count, item = count + 1, item.next
            return count

        assert Item
        began = time.perf_counter()
        count = int(space.read(walk))
        return count / (time.perf_counter() - began)


def warm_read_ns(server: Server, rounds: int = 1_000_000) -> float:
    """Nanoseconds to read an attribute of a loaded object."""
    with hubbub.open(server.hub) as space:

        def read(root: Any) -> float:
            item = root["first"]
            assert item.number == 0
            turns = range(rounds)
            began = time.perf_counter()
            for _ in turns:
                item.number  # noqa: B018 - that is what is measured
            return (time.perf_counter() - began) / rounds * 1e9

        return float(space.read(read))
