"""The boxes of a graph that runs: who reads which, and where each outbox leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubbub.flow.box import Box, Feed, Owner
from hubbub.flow.component import Component, Outlet, Outlets, box_of, is_stopped
from hubbub.flow.declaring import Declared
from hubbub.flow.graph import Flat, LeafPlace
from hubbub.flow.tracking import Hand, Tracked, let_go
from hubbub.kernel import GraphError


def _ended_box() -> Box[Any]:
    box: Box[Any] = Box("an unlinked inbox")
    box.finish()
    return box


ENDED = _ended_box()
"""What an inbox is that is linked to nothing: at its end from the beginning."""


class Linked:
    """Makes the boxes of a graph's leaves, and links them.

    Args:
        graph: Whose leaves; for errors.
        flat: The graph taken apart.
        inboxes: See `hubbub.flow.running.Running`.
        outlets: Likewise.

    Raises:
        GraphError: If one of ``inboxes`` leads to several places. Nothing has changed.
    """

    __slots__ = ("_borrowed", "_lent", "_more", "_outside", "_passed", "leaves")

    def __init__(
        self,
        graph: Component,
        flat: Flat,
        inboxes: Mapping[str, Box[Any]],
        outlets: Mapping[str, Outlets],
    ) -> None:
        self.leaves = tuple(flat.paths)
        self._more: dict[tuple[Component, str], Box[Any]] = {}
        self._borrowed: list[tuple[Box[Any], Owner | None, Hand | None, int]] = []
        self._passed: list[tuple[Box[Any], Component]] = []
        self._lent: list[Outlet] = []
        self._outside: set[Any] = set()
        for name in inboxes:
            count = len(flat.inboxes.get(name, (None,)))
            if count != 1:
                raise GraphError(
                    f"inbox {name!r} of {graph!r} leads to {count} places, and only one can read it; "
                    "let a FanOut take it first"
                )
        ways: dict[LeafPlace, list[LeafPlace]] = {}
        fed: dict[LeafPlace, int] = {}
        for source, target in flat.linkages:
            ways.setdefault(source, []).append(target)
            fed[target] = fed.get(target, 0) + 1
        borrowed = {
            flat.inboxes[name][0]: box for name, box in inboxes.items() if name in flat.inboxes
        }
        for leaf in self.leaves:
            for name, entry in leaf.declared_inboxes().items():
                place = LeafPlace(leaf, name)
                box = borrowed.get(place)
                if box is not None:
                    self._borrow(box, leaf, fed.get(place, 0))
                elif place in fed:
                    box = _new_box(leaf, flat.bounds.get(place, entry), fed[place])
                else:
                    box = ENDED
                if name == "inbox":
                    leaf._inbox = box
                else:
                    self._more[leaf, name] = box
        given: dict[LeafPlace, Outlets] = {}
        for name, places in flat.outboxes.items():
            for place in places:
                for outlet in outlets.get(name, ()):
                    outlet.producer_added()
                    self._lent.append(outlet)
                    given[place] = (*given.get(place, ()), outlet)
        for leaf in self.leaves:
            for name, entry in leaf.declared_outboxes().items():
                place = LeafPlace(leaf, name)
                found: list[Outlet] = []
                for target in ways.get(place, ()):
                    box = self.box(target.leaf, target.box)
                    found.append(box if fed[target] == 1 else Feed(box))
                found += given.get(place, ())
                if found or entry.loose or any(name in outlets for name in _ways_out(flat, place)):
                    self._set_outlets(leaf, name, tuple(found))

    def take_over(self) -> None:
        """Read the boxes that were given from outside from now on; keep hold of what may be given again."""
        for box, leaf in self._passed:
            box.pass_on(leaf)
        for leaf in self.leaves:
            if leaf.restart is not None and leaf.restart.item == "again":
                for box in self.boxes_of(leaf).values():
                    box.remember()

    def box(self, leaf: Component, inbox: str) -> Box[Any]:
        """Return an inbox of ``leaf``, which has one of that name."""
        return leaf._inbox if inbox == "inbox" else self._more[leaf, inbox]

    def boxes_of(self, leaf: Component) -> dict[str, Box[Any]]:
        """Return the inboxes of ``leaf`` that are linked."""
        found = {name: self.box(leaf, name) for name in leaf.inboxes}
        return {name: box for name, box in found.items() if box is not ENDED}

    def own_boxes_of(self, leaf: Component) -> list[Box[Any]]:
        """Return those inboxes of ``leaf`` that end with it: not those that were given from outside."""
        return [box for box in self.boxes_of(leaf).values() if box not in self._outside]

    def outlets_of(self, leaf: Component) -> dict[str, Outlets]:
        """Return each outbox of ``leaf`` that is linked, and where it leads."""
        found = dict(leaf._outlets or {})
        if leaf._out is not None:
            found["outbox"] = leaf._out
        return found

    def let_go(self, box: Box[Any], left: list[Any]) -> None:
        """Count what is left in a box whose reader has ended as handled where others get it, too, and read on."""
        if Tracked not in map(type, left):
            return
        for leaf in self.leaves:
            for outlets in self.outlets_of(leaf).values():
                if any(box_of(o) is box for o in outlets) and not all(map(is_stopped, outlets)):
                    let_go(left)
                    return

    def undo(self) -> None:
        """Be as if nothing had been linked."""
        for box, owner, hand, producers in self._borrowed:
            box.owner, box.hand = owner, hand
            box.producers -= producers
        for outlet in self._lent:
            box_of(outlet).producers -= 1

    def _borrow(self, box: Box[Any], leaf: Component, producers: int) -> None:
        self._outside.add(box)
        self._borrowed.append((box, box.owner, box.hand, producers))
        box.producers += producers
        self._passed.append((box, leaf))

    def _set_outlets(self, leaf: Component, outbox: str, outlets: Outlets) -> None:
        if outbox == "outbox":
            leaf._out = outlets
        elif leaf._outlets is None:
            leaf._outlets = {outbox: outlets}
        else:
            leaf._outlets[outbox] = outlets


def _new_box(leaf: Component, bounds: Declared, producers: int) -> Box[Any]:
    box: Box[Any] = Box(
        owner=leaf,
        items=bounds.items,
        limit_bytes=bounds.limit_bytes,
        when_full=bounds.when_full,
    )
    box.producers = producers
    return box


def _ways_out(flat: Flat, place: LeafPlace) -> list[str]:
    return [name for name, places in flat.outboxes.items() if place in places]
