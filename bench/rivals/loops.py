"""Servers on asyncio run on both loops, Python's own and uvloop; the better one counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from bench.server import rival

LOOPS = ("asyncio", "uvloop")
BACKLOG = 1100


def best_of(
    module: str,
    *arguments: str,
    work: Callable[[str], dict[str, float]],
    less_is_better: bool = False,
) -> dict[str, float]:
    """Serve ``module`` on each loop, do ``work(url)``, and return the best value of each metric."""
    best = min if less_is_better else max
    found: dict[str, float] = {}
    for loop in LOOPS:
        with rival(module, *arguments, loop) as server:
            for metric, value in work(url_of(server.told)).items():
                found[metric] = best(found.get(metric, value), value)
    return found


def url_of(told: dict[str, Any]) -> str:
    """Return the address of a server that has told its port."""
    return f"http://127.0.0.1:{told['port']}/"


def run(serve: Callable[[], Coroutine[Any, Any, int]], loop: str) -> None:
    """Start a server by ``serve``, which returns its port, say so, and go on for ever."""

    async def main() -> None:
        print(json.dumps({"port": await serve()}), flush=True)
        await asyncio.Event().wait()

    if loop == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
