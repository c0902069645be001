"""What joins components: parts, linkages between their boxes, and boxes passed through to the outside.

A graph is a component, too, so graphs nest. It has no ``main``: what runs are its leaves, the components in it that are
no graphs. A graph is checked when it is built, and says what is wrong with names that its author knows.
"""

from __future__ import annotations

import graphlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes, Declared
from hubbub.kernel import GraphError


class Place(NamedTuple):
    """A box of a part."""

    part: str
    box: str

    def __str__(self) -> str:
        return f"{self.part}.{self.box}"


class Linkage(NamedTuple):
    """An outbox that leads to an inbox."""

    source: Place
    target: Place

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


class LeafPlace(NamedTuple):
    """A box of a leaf."""

    leaf: Component
    box: str


@dataclass
class Flat:
    """A graph taken apart into what runs.

    Attributes:
        paths: Each leaf, and its path: names joined by dots.
        linkages: From leaf to leaf.
        inboxes: The graph's own inboxes: where what comes in goes.
        outboxes: The graph's own outboxes: where what goes out comes from.
        bounds: Inboxes whose bounds a graph has set anew.
    """

    paths: dict[Component, str] = field(default_factory=dict)
    linkages: list[tuple[LeafPlace, LeafPlace]] = field(default_factory=list)
    inboxes: dict[str, list[LeafPlace]] = field(default_factory=dict)
    outboxes: dict[str, list[LeafPlace]] = field(default_factory=dict)
    bounds: dict[LeafPlace, Declared] = field(default_factory=dict)

    def declared(self, place: LeafPlace) -> Declared:
        """Return how the inbox at ``place`` is declared, or bounded anew."""
        return self.bounds.get(place) or place.leaf.declared_inboxes()[place.box]


