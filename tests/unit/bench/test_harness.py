import sys
import types

import pytest

from bench import cell, harness
from bench.harness import MissingError, Work, measure_work, run_apart, spread, value_line
from bench.work import percentile, ring, shuffled

WORK = Work(
    "both", {"rate": "1/s", "delay": "ms"}, {"hubbub": "ours:measure", "other": "theirs:measure"}
)


def test_a_line_holds_the_median_and_all_runs() -> None:
    assert value_line("rate", "hubbub", [3.0, 1.0, 200_000.4], "1/s") == {
        "metric": "rate",
        "system": "hubbub",
        "value": 3.0,
        "unit": "1/s",
        "runs": [3.0, 1.0, 200_000.0],
    }
    assert value_line("rate", "hubbub", [1.0, 2.0], "1/s")["value"] == 1.5


def test_spread_is_a_share_of_the_median() -> None:
    assert spread([90.0, 100.0, 130.0]) == pytest.approx(0.4)
    assert spread([7.0]) == 0
    assert spread([0.0, 0.0]) == 0


def test_systems_take_turns_round_after_round() -> None:
    turns: list[str] = []

    def run(measure: str, seconds: float, limit_s: float) -> dict[str, float]:
        turns.append(measure)
        return {"rate": float(len(turns)), "delay": seconds}

    lines = measure_work(WORK, 0.5, 3, run=run)
    assert turns == ["ours:measure", "theirs:measure"] * 3
    assert [(line["metric"], line["system"], line["value"]) for line in lines] == [
        ("rate", "hubbub", 3.0),
        ("rate", "other", 4.0),
        ("delay", "hubbub", 0.5),
        ("delay", "other", 0.5),
    ]


def test_a_system_that_cannot_run_is_a_line_for_each_metric_and_is_not_tried_again() -> None:
    tries: list[str] = []

    def run(measure: str, seconds: float, limit_s: float) -> dict[str, float]:
        tries.append(measure)
        if measure.startswith("theirs"):
            raise MissingError("no server")
        return {"rate": 1.0, "delay": 2.0}

    lines = measure_work(WORK, 1, 3, run=run)
    assert tries.count("theirs:measure") == 1
    assert [line for line in lines if "missing" in line] == [
        {"metric": "rate", "system": "other", "missing": "no server"},
        {"metric": "delay", "system": "other", "missing": "no server"},
    ]


def test_a_value_that_a_measure_does_not_give_is_missing() -> None:
    lines = measure_work(WORK, 1, 1, run=lambda *_: {"rate": 1.0}, systems=["hubbub"])
    assert {"metric": "delay", "system": "hubbub", "missing": "gave no delay"} in lines
    assert [line["system"] for line in lines if "value" in line] == ["hubbub"]


def test_a_cell_passes_the_words_of_a_measure_on(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("bench_sample")
    module.measure = lambda seconds, word: {word: seconds}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench_sample", module)
    assert cell.answer("bench_sample:measure zeo", [2.0]) == {"values": {"zeo": 2.0}}


def test_a_cell_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(seconds: float) -> dict[str, float]:
        raise MissingError("no PostgreSQL")

    module = types.ModuleType("bench_sample")
    module.measure = measure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench_sample", module)
    assert cell.answer("bench_sample:measure", [1.0]) == {"missing": "no PostgreSQL"}
    monkeypatch.setitem(sys.modules, "bench_absent", None)
    assert cell.answer("bench_absent:measure", [1.0])["missing"].startswith("not installed")


def test_a_measure_runs_in_a_process_of_its_own(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample_measures.py").write_text(
        "import os, time\n"
        "def good(seconds, size): return {'pid': os.getpid(), 'size': size * seconds}\n"
        "def bad(seconds): raise OSError('no room')\n"
        "def slow(seconds): time.sleep(60)\n"
        "def silent(seconds): os._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{harness.ROOT}:{tmp_path}")
    import os

    values = run_apart("sample_measures:good", 2.0, 30, 21)
    assert values["size"] == 42
    assert values["pid"] != os.getpid()
    for name, limit_s, why in (
        ("bad", 30, "OSError: no room"),
        ("slow", 0.8, "longer than 0.8 s"),
        ("silent", 30, "code 3"),
    ):
        with pytest.raises(MissingError, match=why):
            run_apart(f"sample_measures:{name}", 1.0, limit_s)


def test_the_work_is_the_same_for_everybody() -> None:
    assert shuffled(20) == shuffled(20) != list(range(20))
    following = ring(50)
    key, seen = 0, set()
    for _ in range(50):
        key = following[key]
        seen.add(key)
    assert key == 0
    assert len(seen) == 50


def test_percentile() -> None:
    values = [float(n) for n in range(100)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([4.0], 99) == 4
