"""Measure each metric of each system, in rounds, and say what came out.

Theory of operation
===================

A *measure* is a plain function ``measure(seconds) -> {metric: value}``: it starts what it needs (a server,
data, load processes), works for about ``seconds``, stops everything and returns one value for each metric that
it gives. It is named by text, ``module:function``, and imported only in the process that runs it, so a package
that is missing is missing for one system and for nobody else.

Each measure of each round runs in a process of its own (`bench.cell`), with a time limit. Within a metric the
systems take turns, round after round (A B A B ...), so that drift of the machine hits all alike. A system that
can't run is a line in the result, too, with the reason: ``{"metric", "system", "missing"}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

Line = dict[str, Any]
Runner = Callable[[str, float, float], dict[str, float]]


class MissingError(Exception):
    """This system can't be measured here; the text says why."""


@dataclass(frozen=True)
class Work:
    """One piece of identical work: what it gives, and who does it.

    ``gives`` maps each metric to its unit. ``systems`` maps a system's name to its measure, ``module:function``.
    """

    name: str
    gives: Mapping[str, str]
    systems: Mapping[str, str]
    starred: bool = False
    large: bool = False
    limit_s: float = 60.0


def run_apart(measure: str, seconds: float, limit_s: float, *arguments: Any) -> dict[str, float]:
    """Run one measure in a fresh process and return its values.

    Raises:
        MissingError: If it can't run, fails, or takes longer than ``limit_s``.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "bench.cell", measure, json.dumps([seconds, *arguments])],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise MissingError(f"took longer than {limit_s:g} s") from None
        finally:
            _end_group(process)
    answer = _last_json(out)
    if answer is None:
        reason = err.strip().splitlines()[-1:] or [f"ended with code {process.returncode}"]
        raise MissingError(reason[0])
    if "missing" in answer:
        raise MissingError(str(answer["missing"]))
    return {name: float(value) for name, value in answer["values"].items()}


def _end_group(process: subprocess.Popen[str]) -> None:
    """Leave nothing running of what a measure had started; one that is still at work may clean up first."""
    try:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if process.poll() is None:
        process.kill()
        process.wait()


def _last_json(text: str) -> dict[str, Any] | None:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                return dict(json.loads(line))
            except ValueError:
                return None
    return None


def measure_work(
    work: Work, seconds: float, rounds: int, *, run: Runner = run_apart, systems: Iterable[str] = ()
) -> list[Line]:
    """Measure ``work`` in ``rounds`` and return its lines: values, and who is missing."""
    chosen = [name for name in work.systems if not systems or name in set(systems)]
    runs: dict[tuple[str, str], list[float]] = {}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for system in chosen:
            if system in missing:
                continue
            try:
                values = run(work.systems[system], seconds, work.limit_s)
            except MissingError as error:
                missing[system] = str(error)
                continue
            for metric in work.gives:
                if metric in values:
                    runs.setdefault((metric, system), []).append(values[metric])
                else:
                    missing[system] = f"gave no {metric}"
    lines: list[Line] = []
    for metric, unit in work.gives.items():
        for system in chosen:
            if values_of := runs.get((metric, system)):
                lines.append(value_line(metric, system, values_of, unit))
            if system in missing:
                lines.append({"metric": metric, "system": system, "missing": missing[system]})
    return lines


def value_line(metric: str, system: str, runs: Sequence[float], unit: str) -> Line:
    """Return the line of one metric of one system: the median of its runs, and the runs themselves."""
    return {
        "metric": metric,
        "system": system,
        "value": rounded(statistics.median(runs)),
        "unit": unit,
        "runs": [rounded(value) for value in runs],
    }


def rounded(value: float) -> float:
    """Return ``value`` with four significant digits, or whole if it is large."""
    if abs(value) >= 10_000:
        return float(round(value))
    return float(f"{value:.4g}")


def spread(runs: Sequence[float]) -> float:
    """Return how far the runs lie apart: (largest - smallest) / median, 0 for one run."""
    middle = statistics.median(runs)
    return (max(runs) - min(runs)) / middle if middle else 0.0
