"""A TOML file that configures something, with errors that name the line, the key and what was probably meant.

The shape of the file is a tree of `msgspec.Struct` classes; `TOMLFile.convert` walks file and classes side by side, so
that each error knows where it is.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hubbub.kernel import ConfigurationError

T = TypeVar("T")

_HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"))*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """Where a secret is, instead of the secret itself.

    Attributes:
        env: The name of an environment variable.
        file: The path of a file; white space at its ends is left out.
    """

    env: str = ""
    file: str = ""


class TOMLFile:
    """Read ``path``.

    Raises:
        ConfigurationError: If it can't be read, or is no TOML.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._text = self.path.read_text("utf-8")
        except OSError as error:
            raise ConfigurationError(f"{self.path} can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{self.path} is no text in UTF-8") from None
        try:
            self.table: dict[str, Any] = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            words = str(error)
            found = re.search(r" \(at line (\d+), column \d+\)", words)
            line = found[1] if found else str(self._text.count("\n") + 1)
            what = words.partition(" (at ")[0]
            raise ConfigurationError(f"{self.path}:{line}: {what}") from None

    def convert(self, kind: type[T]) -> T:
        """Return the whole file as an object of ``kind``, a `msgspec.Struct`.

        Raises:
            ConfigurationError: If it does not fit: says the line, the key and what would fit.
        """
        made: T = self._convert(self.table, kind, ())
        return made

    def convert_at(self, kind: type[T], *where: str) -> T:
        """The same for the part of the file below ``where``, which is there."""
        value: Any = self.table
        for key in where:
            value = value[key]
        made: T = self._convert(value, kind, where)
        return made

    def error(self, where: Sequence[str | int], message: str) -> ConfigurationError:
        """Return an error about the value at ``where``."""
        return ConfigurationError(f"{self.path}:{self.line_of(where)}: {message}")

    def resolved(self, path: str) -> str:
        """Return ``path`` as it is meant: relative to the file, not to where one stands."""
        return str(self.path.absolute().parent / Path(path).expanduser())

    def secret(self, value: str | Secret, where: Sequence[str | int]) -> str:
        """Return the secret that ``value`` is, or says the place of.

        Raises:
            ConfigurationError: If it is not there.
        """
        if isinstance(value, str):
            return value
        if bool(value.env) is bool(value.file):
            raise self.error(where, 'a secret is { env = "NAME" } or { file = "PATH" }')
        if value.env:
            found = os.environ.get(value.env, "")
            if not found:
                raise self.error(where, f"the variable {value.env} is not set in the environment")
            return found
        try:
            found = Path(self.resolved(value.file)).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self.error(where, f"the file {value.file} can't be read: {error}") from None
        if not found:
            raise self.error(where, f"the file {value.file} is empty")
        return found

    # --- conversion ---------------------------------------------------------------------------------------------------

    def _convert(self, value: Any, kind: Any, where: tuple[str | int, ...]) -> Any:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return self._convert_to_one_of(value, arguments, where)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._convert_table(value, kind, where)
        if origin is dict and isinstance(value, dict):
            return {
                key: self._convert(one, arguments[1], (*where, key)) for key, one in value.items()
            }
        if origin in (list, tuple) and isinstance(value, list):
            made = [self._convert(one, arguments[0], (*where, n)) for n, one in enumerate(value)]
            return made if origin is list else tuple(made)
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            raise self.error(
                where, f"{_named(where)} has to be {described(kind)}, not {_shown(value)}"
            ) from None

    def _convert_to_one_of(
        self, value: Any, kinds: Sequence[Any], where: tuple[str | int, ...]
    ) -> Any:
        for kind in kinds:
            is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
            if (isinstance(value, dict) and is_struct) or (
                isinstance(value, list) and typing.get_origin(kind) in (list, tuple)
            ):
                return self._convert(value, kind, where)
        plain = [k for k in kinds if not (isinstance(k, type) and issubclass(k, msgspec.Struct))]
        try:
            return msgspec.convert(value, typing.Union[tuple(plain)])  # noqa: UP007 - of a list
        except msgspec.ValidationError:
            choices = " or ".join(described(kind) for kind in kinds if kind is not type(None))
            raise self.error(
                where, f"{_named(where)} has to be {choices}, not {_shown(value)}"
            ) from None

    def _convert_table(
        self, value: Any, kind: type[msgspec.Struct], where: tuple[str | int, ...]
    ) -> Any:
        if not isinstance(value, dict):
            raise self.error(where, f"{_named(where)} has to be a table, not {_shown(value)}")
        hints = typing.get_type_hints(kind)
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for key in value:
            if key not in fields:
                raise self.error(
                    (*where, key), f"{_place(where)} has no key {key!r}{nearest(key, fields)}"
                )
        given = {
            fields[key].name: self._convert(one, hints[fields[key].name], (*where, key))
            for key, one in value.items()
        }
        for key, field in fields.items():
            if field.required and key not in value:
                raise self.error(where, f"{_place(where)} needs the key {key!r}")
        try:
            return kind(**given)
        except ConfigurationError as error:
            raise self.error(where, f"{_place(where)}: {error}") from None

    # --- lines --------------------------------------------------------------------------------------------------------

    def line_of(self, where: Sequence[str | int]) -> int:
        """Return the line where the value at ``where`` is, or what holds it; 1 if nothing of it is found."""
        wanted = tuple(str(part) for part in where)
        best, best_line = 0, 1
        header: tuple[str, ...] = ()
        counts: dict[tuple[str, ...], int] = {}
        is_in_text = False
        for number, line in enumerate(self._text.splitlines(), 1):
            was_in_text = is_in_text
            if line.count('"""') % 2 or line.count("'''") % 2:
                is_in_text = not is_in_text
            if was_in_text:
                continue
            here: tuple[str, ...] = ()
            if match := _HEADER.match(line):
                header = _parts(match[2])
                if match[1] == "[[":
                    counts[header] = counts.get(header, -1) + 1
                    header = (*header, str(counts[header]))
                here = header
            elif match := _KEY.match(line):
                here = header + _parts(match[1])
            if len(here) > best and here == wanted[: len(here)]:
                best, best_line = len(here), number
        return best_line


def nearest(name: str, names: Sequence[str] | dict[str, Any]) -> str:
    """Return the end of a sentence that says which of ``names`` was meant by ``name``, or which there are."""
    close = difflib.get_close_matches(name, list(names), 1)
    if close:
        return f": did you mean {close[0]!r}?"
    return f": there are {', '.join(names)}" if names else ""


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(text))


def _place(where: Sequence[str | int]) -> str:
    return f"[{_named(where)}]" if where else "the file"


def _named(where: Sequence[str | int]) -> str:
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def described(kind: Any) -> str:
    """Return what a value of ``kind`` is, in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if origin in (list, tuple):
        return f"a list, each {described(arguments[0])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(described(one) for one in arguments if one is not type(None))
    if (isinstance(kind, type) and issubclass(kind, msgspec.Struct)) or origin is dict:
        return "a table"
    return _NAMES.get(kind, str(kind))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return repr(value)
