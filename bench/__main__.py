"""Run all benchmarks, print JSON lines, and keep them in ``bench/results``.

python -m bench [--rounds 3] [--seconds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import peers, users
from bench.server import Server, serving

RESULTS = Path(__file__).resolve().parent / "results"


@contextmanager
def fresh_server() -> Iterator[Server]:
    """Serve the benchmarks' application on a new file."""
    with (
        tempfile.TemporaryDirectory() as directory,
        serving("bench.application:hub", Path(directory) / "bench.hub") as server,
    ):
        yield server


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    lines: list[dict[str, Any]] = []

    def tell(metric: str, values: list[float], unit: str) -> None:
        line = {
            "system": "hubbub",
            "metric": metric,
            "value": round(statistics.median(values), 1),
            "unit": unit,
            "runs": [round(value, 1) for value in values],
        }
        lines.append(line)
        print(json.dumps(line), flush=True)

    def rounds(measure: Callable[[Server], float]) -> list[float]:
        values = []
        for _ in range(options.rounds):
            with fresh_server() as server:
                values.append(measure(server))
        return values

    seconds = options.seconds
    tell("command-seq", rounds(lambda s: asyncio.run(users.commands_one(s, seconds))), "commands/s")
    tell("command-64", rounds(lambda s: asyncio.run(users.commands_many(s, seconds))), "commands/s")
    tell("commit-1", rounds(lambda s: peers.commits(s, seconds)), "commits/s")
    tell("load-walk", rounds(peers.cold_reads), "objects/s")
    tell("read-warm", rounds(peers.warm_read_ns), "ns")

    def latency(pages: int) -> list[float]:
        with fresh_server() as server:
            took = sorted(asyncio.run(users.push(server, 100, pages)))
        return [took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000]

    for pages in (1, 200):
        name = "command-to-browser" if pages == 1 else f"push-{pages}"
        p50, p99 = latency(pages)
        tell(f"{name}-p50", [p50], "ms")
        tell(f"{name}-p99", [p99], "ms")
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    (RESULTS / f"{stamp}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
