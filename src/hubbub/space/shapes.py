"""How values with named parts are taken apart and made again, without running code of their class (SP3).

A value of a struct, dataclass, named tuple or enum is stored as the name of its class and its parts by name. When the
class has changed since:

* a part that is missing takes the class's default; a default factory is called only if it is a builtin type (``list``,
  ``dict``) or the class was registered;
* a part that the class no longer has is left out, and is gone once the value is written again;
* a class that counts versions takes a value of an older one through its upgrade steps first (`hubbub.space.schema`);
* a struct may have become a dataclass or a named tuple, or the other way;
* a value that lacks a part without default, or a removed enum member, stays an `UnknownValue`.

A class that registers a codec (`hubbub.register`) has one part, ``value``: what its ``encode`` makes of it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from enum import Enum, Flag
from types import MemberDescriptorType
from typing import Any

import msgspec
import persistent.wref
from msgspec import NODEFAULT

from hubbub.space.classes import class_name, find_class, is_named_tuple, is_registered
from hubbub.space.schema import STAMP, Schema, refuse_stamp, schema_of

STRUCT, DATACLASS, NAMEDTUPLE, ENUM, FLAG, CODED = 10, 11, 12, 13, 14, 15
KINDS = {
    STRUCT: "struct",
    DATACLASS: "dataclass",
    NAMEDTUPLE: "namedtuple",
    ENUM: "enum",
    FLAG: "flag",
    CODED: "coded",
}
CODES = {kind: code for code, kind in KINDS.items()}
# Kinds that are stored alike: a class may go from one to another.
_ALIKE = frozenset((STRUCT, DATACLASS, NAMEDTUPLE))

_HEAP_TYPE = 1 << 9
_PLAIN_MODULES = frozenset(
    ("builtins", "datetime", "decimal", "fractions", "pathlib", "uuid", "zoneinfo")
)
_BUILTIN_FACTORIES = (list, dict, set, tuple, frozenset, bytearray, str, int, float, bytes, bool)


class UnfitError(Exception):
    """A stored value does not fit the class as it is now, or the class can't be stored. Caught inside the codec."""


class OlderVersionError(Exception):
    """A stored value is not of the versions that its class has now. Caught inside the codec."""


class Shape:
    """One class as the codec sees it.

    Attributes:
        code: Which extension type its values have.
        name: Stored name of the class.
        fields: Names of its parts, in order.
        is_frozen: Whether its values can't be changed in place.
        parts: Takes a value apart, by name. `UnfitError` if something of it would be lost.
        make: Makes a value from parts by name. `UnfitError` if they don't fit, `OlderVersionError` if they have to be
            upgraded first, `NewerVersionError` if they are newer than the class.
        schema: What the class declares about older values, if anything.
    """

    __slots__ = ("code", "fields", "is_frozen", "make", "name", "parts", "schema")

    def __init__(
        self,
        cls: type,
        code: int,
        fields: tuple[str, ...],
        parts: Callable[[Any], dict[str, Any]],
        make: Callable[[dict[str, Any]], Any],
        *,
        is_frozen: bool = True,
    ) -> None:
        self.name = class_name(cls)
        self.code = code
        self.fields = fields
        self.is_frozen = is_frozen
        self.schema = schema_of(cls)
        if any(name.startswith(STAMP) for name in fields):
            raise UnfitError(f"a field of {cls.__qualname__} can't have a name like {STAMP}")
        if self.schema is not None:
            parts, make = _versioned(self.schema, parts, make)
        self.parts = parts
        self.make = make

    def fits(self, code: int) -> bool:
        """Tell whether values of that extension type can be read as this class."""
        return code == self.code or (code in _ALIKE and self.code in _ALIKE)


def _versioned(
    schema: Schema, parts_of: Callable[[Any], dict[str, Any]], make: Callable[[dict[str, Any]], Any]
) -> tuple[Callable[[Any], dict[str, Any]], Callable[[dict[str, Any]], Any]]:
    """Return ``parts_of`` and ``make`` for a class that counts versions."""
    stamp = schema.stamp

    def stamped_parts(value: Any) -> dict[str, Any]:
        return {**stamp, **parts_of(value)}

    def make_current(parts: dict[str, Any]) -> Any:
        if not schema.is_current(parts):
            raise OlderVersionError
        return make({name: part for name, part in parts.items() if name not in stamp})

    return stamped_parts, make_current


_shapes: dict[type, Shape] = {}
_coded: dict[type, Shape] = {}


