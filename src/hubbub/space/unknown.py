"""Values whose class is not known here: kept, readable, written back unchanged (SP3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from hubbub.kernel import UnknownClassError

_noting: ContextVar[Callable[[str, str, str], None] | None] = ContextVar(
    "hubbub_unknown", default=None
)


@contextmanager
def noting_unknown(note: Callable[[str, str, str], None]) -> Iterator[None]:
    """Call ``note(class name, kind, why)`` in the block for each value that is read as an `UnknownValue`.

    ``why`` says what does not fit; it is empty if the class is not known.
    """
    token = _noting.set(note)
    try:
        yield
    finally:
        _noting.reset(token)


def note_unknown(class_name: str, kind: str, why: str) -> None:
    """Tell whoever wants to know (`noting_unknown`) of a value that is about to be read as an `UnknownValue`."""
    note = _noting.get()
    if note is not None:
        note(class_name, kind, why)


class UnknownValue:
    """A plain value of a class that this process does not know.

    Its fields are read as attributes; asking for anything else raises `UnknownClassError`. Two are equal if class, kind
    and fields are. Values inside it whose classes are known are kept in this form too, so that the
    whole is written back byte for byte, whatever shape those classes have here.

    Attributes:
        hubbub_class: Stored name of its class.
        hubbub_kind: ``struct``, ``dataclass``, ``namedtuple``, ``enum``, ``flag``, ``coded`` (by a codec that is not
            registered here: its ``value``), ``datetime`` or ``time`` (of a time zone that this machine does not have),
            ``path`` (of another system).
        hubbub_fields: Field name to value; also ``fields``, unless there is a field of that name. An enum member
            has ``name``, a flag ``value``.
        hubbub_misfit: What does not fit, where the class is known here but has another shape; else empty.
    """

    __slots__ = ("hubbub_class", "hubbub_fields", "hubbub_kind", "hubbub_misfit")

    hubbub_class: str
    hubbub_kind: str
    hubbub_fields: dict[str, Any]
    hubbub_misfit: str

    def __init__(
        self, class_name: str, kind: str, fields: dict[str, Any], misfit: str = ""
    ) -> None:
        object.__setattr__(self, "hubbub_class", class_name)
        object.__setattr__(self, "hubbub_kind", kind)
        object.__setattr__(self, "hubbub_fields", fields)
        object.__setattr__(self, "hubbub_misfit", misfit)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self.hubbub_fields[name]
        except KeyError:
            if name == "fields":
                # Without what it says about versions of its class.
                return {
                    field: value
                    for field, value in self.hubbub_fields.items()
                    if not field.startswith("_p_")
                }
            raise self._refusal(f"use {name!r}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise self._refusal(f"set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise self._refusal(f"delete {name!r}")

    def _refusal(self, what: str) -> UnknownClassError:
        return UnknownClassError(self.hubbub_class, what, self.hubbub_misfit)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UnknownValue):
            return NotImplemented
        return (
            self.hubbub_class == other.hubbub_class
            and self.hubbub_kind == other.hubbub_kind
            and self.hubbub_fields == other.hubbub_fields
        )

    def __hash__(self) -> int:
        try:
            return hash((self.hubbub_class, self.hubbub_kind, tuple(self.hubbub_fields.items())))
        except TypeError:
            # A codec may make a list of what is hashable itself, and a member of a set.
            return hash((self.hubbub_class, self.hubbub_kind))

    def __copy__(self) -> UnknownValue:
        return self

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.hubbub_fields.items())
        return f"<unknown {self.hubbub_class}({fields})>"
