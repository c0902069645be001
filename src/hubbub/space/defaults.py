"""Defaults of attributes that older records lack and that can't be class attributes (SP7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import persistent

from hubbub.kernel import ConfigurationError

T = TypeVar("T")


class DefaultFactory:
    """Stands in the body of a persistent class for an attribute that objects may lack.

    A record that lacks it gets a new one when it is loaded, as if it had been stored so; it is not rewritten for that.
    """

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._factory = factory
        self._name = "?"

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def make(self) -> Any:
        """Return a new default.

        Raises:
            ConfigurationError: If it is a persistent object: it would be another one at each load.
        """
        value = self._factory()
        if isinstance(value, persistent.Persistent):
            raise ConfigurationError(
                f"the default of {self._name!r} is a persistent object, which would be another one at each load: "
                "make it in a transaction"
            )
        return value

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        # Only what is new, or has lost the attribute in this transaction, comes here.
        value = self.make()
        setattr(instance, self._name, value)
        return value


def default_factory(factory: Callable[[], T]) -> T:
    """Declare what makes an attribute of a persistent class where an object lacks it.

    As in ``tags: list[str] = hubbub.default_factory(list)``. A plain class attribute (``topic = ""``) is the default
    of what can't be changed in place. A list as a class attribute would be one list for all objects, and its changes
    would not be stored; this makes one for each.

    Args:
        factory: Makes a plain value; always an equal one, since other processes make theirs.
    """
    declared: Any = DefaultFactory(factory)
    found: T = declared
    return found
