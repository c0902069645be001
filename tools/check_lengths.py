"""Refuse modules that hold more than one idea: more than 600 lines need a listed reason.

    python tools/check_lengths.py

From 400 lines on a module is named, so that somebody asks whether it is two.
"""

from __future__ import annotations

import sys
from pathlib import Path

ASK_AT = 400
REFUSE_AT = 600

# path below src/hubbub -> why it may be longer
REASONS: dict[str, str] = {}


def check(source: Path, reasons: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return what to ask about and what to refuse, a line for each."""
    asked: list[str] = []
    refused: list[str] = []
    for path in sorted(source.rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        name = path.relative_to(source).as_posix()
        if lines > REFUSE_AT and name not in reasons:
            refused.append(
                f"{name}: {lines} lines, and no reason is listed for more than {REFUSE_AT}"
            )
        elif lines > ASK_AT and name not in reasons:
            asked.append(f"{name}: {lines} lines; is it two ideas?")
    for name in sorted(reasons):
        path = source / name
        if not path.exists() or len(path.read_text(encoding="utf-8").splitlines()) <= REFUSE_AT:
            refused.append(f"{name}: needs its reason no longer; take it off the list")
    return asked, refused


def main() -> int:
    """Print the findings and return the exit status."""
    source = Path(__file__).resolve().parent.parent / "src" / "hubbub"
    asked, refused = check(source, REASONS)
    for line in asked:
        print(f"note: {line}")
    for line in refused:
        print(f"error: {line}", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
