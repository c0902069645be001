"""A container stores its items and nothing else: an attribute set on one is refused, not lost."""

from __future__ import annotations

from typing import Any


def check_attribute(container: Any, name: str, own: tuple[str, ...]) -> None:
    """Let ``name`` be set if it is volatile, `persistent`'s or one of the container's ``own``.

    Raises:
        AttributeError: If it would be lost.
    """
    if name not in own and name[:3] not in ("_p_", "_v_"):
        raise AttributeError(
            f"{type(container).__qualname__} stores its items, no attributes: {name!r} would be lost; "
            "put it on the object that holds the container"
        )


def note_assignment(container: Any) -> None:
    """Say that Python will put ``container`` where it is already: ``room.tags |= {"x"}`` is no change of the room."""
    jar = container._p_jar
    if jar is not None:
        jar.note_assignment(container)
