from pathlib import Path

import pytest

from bench import __main__ as main
from bench.harness import Line, value_line
from bench.ratios import ratio_lines


def run(rate: float) -> list[Line]:
    lines = [
        value_line("commit-1", "hubbub", [rate], "commits/s"),
        value_line("commit-1", "zeo", [1000.0], "commits/s"),
    ]
    return lines + ratio_lines(lines)


@pytest.mark.parametrize("rate,status", [(5000.0, 0), (3600.0, 0), (3400.0, 1)])
def test_the_exit_status_of_a_quick_run(
    rate: float,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(main, "measured", lambda options: run(rate))
    monkeypatch.setattr(main, "RESULTS", tmp_path / "results")
    assert main.main(["--quick"]) == status
    assert ("commit-1: 3.4" in capsys.readouterr().err) == bool(status)
    (kept,) = (tmp_path / "results").iterdir()
    assert main.main(["--quick", "--from", str(kept)]) == status
    assert main.main(["--from", str(kept)]) == 0


def test_what_each_kind_of_run_measures() -> None:
    quick = {work.name for work in main.chosen_works(main.parsed(["--quick"]))}
    usual = {work.name for work in main.chosen_works(main.parsed([]))}
    large = {work.name for work in main.chosen_works(main.parsed(["--large"]))}
    assert quick < usual
    assert "commit-1" in quick
    assert "read-warm" in usual - quick
    assert large == {"open-10M", "blob-5GB"}
    assert main.chosen_curves(main.parsed([]))
    assert not main.chosen_curves(main.parsed(["--quick"]))
    assert not main.chosen_curves(main.parsed(["--no-growth"]))


def test_one_metric_or_curve_can_be_named() -> None:
    options = main.parsed(["--only", "visible-p99", "growth-peers"])
    assert [work.name for work in main.chosen_works(options)] == ["visible"]
    assert [curve.name for curve in main.chosen_curves(options)] == ["growth-peers"]
    with pytest.raises(SystemExit):
        main.parsed(["--only", "nonsense"])