class Graph(Component):
    """Base of what joins components. Use `Pipeline`, `Graphline` and the others of `hubbub.flow`.

    Args:
        parts: The components by name.
        linkages: Between their boxes.
        takes: Each inbox of the graph: the places that what comes in goes to.
        gives: Each outbox of the graph: the places that what goes out comes from.
        bounds: Inboxes of parts whose bounds differ from what the part declares.
        name: For drawings and errors.
    """

    def __init__(
        self,
        parts: Mapping[str, Component],
        linkages: Iterable[Linkage],
        takes: Mapping[str, Iterable[Place]],
        gives: Mapping[str, Iterable[Place]],
        *,
        bounds: Mapping[Place, Declared] | None = None,
        name: str = "",
    ) -> None:
        self.parts = dict(parts)
        self._linkages = tuple(
            itertools.chain.from_iterable(
                (*source, *target) for source, target in dict.fromkeys(linkages)
            )
        )
        self.takes = {box: list(places) for box, places in takes.items()}
        self.gives = {box: list(places) for box, places in gives.items()}
        self.bounds = dict(bounds or {})
        self.name = name
        if self.restart is not None:
            raise GraphError(
                f"{self.label} is a graph and can't restart as a whole; declare restart in its components"
            )
        self._check_places()
        self._check_loose_ends()
        self.inboxes = self._shown(self.takes, inbox=True)
        self.outboxes = self._shown(self.gives, inbox=False)
        self._check_cycles()

    @property
    def label(self) -> str:
        return self.name or type(self).__name__

    @property
    def linkages(self) -> list[Linkage]:
        """The linkages between its parts. They are kept as mere names: a graph of thousands has thousands."""
        words = iter(self._linkages)
        return [
            Linkage(Place(part, box), Place(*to))
            for part, box, *to in zip(*[words] * 4, strict=True)
        ]

    def flat(self) -> Flat:
        """Return the graph taken apart into its leaves."""
        flat = Flat()
        inner = {name: _flat_part(name, part) for name, part in self.parts.items()}
        for part in inner.values():
            for leaf in part.paths.keys() & flat.paths.keys():
                raise GraphError(self._twice(leaf, flat.paths[leaf], part.paths[leaf]))
            flat.paths.update(part.paths)
            flat.linkages += part.linkages
            flat.bounds.update(part.bounds)
        for linkage in self.linkages:
            flat.linkages += [
                (source, target)
                for source in inner[linkage.source.part].outboxes[linkage.source.box]
                for target in inner[linkage.target.part].inboxes[linkage.target.box]
            ]
        for place, bound in self.bounds.items():
            for leaf_place in inner[place.part].inboxes[place.box]:
                flat.bounds[leaf_place] = bound
        for box, places in self.takes.items():
            flat.inboxes[box] = [
                p for place in places for p in inner[place.part].inboxes[place.box]
            ]
        for box, places in self.gives.items():
            flat.outboxes[box] = [
                p for place in places for p in inner[place.part].outboxes[place.box]
            ]
        return flat

    # ---------------------------------------------------------------------- checks

    def _shown(self, own: Mapping[str, list[Place]], *, inbox: bool) -> Boxes:
        """Return the graph's own boxes as declared by the parts that they belong to."""
        shown: dict[str, str | Declared] = {}
        for box, places in own.items():
            entries = [self._boxes(place.part, inbox=inbox)[place.box] for place in places]
            meaning = next((e.meaning for e in entries if e.meaning), "")
            shown[box] = Declared(meaning, loose=all(e.loose for e in entries))
        return shown

    def _boxes(self, part: str, *, inbox: bool) -> dict[str, Declared]:
        component = self.parts[part]
        return component.declared_inboxes() if inbox else component.declared_outboxes()

    def _check_places(self) -> None:
        names: dict[Component, str] = {}
        for name, part in self.parts.items():
            if part in names:
                raise GraphError(self._twice(part, names[part], name))
            names[part] = name
        sources = [linkage.source for linkage in self.linkages]
        targets = [linkage.target for linkage in self.linkages]
        for place in [*sources, *(p for places in self.gives.values() for p in places)]:
            self._check_place(place, inbox=False)
        for place in [
            *targets,
            *(p for places in self.takes.values() for p in places),
            *self.bounds,
        ]:
            self._check_place(place, inbox=True)

    def _twice(self, part: Component, one: str, other: str) -> str:
        return f"{part!r} stands twice in {self.label}, as {one!r} and as {other!r}: make two"

    def _check_place(self, place: Place, *, inbox: bool) -> None:
        kind, other = ("inbox", "outbox") if inbox else ("outbox", "inbox")
        if place.part not in self.parts:
            raise GraphError(
                f"there is no part {place.part!r} in {self.label}; there are {_listed(self.parts)}"
            )
        boxes = self._boxes(place.part, inbox=inbox)
        if place.box not in boxes:
            hint = ""
            if place.box in self._boxes(place.part, inbox=not inbox):
                hint = f" ({place.box!r} is an {other} of it)"
            raise GraphError(
                f"part {place.part!r} ({self.parts[place.part].label}) has no {kind} {place.box!r}{hint}; "
                f"it has {_listed(boxes)}"
            )

    def _check_loose_ends(self) -> None:
        linked = {linkage.source for linkage in self.linkages}
        linked |= {place for places in self.gives.values() for place in places}
        fed = {linkage.target for linkage in self.linkages}
        fed |= {place for places in self.takes.values() for place in places}
        for name in self.parts:
            for inbox, places in ((True, fed), (False, linked)):
                for box, entry in self._boxes(name, inbox=inbox).items():
                    if not entry.loose and Place(name, box) not in places:
                        raise GraphError(self._loose_end(Place(name, box), inbox=inbox))

    def _loose_end(self, place: Place, *, inbox: bool) -> str:
        kind, sign = ("inbox", f"... -> {place}") if inbox else ("outbox", f"{place} -> ...")
        where = "inboxes" if inbox else "outboxes"
        return (
            f"{kind} {place} ({self.parts[place.part].label}) is linked to nothing in {self.label}: "
            f'link it ("{sign}"), leave it out of the {where} that its class declares if it is not used, '
            f"or declare it loose: {where} = {{{place.box!r}: box('...', loose=True)}}"
        )

    def _check_cycles(self) -> None:
        """A cycle in which everybody waits for room deadlocks as soon as it is full: refuse it."""
        flat = self.flat()
        edges: dict[Component, set[Component]] = {leaf: set() for leaf in flat.paths}
        for source, target in flat.linkages:
            if target.leaf.independent or source.leaf.independent:
                continue
            if flat.declared(target).when_full == "wait":
                edges[target.leaf].add(source.leaf)
        try:
            graphlib.TopologicalSorter(edges).prepare()
        except graphlib.CycleError as error:
            way = " -> ".join(flat.paths[leaf] for leaf in error.args[1])
            raise GraphError(
                f"the cycle {way} in {self.label} can fill up and stand still: give one of its inboxes a policy "
                "for when it is full, with boxes={'part.inbox': box(when_full='drop-oldest')} or in the class"
            ) from None


def _flat_part(name: str, part: Component) -> Flat:
    if isinstance(part, Graph):
        flat = part.flat()
        flat.paths = {leaf: f"{name}.{path}" for leaf, path in flat.paths.items()}
        return flat
    return Flat(
        paths={part: name},
        inboxes={box: [LeafPlace(part, box)] for box in part.inboxes},
        outboxes={box: [LeafPlace(part, box)] for box in part.outboxes},
    )


def flat_of(component: Component) -> Flat:
    """Return ``component`` taken apart into what runs: itself, if it is no graph."""
    if isinstance(component, Graph):
        return component.flat()
    return _flat_part(component.label, component)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
