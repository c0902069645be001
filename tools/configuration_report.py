"""Write docs/reference/configuration.md from the classes that read the files; ``--check``: is it of today?"""

from __future__ import annotations

import re
import sys
import typing
from pathlib import Path

import msgspec

from hubbub.kernel import Limits
from hubbub.mount.opening import OpenSection
from hubbub.mount.toml_file import described
from hubbub.serving.configuration import (
    ListenSection,
    LoggingSection,
    PeersSection,
    Sections,
    SpaceSection,
    TLSSection,
)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "configuration.md"

HEAD = """# Configuration

`hubbub serve --config hub.toml` serves what a TOML file says; `hubbub.open("app.toml", "shop")` opens a space by one.
Both may be the same file. `hubbub serve --config hub.toml --check` looks whether it makes sense, loads the applications
and certificates, and leaves. How to use it is in [Serve several spaces](../how-to/serve-several-spaces.md).

Paths are relative to the file. An unknown key, or a value of a wrong type, is an error with the line. Secrets are best
kept elsewhere: where a key takes a secret, `{ env = "NAME" }` reads an environment variable and `{ file = "PATH" }` a
file.

This page is made from the code by `tools/configuration_report.py`.
"""

PARTS: list[tuple[str, str, type[msgspec.Struct]]] = [
    ("The file", "", Sections),
    ("An entry of `listen`", "Where it is more than an address.", ListenSection),
    (
        "`[tls]`",
        "The certificate of this host. [Encrypt with TLS](../how-to/encrypt-with-tls.md).",
        TLSSection,
    ),
    ("`[logging]`", "", LoggingSection),
    ("`[spaces.NAME]`", "One space. Clients find it at `hub://host:port/NAME`.", SpaceSection),
    ("`[spaces.NAME.peers]`", "How much one peer may do.", PeersSection),
    (
        "`[limits]` and `[spaces.NAME.limits]`",
        "How much outsiders may ask for. What is left out stays as the application says. Those of a space count more.",
        Limits,
    ),
    (
        "`[open.NAME]`",
        "How `hubbub.open` opens a space by this file. A host only checks it.",
        OpenSection,
    ),
]


def attributes(kind: type) -> dict[str, str]:
    """Return what the docstring of ``kind`` says of each attribute."""
    text = (kind.__doc__ or "").partition("Attributes:")[2]
    found: dict[str, str] = {}
    for part in re.split(r"\n        (?=\w)", text):
        name, colon, words = part.strip().partition(": ")
        if colon:
            found[name] = " ".join(words.split())
    return found


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for title, words, kind in PARTS:
        hints = typing.get_type_hints(kind)
        told = attributes(kind)
        lines = [f"## {title}\n"]
        if words:
            lines.append(f"{words}\n")
        lines += ["| key | takes | default | |", "| --- | --- | --- | --- |"]
        for field in msgspec.structs.fields(kind):
            takes = described(hints[field.name])
            default = "needed" if field.required else _default(field)
            about = told[field.name].replace("|", "\\|")
            about = re.sub(r"`+([^`]+)`+", r"`\1`", about)
            lines.append(f"| `{field.name}` | {takes} | {default} | {about} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if value is msgspec.NODEFAULT or value in ("", None) or isinstance(value, msgspec.Struct):
        return ""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def main() -> int:
    """Write the page, or compare it."""
    made = page()
    if "--check" not in sys.argv:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == made:
        return 0
    print(f"{PAGE.name} is not of today: run tools/configuration_report.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
