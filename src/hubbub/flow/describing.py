"""What a graph is made of, and how it fares: parts, linkages, counts, queue lengths, rates.

>>> print(graph.describe())
filter    ThreadedComponent   running
  events -> filter            1,204 passed    3 of 100 wait

A description is plain data: `as_data` gives it as what JSON can hold.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hubbub.flow.box import Feed
from hubbub.flow.graph import LeafPlace, flat_of

if TYPE_CHECKING:
    from hubbub.flow.component import Component


@dataclass(frozen=True)
class PartDescription:
    """One component.

    Attributes:
        path: Its path in the graph, such as ``demux.filter``.
        kind: Its class, or its function.
        state: ``made``, ``running``, ``restarting`` or ``ended``.
        failures: How often it has failed and was started again.
        inboxes: Its inboxes and what each is for.
        outboxes: Its outboxes and what each is for.
    """

    path: str
    kind: str
    state: str = "made"
    failures: int = 0
    inboxes: dict[str, str] = field(default_factory=dict)
    outboxes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LinkageDescription:
    """One linkage.

    Attributes:
        source: The outbox, ``part.box``.
        target: The inbox, ``part.box``.
        when_full: What the inbox does when it is full.
        limit_items: The inbox's bound.
        limit_bytes: The inbox's bound in bytes, or None.
        passed: Items that have come by this linkage.
        waiting: Items that wait in the inbox, from all its linkages.
        dropped: Items that the inbox's policy has dropped.
        blocked: How many senders wait for room.
    """

    source: str
    target: str
    when_full: str
    limit_items: int
    limit_bytes: int | None
    passed: int = 0
    waiting: int = 0
    dropped: int = 0
    blocked: int = 0


@dataclass(frozen=True)
class Description:
    """One graph at one moment.

    Attributes:
        name: What it is called.
        parts: Its components.
        linkages: What joins them.
        at: When it was described, in seconds on a clock that never goes back.
    """

    name: str
    parts: list[PartDescription]
    linkages: list[LinkageDescription]
    at: float

    def rates(self, earlier: Description) -> list[float]:
        """Return for each linkage how many items a second have passed since ``earlier``."""
        before = {(link.source, link.target): link.passed for link in earlier.linkages}
        seconds = max(self.at - earlier.at, 1e-9)
        return [
            (link.passed - before.get((link.source, link.target), 0)) / seconds
            for link in self.linkages
        ]

    def as_data(self) -> dict[str, Any]:
        """Return it as dicts, lists, strings and numbers."""
        return dataclasses.asdict(self)

    def text(self, earlier: Description | None = None) -> str:
        """Return it as a table of parts and one of linkages, with rates since ``earlier``."""
        parts = [
            [part.path, part.kind, part.state, f"{part.failures} failures" if part.failures else ""]
            for part in self.parts
        ]
        rates: list[float | None] = (
            [*self.rates(earlier)] if earlier else [None] * len(self.linkages)
        )
        links = [
            [
                f"{_short(link.source, 'outbox')} -> {_short(link.target, 'inbox')}",
                f"{link.passed:,} passed",
                "" if rate is None else f"{rate:,.0f}/s",
                f"{link.waiting:,} of {link.limit_items:,} wait",
                "" if link.when_full == "wait" else link.when_full,
                f"{link.dropped:,} dropped" if link.dropped else "",
                f"{link.blocked} blocked" if link.blocked else "",
            ]
            for link, rate in zip(self.linkages, rates, strict=True)
        ]
        return "\n".join([*_table(parts), *_table(links, indent="  ")])

    def __str__(self) -> str:
        return self.text()


def describe(graph: Component) -> Description:
    """Return what ``graph`` is made of and, if it runs, how it fares."""
    flat = flat_of(graph)
    parts = [
        PartDescription(
            path=path,
            kind=leaf.label,
            state=_state(leaf),
            failures=leaf._running.failures_of(leaf) if leaf._running is not None else 0,
            inboxes={name: entry.meaning for name, entry in leaf.declared_inboxes().items()},
            outboxes={name: entry.meaning for name, entry in leaf.declared_outboxes().items()},
        )
        for leaf, path in flat.paths.items()
    ]
    linkages = []
    for source, target in flat.linkages:
        bounds = flat.declared(target)
        linkages.append(
            LinkageDescription(
                source=f"{flat.paths[source.leaf]}.{source.box}",
                target=f"{flat.paths[target.leaf]}.{target.box}",
                when_full=bounds.when_full,
                limit_items=bounds.items,
                limit_bytes=bounds.limit_bytes,
                **_counts(source, target),
            )
        )
    return Description(graph.label, parts, linkages, time.monotonic())


def _counts(source: LeafPlace, target: LeafPlace) -> dict[str, int]:
    running = target.leaf._running
    if running is None or source.leaf._running is None:
        return {}
    box = running.box_of(target.leaf, target.box)
    passed = box.passed
    for outlet in source.leaf._running.outlets_of(source.leaf).get(source.box, ()):
        if isinstance(outlet, Feed) and outlet.box is box:
            passed = outlet.passed
    return {
        "passed": passed,
        "waiting": len(box),
        "dropped": box.dropped,
        "blocked": box.waiting_writers,
    }


def _state(leaf: Component) -> str:
    running = leaf._running
    if running is None:
        return "made"
    if not running.lives(leaf):
        return "ended"
    return "restarting" if running.restarts(leaf) else "running"


def _short(place: str, default: str) -> str:
    part, _, box = place.rpartition(".")
    return part if box == default else place


def _table(rows: list[list[str]], indent: str = "") -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width]
        yield (indent + "  ".join(cells)).rstrip()
