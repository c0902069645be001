"""The table of goals names what there is."""

import ast
from pathlib import Path

from bench.goals import DISTRIBUTIONS, GOALS, WORKS
from bench.growth import CURVES
from bench.harness import ROOT

METRICS = {metric: work for work in WORKS for metric in work.gives}


def functions(module: str) -> dict[str, ast.FunctionDef]:
    """What a module defines, without importing it: its packages may be missing here."""
    file = ROOT / Path(*module.split(".")).with_suffix(".py")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_metric_is_given_once() -> None:
    given = [metric for work in WORKS for metric in work.gives]
    assert len(given) == len(set(given))
    assert len({work.name for work in WORKS}) == len(WORKS)


def test_each_goal_is_about_a_metric_and_systems_that_are_measured() -> None:
    for goal in GOALS:
        assert goal.metric in METRICS, goal
        for peer in goal.peers:
            assert peer in METRICS[goal.peer_metric or goal.metric].systems, goal


def test_each_goal_can_be_told_from_the_others() -> None:
    assert len({(goal.metric, goal.text) for goal in GOALS}) == len(GOALS)


def test_each_starred_work_has_a_goal_and_is_measured_of_hubbub() -> None:
    with_goal = {goal.metric for goal in GOALS}
    for work in WORKS:
        assert "hubbub" in work.systems
        assert not work.starred or with_goal & set(work.gives), work.name


def test_each_measure_exists_and_takes_seconds_and_its_words() -> None:
    measures = [(measure, 1) for work in WORKS for measure in work.systems.values()]
    measures += [(measure, 2) for curve in CURVES for measure in curve.systems.values()]
    for measure, numbers in measures:
        name, *words = measure.split()
        module, _, function = name.partition(":")
        arguments = functions(module)[function].args
        given = numbers + len(words)
        assert len(arguments.args) - len(arguments.defaults) <= given <= len(arguments.args), (
            measure
        )


def test_each_system_has_a_version_to_tell() -> None:
    for work in WORKS:
        for system in work.systems:
            assert system in DISTRIBUTIONS or system.startswith("hubbub"), system
