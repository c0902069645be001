"""From values to ratios: ours against the best peer's, and whether the goal is met."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.goals import GOALS, HUBBUB, Goal
from bench.harness import Line, Work, rounded

QUICK_SHARE = 0.7
"""`make bench-quick` fails below this share of a goal."""


def ratio_lines(lines: Sequence[Line], goals: Iterable[Goal] = GOALS) -> list[Line]:
    """Return a line for each goal whose metric was measured, or was to be."""
    measured = {line.get("metric") for line in lines}
    return [ratio_line(lines, goal) for goal in goals if goal.metric in measured]


def ratio_line(lines: Sequence[Line], goal: Goal) -> Line:
    """Return how ``goal`` stands; a value that is missing is said, and the goal is not met."""
    ours = value_of(lines, goal.metric, HUBBUB)
    line: Line = {"metric": goal.metric, "ours": ours, "peer": None, "best_peer": None}
    line.update(ratio=None, goal=goal.text, met=False)
    if goal.peers:
        peer_metric = goal.peer_metric or goal.metric
        found = [
            (value, name)
            for name in goal.peers
            if (value := value_of(lines, peer_metric, name)) is not None
        ]
        absent = [name for name in goal.peers if name not in {name for _, name in found}]
        if absent:
            line["missing"] = ", ".join(absent)
        if found:
            best, name = max(found) if goal.more_is_better else min(found)
            line.update(peer=best, best_peer=name + (f" {peer_metric}" if goal.peer_metric else ""))
    if ours is None:
        line["missing"] = HUBBUB
    elif not goal.peers:
        line["met"] = ours <= goal.goal
    elif line["peer"]:
        line["ratio"] = rounded(ours / line["peer"])
        line["met"] = is_within(ours / line["peer"], goal, 1.0)
    return line


def value_of(lines: Sequence[Line], metric: str, system: str) -> float | None:
    """Return the median of one metric of one system, None if there is none."""
    for line in lines:
        if (
            line.get("metric") == metric
            and line.get("system") == system
            and "value" in line
            and "x" not in line
        ):
            return float(line["value"])
    return None


def is_within(figure: float, goal: Goal, share: float) -> bool:
    """Tell whether ``figure`` reaches ``share`` of ``goal``."""
    if goal.more_is_better:
        return figure >= goal.goal * share * (1 - goal.noise)
    return figure <= goal.goal / share * (1 + goal.noise)


def failures(ratios: Sequence[Line], goals: Iterable[Goal] = GOALS) -> list[str]:
    """Return what is below the share that `make bench-quick` asks for, or can't be judged."""
    by_key = {(goal.metric, goal.text): goal for goal in goals}
    found: list[str] = []
    for line in ratios:
        goal = by_key[line["metric"], line["goal"]]
        figure = line["ratio"] if goal.peers else line["ours"]
        if figure is None:
            found.append(f"{line['metric']}: can't be judged, {line.get('missing')} is missing")
        elif not is_within(figure, goal, QUICK_SHARE):
            found.append(f"{line['metric']}: {figure:g}, the goal is {line['goal']}")
    return found


def systems_with_goals(work: Work, goals: Iterable[Goal] = GOALS) -> list[str]:
    """Return the systems that the goals of ``work`` need, Hubbub among them."""
    needed = {HUBBUB}
    for goal in goals:
        if goal.metric in work.gives and not goal.peer_metric:
            needed.update(goal.peers)
    return [name for name in work.systems if name in needed]
