"""From sending a command that touches one object to the new answer of the query that watches it."""

from __future__ import annotations

import random
import time

from bench.application import CELLS
from bench.server import hosting
from bench.users.commands import APPLICATION
from bench.users.raw import Call, Line
from bench.users.web import polling

PER_LINE = 200


def thousand_queries(seconds: float) -> dict[str, float]:
    """1,000 live queries over as many objects; each commit touches one of them."""
    return {"reactive": _microseconds(CELLS, seconds)}


def one_query(seconds: float) -> dict[str, float]:
    """One live query; each commit touches its object."""
    return {"reactive": _microseconds(1, seconds)}


def _microseconds(queries: int, seconds: float) -> float:
    choose = random.Random(1)
    with hosting(APPLICATION) as server:
        watchers = watching_cells(server.hub, queries)
        writer = Line(server.hub, "writer")
        touches = [Call("touch", number) for number in range(queries)]
        with polling([*watchers, writer]) as poll:

            def one_round() -> None:
                number = choose.randrange(queries)
                writer.socket.sendall(writer.calls(touches[number], 1))
                answered = False
                while writer.in_flight or not answered:
                    for line in poll.ready():
                        if line is writer:
                            writer.results()
                            continue
                        for message in line.messages():
                            if message["t"] == "answer":
                                answered = answered or message["id"] == number + 1
                        line.acknowledge()

            for _ in range(50):
                one_round()
            began, count = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                one_round()
                count += 1
            return (time.perf_counter() - began) / count * 1e6


def watching_cells(url: str, queries: int) -> list[Line]:
    """Return lines that watch a cell each by ``queries`` watches in all, each with its first answer."""
    lines = [Line(url, f"w{number}") for number in range((queries + PER_LINE - 1) // PER_LINE)]
    for number in range(queries):
        lines[number // PER_LINE].watch(number + 1, "shown", target=cell(number))
    for index, line in enumerate(lines):
        need = min(PER_LINE, queries - index * PER_LINE)
        while need:
            need -= sum(message["t"] == "answer" for message in line.messages())
        line.acknowledge(late=True)
    return lines


def cell(number: int) -> list[dict[str, object]]:
    """Return the target of cell ``number``."""
    return [{"name": "cell", "args": [number]}]
