"""Aligned columns, sizes and times for people."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from hubbub.cli.arguments import harmless
from hubbub.kernel import tid_time

_UNITS = ("B", "KB", "MB", "GB", "TB")


def human_size(count: float) -> str:
    """Return a number of bytes as people say it: ``1.2 MB``."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def human_time(tid: int) -> str:
    """Return when a tid was, in local time; ``-`` for none."""
    if not tid:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(tid_time(tid)))
    except (ValueError, OverflowError, OSError):
        return f"(no time: {tid:x})"


def human_count(count: int, one: str, many: str = "") -> str:
    """Return ``1 object`` or ``1,204 objects``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return rows in aligned columns under their heads.

    Args:
        heads: One for each column.
        rows: Cells; what a terminal would obey is escaped.
        right: Numbers of the columns that are aligned at their right.
    """
    cells = [[harmless(cell) for cell in row] for row in rows]
    widths = [
        max(len(head), *(len(row[n]) for row in cells)) if cells else len(head)
        for n, head in enumerate(heads)
    ]
    lines = [click.style(_line(heads, widths, right), dim=True)]
    lines += [_line(row, widths, right) for row in cells]
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if n in right else cell.ljust(width)
        for n, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
