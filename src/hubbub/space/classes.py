"""Stored names of classes, and back: without ever importing anything (SP3).

A record names its class as ``module:Qual.Name``, or by the name that the class declares for itself. Reading looks the
name up among the classes that were registered, by their names of today and their former ones, then among the modules
that the application has already imported. What is not found stays unknown: its data is kept, its code is not run.
"""

from __future__ import annotations

import sys
from dataclasses import is_dataclass
from enum import Enum
from pathlib import PurePath
from types import ModuleType
from typing import TypeVar

import msgspec
import persistent

from hubbub.kernel import ConfigurationError
from hubbub.space.steps import declare_version

C = TypeVar("C", bound=type)

_registered: dict[str, type] = {}
_persistent: dict[str, type] = {}  # of these, the persistent ones
_names: dict[type, str] = {}
_former: dict[type, tuple[str, ...]] = {}

_NAME_ATTRIBUTE = "__hubbub_name__"


def class_name(cls: type) -> str:
    """Return the name under which records and values of ``cls`` are stored.

    It is what the class says of itself (``class Room(Persistent, name="chat.Room")``, not inherited), else
    ``module:Qual.Name``. For a class of the program's main file the module is the one that an import would find it in,
    so that a program and those who import it agree.
    """
    name = _names.get(cls)
    if name is None:
        # Not inherited: a subclass of a named class is another class.
        own = cls.__dict__.get(_NAME_ATTRIBUTE)
        name = own if isinstance(own, str) else _plain_name(cls)
        _names[cls] = name
    return name


def register(
    cls: C,
    name: str | None = None,
    formerly: str | tuple[str, ...] = (),
    version: int | None = None,
) -> C:
    """Let stored data be read as ``cls``, and let reading run its ``__post_init__``.

    What applications call is `hubbub.register`, which adds codecs to it. Of two classes with one name the newer counts,
    as after a reload.

    Args:
        cls: The class.
        name: Under which it is stored; None: what `class_name` says.
        formerly: Under which it was stored before.
        version: At which version it is; see `hubbub.space.steps`.

    Raises:
        ConfigurationError: If a name is none or belongs to another class, or its steps don't lead to ``version``.
    """
    former = (formerly,) if isinstance(formerly, str) else tuple(formerly)
    for other in (*former, *(() if name is None else (name,))):
        if type(other) is not str or not other or "\0" in other:
            raise ConfigurationError(
                f"{other!r} is no stored name of {cls.__qualname__}: say 'module:Class'"
            )
    declare_version(cls, version)
    if name is None:
        _names.pop(cls, None)
        name = class_name(cls)
    else:
        _names[cls] = name
    if former:
        _former[cls] = former = tuple(other for other in former if other != name)
    _claim(cls, name, former)
    return cls


def _claim(cls: type, name: str, former: tuple[str, ...]) -> None:
    for other in (name, *former):
        holder = _registered.get(other)
        # The same class again, as after a reload, is no other one.
        if holder is None or class_name(holder) == name:
            continue
        raise ConfigurationError(
            f"{other!r} can't be a name of {cls.__qualname__}: it is "
            f"{'the' if class_name(holder) == other else 'a former'} name of {class_name(holder)}"
        )
    is_persistent = issubclass(cls, persistent.Persistent)
    for other in (name, *former):
        _registered[other] = cls
        _persistent.pop(other, None)
        if is_persistent:
            _persistent[other] = cls


def former_names(cls: type) -> tuple[str, ...]:
    """Return the names under which ``cls`` was stored before."""
    return _former.get(cls, ())


persistent_class = _persistent.get
"""Return the persistent class that is registered as a name, or None."""


def is_registered(cls: type) -> bool:
    """Tell whether ``cls`` was registered explicitly."""
    return _registered.get(class_name(cls)) is cls


def find_class(name: str) -> type | None:
    """Return the class stored as ``name``, or None if it is not known here. Never imports, never runs its code.

    Only what can be stored is accepted: persistent classes, structs, dataclasses, enums and named tuples that go by
    exactly this name, or went by it and say so.
    """
    cls = _registered.get(name)
    if cls is not None:
        return cls
    module_name, colon, qualified = name.partition(":")
    if not colon:
        return None
    module = _imported(module_name)
    if module is None:
        return None
    found = _attribute(module, qualified)
    if found is None or class_name(found) != name or not is_storable(found):
        return None
    return found


def is_storable(cls: type) -> bool:
    """Tell whether instances of ``cls`` are persistent objects or plain values with named parts."""
    return (
        issubclass(cls, (persistent.Persistent, msgspec.Struct, Enum))
        or is_dataclass(cls)
        or is_named_tuple(cls)
    )


def is_named_tuple(cls: type) -> bool:
    """Tell whether ``cls`` was made by `collections.namedtuple` or `typing.NamedTuple`, or is based on one."""
    fields = getattr(cls, "_fields", None)
    return issubclass(cls, tuple) and type(fields) is tuple and all(type(f) is str for f in fields)


def has_own_hash(cls: type) -> bool:
    """Tell whether hashing an instance of ``cls`` runs its own code, which may need the object's state."""
    own: object = cls.__hash__
    return own is not object.__hash__


def main_module_name() -> str | None:
    """Return the name that the program's main file has when it is imported, if that can be told."""
    main = sys.modules.get("__main__")
    if main is None:
        return None
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        name: str = spec.name
        return name
    file = getattr(main, "__file__", None)
    return PurePath(file).stem if file else None


def _plain_name(cls: type) -> str:
    module = cls.__module__
    if module == "__main__":
        module = main_module_name() or module
    return f"{module}:{cls.__qualname__}"


def _imported(name: str) -> ModuleType | None:
    if name == main_module_name():
        name = "__main__"
    module = sys.modules.get(name)
    return module if isinstance(module, ModuleType) else None


def _attribute(module: ModuleType, qualified: str) -> type | None:
    # Straight from the dictionaries: a module's `__getattr__`, a lazy module's loader or a class's descriptor is code.
    found: object = module
    for part in qualified.split("."):
        if isinstance(found, ModuleType):
            found = ModuleType.__getattribute__(found, "__dict__").get(part)
        elif isinstance(found, type):
            found = type.__getattribute__(found, "__dict__").get(part)
        else:
            return None
    return found if isinstance(found, type) else None