def use_value_codec(
    cls: type,
    encode: Callable[[Any], Any],
    decode: Callable[[Any], Any],
    *,
    is_frozen: bool,
) -> None:
    """Let values of ``cls`` be stored as what ``encode`` makes of them. See `hubbub.register`."""
    name = cls.__qualname__

    def parts(value: Any) -> dict[str, Any]:
        try:
            return {"value": encode(value)}
        except Exception as error:
            # The application's code: told at the commit, with the path.
            raise UnfitError(f"the encode of {name} failed: {error!r}") from error

    def make(parts: dict[str, Any]) -> Any:
        if parts.keys() != {"value"}:
            raise UnfitError("it was stored without a codec")
        value = decode(parts["value"])
        if type(value) is not cls:
            raise TypeError(f"the decode of {name} made a {type(value).__qualname__}")
        return value

    _coded[cls] = _shapes[cls] = Shape(cls, CODED, ("value",), parts, make, is_frozen=is_frozen)


def shape_for(cls: type, code: int) -> Shape:
    """Return how a stored value of extension type ``code`` is read as ``cls``.

    A class that has got a codec, or has lost it, reads what was stored before.

    Raises:
        UnfitError: If it can't be.
    """
    shape = shape_of(cls)
    if shape.code != code and cls in _coded:
        shape = _make_shape(cls)
    if shape.code != code and not shape.fits(code):
        raise UnfitError(f"{shape.name} is another kind of class now")
    return shape


def shape_of(cls: type) -> Shape:
    """Return how values of ``cls`` are stored.

    Raises:
        UnfitError: If they can't be; says why.
    """
    shape = _shapes.get(cls)
    if shape is None:
        shape = _make_shape(cls)
        found = find_class(shape.name)
        # Found as what was stored under its name before: then another class goes by it now.
        if found is None or class_name(found) != shape.name:
            raise UnfitError(
                f"class {cls.__qualname__} could not be found again by its name {shape.name}; "
                "define it at the top of a module or call hubbub.register"
            )
        _shapes[cls] = shape
    return shape


def _make_shape(cls: type) -> Shape:
    if issubclass(cls, Enum):
        return _flag_shape(cls) if issubclass(cls, Flag) else _enum_shape(cls)
    if issubclass(cls, msgspec.Struct):
        return _struct_shape(cls)
    if is_named_tuple(cls):
        return _named_tuple_shape(cls)
    if dataclasses.is_dataclass(cls):
        return _dataclass_shape(cls)
    raise UnfitError(_why_not(cls))


def _why_not(cls: type) -> str:
    name = f"{cls.__module__}.{cls.__qualname__}"
    if cls is persistent.wref.WeakRef:
        return f"a {name} can't be stored; use hubbub.WeakRef"
    plain = next((base for base in cls.__mro__[1:-1] if base.__module__ in _PLAIN_MODULES), None)
    if plain is not None:
        # It would come back as another type (SP2).
        return (
            f"a value of class {name} can't be stored: it is no plain {plain.__qualname__}; "
            f"convert it, or tell how it is stored by hubbub.register({cls.__qualname__}, encode=..., decode=...)"
        )
    return (
        f"a value of class {name} can't be stored; make it a dataclass, a msgspec.Struct or Persistent, "
        f"or tell how it is stored by hubbub.register({cls.__qualname__}, encode=..., decode=...)"
    )


def _defaults_of(cls: type, fields: Any, none: Any) -> dict[str, Callable[[], Any] | None]:
    """Return, for each field, what makes its default, or None."""
    found: dict[str, Callable[[], Any] | None] = {}
    for field in fields:
        found[field.name] = None
        if field.default is not none:
            found[field.name] = functools.partial(lambda value: value, field.default)
        elif field.default_factory is not none:
            if field.default_factory in _BUILTIN_FACTORIES or is_registered(cls):
                found[field.name] = field.default_factory
    return found


def _fitted(
    name: str, parts: dict[str, Any], defaults: dict[str, Callable[[], Any] | None]
) -> dict[str, Any]:
    """Return ``parts`` as the class ``name`` wants them now: without strangers, with defaults."""
    refuse_stamp(name, parts)
    fitted: dict[str, Any] = {}
    for field, default in defaults.items():
        if field in parts:
            fitted[field] = parts[field]
        elif default is not None:
            fitted[field] = default()
        else:
            raise UnfitError(f"there is no {field!r}")
    return fitted


# --- structs ----------------------------------------------------------------------------------------------------------


