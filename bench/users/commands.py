"""Durable commands: each adds a line of 40 bytes to one shared log. One load process."""

from __future__ import annotations

import asyncio
import time

import hubbub
from bench.server import cpu_seconds, hosting
from bench.users.raw import Call, Line, in_flight, one_by_one

APPLICATION = "bench.application:hub"
ADD = Call("add", "x" * 40)
WARM_S = 0.3
USERS, EACH = 64, 16


def sequential(seconds: float) -> dict[str, float]:
    """One user, one command at a time."""
    with hosting(APPLICATION) as server:
        line = Line(server.hub, "solo")
        one_by_one(line, ADD, WARM_S)
        count, took = one_by_one(line, ADD, seconds)
    return {"command-seq": count / took}


def sequential_client(seconds: float) -> dict[str, float]:
    """The same, by our Python client."""
    with hosting(APPLICATION) as server:
        rate = asyncio.run(_by_our_client(server.hub, seconds))
    return {"command-seq-client": rate}


async def _by_our_client(url: str, seconds: float) -> float:
    async with hubbub.login(url, name="solo") as me:
        for _ in range(200):
            await me.add("x" * 40)
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            await me.add("x" * 40)
            count += 1
        return count / (time.perf_counter() - began)


def many(seconds: float) -> dict[str, float]:
    """64 users with 16 commands in flight each."""
    with hosting(APPLICATION) as server:
        lines = [Line(server.hub, f"u{number}") for number in range(USERS)]
        in_flight(lines, ADD, EACH, WARM_S)
        count, took = in_flight(lines, ADD, EACH, seconds)
    return {"command-64": count / took}


def cost(seconds: float) -> dict[str, float]:
    """Microseconds of processor time that one command of each kind costs the host, and the load process."""
    found: dict[str, float] = {}
    with hosting(APPLICATION) as server:
        lines = [Line(server.hub, f"u{number}") for number in range(USERS)]
        in_flight(lines, ADD, EACH, WARM_S)
        for name in ("command-seq", "command-64"):
            host, load = cpu_seconds(server.pid), time.process_time()
            if name == "command-seq":
                count, _ = one_by_one(lines[0], ADD, seconds)
            else:
                count, _ = in_flight(lines, ADD, EACH, seconds)
            found[f"{name}-host-us"] = (cpu_seconds(server.pid) - host) / count * 1e6
            found[f"{name}-load-us"] = (time.process_time() - load) / count * 1e6
    return found
