"""Upgrade steps: how a class says what its older states become (SP7).

A class declares at which version it is, and for each older version a step that leads to the next one::

    class Room(Persistent, version=3):
        @upgrade(from_version=1)
        @staticmethod
        def title_becomes_topic(state: dict[str, Any]) -> dict[str, Any]:
            state["topic"] = state.pop("title")
            return state

        @upgrade(from_version=2)
        @staticmethod
        def rights_are_a_set(state: dict[str, Any]) -> dict[str, Any]:
            state["rights"] = frozenset(state["rights"])
            return state

A class that declares nothing is at version 1, and its records say nothing about versions. Steps of long ago may be
taken out once no record of that age is left; a hole between steps is an error when the class is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hubbub.kernel import ConfigurationError

Step = Callable[[dict[str, Any]], dict[str, Any]]
"""Gets the parts of an object or value as the version before had them, by name; returns those of the next version."""

VERSION_ATTRIBUTE = "__hubbub_version__"
_STEPS_ATTRIBUTE = "__hubbub_steps__"
_HIGHEST = 1_000_000


class DeclaredStep:
    """A step in the body of its class."""

    def __init__(self, from_version: int, step: Step) -> None:
        self.from_version = from_version
        self.step = step

    def __get__(self, instance: object, owner: type | None = None) -> Step:
        # A descriptor, so that an enum does not take it for a member; and steps can be called in tests.
        return self.step


def upgrade(*, from_version: int) -> Callable[[Step], DeclaredStep]:
    """Declare a step, in the body of a class that says ``version=``: what a state of ``from_version`` becomes next.

    The step is a plain function, a static method to type checkers, of one argument: the parts by name, which it may
    change; it returns them. It depends on nothing else: it runs whenever an old record is read, in queries too, here
    and in other processes. Plain values in it have the shape that their class has now. References to persistent
    objects can be moved and dropped, but not looked into, and none can be made: what needs other objects belongs into
    a transaction.

    Args:
        from_version: The version that it begins with; it leads to the next one.

    Raises:
        ConfigurationError: If that is no version.
    """
    if type(from_version) is not int or not 1 <= from_version < _HIGHEST:
        raise ConfigurationError(f"from_version={from_version!r} is no version: 1 is the first one")

    def declare(step: Step) -> DeclaredStep:
        function = step.__func__ if isinstance(step, staticmethod) else step
        if not callable(function):
            raise ConfigurationError(f"@upgrade stands before a function, not {function!r}")
        return DeclaredStep(from_version, function)

    return declare


def declare_version(cls: type, version: int | None) -> None:
    """Note that ``cls`` is at ``version`` (None: it says nothing), and collect the steps in its body.

    Raises:
        ConfigurationError: If its steps don't lead to that version.
    """
    own = [thing for thing in vars(cls).values() if isinstance(thing, DeclaredStep)]
    if version is None:
        if own and VERSION_ATTRIBUTE not in vars(cls):
            newest = max(step.from_version for step in own) + 1
            raise ConfigurationError(
                f"{cls.__qualname__} has upgrade steps but says no version: add version={newest}"
            )
        return
    if type(version) is not int or not 1 <= version <= _HIGHEST:
        raise ConfigurationError(
            f"version={version!r} of {cls.__qualname__} is no version: 1 is the first one"
        )
    steps: dict[int, Step] = {}
    for declared in own:
        if declared.from_version in steps:
            raise ConfigurationError(
                f"{cls.__qualname__} has two steps from version {declared.from_version}"
            )
        if declared.from_version >= version:
            raise ConfigurationError(
                f"{cls.__qualname__} has a step from version {declared.from_version} "
                f"but is at version {version}: say version={declared.from_version + 1}"
            )
        steps[declared.from_version] = declared.step
    for missing in range(min(steps, default=version), version):
        if missing not in steps:
            raise ConfigurationError(
                f"{cls.__qualname__} has no step from version {missing}, but has older ones"
            )
    try:
        setattr(cls, VERSION_ATTRIBUTE, version)
    except TypeError as error:
        raise ConfigurationError(f"{cls.__qualname__} can't count versions: {error}") from None
    setattr(cls, _STEPS_ATTRIBUTE, steps)


def declared_version(cls: type) -> int | None:
    """Return the version that ``cls`` itself declares; None if it says nothing."""
    version: int | None = vars(cls).get(VERSION_ATTRIBUTE)
    return version


def steps_of(cls: type) -> Mapping[int, Step]:
    """Return the steps that ``cls`` itself declares, by the version that each begins with."""
    steps: Mapping[int, Step] = vars(cls).get(_STEPS_ATTRIBUTE, {})
    return steps
