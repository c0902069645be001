"""Arguments as they are typed: ``name=value``, the value as JSON where it is JSON, else as text."""

from __future__ import annotations

import re
from typing import Any

import click
import msgspec

from hubbub.kernel import InvalidArgumentsError

_CULPRIT = re.compile(r"argument '([^']*)'")


class Typed:
    """The arguments of a call, and how they may be read.

    What is typed says no type: ``limit=20`` is read as a number. Where the host then says that an argument does not fit
    (``text=20``), that one is taken as text. Nothing has run by then (PE1). Plain HTTP calls are read in the same way.

    Args:
        pairs: ``name=value`` words.

    Raises:
        click.UsageError: If a word has no ``=``.
    """

    def __init__(self, pairs: tuple[str, ...]) -> None:
        self.values: dict[str, Any] = {}
        self._texts: dict[str, str] = {}
        for pair in pairs:
            name, equals, text = pair.partition("=")
            if not equals or not name:
                raise click.UsageError(f"{pair!r} is not an argument; write name=value")
            try:
                self.values[name] = msgspec.json.decode(text)
                self._texts[name] = text
            except msgspec.DecodeError:
                self.values[name] = text

    def fits_better_after(self, error: InvalidArgumentsError) -> bool:
        """Read the argument that ``error`` complains of as text from now on. False: there is nothing else to try."""
        culprit = _CULPRIT.search(error.message)
        text = self._texts.pop(culprit[1], None) if culprit else None
        if culprit is None or text is None:
            return False
        self.values[culprit[1]] = text
        return True


def as_text(value: Any) -> str:
    """Return a value as JSON for the terminal."""
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2).decode()
    # Somebody else wrote what is in it. It stays JSON; the terminal is not given orders.
    return "".join(c if c in "\n " or c.isprintable() else _escaped(c) for c in text)


def harmless(text: str) -> str:
    """Return ``text`` on one line, without what a terminal would obey: control and invisible characters are escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(
        f"\\u{int.from_bytes(units[i : i + 2], 'big'):04x}" for i in range(0, len(units), 2)
    )


def _plain(value: Any) -> Any:
    fields = getattr(value, "fields", None)
    return fields if isinstance(fields, dict) else str(value)
