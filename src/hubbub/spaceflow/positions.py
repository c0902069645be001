"""What a sink has stored already, kept in the space itself: so it is written with the items, or not at all.

    root["hubbub.handled"] -> sink's name -> sender's name -> `Handled`

Each sender has a record of its own, so that a batch writes one small record more, and two sinks never conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import nsmallest
from typing import Any, NamedTuple

from hubbub.flow.tracking import Position
from hubbub.space.containers import Map
from hubbub.space.context import now
from hubbub.space.persistent import Persistent
from hubbub.spaceflow.numbers import HandledNumbers, Run

ROOT_KEY = "hubbub.handled"
"""The root's key that is kept for this."""

ORIGINS = 10_000
"""So many senders a sink remembers; the one that it has not heard of for the longest goes first."""


class Handled(Persistent, name="hubbub.Handled"):
    """What a sink has stored of one sender's items.

    Attributes:
        floor: Everything below this number is stored.
        runs: What is stored above it: see `HandledNumbers.runs`.
        heard: When something new came, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.floor = 0
        self.runs: tuple[Run, ...] = ()
        self.heard = 0.0


class Arrival(NamedTuple):
    """An item that has come to a sink.

    Attributes:
        item: It.
        position: What its sender knows it by; None if it has no such thing.
        part: Which of the items it is that stem from the one that was sent; 1 for the first.
    """

    item: Any
    position: Position | None
    part: int


def store_once(
    root: Any,
    name: str,
    arrivals: Sequence[Arrival],
    write: Callable[[Any, Any], Any],
    per_item: bool,
) -> int:
    """Write those of ``arrivals`` that are not written yet, and note it: the body of a transaction.

    Args:
        root: Of the space.
        name: Of the sink.
        arrivals: In the order in which they came.
        write: Called with the root and the list of new items, or with each of them.
        per_item: Whether with each.

    Returns:
        How many were new. If none was, nothing is changed.
    """
    numbers: dict[str, HandledNumbers] = {}
    new: list[Any] = []
    touched: dict[str, None] = {}
    for item, position, part in arrivals:
        if position is not None:
            origin = position.origin
            known = numbers.get(origin)
            if known is None:
                known = numbers[origin] = _numbers_of(root, name, origin)
            if not known.add(position.number, part):
                continue
            touched[origin] = None
        new.append(item)
    if not new:
        return 0
    if per_item:
        for item in new:
            write(root, item)
    else:
        write(root, new)
    for _, position, _ in arrivals:
        if position is not None and position.origin in touched:
            numbers[position.origin].raise_floor(position.floor)
    for origin in touched:
        _keep(root, name, origin, numbers[origin])
    return len(new)


def handled_up_to(root: Any, name: str, origin: str) -> int | None:
    """Return the number up to which the sink ``name`` has stored everything from ``origin``; None if nothing yet.

    Where the sender is a `SpaceSource`, that is a tid to resume from:
    ``since=space.read(handled_up_to, "orders", "shop")``. What comes again is skipped.
    """
    handled = _find(root, name, origin)
    return None if handled is None else handled.floor - 1


def _find(root: Any, name: str, origin: str) -> Handled | None:
    sinks = root.get(ROOT_KEY)
    origins = None if sinks is None else sinks.get(name)
    found: Handled | None = None if origins is None else origins.get(origin)
    return found


def _numbers_of(root: Any, name: str, origin: str) -> HandledNumbers:
    handled = _find(root, name, origin)
    return HandledNumbers() if handled is None else HandledNumbers(handled.floor, handled.runs)


def _keep(root: Any, name: str, origin: str, numbers: HandledNumbers) -> None:
    handled = _find(root, name, origin)
    if handled is None:
        sinks = root.setdefault(ROOT_KEY, Map())
        origins = sinks.setdefault(name, Map())
        if len(origins) >= ORIGINS:
            _forget_some(origins)
        handled = origins.setdefault(origin, Handled())
    handled.floor = numbers.floor
    handled.runs = numbers.runs
    handled.heard = now()


def _forget_some(origins: Any) -> None:
    """Forget a tenth of the senders: those that were heard of the longest ago."""
    oldest = nsmallest(len(origins) // 10 + 1, origins.items(), key=lambda pair: pair[1].heard)
    for origin, _ in oldest:
        del origins[origin]
