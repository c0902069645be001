"""What the work is made of, whoever does it: random orders, chances, percentiles."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from typing import Any


def shuffled(count: int, seed: int = 1) -> list[int]:
    """Return 0..count-1 in an order that is the same for everybody."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


def ring(count: int, seed: int = 1) -> list[int]:
    """Return for each place which one comes next, in one round through all of them."""
    order = shuffled(count, seed)
    following = [0] * count
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        following[here] = there
    return following


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which ``percent`` of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Sequence[float]) -> float:
    """Return the middle one."""
    return statistics.median(values)


def read_ns(item: Any, seconds: float) -> float:
    """Return the nanoseconds that ``item.number`` takes: the best of many short stretches."""
    turns = range(20_000)
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        for _ in turns:
            item.number  # noqa: B018 - that is what is measured
            item.number  # noqa: B018
            item.number  # noqa: B018
            item.number  # noqa: B018
            item.number  # noqa: B018
        best = min(best, time.perf_counter() - began)
    return best / len(turns) / 5 * 1e9
