"""How it grows: the same measure at several sizes, and the slope of a straight line through it, log against log.

A slope of 0 means that size costs nothing, 1 that cost (or rate) is proportional to it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.harness import Line, MissingError, run_apart, value_line

Point = Callable[[str, float, float, int], dict[str, float]]


@dataclass(frozen=True)
class Curve:
    """One measure against one size. ``gives`` maps each metric to its unit, ``systems`` a system to its measure."""

    name: str
    size: str
    sizes: Sequence[int]
    gives: Mapping[str, str]
    systems: Mapping[str, str]
    title: str
    limit_s: float = 120.0


CURVES: tuple[Curve, ...] = (
    Curve(
        "growth-sessions",
        "sessions",
        (1, 10, 100, 1000),
        {"commands/s": "commands/s", "host MiB": "MiB"},
        {"hubbub": "bench.users.growth:commands"},
        "Durable commands/s and the host's memory against logged-in sessions (64 of them at most send)",
    ),
    Curve(
        "growth-peers",
        "peers",
        (1, 2, 4, 8, 16, 32),
        {"commits/s": "commits/s"},
        {"hubbub": "bench.peers.growth:commits", "zeo": "bench.rivals.growth:commits zeo"},
        "One-object durable commits/s against peer processes",
    ),
    Curve(
        "growth-objects",
        "objects in the space",
        (1_000, 10_000, 100_000, 1_000_000),
        {"us/load": "us", "us/commit": "us"},
        {"hubbub": "bench.peers.growth:objects"},
        "Time of a cold load and of a one-object commit against the size of the space",
    ),
    Curve(
        "growth-followers",
        "peers that follow",
        (1, 10, 100),
        {"us/commit": "us of the host"},
        {"hubbub": "bench.peers.growth:followers"},
        "The host's processor time for a commit against the peers that are told of it",
    ),
    Curve(
        "growth-watchers",
        "watchers of one view",
        (1, 10, 100, 1000),
        {"us/commit": "us of the host"},
        {"hubbub": "bench.users.growth:watchers"},
        "The host's processor time for a command against the sessions that watch what it changes",
    ),
)


def _run(measure: str, seconds: float, limit_s: float, size: int) -> dict[str, float]:
    return run_apart(measure, seconds, limit_s, size)


def measure_curve(curve: Curve, seconds: float, rounds: int, *, run: Point = _run) -> list[Line]:
    """Measure ``curve``: a line for each point, then one with the slope of each metric and system."""
    lines: list[Line] = []
    for system, measure in curve.systems.items():
        points: dict[str, list[tuple[int, float]]] = {metric: [] for metric in curve.gives}
        for size in curve.sizes:
            try:
                runs = [run(measure, seconds, curve.limit_s, size) for _ in range(rounds)]
            except MissingError as error:
                lines.append(
                    {"metric": curve.name, "system": system, "x": size, "missing": str(error)}
                )
                continue
            for metric, unit in curve.gives.items():
                values = [values[metric] for values in runs]
                lines.append(
                    {**value_line(curve.name, system, values, unit), "x": size, "of": metric}
                )
                points[metric].append((size, statistics.median(values)))
        for metric, found in points.items():
            if len(found) > 1:
                lines.append(
                    {
                        "metric": curve.name,
                        "system": system,
                        "of": metric,
                        "slope": round(slope(found), 3),
                    }
                )
    return lines


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line that fits ``points`` best, log against log."""
    xs = [math.log(x) for x, _ in points]
    ys = [math.log(max(y, 1e-9)) for _, y in points]
    return float(statistics.linear_regression(xs, ys).slope)


def curve_points(lines: Sequence[Line], curve: str, system: str, metric: str) -> list[Any]:
    """Return the (size, value) pairs of one curve."""
    return [
        (line["x"], line["value"])
        for line in lines
        if line.get("metric") == curve
        and line.get("system") == system
        and line.get("of") == metric
        and "value" in line
    ]
