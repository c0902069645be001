"""The plots of a run, as SVG that can be read on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.growth import Curve, curve_points
from bench.harness import Line

# Each has enough contrast on white and on near-black.
_TEXT = "#7d7d85"
_LINES = ("#2f81d7", "#c96a12", "#3f9142", "#a45bd0", "#b5474f", "#1b8f8f")
_MET, _MISSED = "#3f9142", "#c0504d"


def _figure(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "bench",
            "font.family": "sans-serif",
            "font.size": 10,
            "text.color": _TEXT,
            "axes.labelcolor": _TEXT,
            "axes.edgecolor": _TEXT,
            "xtick.color": _TEXT,
            "ytick.color": _TEXT,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    return figure, axes


def _save(figure: Any, file: Path) -> None:
    from matplotlib import pyplot as plt

    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    # The drawing library leaves blanks at the ends of lines.
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("".join(line.rstrip() + "\n" for line in lines), encoding="utf-8")


def share_of_goal(line: Line) -> float | None:
    """Return how far a goal is reached: 1 is just met, more is better; None if it can't be said."""
    sign, goal = line["goal"].split()[:2]
    figure = line["ratio"] if line["ratio"] is not None else None
    if figure is None and line["peer"] is None and " x" not in line["goal"]:
        figure = line["ours"]
    if figure is None:
        return None
    bound = float(goal)
    if sign == ">=":
        return float(figure / bound)
    if bound == 0:
        return 1.0 if figure <= 0 else 0.1
    return float(bound / max(figure, 1e-9))


def draw_ratios(ratios: Sequence[Line], file: Path) -> None:
    """Draw how far each goal is reached; the line at 1 is the goal."""
    shares = [
        (f"{line['metric']}  {line['goal']}", share, _MET if line["met"] else _MISSED)
        for line in reversed(ratios)
        if (share := share_of_goal(line)) is not None
    ]
    figure, axes = _figure(8, 1.0 + 0.27 * len(shares))
    names, lengths, colors = zip(*shares, strict=True) if shares else ((), (), ())
    places = list(range(len(shares)))
    axes.barh(places, lengths, color=colors, height=0.6, log=True)
    axes.set_yticks(places, names)
    axes.axvline(1.0, color=_TEXT, linewidth=1)
    axes.set_xlabel("reached / goal, logarithmic")
    _save(figure, file)


def draw_curve(lines: Sequence[Line], curve: Curve, file: Path) -> None:
    """Draw one curve, log against log, with the slopes in the legend."""
    slopes = {
        (line["system"], line["of"]): line["slope"]
        for line in lines
        if line.get("metric") == curve.name and "slope" in line
    }
    figure, axes = _figure(7, 4)
    units: list[str] = []
    for number, (system, metric) in enumerate(
        (system, metric) for system in curve.systems for metric in curve.gives
    ):
        points = curve_points(lines, curve.name, system, metric)
        if not points:
            continue
        slope = slopes.get((system, metric))
        label = f"{system}, {metric}" + ("" if slope is None else f": slope {slope:+.2f}")
        axes.loglog(
            [x for x, _ in points],
            [y for _, y in points],
            marker="o",
            color=_LINES[number % len(_LINES)],
            label=label,
        )
        if curve.gives[metric] not in units:
            units.append(curve.gives[metric])
    axes.set_xlabel(curve.size)
    axes.set_ylabel(" / ".join(units) if len(units) == 1 else ", ".join(units))
    axes.grid(visible=True, which="major", color=_TEXT, alpha=0.25, linewidth=0.6)
    axes.legend(loc="best")
    _save(figure, file)
