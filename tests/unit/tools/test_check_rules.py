from pathlib import Path

import pytest

from tools import check_rules

SPEC = """# Store

## ST1 Tids are time stamps

They grow.

- **ST2** Nothing leaves before the fsync.
- a list item about ST9, which is no rule

```
## ST3 only an example
```
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "spec").mkdir()
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "spec" / "store.md").write_text(SPEC)
    return tmp_path


def write_test(root: Path, text: str) -> None:
    (root / "tests" / "unit" / "test_it.py").write_text("import pytest\n" + text)


def write_owed(root: Path, text: str) -> None:
    (root / "spec" / "owed.toml").write_text(text)


ST1_TESTED = "@pytest.mark.rule('ST1')\ndef test_a():\n    pass\n"
ST2_OWED = "[ST2]\nreason = 'later'\nshown_by = 'a kill'\n"


def test_rules_are_headings_and_list_items_that_begin_with_an_id(root):
    rules = check_rules.collect(root)
    assert {rule: title for rule, (title, _) in rules.stated.items()} == {
        "ST1": "Tids are time stamps",
        "ST2": "Nothing leaves before the fsync.",
    }


def test_every_rule_tested_or_owed_is_well(root, capsys):
    write_test(root, ST1_TESTED)
    write_owed(root, ST2_OWED)
    assert check_rules.main(["--root", str(root)]) == 0
    out, err = capsys.readouterr()
    assert "ST1   1 test" in out
    assert "ST2   owed" in out
    assert "2 rules, 1 with tests, 1 owed" in out
    assert err == ""


def test_a_rule_with_neither_test_nor_debt_fails(root, capsys):
    write_test(root, ST1_TESTED)
    assert check_rules.main(["--root", str(root)]) == 1
    out, err = capsys.readouterr()
    assert "NO TEST" in out
    assert "spec/store.md:7: ST2 has no test" in err


def test_an_owed_rule_that_has_a_test_fails(root):
    write_test(root, "@pytest.mark.rule('ST1', 'ST2')\ndef test_a():\n    pass\n")
    write_owed(root, ST2_OWED)
    (fault,) = check_rules.collect(root).faults
    assert "ST2 has a test (tests/unit/test_it.py:2)" in fault


def test_a_debt_that_is_partly_paid_says_so(root):
    write_test(root, "@pytest.mark.rule('ST1', 'ST2')\ndef test_a():\n    pass\n")
    write_owed(root, ST2_OWED + "partly = 'the first half'\n")
    rules = check_rules.collect(root)
    assert rules.faults == []
    assert "partly owed" in check_rules.table(rules)


def test_a_test_that_names_an_unknown_rule_fails(root):
    write_test(root, "pytestmark = pytest.mark.rule('ST1', 'ST2', 'ST99')\n")
    (fault,) = check_rules.collect(root).faults
    assert fault == "tests/unit/test_it.py:2: there is no rule ST99 in spec/"


def test_a_debt_that_names_an_unknown_rule_or_gives_no_reason_fails(root):
    write_test(root, ST1_TESTED)
    write_owed(root, ST2_OWED + "[ST8]\nreason = 'x'\n")
    faults = check_rules.collect(root).faults
    assert faults == [
        "spec/owed.toml: there is no rule ST8 in spec/",
        "spec/owed.toml: ST8 needs a reason and what will show it (shown_by)",
    ]


def test_a_mark_on_a_parameter_set_counts(root):
    write_owed(root, ST2_OWED)
    write_test(
        root,
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.rule('ST1'))])\n"
        "def test_a(x):\n    pass\n",
    )
    assert check_rules.collect(root).faults == []


def test_an_id_that_is_not_written_out_fails(root):
    write_owed(root, ST2_OWED)
    write_test(root, ST1_TESTED + "@pytest.mark.rule(NAME)\ndef test_b():\n    pass\n")
    (fault,) = check_rules.collect(root).faults
    assert "must be written out" in fault


def test_a_rule_stated_twice_fails(root):
    write_owed(root, ST2_OWED)
    write_test(root, ST1_TESTED)
    (root / "spec" / "twice.md").write_text("### ST1: again\n")
    (fault,) = check_rules.collect(root).faults
    assert fault == "spec/twice.md:1: ST1 is stated already at spec/store.md:3"


def test_a_test_file_that_cannot_be_read_is_named(root):
    write_owed(root, ST2_OWED)
    write_test(root, "def broken(:\n")
    assert any(
        "tests/unit/test_it.py:2: can't be read" in f for f in check_rules.collect(root).faults
    )


def test_the_projects_own_spec_states_every_family_of_rules():
    rules = check_rules.collect(Path(check_rules.__file__).resolve().parent.parent)
    counts = dict.fromkeys(("ST", "SP", "PE", "LV", "FL", "GW"), 0)
    for rule in rules.stated:
        counts[rule[:2]] += 1
    assert counts["ST"] >= 8
    assert counts["SP"] >= 8
    assert counts["PE"] >= 9
    assert counts["LV"] >= 3
    assert counts["FL"] >= 4
    assert counts["GW"] >= 2
