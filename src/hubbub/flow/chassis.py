"""Pipelines and graphlines: the two ways to join components by hand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from hubbub.flow.component import Component
from hubbub.flow.declaring import Declared
from hubbub.flow.functions import as_component
from hubbub.flow.graph import Graph, Linkage, Place
from hubbub.flow.linking import SELF, Linkages, linkages_of, place_of
from hubbub.kernel import GraphError


class Pipeline(Graph):
    """Join parts one after the other: each one's ``outbox`` to the next one's ``inbox``.

    The pipeline's inbox is that of its first part, its outbox that of its last. ``a | b | c`` is the same, where one of
    the first two is a component.

    Args:
        parts: Components, functions, generators or iterables (see `hubbub.flow.functions`).
        name: For drawings and errors.

    Raises:
        GraphError: If a part has no box to be joined by, or one more that is linked to nothing.
    """

    def __init__(self, *parts: Any, name: str = "") -> None:
        if not parts:
            raise GraphError("a Pipeline needs at least one part")
        components: list[Component] = []
        for part in parts:
            # a | b | c makes one pipeline, not one in another
            if type(part) is Pipeline and not part.name:
                components += part.parts.values()
            else:
                components.append(as_component(part))
        named = named_parts(components)
        names = list(named)
        for here, there in itertools.pairwise(names):
            _check_joint(named[here], named[there])
        first, last = names[0], names[-1]
        super().__init__(
            named,
            [
                Linkage(Place(here, "outbox"), Place(there, "inbox"))
                for here, there in itertools.pairwise(names)
            ],
            {"inbox": [Place(first, "inbox")]} if "inbox" in named[first].inboxes else {},
            {"outbox": [Place(last, "outbox")]} if "outbox" in named[last].outboxes else {},
            name=name,
        )


class Graphline(Graph):
    """Join named parts by the linkages that are given.

    >>> Graphline(
    ...     reader=ConsoleReader(), filter=Grade(), log=ConsoleEchoer(), errors=FileWriter("errors.txt"),
    ...     linkages=["reader -> filter", "filter -> log", "filter.error -> errors"],
    ... )

    Args:
        linkages: See `hubbub.flow.linking`. A linkage from or to ``self`` passes a box through to the outside.
        boxes: Inboxes whose bounds shall differ from what their parts declare: place to what `box` returns.
        name: For drawings and errors.
        parts: Components, functions, generators or iterables by name.

    Raises:
        GraphError: If a linkage names what does not exist, a box that is not loose is linked to nothing, or a cycle
            could fill up and stand still.
    """

    def __init__(
        self,
        /,
        *,
        linkages: Linkages,
        boxes: Mapping[Any, Declared] | None = None,
        name: str = "",
        **parts: Any,
    ) -> None:
        if SELF in parts:
            raise GraphError("no part can be called 'self': that is the graph")
        takes: dict[str, list[Place]] = {}
        gives: dict[str, list[Place]] = {}
        inner: list[Linkage] = []
        for linkage in linkages_of(linkages):
            source, target = linkage
            if source.part == SELF and target.part == SELF:
                raise GraphError(f"the linkage {linkage} leads from the graph to itself")
            if source.part == SELF:
                takes.setdefault(source.box, []).append(target)
            elif target.part == SELF:
                gives.setdefault(target.box, []).append(source)
            else:
                inner.append(linkage)
        super().__init__(
            {part: as_component(component) for part, component in parts.items()},
            inner,
            takes,
            gives,
            bounds={place_of(at, "inbox"): bound for at, bound in (boxes or {}).items()},
            name=name,
        )


def named_parts(components: list[Component]) -> dict[str, Component]:
    """Return ``components`` under names made of what they are: ``Grade``, ``Grade-2``."""
    named: dict[str, Component] = {}
    numbers: dict[str, int] = {}
    for component in components:
        label = name = component.label.replace(".", "_")
        while name in named:
            number = numbers[label] = numbers.get(label, 1) + 1
            name = f"{label}-{number}"
        named[name] = component
    return named


def _check_joint(here: Component, there: Component) -> None:
    if "outbox" not in here.outboxes:
        raise GraphError(f"{here.label} has no outbox: it can only stand last in a Pipeline")
    if "inbox" not in there.inboxes:
        raise GraphError(f"{there.label} has no inbox: it can only stand first in a Pipeline")
