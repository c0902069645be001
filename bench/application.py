"""What the benchmarks talk to: a shared log, a sorted map, a small graph of objects."""

from __future__ import annotations

import itertools
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
    command,
    query,
    view,
)


class Item(Persistent):
    """One small object of a long chain."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.text = "x" * 100
        self.next: Item | None = None


class Board(Persistent):
    """What all users share."""

    def __init__(self) -> None:
        self.lines: Log[str] = Log()
        self.map: SortedMap[str, str] = SortedMap()

    @view
    def recent(self, limit: int = 20) -> list[str]:
        return self.lines.last(limit)


class User(Avatar):
    def __init__(self, name: str, board: Board) -> None:
        self.name, self._board = name, board

    @query
    def board(self) -> Board:
        return self._board

    @command
    def add(self, text: str) -> None:
        self._board.lines.append(text)

    @command
    def nothing(self) -> None:
        pass


class BenchRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return User(who.name, root["board"])


def setup(root: Root) -> None:
    """Make what the benchmarks need, once."""
    if "board" in root:
        return
    root["board"] = Board()
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
