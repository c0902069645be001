"""Check that each rule of spec/ has a test, or says what still owes it.

    python tools/check_rules.py [--root DIRECTORY] [--quiet]

Three lists are compared:

    spec/*.md           a heading or list item that begins with an id (`## ST2 ...`) states a rule
    tests/**/*.py       `@pytest.mark.rule("ST2", ...)`, also `pytestmark = pytest.mark.rule(...)`
    spec/owed.toml      [ST7] reason = "...", shown_by = "..."

Wrong are: a rule with neither test nor debt, a rule that is owed and has a test, a test or a debt that names
no rule, a rule stated twice, a debt without its two sentences. The tests are read, not run.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

RULE = re.compile(r"^(?:#{1,6}|[-*])\s+\**(?P<id>[A-Z]{2}\d+)\b\**[.:]?\s*(?P<title>.*?)\**\s*$")
FENCE = re.compile(r"^\s*(```|~~~)")


@dataclass(frozen=True)
class Place:
    """A line of a file."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass
class Rules:
    """What was found under one root."""

    stated: dict[str, tuple[str, Place]] = field(default_factory=dict)
    tested: dict[str, list[Place]] = field(default_factory=dict)
    owed: dict[str, object] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def collect(root: Path) -> Rules:
    """Read spec/, tests/ and spec/owed.toml below ``root``, and note every fault."""
    rules = Rules()
    for path in sorted((root / "spec").glob("*.md")):
        _read_spec(path, path.relative_to(root).as_posix(), rules)
    for path in sorted((root / "tests").rglob("*.py")):
        _read_tests(path, path.relative_to(root).as_posix(), rules)
    owed = root / "spec" / "owed.toml"
    if owed.exists():
        rules.owed = tomllib.loads(owed.read_text(encoding="utf-8"))
    _compare(rules)
    return rules


def _read_spec(path: Path, name: str, rules: Rules) -> None:
    fenced = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if FENCE.match(line):
            fenced = not fenced
        found = None if fenced else RULE.match(line)
        if found is None:
            continue
        here = Place(name, number)
        if found["id"] in rules.stated:
            first = rules.stated[found["id"]][1]
            rules.faults.append(f"{here}: {found['id']} is stated already at {first}")
        else:
            rules.stated[found["id"]] = (found["title"], here)


def _read_tests(path: Path, name: str, rules: Rules) -> None:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=name)
    except SyntaxError as error:
        rules.faults.append(f"{name}:{error.lineno}: can't be read: {error.msg}")
        return
    for call in _rule_marks(tree):
        here = Place(name, call.lineno)
        if not call.args or call.keywords:
            rules.faults.append(f"{here}: write pytest.mark.rule('ST2', ...), with ids only")
        for argument in call.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                rules.tested.setdefault(argument.value, []).append(here)
            else:
                rules.faults.append(f"{here}: a rule's id must be written out as a string")


def _rule_marks(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of `pytest.mark.rule`, wherever they stand."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "rule"
            and isinstance(node.func.value, ast.Attribute)
            and node.func.value.attr == "mark"
        ):
            yield node


def _compare(rules: Rules) -> None:
    for rule, places in sorted(rules.tested.items()):
        if rule not in rules.stated:
            rules.faults += [f"{place}: there is no rule {rule} in spec/" for place in places]
    for rule, debt in sorted(rules.owed.items()):
        if rule not in rules.stated:
            rules.faults.append(f"spec/owed.toml: there is no rule {rule} in spec/")
        if rule in rules.tested and not (isinstance(debt, dict) and debt.get("partly")):
            rules.faults.append(
                f"spec/owed.toml: {rule} has a test ({rules.tested[rule][0]}); take it off the list"
            )
        if not (isinstance(debt, dict) and debt.get("reason") and debt.get("shown_by")):
            rules.faults.append(
                f"spec/owed.toml: {rule} needs a reason and what will show it (shown_by)"
            )
    for rule, (_, place) in rules.stated.items():
        if rule not in rules.tested and rule not in rules.owed:
            rules.faults.append(f"{place}: {rule} has no test, and spec/owed.toml does not owe it")
    if not rules.stated:
        rules.faults.append("spec/: no rule was found")


def table(rules: Rules) -> str:
    """Return a line per rule: its id, its tests or debt, its title."""
    lines = []
    for rule, (title, _) in rules.stated.items():
        places = rules.tested.get(rule, [])
        if places:
            state = f"{len(places)} test{'s' if len(places) > 1 else ''}"
            if rule in rules.owed:
                state += ", partly owed"
        else:
            state = "owed" if rule in rules.owed else "NO TEST"
        lines.append(f"{rule:<5} {state:<22} {title}")
    with_test = sum(rule in rules.tested for rule in rules.stated)
    owed = sum(rule in rules.owed for rule in rules.stated)
    lines.append(f"{len(rules.stated)} rules, {with_test} with tests, {owed} owed")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the table and the faults; return 1 if there is a fault."""
    parser = argparse.ArgumentParser(description="Check that each rule has a test, or is owed.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--quiet", action="store_true", help="print faults only")
    options = parser.parse_args(arguments)
    rules = collect(options.root)
    if not options.quiet:
        print(table(rules))
    for fault in rules.faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if rules.faults else 0


if __name__ == "__main__":
    sys.exit(main())
