"""Let classes be stored: `hubbub.register`, with or without a codec of their own (SP2, SP3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

import persistent

from hubbub.space import classes
from hubbub.space.shapes import use_value_codec
from hubbub.space.weak import WeakRef
from hubbub.space.writing import forget_writer, has_own_form

C = TypeVar("C", bound=type)


@overload
def register(
    cls: C,
    /,
    *,
    name: str | None = None,
    formerly: str | tuple[str, ...] = (),
    version: int | None = None,
) -> C: ...
@overload
def register(
    cls: C,
    /,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any],
    decode: Callable[[Any], Any],
    frozen: bool = False,
    formerly: str | tuple[str, ...] = (),
    version: int | None = None,
) -> C: ...
@overload
def register(
    *, name: str | None = None, formerly: str | tuple[str, ...] = (), version: int | None = None
) -> Callable[[C], C]: ...
def register(
    cls: Any = None,
    /,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
    frozen: bool = False,
    formerly: str | tuple[str, ...] = (),
    version: int | None = None,
) -> Any:
    """Let stored data be read as ``cls``. Usable as a decorator: ``@register``, ``@register(name="chat.Line")``.

    *Without a codec.* Persistent classes are registered when they are made. Structs, dataclasses, enums and named
    tuples need it only if their class can't be found in its module by name (it was made inside a function), has a
    ``__post_init__``, which reading runs from then on, was renamed or moved, or counts versions. Of two classes with
    one name the newer counts, as after a reload.

    *With a codec*, values of any class can be stored: ``register(deque, encode=list, decode=deque)``. Each process that
    reads them must have called it. One that has not keeps such a value as it is, and writes it back unchanged (SP3).
    Subclasses are not included.

    Args:
        cls: The class.
        name: Under which its values are stored. Choose one if the class may be renamed or moved some day; by default it
            is ``module:Class``.
        encode: Returns any storable value that has all of what it is given; persistent objects may be in it. It may be
            called more than once, and gives the same each time.
        decode: Returns a ``cls`` made of what ``encode`` returned. Persistent objects in that may be kept, not used.
        frozen: Whether values can't be changed in place. If they can, objects that hold one are compared at each
            commit (SP8), which needs an ``encode`` that is quick.
        formerly: Names under which it was stored before, such as ``"blog:Post"``: what was stored so is read as this
            class, and stored under today's name when it is changed. Persistent classes say it in their class statement.
        version: At which version it is; see `upgrade`.

    Returns:
        ``cls``.

    Raises:
        TypeError: If only half a codec is given; or if there is one for what is stored without: persistent classes,
            ``int``, ``list`` and the like. Nothing has changed.
        ConfigurationError: If a name belongs to another class, or the steps of ``cls`` don't lead to ``version``.
    """
    if cls is None:
        if encode is not None or decode is not None:
            raise TypeError("give register the class: register(cls, encode=..., decode=...)")
        return lambda cls: register(cls, name=name, formerly=formerly, version=version)
    if encode is None and decode is None:
        return classes.register(cls, name, formerly, version)
    if encode is None or decode is None:
        raise TypeError("a codec is both: encode and decode")
    if issubclass(cls, persistent.Persistent) or cls is WeakRef or has_own_form(cls):
        raise TypeError(f"{cls.__qualname__} is stored without a codec")
    classes.register(cls, name, formerly, version)
    use_value_codec(cls, encode, decode, is_frozen=frozen)
    forget_writer(cls)
    return cls
