"""Weak references: to an object, without keeping it in the space."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import persistent

from hubbub.kernel import UnknownObjectError

T = TypeVar("T")


class WeakRef(Generic[T]):
    """Refer to a persistent object without keeping it: ``room.newest = WeakRef(line)``.

    Calling it gives the object, or None when it is gone. An object is gone once nothing but weak references leads to it
    *and* the space was packed; until then it is still there. A plain value: it can stand wherever a tuple can, is
    frozen, and equals another one that refers to the same object.

    A new object that is only referred to weakly is stored, and goes with the next pack.

    Args:
        obj: A persistent object.

    Raises:
        TypeError: If ``obj`` is no persistent object.
    """

    __slots__ = ("_target",)

    def __init__(self, obj: T) -> None:
        if not isinstance(obj, persistent.Persistent):
            raise TypeError(
                f"a {type(obj).__qualname__} is no persistent object: store it as it is"
            )
        self._target = obj

    def __call__(self) -> T | None:
        """Return the object, or None if it is gone. Loads it."""
        target: Any = self._target
        try:
            target._p_activate()
        except UnknownObjectError as error:
            oid = target._p_oid
            if oid is None or error.oid != int.from_bytes(oid, "big"):
                raise
            return None
        return self._target

    @property
    def target(self) -> T:
        """The object, which may be gone: nothing is loaded, and using it raises `UnknownObjectError` then."""
        return self._target

    def __eq__(self, other: object) -> bool:
        if type(other) is not WeakRef:
            return NotImplemented
        return self._target is other._target

    def __hash__(self) -> int:
        # By identity: a hash of the object's own would have to load it.
        return object.__hash__(self._target)

    def __copy__(self) -> WeakRef[T]:
        return self

    def __deepcopy__(self, _memo: object) -> WeakRef[T]:
        return self

    def __repr__(self) -> str:
        oid = self._target._p_oid  # type: ignore[attr-defined]
        where = "new" if oid is None else f"{int.from_bytes(oid, 'big'):#x}"
        return f"<weak reference to {type(self._target).__qualname__} {where}>"


def weak_reference(target: Any) -> WeakRef[Any]:
    """Return a weak reference to ``target``, whatever stands for an object there."""
    made: WeakRef[Any] = WeakRef.__new__(WeakRef)
    made._target = target
    return made
