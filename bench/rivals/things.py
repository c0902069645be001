"""What is stored in ZODB in all database measures: the same as `bench.peers.things` stores in Hubbub."""

from __future__ import annotations

import itertools
from typing import Any

import persistent
from BTrees.OOBTree import OOBTree

from bench.peers.things import BODY
from bench.rivals.databases import Open, connected


class Item(persistent.Persistent):
    """A small object, perhaps linked to a following one."""

    def __init__(self, number: int, key: int = 0) -> None:
        self.number = number
        self.title = f"object {number:06d}"
        self.body = BODY
        self.key = key
        self.next: Item | None = None


class Holder(persistent.Persistent):
    """Refers to many objects from one plain list."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items


def prepare(open_storage: Open, make: Any, *arguments: Any) -> None:
    """Run ``make(root, ...)`` as one transaction of a client that goes away again."""
    with connected(open_storage) as connection:
        make(connection.root(), *arguments)
        connection.transaction_manager.commit()


def make_counters(root: Any, count: int) -> None:
    for number in range(count):
        root[f"counter {number}"] = Item(number)


def make_map(root: Any) -> None:
    root["map"] = OOBTree()


def make_chain(root: Any, order: list[int]) -> None:
    """Link objects in a random order that does not follow their creation."""
    items = [Item(number) for number in range(len(order))]
    for item in items:
        root._p_jar.add(item)
    root["holder"] = Holder(items)
    for here, there in itertools.pairwise(order):
        items[here].next = items[there]
    root["head"] = items[order[0]]


def make_index(root: Any, following: list[int]) -> None:
    root["index"] = OOBTree({n: Item(n, key) for n, key in enumerate(following)})
