import json
import re
from pathlib import Path

import pytest

from bench import page, plots
from bench.goals import GOALS
from bench.harness import Line, value_line
from bench.ratios import ratio_lines
from bench.table import aligned, growth_table, number, ratios_table, values_table

TEXT = """# Speed

By hand.

<!-- bench:ratios -->
old
<!-- /bench:ratios -->

Between.

<!-- bench:figures -->
<!-- /bench:figures -->
<!-- bench:conditions -->
<!-- /bench:conditions -->
<!-- bench:growth -->
grown
<!-- /bench:growth -->
<!-- bench:large -->
<!-- /bench:large -->
"""


def lines_of_a_run() -> list[Line]:
    lines: list[Line] = [
        {"conditions": {"cores": 2}, "versions": {"zeo": "ZEO 6.2"}},
        value_line("disk-append", "disk", [6500.0], "fdatasync/s"),
        value_line("commit-1", "hubbub", [5000.0, 5500.0, 6000.0], "commits/s"),
        value_line("commit-1", "zeo", [1000.0], "commits/s"),
        {"metric": "commit-1", "system": "relstorage-pg", "missing": "no PostgreSQL"},
    ]
    return lines + ratio_lines(lines)


def test_only_what_stands_between_the_marks_is_rewritten() -> None:
    found = page.rewrite(TEXT, {"ratios": "new\n"})
    assert found == TEXT.replace("\nold\n", "\n\nnew\n\n")
    assert page.rewrite(found, {"ratios": "new"}) == found


def test_a_page_without_the_marks_is_refused() -> None:
    for text in ("nothing", "<!-- bench:ratios -->\n, and no end"):
        with pytest.raises(ValueError, match="no part named 'ratios'"):
            page.rewrite(text, {"ratios": "new"})


def test_a_run_renews_the_parts_that_it_has_figures_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "draw_ratios", lambda ratios, file: file.write_text("svg"))
    file, directory = tmp_path / "performance.md", tmp_path / "performance"
    file.write_text(TEXT)
    page.write_page(lines_of_a_run(), file, directory)
    text = file.read_text()
    assert "| `commit-1` | >= 5 x zeo | met | 5,500 | 1,000 | 5.5 |" in text
    assert "| `commit-1` | hubbub | commits/s | 5,500 | 18 % |" in text
    assert "| `commit-1` | relstorage-pg | missing: no PostgreSQL |  |  |" in text
    assert "| cores | 2 |" in text
    assert "| disk: 4 KiB and fdatasync, append | 6,500/s |" in text
    assert "| `zeo` | ZEO 6.2 |" in text
    assert "\ngrown\n" in text
    assert text.startswith("# Speed\n\nBy hand.\n")


def test_the_real_page_has_all_parts() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    parts = re.findall(r"<!-- bench:(\S+) -->", text)
    assert sorted(parts) == ["conditions", "figures", "growth", "large", "ratios"]
    assert page.rewrite(text, dict.fromkeys(parts, "x"))


def test_how_far_a_goal_is_reached() -> None:
    more, bound = ratio_lines(
        [
            value_line("commit-1", "hubbub", [100.0], ""),
            value_line("commit-1", "zeo", [10.0], ""),
            value_line("forum", "hubbub", [0.0], ""),
        ]
    )
    assert plots.share_of_goal(more) == 2
    assert plots.share_of_goal(bound) == 1
    less = ratio_lines(
        [
            value_line("visible-p50", "hubbub", [1.0], ""),
            value_line("visible-p50", "zeo", [2.0], ""),
        ]
    )[0]
    assert plots.share_of_goal(less) == 0.5
    missing = ratio_lines([value_line("commit-1", "hubbub", [100.0], "")])[0]
    assert plots.share_of_goal(missing) is None


def test_tables_show_who_is_missing_and_what_is_not_met() -> None:
    lines = lines_of_a_run()
    assert "missing" in values_table(lines)
    assert "no PostgreSQL" in values_table(lines)
    assert "met" in ratios_table([line for line in lines if "goal" in line])
    lines = [
        value_line("commit-1", "hubbub", [10.0], ""),
        value_line("commit-1", "zeo", [10.0], ""),
    ]
    assert "NOT MET" in ratios_table(ratio_lines(lines))


def test_numbers_and_columns() -> None:
    assert [number(value) for value in (None, 12_345.6, 999.0, 0.12345)] == [
        "-",
        "12,346",
        "999",
        "0.123",
    ]
    assert aligned([["a", "b", "c", "d"], ["aa", "b", "10", "d"]]) == "a   b   c  d\naa  b  10  d"


def test_growth_is_a_row_with_its_slope() -> None:
    lines: list[Line] = [
        {**value_line("growth-peers", "hubbub", [100.0], ""), "x": 1, "of": "commits/s"},
        {"metric": "growth-peers", "system": "hubbub", "of": "commits/s", "slope": 0.5},
        {"metric": "growth-peers", "system": "zeo", "x": 1, "missing": "gone"},
    ]
    assert "1: 100" in growth_table(lines)
    assert "+0.50" in growth_table(lines)
    assert "gone" in growth_table(lines)
    json.dumps(lines)
    assert GOALS
