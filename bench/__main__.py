"""Measure, print, keep in ``bench/results``, and perhaps renew the page.

python -m bench [--quick | --large] [--only METRIC ...] [--systems NAME ...] [--rounds N] [--seconds S]
                [--no-growth] [--page] [--from RESULTS]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import page
from bench.conditions import conditions_line, disk_lines
from bench.goals import WORKS
from bench.growth import CURVES, Curve, measure_curve
from bench.harness import Line, Work, measure_work
from bench.ratios import failures, ratio_lines, systems_with_goals
from bench.table import growth_table, ratios_table, values_table

RESULTS = Path(__file__).resolve().parent / "results"


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="the starred metrics, short; fails")
    kind.add_argument("--large", action="store_true", help="the space of ten million objects")
    parser.add_argument("--only", nargs="+", metavar="METRIC", help="these works or curves")
    parser.add_argument("--systems", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="how long a measure works, about")
    parser.add_argument("--no-growth", action="store_true", help="leave out how it grows")
    parser.add_argument("--page", action="store_true", help="renew docs/topics/performance.md")
    parser.add_argument("--from", dest="source", type=Path, help="measure nothing: use this file")
    options = parser.parse_args(words)
    if options.rounds is None:
        options.rounds = 3 if options.quick else 1 if options.large else 5
    if options.seconds is None:
        options.seconds = 0.7 if options.quick else 2.0
    if unknown := set(options.only or ()) - names():
        parser.error(
            f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(names()))}"
        )
    return options


def names() -> set[str]:
    """Return all that ``--only`` may name."""
    return (
        {work.name for work in WORKS}
        | {metric for work in WORKS for metric in work.gives}
        | {curve.name for curve in CURVES}
    )


def chosen_works(options: argparse.Namespace) -> list[Work]:
    """Return the works that ``options`` ask for."""
    only = set(options.only or ())
    if only:
        return [work for work in WORKS if only & {work.name, *work.gives}]
    if options.large:
        return [work for work in WORKS if work.large]
    return [work for work in WORKS if not work.large and (work.starred or not options.quick)]


def chosen_curves(options: argparse.Namespace) -> list[Curve]:
    """Return the curves that ``options`` ask for."""
    if options.only:
        return [curve for curve in CURVES if curve.name in options.only]
    return [] if options.quick or options.large or options.no_growth else list(CURVES)


def measured(options: argparse.Namespace) -> list[Line]:
    """Measure all that is asked for, telling of each line as it comes."""
    lines: list[Line] = []

    def tell(more: list[Line]) -> None:
        lines.extend(more)
        for line in more:
            print(json.dumps(line), flush=True)

    tell([conditions_line(options.rounds, options.seconds)])
    tell(disk_lines(0.3, options.rounds))
    for work in chosen_works(options):
        systems = options.systems or (systems_with_goals(work) if options.quick else ())
        tell(measure_work(work, options.seconds, options.rounds, systems=systems))
    for curve in chosen_curves(options):
        tell(measure_curve(curve, options.seconds, min(options.rounds, 3)))
    tell(ratio_lines(lines))
    return lines


def shown(lines: list[Line]) -> None:
    """Print the tables."""
    ratios = [line for line in lines if "goal" in line]
    values = [line for line in lines if "system" in line and "x" not in line]
    print("\n" + values_table([line for line in values if "slope" not in line]))
    if any("slope" in line or "x" in line for line in lines):
        print("\n" + growth_table(lines))
    if ratios:
        print("\n" + ratios_table(ratios))


def kept(lines: list[Line]) -> Path:
    """Write the lines into a new file of results, and return it."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    options = parsed(words)
    began = time.monotonic()
    if options.source:
        text = options.source.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
    else:
        lines = measured(options)
        file = kept(lines)
    shown(lines)
    if not options.source:
        print(f"\n{time.monotonic() - began:.0f} s; kept in {file}")
    if options.page:
        page.write_page(lines)
    if options.quick:
        too_low = failures([line for line in lines if "goal" in line])
        for line in too_low:
            print(f"below 70 % of its goal: {line}", file=sys.stderr)
        return 1 if too_low else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
