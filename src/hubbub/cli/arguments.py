"""Arguments as they are typed: ``name=value``, the value as JSON where it is JSON, else as text."""

from __future__ import annotations

from typing import Any

import click
import msgspec


def typed(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return ``name=value`` words as keyword arguments.

    Raises:
        click.UsageError: If a word has no ``=``.
    """
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{pair!r} is not an argument; write name=value")
        try:
            arguments[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            arguments[name] = text
    return arguments


def as_text(value: Any) -> str:
    """Return a value as JSON for the terminal."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2).decode()


def _plain(value: Any) -> Any:
    fields = getattr(value, "fields", None)
    return fields if isinstance(fields, dict) else str(value)
