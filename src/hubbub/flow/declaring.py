"""What a component says of its boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hubbub.flow.bounds import ITEMS, POLICIES, WhenFull
from hubbub.kernel import GraphError


@dataclass(frozen=True, slots=True)
class Declared:
    """A declared box: what it is for, and its bounds. Made by `box`.

    Attributes:
        meaning: A line for drawings and errors.
        loose: Whether it may stay unlinked. An unlinked inbox is at its end at once; what is sent to a loose outbox
            that is linked to nothing goes nowhere.
        items: For an inbox, its bound in items.
        limit_bytes: For an inbox, its bound in bytes, or None.
        when_full: For an inbox, what it does when it is full.
    """

    meaning: str = ""
    loose: bool = False
    items: int = ITEMS
    limit_bytes: int | None = None
    when_full: WhenFull = "wait"


def box(
    meaning: str = "",
    *,
    loose: bool = False,
    items: int = ITEMS,
    limit_bytes: int | None = None,
    when_full: WhenFull = "wait",
) -> Declared:
    """Declare a box where a line of meaning does not say enough.

    >>> class Meter(Component):
    ...     inboxes = {"inbox": box("readings; the newest counts", items=1, when_full="latest")}

    Args:
        meaning: A line for drawings and errors.
        loose: Whether it may stay unlinked.
        items: For an inbox, its bound in items, at least 1.
        limit_bytes: For an inbox, its bound in bytes, or None for none.
        when_full: For an inbox, what it does when it is full: see `WhenFull`.

    Raises:
        GraphError: If a bound is less than 1 or there is no such policy.
    """
    if items < 1:
        raise GraphError(f"a box has to hold at least 1 item, not {items}")
    if limit_bytes is not None and limit_bytes < 1:
        raise GraphError(f"a box has to hold at least 1 byte, not {limit_bytes}")
    if when_full not in POLICIES:
        raise GraphError(
            f"there is no policy {when_full!r} for a full box; there are {', '.join(POLICIES)}"
        )
    return Declared(meaning, loose, items, limit_bytes, when_full)


Boxes = Mapping[str, str | Declared]
"""Names of boxes, with a line of meaning or what `box` returned."""


def declared(boxes: Boxes) -> dict[str, Declared]:
    """Return ``boxes`` with each in its full form."""
    return {
        name: entry if isinstance(entry, Declared) else Declared(str(entry))
        for name, entry in boxes.items()
    }


def loosened(boxes: Mapping[str, Declared]) -> dict[str, Declared]:
    """Return ``boxes`` so that each may stay unlinked."""
    return {name: replace(entry, loose=True) for name, entry in boxes.items()}
