"""A drawing of a graph as SVG, without Graphviz.

Parts are frames in columns from left to right, with inboxes on their left edges and outboxes on their right ones. A box
that has another name than ``inbox`` or ``outbox`` carries it. At a linkage stands what its full box does, where it does
not let its senders wait, and the counts of a graph that runs. The drawing follows the reader's light or dark mode.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from html import escape
from typing import NamedTuple

from hubbub.flow.component import Component
from hubbub.flow.describing import Description, LinkageDescription, PartDescription, describe
from hubbub.flow.layout import laid_out

_CHARACTER = 7.4
_PORT_HEIGHT = 18.0
_PART_GAP = 26.0
_COLUMN_GAP = 76.0
_MARGIN = 20.0

_STYLE = """
  .page { fill: #ffffff }
  .part { fill: #f3f6fb; stroke: #4a6fa5; stroke-width: 1.4 }
  .part.ended { stroke-dasharray: 5 4 }
  .name { font: 600 13px system-ui, sans-serif; fill: #16233a }
  .kind, .port, .count { font: 11px system-ui, sans-serif; fill: #55617a }
  .count { text-anchor: middle; paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
  .policy { fill: #9a5b00 }
  .linkage { fill: none; stroke: #7b8aa5; stroke-width: 1.6 }
  .head { fill: #7b8aa5 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #12161d }
    .part { fill: #1d2633; stroke: #7ea6e0 }
    .name { fill: #e8eef8 }
    .kind, .port, .count { fill: #a3b1c6 }
    .count { stroke: #12161d }
    .policy { fill: #e6b05c }
    .linkage { stroke: #8090ab }
    .head { fill: #8090ab }
  }
"""


class _Frame(NamedTuple):
    """Where a part stands."""

    x: float
    y: float
    width: float
    height: float


def svg(graph: Component, *, counts: bool = True) -> str:
    """Return a drawing of ``graph`` as the text of an SVG file.

    Args:
        graph: What to draw.
        counts: Whether the linkages of a graph that runs show what has passed and what waits.
    """
    return drawing_of(describe(graph), counts=counts)


def drawing_of(description: Description, *, counts: bool = True) -> str:
    """Return a drawing of what was described as the text of an SVG file."""
    parts = {part.path: part for part in description.parts}
    edges = [(_part(link.source), _part(link.target)) for link in description.linkages]
    layout = laid_out(_by_outbox(parts, description.linkages), edges)
    frames = _frames(layout.columns, parts, description.linkages)
    height = max((frame.y + frame.height for frame in frames.values()), default=0) + _MARGIN
    width = max((frame.x + frame.width for frame in frames.values()), default=0) + _MARGIN
    lowest = height
    drawn: list[str] = []
    for link, way in zip(description.linkages, layout.ways, strict=True):
        path, middle, low = _path(link, way, parts, frames, lowest)
        height = max(height, low + _MARGIN)
        drawn.append(f'<path class="linkage" d="{path}" marker-end="url(#head)"/>')
        drawn += _words(link, middle, counts=counts)
    drawn += [line for path in parts for line in _part_drawn(parts[path], frames[path])]
    title = escape(description.name)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{title}">',
            f"<title>{title}</title>",
            f"<style>{_STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto-start-reverse"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>',
            f'<rect class="page" width="{width:.0f}" height="{height:.0f}" rx="8"/>',
            *drawn,
            "</svg>",
            "",
        ]
    )


def _by_outbox(parts: dict[str, PartDescription], linkages: list[LinkageDescription]) -> list[str]:
    """Return the parts so that those come first which the upper outboxes lead to: then fewer linkages cross."""
    order = dict.fromkeys(parts, 0)
    for link in linkages:
        source, _, outbox = link.source.rpartition(".")
        order[_part(link.target)] = list(parts[source].outboxes).index(outbox)
    return sorted(parts, key=order.__getitem__)


def _part(place: str) -> str:
    return place.rpartition(".")[0]


def _frames(
    columns: list[list[Hashable]],
    parts: dict[str, PartDescription],
    linkages: list[LinkageDescription],
) -> dict[Hashable, _Frame]:
    """Return where each part, and each place that a linkage goes through, stands."""
    frames: dict[Hashable, _Frame] = {}
    heights = [sum(_height(node, parts) + _PART_GAP for node in column) for column in columns]
    tallest = max(heights, default=0)
    x = _MARGIN
    for column, tall in zip(columns, heights, strict=True):
        widths = [_width(parts[str(node)]) for node in column if node in parts]
        width = max(widths, default=0.0)
        y = _MARGIN + (tallest - tall) / 2
        for node in column:
            height = _height(node, parts)
            own = _width(parts[str(node)]) if node in parts else width
            frames[node] = _Frame(x + (width - own) / 2, y, own, height)
            y += height + _PART_GAP
        words = [
            len(_short(link.when_full)) for link in linkages if _part(link.source) in set(column)
        ]
        x += width + max(_COLUMN_GAP, _CHARACTER * max(words, default=0) + 40)
    return frames


def _short(when_full: str) -> str:
    return "" if when_full == "wait" else when_full


def _named(boxes: dict[str, str]) -> list[str]:
    """Return the boxes in the order in which they are drawn."""
    return list(boxes)


def _height(node: Hashable, parts: dict[str, PartDescription]) -> float:
    part = parts.get(str(node)) if isinstance(node, str) else None
    if part is None:
        return _PORT_HEIGHT
    ports = max(len(part.inboxes), len(part.outboxes), 1)
    return 40 + _PORT_HEIGHT * (ports if _shows_ports(part) else 0.4)


def _shows_ports(part: PartDescription) -> bool:
    return bool((set(part.inboxes) | set(part.outboxes)) - {"inbox", "outbox"})


def _width(part: PartDescription) -> float:
    kind = "" if part.kind == part.path.rpartition(".")[2] else part.kind
    longest = max(len(part.path) * 1.08, len(kind) * 0.9)
    if _shows_ports(part):
        left = max((len(n) for n in part.inboxes), default=0)
        right = max((len(n) for n in part.outboxes), default=0)
        longest = max(longest, left + right + 3)
    return max(84.0, longest * _CHARACTER + 26)


def _port(part: PartDescription, frame: _Frame, box: str, *, inbox: bool) -> tuple[float, float]:
    boxes = _named(part.inboxes if inbox else part.outboxes)
    x = frame.x if inbox else frame.x + frame.width
    if not _shows_ports(part):
        return x, frame.y + frame.height / 2
    return x, frame.y + 44 + _PORT_HEIGHT * boxes.index(box)


def _path(
    link: LinkageDescription,
    way: list[Hashable],
    parts: dict[str, PartDescription],
    frames: dict[Hashable, _Frame],
    lowest: float,
) -> tuple[str, tuple[float, float], float]:
    """Return the curve of a linkage, where its words go, and its lowest point."""
    source, target = _part(link.source), _part(link.target)
    start = _port(parts[source], frames[source], link.source.rpartition(".")[2], inbox=False)
    end = _port(parts[target], frames[target], link.target.rpartition(".")[2], inbox=True)
    if end[0] <= start[0]:  # it leads back: below everything
        low = lowest + 6
        path = (
            f"M{start[0]:.1f} {start[1]:.1f}C{start[0] + 50:.1f} {start[1]:.1f} {start[0] + 50:.1f} {low:.1f} "
            f"{start[0] - 10:.1f} {low:.1f}L{end[0] + 10:.1f} {low:.1f}"
            f"C{end[0] - 50:.1f} {low:.1f} {end[0] - 50:.1f} {end[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
        )
        return path, ((start[0] + end[0]) / 2, low - 5), low
    points = [start]
    for node in way:
        frame = frames[node]
        middle = frame.y + frame.height / 2
        points += [(frame.x, middle), (frame.x + frame.width, middle)]
    points.append(end)
    path = f"M{start[0]:.1f} {start[1]:.1f}"
    for number, (here, there) in enumerate(itertools.pairwise(points)):
        if number % 2:  # through a column: straight
            path += f"L{there[0]:.1f} {there[1]:.1f}"
            continue
        bend = (there[0] - here[0]) / 2
        path += f"C{here[0] + bend:.1f} {here[1]:.1f} {there[0] - bend:.1f} {there[1]:.1f} "
        path += f"{there[0]:.1f} {there[1]:.1f}"
    here, there = points[-2], points[-1]
    return path, ((here[0] + there[0]) / 2, (here[1] + there[1]) / 2 - 6), max(start[1], end[1])


def _words(link: LinkageDescription, at: tuple[float, float], *, counts: bool) -> list[str]:
    words = []
    if link.when_full != "wait":
        words.append(f'<tspan class="policy">{escape(link.when_full)}</tspan>')
    if counts and (link.passed or link.waiting):
        text = f"{link.passed:,}"
        if link.waiting:
            text += f" · {link.waiting:,} wait"
        if link.dropped:
            text += f" · {link.dropped:,} dropped"
        words.append(f"<tspan>{text}</tspan>")
    if not words:
        return []
    return [f'<text class="count" x="{at[0]:.1f}" y="{at[1]:.1f}">{" ".join(words)}</text>']


def _part_drawn(part: PartDescription, frame: _Frame) -> list[str]:
    kind = "" if part.kind == part.path.rpartition(".")[2] else part.kind
    middle = frame.x + frame.width / 2
    plain = not _shows_ports(part)
    top = frame.y + (frame.height / 2 + (5 if not kind else -2) if plain else 18)
    meanings = "; ".join(
        f"{name}: {meaning}"
        for name, meaning in {**part.inboxes, **part.outboxes}.items()
        if meaning
    )
    told = f"{part.path} ({part.kind}, {part.state}){'; ' if meanings else ''}{meanings}"
    lines = [
        f"<g><title>{escape(told)}</title>",
        f'<rect class="part {part.state}" x="{frame.x:.1f}" y="{frame.y:.1f}" width="{frame.width:.1f}" '
        f'height="{frame.height:.1f}" rx="9"/>',
        f'<text class="name" text-anchor="middle" x="{middle:.1f}" y="{top:.1f}">{escape(part.path)}</text>',
    ]
    if kind:
        lines.append(
            f'<text class="kind" text-anchor="middle" x="{middle:.1f}" y="{top + 14:.1f}">{escape(kind)}</text>'
        )
    if not plain:
        for inbox, boxes in ((True, part.inboxes), (False, part.outboxes)):
            for name in _named(boxes):
                x, y = _port(part, frame, name, inbox=inbox)
                anchor, shift = ("start", 8) if inbox else ("end", -8)
                lines.append(
                    f'<text class="port" text-anchor="{anchor}" x="{x + shift:.1f}" y="{y + 4:.1f}">'
                    f"{escape(name)}</text>"
                )
    return [*lines, "</g>"]
