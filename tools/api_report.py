"""Write the public API, as it is, to docs/reference/api.md, so that a change of it is seen in review.

python tools/api_report.py           write it
python tools/api_report.py --check   fail if it is not what the code says
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "reference" / "api.md"
MODULES = (
    "hubbub",
    "hubbub.sync",
    "hubbub.testing",
    "hubbub.flow",
    "hubbub.spaceflow",
    "hubbub.store",
)

HEAD = """# The public API

Made by `tools/api_report.py` out of the code; `make lint` fails when it is out of date.
What is not listed here is not public.
"""


def report() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for name in MODULES:
        module = importlib.import_module(name)
        parts.append(f"\n## `{name}`\n\n{_first_line(module)}\n")
        for public in sorted(module.__all__, key=str.lower):
            parts.append(_entry(public, getattr(module, public)))
    return "".join(parts)


def _entry(name: str, value: Any) -> str:
    if inspect.isclass(value):
        lines = [f"\n### class `{name}{_signature(value)}`\n\n{_first_line(value)}\n"]
        members = [
            f"- `{line}`: {text}" if text else f"- `{line}`" for line, text in _members(value)
        ]
        if members:
            lines.append("\n" + "\n".join(members) + "\n")
        return "".join(lines)
    if callable(value):
        return f"\n### `{name}{_signature(value)}`\n\n{_first_line(value)}\n"
    return f"\n### `{name}`\n\n"


def _members(cls: type) -> list[tuple[str, str]]:
    found = []
    for name, value in sorted(vars(cls).items()):
        if name.startswith("_") or not (
            inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)
        ):
            continue
        function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        signature = "" if isinstance(value, property) else _signature(function)
        found.append((f"{name}{signature}", _first_line(value)))
    return found


def _signature(value: Any) -> str:
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return "(...)"
    # Addresses and the reprs of defaults differ from run to run.
    text = re.sub(r"<[^>]* at 0x[0-9a-f]+>", "...", text)
    text = re.sub(r"\bhubbub(\.\w+)+\.(\w+)", r"\2", text)
    return text.replace("''", '""').replace("'", "")


def _first_line(value: Any) -> str:
    doc = value.__doc__ or ""
    paragraph = inspect.cleandoc(doc).split("\n\n")[0]
    return " ".join(paragraph.split())


def main() -> int:
    """Write or check the report."""
    text = report()
    if "--check" in sys.argv[1:]:
        if not REPORT.exists() or REPORT.read_text(encoding="utf-8") != text:
            print(f"{REPORT.relative_to(ROOT)} is out of date: run python tools/api_report.py")
            return 1
        return 0
    REPORT.write_text(text, encoding="utf-8")
    print(f"{REPORT.relative_to(ROOT)}: {text.count(chr(10) + '### ')} names")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