def _struct_shape(cls: type[msgspec.Struct]) -> Shape:
    if hasattr(cls, "__post_init__") and not is_registered(cls):
        raise UnfitError(
            f"{cls.__qualname__} has a __post_init__, which reading would run; "
            "allow that with @hubbub.register"
        )
    fields = cls.__struct_fields__
    defaults = _defaults_of(cls, msgspec.structs.fields(cls), NODEFAULT)
    wanted = defaults.keys()
    own_name = class_name(cls)

    def parts(value: Any) -> dict[str, Any]:
        if getattr(value, "__dict__", None):
            raise UnfitError(f"attributes beside its fields can't be stored: {set(vars(value))}")
        try:
            return msgspec.structs.asdict(value)
        except AttributeError as error:
            raise UnfitError(str(error)) from None

    def make(parts: dict[str, Any]) -> Any:
        return cls(**parts) if parts.keys() == wanted else cls(**_fitted(own_name, parts, defaults))

    return Shape(cls, STRUCT, fields, parts, make, is_frozen=cls.__struct_config__.frozen)


# --- dataclasses ------------------------------------------------------------------------------------------------------


def _dataclass_shape(cls: type) -> Shape:
    if any(not base.__flags__ & _HEAP_TYPE for base in cls.__mro__[:-1]):
        raise UnfitError(f"dataclass {cls.__qualname__} is based on a builtin class")
    fields = dataclasses.fields(cls)
    names = tuple(field.name for field in fields)
    slots: list[str] = []
    for name in names:
        descriptor = getattr(cls, name, None)
        if isinstance(descriptor, MemberDescriptorType):
            slots.append(name)
        elif hasattr(type(descriptor), "__set__"):
            raise UnfitError(f"{cls.__qualname__}.{name} is computed by a descriptor")
    defaults = _defaults_of(cls, fields, dataclasses.MISSING)
    wanted = defaults.keys()
    cached = {
        name
        for base in cls.__mro__
        for name, thing in vars(base).items()
        if isinstance(thing, functools.cached_property)
    }
    own_name = class_name(cls)
    new = object.__new__
    put = object.__setattr__

    def parts(value: Any) -> dict[str, Any]:
        own = getattr(value, "__dict__", {})
        extra = own.keys() - wanted
        if extra and not extra <= cached:
            raise UnfitError(f"attributes beside its fields can't be stored: {extra - cached}")
        try:
            return {name: own[name] if name in own else getattr(value, name) for name in names}
        except AttributeError as error:
            raise UnfitError(str(error)) from None

    def make(parts: dict[str, Any]) -> Any:
        if parts.keys() != wanted:
            parts = _fitted(own_name, parts, defaults)
        value: Any = new(cls)
        if slots:
            for name, part in parts.items():
                put(value, name, part)
        else:
            value.__dict__.update(parts)
        return value

    frozen = cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return Shape(cls, DATACLASS, names, parts, make, is_frozen=frozen)


# --- named tuples and enums -------------------------------------------------------------------------------------------


def _named_tuple_shape(cls: Any) -> Shape:
    names: tuple[str, ...] = cls._fields
    own_name = class_name(cls)
    preset: dict[str, Any] = getattr(cls, "_field_defaults", {})
    defaults: dict[str, Callable[[], Any] | None] = {
        name: functools.partial(lambda value: value, preset[name]) if name in preset else None
        for name in names
    }

    def parts(value: Any) -> dict[str, Any]:
        if getattr(value, "__dict__", None) or len(value) != len(names):
            raise UnfitError("what it has beside its fields can't be stored")
        return dict(zip(names, tuple.__iter__(value), strict=True))

    def make(parts: dict[str, Any]) -> Any:
        return tuple.__new__(cls, _fitted(own_name, parts, defaults).values())

    return Shape(cls, NAMEDTUPLE, names, parts, make)


def _enum_shape(cls: type[Enum]) -> Shape:
    members = cls._member_map_
    own_name = class_name(cls)

    def make(parts: dict[str, Any]) -> Any:
        if len(parts) != 1:
            refuse_stamp(own_name, parts)
        try:
            return members[parts["name"]]
        except KeyError:
            raise UnfitError("there is no such member") from None

    return Shape(cls, ENUM, ("name",), lambda value: {"name": value._name_}, make)


def _flag_shape(cls: type[Flag]) -> Shape:
    known: dict[Any, Any] = cls._value2member_map_
    own_name = class_name(cls)
    # The standard way to make a combination; one that the application wrote is not run.
    is_standard = getattr(cls._missing_, "__func__", None) is Flag.__dict__["_missing_"].__func__

    def make(parts: dict[str, Any]) -> Any:
        if len(parts) != 1:
            refuse_stamp(own_name, parts)
        number = parts.get("value")
        if type(number) is not int:
            raise UnfitError("a flag's value is an int")
        try:
            return known[number] if number in known or not is_standard else cls(number)
        except (KeyError, ValueError):
            raise UnfitError("there is no such combination") from None

    return Shape(cls, FLAG, ("value",), lambda value: {"value": value._value_}, make)
