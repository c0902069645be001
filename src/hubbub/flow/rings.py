"""Cycles: how a ring of components ends that waits for itself.

In a ring each component is a producer of the next, so none would ever see its producers finish. A ring is at its end
when nobody outside can send to any of its members any more, nothing is in their boxes, and every member waits for an
item. Then the boxes between them finish. A ring in which items go round for ever has no good end: it can be stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubbub.flow.box import Box, BoxState
from hubbub.flow.component import Component
from hubbub.flow.graph import Flat

if TYPE_CHECKING:
    from hubbub.flow.running import Running


class Ring:
    """One strongly connected set of components.

    Args:
        running: The graph that they are in.
        members: The components.
        boxes: Each inbox of a member, with the sender of each linkage from inside.
    """

    def __init__(
        self, running: Running, members: set[Component], boxes: dict[Box[Any], list[Component]]
    ) -> None:
        self._running = running
        self._members = members
        self._boxes = boxes

    def look(self) -> None:
        """Finish the ring's boxes if it is at its end."""
        living = {member for member in self._members if self._running.lives(member)}
        for box, senders in self._boxes.items():
            if len(box) or box.waiting_writers:
                return
            inside = sum(sender in living for sender in senders)
            inside += sum(member.feeds_within(box) for member in living)
            if box.state is BoxState.OPEN and box.producers > inside:
                return  # somebody outside may still send
        if all(member.is_idle() for member in living):
            for box, senders in self._boxes.items():
                if senders:
                    box.finish()


def rings_of(running: Running, flat: Flat) -> list[Ring]:
    """Return the rings of a graph. A component that is independent is in none."""
    edges: dict[Component, list[Component]] = {leaf: [] for leaf in flat.paths}
    for source, target in flat.linkages:
        if not source.leaf.independent and not target.leaf.independent:
            edges[source.leaf].append(target.leaf)
    rings = []
    for members in _strongly_connected(edges):
        boxes: dict[Box[Any], list[Component]] = {
            box: [] for member in members for box in running.boxes_of(member).values()
        }
        for source, target in flat.linkages:
            if source.leaf in members and target.leaf in members:
                boxes[running.box_of(target.leaf, target.box)].append(source.leaf)
        if any(boxes.values()):
            rings.append(Ring(running, members, boxes))
    return rings


def _strongly_connected(edges: dict[Component, list[Component]]) -> list[set[Component]]:
    """Return the strongly connected sets, by Tarjan's algorithm (1972), without recursion."""
    number: dict[Component, int] = {}
    low: dict[Component, int] = {}
    stack: list[Component] = []
    on_stack: set[Component] = set()
    found: list[set[Component]] = []
    for root, first in edges.items():
        if root in number:
            continue
        work = [(root, iter(first))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            here, following = work[-1]
            for there in following:
                if there not in number:
                    number[there] = low[there] = len(number)
                    stack.append(there)
                    on_stack.add(there)
                    work.append((there, iter(edges[there])))
                    break
                if there in on_stack:
                    low[here] = min(low[here], number[there])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[here])
                if low[here] == number[here]:
                    members = set()
                    while here not in members:
                        member = stack.pop()
                        on_stack.discard(member)
                        members.add(member)
                    found.append(members)
    return found
