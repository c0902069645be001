"""What the benchmarks talk to: a shared log, a sorted map, cells, a crowd of minds, a small graph of objects."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import hubbub
from hubbub import (
    Avatar,
    Hub,
    Identity,
    Log,
    Persistent,
    Realm,
    Root,
    SortedMap,
    action,
    command,
    query,
    stream,
    view,
)

CELLS = 1000
PAYLOAD = "m" * 100
"""What is published, and what minds are told."""


class Item(Persistent):
    """One small object of a long chain."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.text = "x" * 100
        self.next: Item | None = None


class Cell(Persistent):
    """One small object that is watched by itself."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.value = 0

    @view
    def shown(self) -> dict[str, int]:
        return {"number": self.number, "value": self.value}


class Board(Persistent):
    """What all users share."""

    def __init__(self) -> None:
        self.lines: Log[str] = Log()
        self.map: SortedMap[str, str] = SortedMap()

    @view
    def recent(self, limit: int = 20) -> list[str]:
        return self.lines.last(limit)


class User(Avatar):
    def __init__(self, name: str, board: Board, cells: SortedMap[int, Cell]) -> None:
        self.name, self._board, self._cells = name, board, cells

    @query
    def board(self) -> Board:
        return self._board

    @query
    def cell(self, number: int) -> Cell:
        found: Cell = self._cells[number]
        return found

    @command
    def add(self, text: str) -> None:
        self._board.lines.append(text)

    @command
    def touch(self, number: int) -> None:
        self._cells[number].value += 1

    @command
    def nothing(self) -> None:
        pass

    @command
    def burst(self, count: int) -> None:
        for _ in range(count):
            hubbub.publish("news", PAYLOAD)

    @stream(items=500, when_full="disconnect")
    def news(self) -> AsyncIterator[str]:
        return hubbub.subscribe("news")


class Crowd(Avatar, Persistent):
    """One avatar for many sessions, each with a mind."""

    @action(timeout_s=60)
    async def ring(self, seconds: float) -> list[float]:
        """Call all minds and wait for all answers, again and again: how many answers, in how many seconds."""
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            answers = await self.minds.call_all("notify", PAYLOAD)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            count += len(answers)
        return [float(count), time.perf_counter() - began]


class BenchRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        if who.name.startswith("crowd-"):
            crowd: Crowd = root["crowd"]
            return crowd
        return User(who.name, root["board"], root["cells"])


def setup(root: Root) -> None:
    """Make what the benchmarks need, once."""
    if "board" in root:
        return
    root["board"] = Board()
    root["crowd"] = Crowd()
    root["cells"] = SortedMap({n: Cell(n) for n in range(CELLS)})
    root["map"] = SortedMap()
    items: list[Any] = [Item(n) for n in range(2000)]
    for item, following in itertools.pairwise(items):
        item.next = following
    root["first"] = items[0]
    root["items"] = SortedMap({f"{n:06d}": item for n, item in enumerate(items)})


hub = Hub(
    BenchRealm(),
    checkers=[hubbub.Anonymous()],
    setup=setup,
    limits=hubbub.Limits(max_connections_per_address=5000),
)
