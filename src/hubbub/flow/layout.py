"""Where the parts of a graph go on paper: in columns, from sources to sinks.

In the manner of Sugiyama, Tagawa and Toda (1981): turn round what would close a cycle, give each part the column behind
its last producer, lead long linkages through the columns between, and order each column so that few linkages cross.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

_SWEEPS = 12


@dataclass
class Layout:
    """Columns of parts, each from top to bottom.

    Attributes:
        columns: In each column the parts, and the places that linkages go through: ``(linkage number, column)``.
        ways: For each linkage the places that it goes through, in the order from its source to its target.
    """

    columns: list[list[Hashable]] = field(default_factory=list)
    ways: list[list[Hashable]] = field(default_factory=list)


def laid_out(nodes: Sequence[Hashable], edges: Sequence[tuple[Hashable, Hashable]]) -> Layout:
    """Return where ``nodes`` go that are joined by ``edges``."""
    back = _backward(nodes, edges)
    forward = [edge not in back for edge in edges]
    straight = [e if ahead else (e[1], e[0]) for e, ahead in zip(edges, forward, strict=True)]
    rank = _ranks(nodes, [e for e in straight if e[0] != e[1]])
    layout = Layout([[] for _ in range(max(rank.values(), default=0) + 1)])
    for node in nodes:
        layout.columns[rank[node]].append(node)
    neighbours: dict[Hashable, tuple[list[Hashable], list[Hashable]]] = {n: ([], []) for n in nodes}
    for number, ((left, right), ahead) in enumerate(zip(straight, forward, strict=True)):
        way: list[Hashable] = []
        for column in range(rank[left] + 1, rank[right]):
            place = (number, column)
            layout.columns[column].append(place)
            neighbours[place] = ([], [])
            way.append(place)
        if left != right:
            for here, there in zip([left, *way], [*way, right], strict=True):
                neighbours[here][1].append(there)
                neighbours[there][0].append(here)
        layout.ways.append(way if ahead else way[::-1])
    _order(layout.columns, neighbours)
    return layout


def _backward(
    nodes: Sequence[Hashable], edges: Sequence[tuple[Hashable, Hashable]]
) -> set[tuple[Hashable, Hashable]]:
    """Return the edges that lead back to a part which is still being walked through: without them there is no cycle."""
    following: dict[Hashable, list[Hashable]] = {node: [] for node in nodes}
    for source, target in edges:
        following[source].append(target)
    back: set[tuple[Hashable, Hashable]] = set()
    done: set[Hashable] = set()
    has_producer = {target for _, target in edges}
    for root in sorted(nodes, key=lambda node: node in has_producer):
        if root in done:
            continue
        path = [root]
        on_path = {root}
        walks = [iter(following[root])]
        while path:
            for there in walks[-1]:
                if there in on_path:
                    back.add((path[-1], there))
                elif there not in done:
                    path.append(there)
                    on_path.add(there)
                    walks.append(iter(following[there]))
                    break
            else:
                node = path.pop()
                on_path.discard(node)
                done.add(node)
                walks.pop()
    return back


def _ranks(
    nodes: Sequence[Hashable], edges: Sequence[tuple[Hashable, Hashable]]
) -> dict[Hashable, int]:
    """Return each part's column: one behind the last of those that lead to it."""
    producers: dict[Hashable, list[Hashable]] = {node: [] for node in nodes}
    consumers: dict[Hashable, list[Hashable]] = {node: [] for node in nodes}
    for source, target in edges:
        producers[target].append(source)
        consumers[source].append(target)
    missing = {node: len(producers[node]) for node in nodes}
    rank = dict.fromkeys(nodes, 0)
    ready = [node for node in nodes if not missing[node]]
    while ready:
        node = ready.pop()
        for target in consumers[node]:
            rank[target] = max(rank[target], rank[node] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    # A source stands right before what it leads to, not at the far left.
    for node in nodes:
        if not producers[node] and consumers[node]:
            rank[node] = min(rank[target] for target in consumers[node]) - 1
    return rank


def _order(
    columns: list[list[Hashable]],
    neighbours: Mapping[Hashable, tuple[list[Hashable], list[Hashable]]],
) -> None:
    """Order each column by the mean place of its neighbours, to and fro."""
    for sweep in range(_SWEEPS):
        side = sweep % 2
        order = range(1, len(columns)) if side == 0 else range(len(columns) - 2, -1, -1)
        for number in order:
            beside = columns[number - 1 if side == 0 else number + 1]
            place = {node: n / max(len(beside) - 1, 1) for n, node in enumerate(beside)}
            own = {node: n for n, node in enumerate(columns[number])}

            def mean(
                node: Hashable,
                place: dict[Hashable, float] = place,
                own: dict[Hashable, int] = own,
                side: int = side,
            ) -> float:
                near = [place[other] for other in neighbours[node][side] if other in place]
                if near:
                    return sum(near) / len(near)
                return own[node] / max(len(own) - 1, 1)

            columns[number].sort(key=mean)
