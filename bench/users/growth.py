"""How it grows: commands and memory against sessions, a commit's cost against those who watch."""

from __future__ import annotations

import time

from bench.server import cpu_seconds, hosting, resident_bytes
from bench.users.commands import ADD, APPLICATION, EACH, USERS, WARM_S
from bench.users.push import pushing, watching
from bench.users.raw import Line, in_flight
from bench.users.web import polling


def commands(seconds: float, sessions: int) -> dict[str, float]:
    """Commands/s and the host's memory with ``sessions`` sessions, of which 64 at most send."""
    with hosting(APPLICATION) as server:
        lines = [Line(server.hub, f"u{number}") for number in range(sessions)]
        senders = lines[: min(sessions, USERS)]
        in_flight(senders, ADD, EACH, WARM_S)
        memory = resident_bytes(server.pid)
        count, took = in_flight(senders, ADD, EACH, seconds)
        return {"commands/s": count / took, "host MiB": memory / (1 << 20)}


def watchers(seconds: float, watchers: int) -> dict[str, float]:
    """The host's processor time for one commit of which ``watchers`` sessions get a new answer."""
    with hosting(APPLICATION) as server:
        writer = Line(server.hub, "writer")
        pages = watching(server.web, watchers)
        with polling([*pages, writer]) as poll:
            one_round = pushing(writer, pages, poll)
            for _ in range(20):
                one_round()
            before, count = cpu_seconds(server.pid), 0
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                one_round()
                count += 1
            return {"us/commit": (cpu_seconds(server.pid) - before) / count * 1e6}
