"""Hubbub's peers: how soon one sees what another has committed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import hubbub
from bench import apart
from bench.apart import Gate
from bench.peers import things
from bench.server import hosting
from bench.work import percentile

PAUSE_S = (0.003, 0.006)


def visible(seconds: float) -> dict[str, float]:
    """Milliseconds from the call of a commit to the new value in another process, which `changes` wakes."""
    count = rounds(seconds)
    with hosting() as server:
        apart.alone(things.prepare, server.hub, things.make_counters, 1)
        began = apart.shared_times(count + 1)
        _, seen = apart.together(2, write_or_watch, server.hub, count, began)
    return latencies(began, seen)


def rounds(seconds: float) -> int:
    """Return how many commits fit in ``seconds`` with the pauses between them; not too few for a percentile."""
    return max(200, int(seconds / 0.006))


def latencies(began: Any, seen: dict[int, float]) -> dict[str, float]:
    """Return the percentiles; ``seen`` says when each number was first seen (some are skipped)."""
    took = [1000 * (at - began[number]) for number, at in seen.items()]
    return {"visible-p50": percentile(took, 50), "visible-p99": percentile(took, 99)}


def write(gate: Gate, count: int, began: Any, commit: Callable[[int], object]) -> None:
    """Commit the numbers up to ``count`` with pauses, and note when each began."""
    gate.wait()
    chance = random.Random(2)
    for number in range(1, count + 1):
        time.sleep(chance.uniform(*PAUSE_S))
        began[number] = time.monotonic()
        commit(number)
    gate.wait()


def write_or_watch(
    index: int, gate: Gate, url: str, count: int, began: Any
) -> dict[int, float] | None:
    """Number 0 counts up, number 1 notes when it sees which number."""
    with hubbub.open(url) as space:
        space.read(look)
        if index == 0:
            write(gate, count, began, lambda _: space.run(add))
            return None
        changes = space.changes()
        next(changes)
        gate.wait()
        seen: dict[int, float] = {}
        number = 0
        while number < count:
            next(changes)
            number = space.read(look)
            seen.setdefault(number, time.monotonic())
        gate.wait()
        seen.pop(0, None)
        return seen


def look(root: Any) -> int:
    return int(root["counter 0"].number)


def add(root: Any) -> None:
    root["counter 0"].number += 1
