"""Results as aligned text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.goals import HUBBUB
from bench.harness import Line, spread


def number(value: float | None) -> str:
    """Return a figure as people read it: thousands apart, small ones with their digits."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return ``rows`` in columns: the first to the left, the others to the right but for the last."""
    table = [list(row) for row in rows]
    widths = [max(len(row[n]) for row in table) for n in range(len(table[0]))]
    lines = []
    for row in table:
        last = len(row) - 1
        cells = [
            cell.ljust(width) if n in (0, 1, last) else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def values_table(lines: Sequence[Line]) -> str:
    """Return every figure with its spread, and who is missing."""
    rows = [["metric", "system", "median", "spread", "unit"]]
    for line in lines:
        if "x" in line or "metric" not in line:
            continue
        if "missing" in line and "system" in line:
            rows.append([line["metric"], line["system"], "missing", "", line["missing"]])
        elif "value" in line:
            far = f"{100 * spread(line['runs']):.0f} %"
            rows.append([line["metric"], line["system"], number(line["value"]), far, line["unit"]])
    return aligned(rows)


def ratios_table(ratios: Sequence[Line]) -> str:
    """Return how each goal stands."""
    rows = [["metric", "compared with", HUBBUB, "peer", "ratio", "goal"]]
    for line in ratios:
        verdict = f"{line['goal']}  {'met' if line['met'] else 'NOT MET'}"
        if line.get("missing"):
            verdict += f" (missing: {line['missing']})"
        rows.append(
            [
                line["metric"],
                line["best_peer"] or "-",
                number(line["ours"]),
                number(line["peer"]),
                number(line["ratio"]),
                verdict,
            ]
        )
    return aligned(rows)


def growth_table(lines: Sequence[Line]) -> str:
    """Return the points of each curve in a row, and the slope."""
    rows = [["curve", "system", "of", "size: value", "slope"]]
    for line in lines:
        if "slope" in line:
            key = (line["metric"], line["system"], line["of"])
            points = "  ".join(
                f"{other['x']:g}: {number(other['value'])}"
                for other in lines
                if "value" in other
                and "x" in other
                and (other["metric"], other["system"], other["of"]) == key
            )
            rows.append([*key, points, f"{line['slope']:+.2f}"])
        elif "x" in line and "missing" in line:
            what = f"{line['x']}: missing, {line['missing']}"
            rows.append([line["metric"], line["system"], "", what, ""])
    return aligned(rows)
