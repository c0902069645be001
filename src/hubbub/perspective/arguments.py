"""The arguments of what can be called: checked against its annotations before the body runs (PE1).

For each function two msgspec structs are made, one that reads a list and one that reads an object. All their fields
may be missing, so that Python's own defaults apply; what has no default and is missing is found by counting.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_origin

import msgspec
from msgspec import UNSET, Raw, UnsetType
from msgspec.inspect import CustomType, Field, Type, multi_type_info

from hubbub.kernel import ConfigurationError, InvalidArgumentsError

MAX_NESTING = 64
"""Levels of lists and objects within one argument (see `hubbub.kernel.Limits.nesting`)."""

_PLACE = re.compile(r" - at `\$(?:\[(\d+)\]|\.(\w+))(.*)`$", re.DOTALL)
_FLAT = frozenset((str, int, float, bool, bytes, type(None)))
_canonical = msgspec.msgpack.Encoder(order="deterministic")


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: its name, type, default (or `inspect.Parameter.empty`) and kind as in `inspect`."""

    name: str
    type: Any
    default: Any
    kind: Any

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


class Arguments:
    """How the arguments of one command, query, view, stream or action are read and written.

    Args:
        name: Of what is called, for messages.
        parameters: In order, without ``self`` and without the caller.
        nesting: Levels of lists and objects that one argument may have.

    Raises:
        ConfigurationError: If a parameter is annotated with a type that can't come from a user.
    """

    def __init__(
        self, name: str, parameters: Sequence[Parameter], nesting: int = MAX_NESTING
    ) -> None:
        self.name = name
        self.parameters = tuple(parameters)
        self._nesting = nesting
        self._positional = tuple(p for p in parameters if p.kind is not p.kind.KEYWORD_ONLY)
        self._keyword = tuple(p for p in parameters if p.kind is not p.kind.POSITIONAL_ONLY)
        self._required = tuple(p.name for p in parameters if p.required)
        # So many positional arguments are enough when there are no others; -1: no number is.
        self._enough = max((i + 1 for i, p in enumerate(self._positional) if p.required), default=0)
        if any(p.required and p.kind is p.kind.KEYWORD_ONLY for p in parameters):
            self._enough = len(self._positional) + 1
        self._may_nest = not all(_is_flat(p.type) for p in parameters)
        self._check_types()
        self._decoders = self._make_decoders()

    def decode(self, form: str, args: Raw, kwargs: Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the checked arguments as a tuple and a dict to call the function with.

        Args:
            form: ``json`` or ``msgpack``: what the two are written in.
            args: A list, or nothing.
            kwargs: An object, or nothing.

        Raises:
            InvalidArgumentsError: If they do not fit; it names the parameter and what was expected.
        """
        decode_list, decode_object = self._decoders[form]
        positional = self._values(decode_list, args, self._positional) if bytes(args) else ()
        if UNSET in positional:
            positional = positional[: positional.index(UNSET)]
        named: dict[str, Any] = {}
        if bytes(kwargs):
            values = self._values(decode_object, kwargs, self._keyword)
            named = {
                parameter.name: value
                for parameter, value in zip(self._keyword, values, strict=True)
                if value is not UNSET
            }
        if named or len(positional) < self._enough:
            self._check_complete(len(positional), named)
        if self._may_nest:
            self._check_nesting((*positional, *named.values()))
        return positional, named

    def encode(self, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> bytes:
        """Return the arguments as canonical MessagePack: one list with a value for each parameter, in order.

        Equal calls give equal bytes, however their arguments were passed; so they are a key.

        Raises:
            InvalidArgumentsError: If they do not fit, or one can't be written.
        """
        if not kwargs and len(args) == len(self.parameters) == len(self._positional):
            return self._written(args)
        kwargs = kwargs or {}
        if len(args) > len(self._positional):
            raise InvalidArgumentsError(
                f"{self.name} takes at most {len(self._positional)} arguments, not {len(args)}"
            )
        unknown = kwargs.keys() - {p.name for p in self._keyword}
        if unknown:
            name = min(unknown)
            raise InvalidArgumentsError(f"{self.name} has no argument {name!r}", parameter=name)
        self._check_complete(len(args), kwargs)
        given = dict(zip((p.name for p in self._positional), args, strict=False)) | kwargs
        return self._written([given.get(p.name, p.default) for p in self.parameters])

    def _written(self, values: Sequence[Any]) -> bytes:
        try:
            return _canonical.encode(values)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidArgumentsError(
                f"{self.name}: an argument can't be written: {error}"
            ) from None

    def _values(
        self, decoder: Any, data: Raw, parameters: tuple[Parameter, ...]
    ) -> tuple[Any, ...]:
        try:
            return msgspec.structs.astuple(decoder.decode(data))
        except msgspec.ValidationError as error:
            raise self._explained(str(error), parameters) from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidArgumentsError(
                f"{self.name}: the arguments can't be read: {error}"
            ) from None

    def _explained(self, message: str, parameters: tuple[Parameter, ...]) -> InvalidArgumentsError:
        place = _PLACE.search(message)
        if place is None:
            return InvalidArgumentsError(f"{self.name}: {message}")
        index, name, rest = place.groups()
        if index is not None:
            name = parameters[int(index)].name if int(index) < len(parameters) else index
        expected = message[: place.start()]
        where = f" (at {name}{rest})" if rest else ""
        return InvalidArgumentsError(
            f"{self.name}: argument {name!r}: {expected}{where}", parameter=name
        )

    def _check_complete(self, positional: int, named: dict[str, Any]) -> None:
        given = {p.name for p in self._positional[:positional]}
        for name in named:
            if name in given:
                raise InvalidArgumentsError(
                    f"{self.name}: argument {name!r} is given twice", parameter=name
                )
        for name in self._required:
            if name not in given and name not in named:
                raise InvalidArgumentsError(
                    f"{self.name}: argument {name!r} is missing", parameter=name
                )

    def _check_nesting(self, values: tuple[Any, ...]) -> None:
        level: list[Any] = [value for value in values if type(value) not in _FLAT]
        for _ in range(self._nesting):
            if not level:
                return
            level = [
                inner for value in level for inner in _children(value) if type(inner) not in _FLAT
            ]
        if any(isinstance(value, (list, tuple, dict, set, frozenset)) for value in level):
            raise InvalidArgumentsError(
                f"{self.name}: lists and objects in an argument may be {self._nesting} deep"
            )

    def _check_types(self) -> None:
        for parameter in self.parameters:
            try:
                (info,) = multi_type_info([parameter.type])
            except (TypeError, NameError) as error:
                raise ConfigurationError(
                    f"{self.name}: argument {parameter.name!r} can't come from a user: {error}"
                ) from None
            stranger = _stranger(info, set())
            if stranger is not None:
                raise ConfigurationError(
                    f"{self.name}: argument {parameter.name!r} is annotated with "
                    f"{stranger.__qualname__}, which can't come from a user"
                )

    def _make_decoders(self) -> dict[str, tuple[Any, Any]]:
        shapes = []
        for parameters, as_list in ((self._positional, True), (self._keyword, False)):
            # A parameter may have any name, a struct's field may not: so the fields have numbers.
            fields = [
                (f"p{i}", Union[p.type, UnsetType], UNSET)  # noqa: UP007 - made at run time
                for i, p in enumerate(parameters)
            ]
            names = {f"p{i}": p.name for i, p in enumerate(parameters)}
            shapes.append(
                msgspec.defstruct(
                    "Arguments",
                    fields,
                    array_like=as_list,
                    forbid_unknown_fields=True,
                    rename=names,
                    gc=False,
                )
            )
        return {
            "json": (msgspec.json.Decoder(shapes[0]), msgspec.json.Decoder(shapes[1])),
            "msgpack": (msgspec.msgpack.Decoder(shapes[0]), msgspec.msgpack.Decoder(shapes[1])),
        }


def _is_flat(type_: Any) -> bool:
    """Tell whether values of this type have nothing inside them."""
    if get_origin(type_) is Annotated:
        type_ = type_.__origin__
    return any(type_ is flat for flat in _FLAT)


def _stranger(info: Any, seen: set[int]) -> type | None:
    """Return a class within a type that msgspec can't make, or None."""
    if isinstance(info, CustomType):
        return None if info.cls is object else info.cls
    if id(info) in seen:
        return None
    seen.add(id(info))
    parts: list[Any] = []
    if isinstance(info, (Type, Field)):
        for name in info.__struct_fields__:
            part = getattr(info, name)
            parts.extend(part if isinstance(part, tuple) else (part,))
    return next(filter(None, (_stranger(part, seen) for part in parts)), None)


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return (*value, *value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.astuple(value)
    return ()
