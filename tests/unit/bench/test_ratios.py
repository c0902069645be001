import pytest

from bench.goals import Goal
from bench.harness import Line, Work, value_line
from bench.ratios import failures, ratio_line, ratio_lines, systems_with_goals

MORE = Goal("rate", 4.0, ("zeo", "pg"))
LESS = Goal("delay", 0.25, ("zeo",), more_is_better=False)
BOUND = Goal("requests", 0.0, more_is_better=False)


def line(metric: str, system: str, value: float) -> Line:
    return value_line(metric, system, [value], "1/s")


def test_more_is_better_and_the_best_peer_counts() -> None:
    found = ratio_line(
        [line("rate", "hubbub", 80), line("rate", "zeo", 10), line("rate", "pg", 20)], MORE
    )
    assert found == {
        "metric": "rate",
        "ours": 80,
        "peer": 20,
        "best_peer": "pg",
        "ratio": 4.0,
        "goal": ">= 4 x zeo / pg",
        "met": True,
    }
    assert not ratio_line([line("rate", "hubbub", 79), line("rate", "zeo", 20)], MORE)["met"]


def test_less_is_better() -> None:
    found = ratio_line([line("delay", "hubbub", 0.5), line("delay", "zeo", 2)], LESS)
    assert (found["ratio"], found["met"], found["goal"]) == (0.25, True, "<= 0.25 x zeo")
    assert not ratio_line([line("delay", "hubbub", 0.51), line("delay", "zeo", 2)], LESS)["met"]


def test_a_goal_without_a_peer_is_about_the_figure_itself() -> None:
    assert ratio_line([line("requests", "hubbub", 0)], BOUND)["met"]
    assert not ratio_line([line("requests", "hubbub", 1)], BOUND)["met"]


def test_a_goal_may_compare_with_another_metric() -> None:
    goal = Goal("commit-16", 1.0, ("hubbub",), peer_metric="commit-1")
    found = ratio_line([line("commit-16", "hubbub", 30), line("commit-1", "hubbub", 20)], goal)
    assert (found["ratio"], found["best_peer"], found["met"]) == (1.5, "hubbub commit-1", True)


def test_equal_figures_are_equal_within_the_noise() -> None:
    goal = Goal("read", 1.0, ("persistent",), more_is_better=False, noise=0.05)
    assert ratio_line([line("read", "hubbub", 40.9), line("read", "persistent", 40)], goal)["met"]
    assert not ratio_line([line("read", "hubbub", 43), line("read", "persistent", 40)], goal)["met"]


def test_a_missing_peer_is_named_and_nothing_is_met_without_one() -> None:
    gone: Line = {"metric": "rate", "system": "zeo", "missing": "not installed"}
    found = ratio_line([line("rate", "hubbub", 80), gone], MORE)
    assert (found["ratio"], found["met"], found["missing"]) == (None, False, "zeo, pg")
    partly = ratio_line([line("rate", "hubbub", 80), gone, line("rate", "pg", 10)], MORE)
    assert (partly["best_peer"], partly["met"], partly["missing"]) == ("pg", True, "zeo")
    ours = ratio_line(
        [{"metric": "rate", "system": "hubbub", "missing": "x"}, line("rate", "pg", 1)], MORE
    )
    assert (ours["ours"], ours["met"], ours["missing"]) == (None, False, "hubbub")


def test_only_what_was_to_be_measured_has_a_ratio() -> None:
    lines = [line("delay", "hubbub", 1), line("delay", "zeo", 2)]
    assert [found["metric"] for found in ratio_lines(lines, [MORE, LESS, BOUND])] == ["delay"]


def test_points_of_a_curve_are_no_values() -> None:
    point = {**line("rate", "hubbub", 80), "x": 4}
    assert ratio_line([point, line("rate", "pg", 10)], MORE)["ours"] is None


@pytest.mark.parametrize(
    "goal,ours,peer,count",
    [
        (MORE, 29, 10, 0),  # 2.9 x of 4 x asked for
        (MORE, 27, 10, 1),
        (LESS, 0.35, 1, 0),
        (LESS, 0.36, 1, 1),
    ],
)
def test_quick_fails_below_seventy_percent(
    goal: Goal, ours: float, peer: float, count: int
) -> None:
    lines = [line(goal.metric, "hubbub", ours), line(goal.metric, "zeo", peer)]
    assert len(failures(ratio_lines(lines, [goal]), [goal])) == count


def test_quick_fails_where_it_cannot_judge() -> None:
    lines: list[Line] = [
        line("delay", "hubbub", 1),
        {"metric": "delay", "system": "zeo", "missing": "x"},
    ]
    assert failures(ratio_lines(lines, [LESS]), [LESS]) == [
        "delay: can't be judged, zeo is missing"
    ]


def test_a_quick_run_leaves_out_whom_no_goal_names() -> None:
    work = Work("w", {"rate": "1/s"}, {"hubbub": "a:b", "zeo": "a:b", "rpyc": "a:b"})
    assert systems_with_goals(work, [MORE, BOUND]) == ["hubbub", "zeo"]
