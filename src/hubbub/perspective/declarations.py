"""What can be called: ``@command``, ``@query``, ``@view``, ``@stream`` and ``@action`` (PE1).

A decorated function stays an ordinary method. The decorator notes the kind and its options on it, and refuses at once,
while the class is being made, what could never work. Annotations are read at the first call, when every name that they
mention exists.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from types import FunctionType, MappingProxyType, SimpleNamespace
from typing import Any, Literal, TypeVar, overload

import msgspec

from hubbub.kernel import ConfigurationError
from hubbub.perspective.arguments import Arguments, Parameter

Kind = Literal["command", "query", "view", "stream", "action"]
WhenFull = Literal["lag", "disconnect", "latest"]
_Function = TypeVar("_Function", bound=Callable[..., Any])

_MARK = "__hubbub_declared__"
_VAR_POSITIONAL, _VAR_KEYWORD = inspect.CO_VARARGS, inspect.CO_VARKEYWORDS


class Options(msgspec.Struct, frozen=True):
    """What a decorator was told.

    Attributes:
        durable: A command may store something; False: it touches ephemeral objects only.
        record: A command's arguments are kept with its commit.
        items: Items of a stream that a user may leave unacknowledged.
        limit_bytes: Bytes of the same.
        when_full: What happens to a stream beyond that.
        timeout_s: Seconds after which an action is cancelled.
        retries: How often a failed action that was started by a command is tried again.
    """

    durable: bool = True
    record: bool = True
    items: int = 100
    limit_bytes: int = 1 << 20
    when_full: WhenFull = "disconnect"
    timeout_s: float = 30.0
    retries: int = 0


class Declaration:
    """One thing that can be called on objects of one class.

    Attributes:
        name: Its name.
        kind: ``command``, ``query``, ``view``, ``stream`` or ``action``.
        function: The plain function.
        options: What its decorator was told.
        owner: The class through which it was found.
    """

    def __init__(
        self, owner: type, name: str, kind: Kind, function: FunctionType, options: Options
    ):
        self.owner = owner
        self.name = name
        self.kind = kind
        self.function = function
        self.options = options

    def __str__(self) -> str:
        """What it is called in logs."""
        return f"{self.owner.__qualname__}.{self.name}"

    @cached_property
    def caller(self) -> type | None:
        """The avatar class that an object's command names in its first parameter, else None.

        Raises:
            ConfigurationError: If an annotation names something that does not exist.
        """
        avatar = _avatar_class()
        if issubclass(self.owner, avatar):
            return None
        first = next(iter(self._given_parameters), None)
        if first is None or first.annotation is inspect.Parameter.empty:
            return None
        named = self._resolved(first.name, first.annotation)
        return named if isinstance(named, type) and issubclass(named, avatar) else None

    @cached_property
    def arguments(self) -> Arguments:
        """How its arguments are checked; without ``self`` and the caller.

        Raises:
            ConfigurationError: If an annotation names something that does not exist or can't come from a user.
        """
        given = self._given_parameters[1:] if self.caller is not None else self._given_parameters
        parameters = [
            Parameter(
                parameter.name,
                Any
                if parameter.annotation is inspect.Parameter.empty
                else self._resolved(parameter.name, parameter.annotation),
                parameter.default,
                parameter.kind,
            )
            for parameter in given
        ]
        return Arguments(self.name, parameters)

    @cached_property
    def return_type(self) -> Any:
        """What it is annotated to return; `typing.Any` if that is not said or not importable at run time."""
        annotation = inspect.signature(self.function).return_annotation
        if annotation is inspect.Signature.empty:
            return Any
        try:
            return self._resolved("return", annotation)
        except ConfigurationError:
            return Any

    @cached_property
    def _given_parameters(self) -> tuple[inspect.Parameter, ...]:
        return tuple(inspect.signature(self.function).parameters.values())[1:]

    def _resolved(self, name: str, annotation: Any) -> Any:
        holder = SimpleNamespace(__annotations__={name: annotation})
        try:
            hints = typing.get_type_hints(
                holder,
                self.function.__globals__,
                {self.owner.__name__: self.owner},
                include_extras=True,
            )
        except (NameError, AttributeError, TypeError, SyntaxError) as error:
            raise ConfigurationError(
                f"{self.owner.__qualname__}.{self.name}: the annotation of {name!r} "
                f"does not make sense at run time: {error}"
            ) from None
        return hints[name]

    def __repr__(self) -> str:
        return f"<{self.kind} {self.owner.__qualname__}.{self.name}>"


@overload
def command(function: _Function, /) -> _Function: ...
@overload
def command(*, durable: bool = True, record: bool = True) -> Callable[[_Function], _Function]: ...
def command(
    function: _Function | None = None, /, *, durable: bool = True, record: bool = True
) -> _Function | Callable[[_Function], _Function]:
    """Declare a method that users may call and that may write: each call is a transaction.

    Args:
        function: The method, when used without parentheses.
        durable: False: it touches ephemeral objects only; storing anything is then an error.
        record: False: its arguments are not kept with the commit.
    """
    options = Options(durable=durable, record=record)
    if function is not None:
        return _declared(function, "command", options)
    return lambda method: _declared(method, "command", options)


def query(function: _Function, /) -> _Function:
    """Declare a method that users may call or watch and that only reads."""
    return _declared(function, "query", Options())


def view(function: _Function, /) -> _Function:
    """Declare a query that belongs to an object: whoever watches it, it runs once for all."""
    return _declared(function, "view", Options())


def stream(
    *, items: int = 100, when_full: WhenFull = "disconnect", limit_bytes: int = 1 << 20
) -> Callable[[_Function], _Function]:
    """Declare a method that returns an async iterator (or is an async generator) that users may follow.

    Args:
        items: How many items a user may leave unacknowledged.
        when_full: Beyond that: ``disconnect`` ends the stream with ``too_slow``, ``lag`` drops what was not sent, and
            ``latest`` keeps the newest only; both of these show the user a gap.
        limit_bytes: As ``items``, in bytes.

    Raises:
        ConfigurationError: If an option makes no sense.
    """
    if when_full not in ("lag", "disconnect", "latest"):
        raise ConfigurationError(f"when_full is 'lag', 'disconnect' or 'latest', not {when_full!r}")
    if items < 1 or limit_bytes < 1:
        raise ConfigurationError("a stream needs room for at least one item")
    options = Options(items=items, when_full=when_full, limit_bytes=limit_bytes)
    return lambda method: _declared(method, "stream", options)


def action(*, timeout_s: float = 30.0, retries: int = 0) -> Callable[[_Function], _Function]:
    """Declare an ``async def`` method that calls the outside world, outside of any transaction.

    Args:
        timeout_s: Seconds after which it is cancelled.
        retries: How often it is tried again after a failure, when a command has started it.

    Raises:
        ConfigurationError: If an option makes no sense.
    """
    if not timeout_s > 0 or retries < 0:
        raise ConfigurationError("an action needs timeout_s > 0 and retries >= 0")
    options = Options(timeout_s=timeout_s, retries=retries)
    return lambda method: _declared(method, "action", options)


_KNOWN = "__hubbub_declarations__"


def declarations_of(cls: type) -> Mapping[str, Declaration]:
    """Return what can be called on objects of ``cls``, by name.

    The most derived definition of a name counts. A subclass that overrides a declared method without declaring it
    takes it back. Computed once for each class.

    Raises:
        ConfigurationError: If a declared method is hidden in a staticmethod, classmethod or property.
    """
    # On the class itself, not inherited: it goes with the class, and is found at once.
    known: Mapping[str, Declaration] | None = cls.__dict__.get(_KNOWN)
    if known is not None:
        return known
    found: dict[str, Declaration] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            inner = getattr(value, "__func__", None) or getattr(value, "fget", None)
            if isinstance(value, FunctionType) and hasattr(value, _MARK):
                kind, options = getattr(value, _MARK)
                found[name] = Declaration(cls, name, kind, value, options)
            elif hasattr(inner, _MARK):
                raise ConfigurationError(
                    f"{base.__qualname__}.{name}: only a plain method can be declared, "
                    f"not a {type(value).__name__}"
                )
            else:
                found.pop(name, None)
    declarations = MappingProxyType(found)
    with suppress(TypeError):  # a class written in C keeps nothing, and declares nothing either
        setattr(cls, _KNOWN, declarations)
    return declarations


def _declared(function: _Function, kind: Kind, options: Options) -> _Function:
    if not isinstance(function, FunctionType):
        raise ConfigurationError(f"@{kind} goes on a plain method, not on {function!r}")
    where = function.__qualname__
    code = function.__code__
    if hasattr(function, _MARK):
        raise ConfigurationError(f"{where} is declared twice")
    if function.__name__.startswith("_"):
        raise ConfigurationError(f"{where} is a {kind}: its name can't begin with an underscore")
    if code.co_flags & (_VAR_POSITIONAL | _VAR_KEYWORD):
        raise ConfigurationError(f"{where} is a {kind}: users can't fill *args or **kwargs")
    if code.co_argcount == 0:
        raise ConfigurationError(f"{where} is a {kind}: it needs a parameter self")
    if kind == "action":
        if not inspect.iscoroutinefunction(function):
            raise ConfigurationError(f"{where} is an action: make it an async def")
    elif inspect.iscoroutinefunction(function):
        hint = "return an async iterator" if kind == "stream" else "or make it an @action"
        raise ConfigurationError(f"{where} is a {kind}: make it a plain def, {hint}")
    elif inspect.isgeneratorfunction(function) or (
        inspect.isasyncgenfunction(function) and kind != "stream"
    ):
        raise ConfigurationError(f"{where} is a {kind}: it can't yield")
    setattr(function, _MARK, (kind, options))
    return function


def _avatar_class() -> type:
    # Avatars are themselves declared with these decorators.
    from hubbub.perspective.avatar import Avatar

    return Avatar


__all__ = [
    "Declaration",
    "Kind",
    "Options",
    "WhenFull",
    "action",
    "command",
    "declarations_of",
    "query",
    "stream",
    "view",
]
