"""What peers store in all database measures: the same in Hubbub and in ZODB, about 200 bytes each."""

from __future__ import annotations

import itertools
from typing import Any

import hubbub
from hubbub import Persistent, SortedMap

COUNT = 10_000
COLD = 5_000
BODY = "x" * 90
LINE = "a chat message of about sixty characters, as people write it"


class Item(Persistent):
    """A small object, perhaps linked to a following one."""

    def __init__(self, number: int, key: int = 0) -> None:
        self.number = number
        self.title = f"object {number:06d}"
        self.body = BODY
        self.key = key
        self.next: Item | None = None


class Holder(Persistent):
    """Refers to many objects from one plain list."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Person(Persistent):
    def __init__(self, name: str) -> None:
        self.name = name


class Posting(Persistent):
    def __init__(self, author: Person, text: str) -> None:
        self.author, self.text = author, text


def prepare(url: str, make: Any, *arguments: Any) -> None:
    """Run ``make(root, ...)`` as one transaction of a peer that goes away again."""
    with hubbub.open(url) as space:
        space.run(make, *arguments)


def make_counters(root: Any, count: int) -> None:
    for number in range(count):
        root[f"counter {number}"] = Item(number)


def make_map(root: Any) -> None:
    root["map"] = SortedMap()


def make_chain(root: Any, order: list[int]) -> None:
    """Link objects in a random order that does not follow their creation."""
    items = [Item(number) for number in range(len(order))]
    root["holder"] = Holder(
        items
    )  # gives oids in the order of creation, as the rivals' populate does
    for here, there in itertools.pairwise(order):
        items[here].next = items[there]
    root["head"] = items[order[0]]


def make_forum(root: Any, count: int) -> None:
    people = [Person(f"person {n}") for n in range(20)]
    root["forum"] = SortedMap({n: Posting(people[n % 20], LINE) for n in range(count)})
