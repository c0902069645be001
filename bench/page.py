"""Write a run's figures into ``docs/topics/performance.md``.

The page is written by hand but for what stands between ``<!-- bench:NAME -->`` and ``<!-- /bench:NAME -->``. Only the
parts that a run has figures for are written anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import plots
from bench.goals import WORKS
from bench.growth import CURVES
from bench.harness import ROOT, Line, spread
from bench.table import number

PAGE = ROOT / "docs" / "topics" / "performance.md"
PLOTS = ROOT / "docs" / "topics" / "performance"


def rewrite(text: str, parts: Mapping[str, str]) -> str:
    """Return ``text`` with each named part replaced, and all else as it was.

    Raises:
        ValueError: If the text has no such part.
    """
    for name, body in parts.items():
        before, begin, rest = text.partition(f"<!-- bench:{name} -->\n")
        _, end, after = rest.partition(f"<!-- /bench:{name} -->")
        if not (begin and end):
            raise ValueError(f"the page has no part named {name!r}")
        text = f"{before}{begin}\n{body.strip()}\n\n{end}{after}"
    return text


def write_page(lines: Sequence[Line], page: Path = PAGE, directory: Path = PLOTS) -> None:
    """Renew the page's parts, and the plots, from the lines of a run."""
    parts: dict[str, str] = {}
    ratios = [line for line in lines if "goal" in line]
    values = [line for line in lines if "metric" in line and "system" in line and "x" not in line]
    large_metrics = {metric for work in WORKS if work.large for metric in work.gives}
    large = [line for line in values if line["metric"] in large_metrics]
    usual = [line for line in values if line not in large and "slope" not in line]
    if ratios and usual:
        directory.mkdir(parents=True, exist_ok=True)
        plots.draw_ratios(ratios, directory / "ratios.svg")
        parts["ratios"] = ratio_part(ratios, directory.name)
        parts["figures"] = figures_part(usual)
        parts["conditions"] = conditions_part(lines)
    if large:
        parts["large"] = figures_part(large)
        large_ratios = [line for line in ratios if line["metric"] in large_metrics]
        if large_ratios:
            parts["large"] += "\n\n" + ratio_table(large_ratios)
    curves = [curve for curve in CURVES if any(line.get("metric") == curve.name for line in lines)]
    if curves:
        directory.mkdir(parents=True, exist_ok=True)
        parts["growth"] = "\n\n".join(growth_part(lines, curve.name, directory) for curve in curves)
    page.write_text(rewrite(page.read_text(encoding="utf-8"), parts), encoding="utf-8")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> str:
    """Return a table; columns after the first ``numbers`` are set to the right."""
    rule = ["---" if n < numbers else "---:" for n in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def ratio_part(ratios: Sequence[Line], folder: str) -> str:
    """Return the goals and how they stand, and the plot."""
    return f"{ratio_table(ratios)}\n\n![Ratios to the peers, and the goals]({folder}/ratios.svg)"


def ratio_table(ratios: Sequence[Line]) -> str:
    """Return the goals and how they stand."""
    rows = []
    for line in ratios:
        state = "met" if line["met"] else "**not met**"
        if line.get("missing"):
            state += f" (missing: {line['missing']})"
        rows.append(
            [
                f"`{line['metric']}`",
                line["goal"],
                state,
                number(line["ours"]),
                number(line["peer"]),
                number(line["ratio"]),
            ]
        )
    return markdown(["metric", "goal", "", "Hubbub", "peer", "ratio"], rows, 3)


def figures_part(values: Sequence[Line]) -> str:
    """Return every figure of every system."""
    rows = []
    for line in values:
        metric = f"`{line['metric']}`"
        if "missing" in line:
            rows.append([metric, line["system"], f"missing: {line['missing']}", "", ""])
        else:
            far = f"{100 * spread(line['runs']):.0f} %"
            rows.append([metric, line["system"], line["unit"], number(line["value"]), far])
    return markdown(["metric", "system", "unit", "median", "spread"], rows, 3)


def conditions_part(lines: Sequence[Line]) -> str:
    """Return the machine, its disk as measured in the run, and the versions."""
    rows: list[list[str]] = []
    for line in lines:
        if "conditions" in line:
            rows += [[key, str(value)] for key, value in line["conditions"].items()]
        elif line.get("system") == "disk" and "value" in line:
            what = "append" if line["metric"] == "disk-append" else "inside a preallocated file"
            rows.append([f"disk: 4 KiB and fdatasync, {what}", f"{number(line['value'])}/s"])
    for line in lines:
        rows += [[f"`{name}`", text] for name, text in line.get("versions", {}).items()]
    return markdown(["what", "in this run"], rows, 2)


def growth_part(lines: Sequence[Line], name: str, directory: Path) -> str:
    """Draw one curve; return its table with the slopes."""
    curve = next(curve for curve in CURVES if curve.name == name)
    file = directory / f"{name}.svg"
    plots.draw_curve(lines, curve, file)
    sizes = sorted({line["x"] for line in lines if line.get("metric") == name and "x" in line})
    rows = []
    for line in lines:
        if line.get("metric") == name and "slope" in line:
            found = {
                other["x"]: number(other["value"])
                for other in lines
                if other.get("metric") == name
                and other.get("system") == line["system"]
                and other.get("of") == line["of"]
                and "value" in other
            }
            cells = [found.get(size, "missing") for size in sizes]
            rows.append([line["system"], line["of"], *cells, f"{line['slope']:+.2f}"])
    for line in lines:
        if line.get("metric") == name and "missing" in line:
            rows.append([line["system"], f"{line['x']}: missing, {line['missing']}"])
    table = markdown(
        ["system", curve.size, *(f"{size:,}" for size in sizes), "slope"],
        [row + [""] * (len(sizes) + 3 - len(row)) for row in rows],
        2,
    )
    return f"**{curve.title}**\n\n{table}\n\n![{curve.title}]({directory.name}/{file.name})"
