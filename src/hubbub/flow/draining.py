"""When a backplane has come to its end: nobody is left who could still publish on it (FL2).

A run that is asked to finish cancels its sources and drains the rest in order. Across backplanes the order is this: who
subscribes reads on until those who publish have ended. Those may themselves work on what another backplane brings, so
that the end travels from one to the next::

    source -> PublishTo a    SubscribeTo a -> f -> PublishTo b    SubscribeTo b -> print

Where backplanes feed each other in a circle nobody would ever be the first. Such a circle has come to its end when no
source feeds it any more, nothing is in its boxes, and all who work on it wait for an item: as with the rings inside of
a graph (`hubbub.flow.rings`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hubbub.flow.box import BoxState
from hubbub.flow.component import Component

if TYPE_CHECKING:
    from hubbub.flow.backplane import Backplane


class Hearer(Component):
    """A component whose items come from a backplane. Its `is_idle` tells whether it has sent all of them on."""

    def hears(self) -> Backplane:
        """Return which."""
        raise NotImplementedError


class _Sources:
    """What feeds one component that publishes, directly or through others in its graph.

    Attributes:
        backplanes: Those that are heard there.
        is_fed: Whether something else may still feed it.
        is_idle: Whether nothing is on its way to it.
    """

    __slots__ = ("backplanes", "is_fed", "is_idle")

    def __init__(self, publisher: Component) -> None:
        self.backplanes: set[Backplane] = set()
        self.is_fed = False
        self.is_idle = True
        running = publisher.running
        before: dict[Component, list[Component]] = {}
        for way_out, way_in in running.flat.linkages:
            if running.lives(way_out.leaf):
                before.setdefault(way_in.leaf, []).append(way_out.leaf)
        seen = {publisher}
        left = [publisher]
        while left:
            leaf = left.pop()
            boxes = running.boxes_of(leaf).values()
            if not boxes or any(
                box.state is BoxState.OPEN
                and box.producers > running.feeds(box) + leaf.feeds_within(box)
                for box in boxes
            ):
                self.is_fed = True  # a source that has not ended yet, or one outside of the graph
            if not leaf.is_idle() or any(len(box) or box.waiting_writers for box in boxes):
                self.is_idle = False
            for sender in before.get(leaf, ()):
                if isinstance(sender, Hearer):
                    self.backplanes.add(sender.hears())
                    self.is_idle = self.is_idle and sender.is_idle()
                elif sender.independent:
                    self.is_fed = True
                elif sender not in seen:
                    seen.add(sender)
                    left.append(sender)


def is_dry(backplane: Backplane) -> bool | None:
    """Return whether nobody is left who could publish; None if that can change without the end of a publisher."""
    known: dict[Component, _Sources] = {}

    def sources(publisher: Component) -> _Sources:
        if publisher not in known:
            known[publisher] = _Sources(publisher)
        return known[publisher]

    for publisher in backplane.publishers:
        if not sources(publisher).backplanes:
            return False  # it comes to its end by itself
    circle = {backplane} | {
        other for other in _before(backplane, sources) if backplane in _before(other, sources)
    }
    for member in circle:
        for publisher in member.publishers:
            found = sources(publisher)
            if found.is_fed or not found.is_idle or not found.backplanes <= circle:
                return None
    return True


def _before(backplane: Backplane, sources: Callable[[Component], _Sources]) -> set[Backplane]:
    """Return the backplanes out of which something can come to ``backplane``."""
    found: set[Backplane] = set()
    left = [backplane]
    while left:
        for publisher in left.pop().publishers:
            new = sources(publisher).backplanes - found
            found |= new
            left += new
    return found
