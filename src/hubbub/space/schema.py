r"""The versions of a class and its bases, and how parts of an older version become those of today (SP7).

Theory of operation
===================

Each class that declares a version counts by itself, so a base can go on without its subclasses. What is stored says
the version of each that is above 1, among the parts: ``_p_version`` is that of the class itself, ``_p_version
chat:Room`` that of its base ``chat:Room``. No attribute can have such a name, and where no class declares a version
there is nothing to read, write or compare.

    stored parts --stamp--> versions --steps of the bases, then of the class--> parts of today
                                \--above what is declared here--> NewerVersionError
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import persistent

from hubbub.kernel import (
    ConfigurationError,
    CorruptRecordError,
    NewerVersionError,
    UpgradeFailedError,
)
from hubbub.space import context
from hubbub.space.classes import class_name, former_names
from hubbub.space.defaults import DefaultFactory
from hubbub.space.steps import Step, declared_version, steps_of

STAMP = "_p_version"
"""Name of the part that is the version of the class; those of its bases begin with it."""


class _Line(NamedTuple):
    """One class that counts versions, as a subclass or itself stores it."""

    keys: tuple[str, ...]  # today's, then former ones
    version: int
    steps: Mapping[int, Step]


class Schema:
    """What a class declares about its older states.

    Attributes:
        class_name: Stored name of the class.
        stamp: What its states say about versions today.
        defaults: What makes attributes that older states lack, by name.
    """

    __slots__ = ("_lines", "class_name", "defaults", "stamp")

    def __init__(
        self, cls: type, lines: tuple[_Line, ...], defaults: dict[str, DefaultFactory]
    ) -> None:
        self.class_name = class_name(cls)
        self.defaults = defaults
        self._lines = lines
        self.stamp: dict[str, int] = {
            line.keys[0]: line.version for line in lines if line.version > 1
        }

    def is_current(self, parts: Mapping[str, Any]) -> bool:
        """Tell whether ``parts`` were stored by the versions that the classes have now."""
        found = {name: version for name, version in parts.items() if name.startswith(STAMP)}
        return found == self.stamp

    def upgraded(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Return ``parts``, which are changed, as the classes have them now, without what they say about versions.

        Raises:
            NewerVersionError: If a version is not known here.
            UpgradeFailedError: If a step fails or is missing.
        """
        stamp = take_stamp(parts)
        for line in self._lines:
            version = 1
            for key in line.keys:
                version = stamp.pop(key, version)
            if version > line.version:
                raise NewerVersionError(self.class_name, version, line.version)
            for number in range(version, line.version):
                parts = self._step(line, number, parts)
        for version in stamp.values():
            # Its class has counted versions, and does so no more.
            raise NewerVersionError(self.class_name, version, 1)
        return parts

    def _step(self, line: _Line, number: int, parts: dict[str, Any]) -> dict[str, Any]:
        step = line.steps.get(number)
        if step is None:
            raise UpgradeFailedError(
                self.class_name, number, number + 1, "there is no step from that version"
            )
        name = getattr(step, "__name__", "step")
        # Not in a transaction: a step that asked for its time would give something else each time.
        token = context.enter(None)
        try:
            result = step(parts)
        except Exception as error:
            raise UpgradeFailedError(
                self.class_name, number, number + 1, f"{name}: {type(error).__name__}: {error}"
            ) from error
        finally:
            context.leave(token)
        if type(result) is not dict or not all(type(part) is str for part in result):
            raise UpgradeFailedError(
                self.class_name,
                number,
                number + 1,
                f"{name} returned {_shown(result)}; it has to return the dict of parts",
            )
        return result


def _shown(result: object) -> str:
    return "None" if result is None else f"a {type(result).__name__}"


def take_stamp(parts: dict[str, Any]) -> dict[str, int]:
    """Take out of ``parts`` what they say about versions, and return it.

    Raises:
        CorruptRecordError: If a version is no number.
    """
    stamp = {name: parts.pop(name) for name in [*parts] if name.startswith(STAMP)}
    if any(type(version) is not int for version in stamp.values()):
        raise CorruptRecordError("a version is not a number")
    return stamp


def refuse_stamp(name: str, parts: Mapping[str, Any]) -> None:
    """Raise `NewerVersionError` if ``parts`` of a class ``name`` that declares no version are of a version above 1."""
    for key, version in parts.items():
        if key.startswith(STAMP):
            if type(version) is not int:
                raise CorruptRecordError("a version is not a number")
            raise NewerVersionError(name, version, 1)


_schemas: dict[type, Schema | None] = {}


def schema_of(cls: type) -> Schema | None:
    """Return what ``cls`` and its bases declare about older states; None if that is nothing."""
    try:
        return _schemas[cls]
    except KeyError:
        found = _schemas[cls] = _find_schema(cls)
        return found


def _find_schema(cls: type) -> Schema | None:
    lines: list[_Line] = []
    for base in reversed(cls.__mro__):
        version = declared_version(base)
        if version is not None:
            names = (class_name(base), *former_names(base))
            keys = [f"{STAMP} {name}" for name in names]
            if base is cls:
                keys = [STAMP]
            lines.append(_Line(tuple(keys), version, steps_of(base)))
    defaults = _defaults_of(cls)
    if not lines and not defaults:
        return None
    return Schema(cls, tuple(lines), defaults)


def _defaults_of(cls: type) -> dict[str, DefaultFactory]:
    found: dict[str, DefaultFactory] = {}
    for base in reversed(cls.__mro__):
        for name, thing in vars(base).items():
            if isinstance(thing, DefaultFactory):
                found[name] = thing
            else:
                found.pop(name, None)
    if found and not issubclass(cls, persistent.Persistent):
        raise ConfigurationError(
            f"{cls.__qualname__} is a plain class: default_factory is for persistent ones"
        )
    return found
