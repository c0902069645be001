"""Histories of transactions and whether some order of them explains what they have seen (SP6).

What is looked at: *cells*, to whose end values are appended, each value once in the world; and *sets*, to which they are
added. So it can be told from what a transaction has seen of them which others came before and after it (as Elle does):

    it saw a value              -> its writer came before
    it did not see a value      -> its writer came behind
    of a cell, the final order  -> the writers came in this order

A cycle of these is an execution that no serial order explains. Of commands it is also asked that whatever had been
answered before one was asked for came before it, and that all of them are where their tid says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise


@dataclass
class Done:
    """One transaction of a history.

    Attributes:
        name: Names it.
        kind: ``peer`` or ``command``.
        outcome: ``stored``, ``failed``, ``unknown``; ``read`` if it had nothing to store.
        tid: Of its commit; 0 if it is not known to have one.
        asked: When it was asked for.
        answered: When it was over.
        seen: What it saw, by place: the values of a cell in order, or those of a set.
        added: (place, value), in order.
    """

    name: str
    kind: str = "peer"
    outcome: str = "unknown"
    tid: int = 0
    asked: int = 0
    answered: int = 0
    seen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    added: list[tuple[str, str]] = field(default_factory=list)


class Anomaly(Exception):  # noqa: N818 - a finding
    """What no serial execution would have done."""


def is_cell(place: str) -> bool:
    return place.startswith("cell")


def resolved(history: Iterable[Done], final: dict[str, tuple[str, ...]]) -> list[Done]:
    """Return those transactions that count: the stored ones, and the unknown ones of which something is there.

    Raises:
        Anomaly: If something is there of one that failed, only a part of one, or not all of one that is stored.
    """
    counting = []
    for done in history:
        there = [value in final.get(place, ()) for place, value in done.added]
        if done.outcome == "failed":
            if any(there):
                raise Anomaly(f"{done.name} failed, and something of it is there")
            continue
        if any(there) and not all(there):
            raise Anomaly(f"only a part of {done.name} is there")
        if done.outcome == "stored" and not all(there):
            raise Anomaly(f"{done.name} was acknowledged and is not there")
        if done.outcome != "unknown" or any(there):
            counting.append(done)
    return counting


def check(history: Sequence[Done], final: dict[str, tuple[str, ...]]) -> None:
    """Check that some serial order explains ``history``, which left ``final`` behind.

    Raises:
        Anomaly: If there is none; names the cycle.
    """
    counting = resolved(history, final)
    after: dict[str, set[str]] = {done.name: set() for done in counting}
    writer = {value: done.name for done in counting for _, value in done.added}
    for place, values in final.items():
        for value in values:
            if value not in writer:
                raise Anomaly(f"{value} is in {place}, and nobody wrote it")
        if is_cell(place):
            for earlier, later in pairwise(values):
                _before(after, writer[earlier], writer[later])
    for done in counting:
        own = {value for _, value in done.added}
        for place, seen in done.seen.items():
            values = final.get(place, ())
            if is_cell(place):
                if tuple(values[: len(seen)]) != seen:
                    raise Anomaly(f"{done.name} saw {seen} in {place}, which became {values}")
                if seen:
                    _before(after, writer[seen[-1]], done.name)
                behind = values[len(seen) : len(seen) + 1]
            else:
                for value in seen:
                    if value not in writer:
                        raise Anomaly(f"{done.name} saw {value}, which is of no transaction")
                    _before(after, writer[value], done.name)
                behind = tuple(value for value in values if value not in seen)
            for value in behind:
                if value not in own:
                    _before(after, done.name, writer[value])
    _strict(after, [done for done in counting if done.kind == "command"])
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        raise Anomaly("no serial order: " + " before ".join(error.args[1])) from None


def _before(after: dict[str, set[str]], earlier: str, later: str) -> None:
    if earlier != later:
        after[later].add(earlier)


def _strict(after: dict[str, set[str]], commands: Sequence[Done]) -> None:
    """Commands: whoever was answered before another was asked for came before it; and tids are their order."""
    for one in commands:
        for other in commands:
            if one.answered and one.answered < other.asked:
                _before(after, one.name, other.name)
    ordered = sorted((done for done in commands if done.tid), key=lambda done: done.tid)
    for one, other in pairwise(ordered):
        _before(after, one.name, other.name)


def replay(history: Sequence[Done], final: dict[str, tuple[str, ...]], kinds: set[str]) -> None:
    """Check that those of ``kinds`` with a tid saw exactly what all before them in the order of tids had left.

    Raises:
        Anomaly: If one did not.
    """
    state: dict[str, list[str]] = {}
    for done in sorted(
        (done for done in resolved(history, final) if done.tid), key=lambda done: done.tid
    ):
        if done.kind in kinds:
            for place, seen in done.seen.items():
                there = state.get(place, [])
                if list(seen) != there if is_cell(place) else set(seen) != set(there):
                    raise Anomaly(f"{done.name} saw {seen} in {place}, where {there} was")
        for place, value in done.added:
            state.setdefault(place, []).append(value)
