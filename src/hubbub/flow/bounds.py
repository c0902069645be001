"""How much a box holds, and what it does when it is full."""

from __future__ import annotations

import sys
from typing import Any, Literal

from hubbub.flow.tracking import Tracked

WhenFull = Literal["wait", "fail", "latest", "drop-oldest", "drop-newest"]
"""What a full box does with one more item.

``wait``: its sender waits. ``fail``: its sender gets `BoxFullError`. ``latest``: everything that waits gives way to the
newest. ``drop-oldest`` / ``drop-newest``: the oldest item, or the new one, is dropped and counted.
"""

POLICIES: tuple[WhenFull, ...] = ("wait", "fail", "latest", "drop-oldest", "drop-newest")

ITEMS = 100
"""How many items a box holds unless it is told otherwise."""


def size_of(item: Any) -> int:
    """Return how many bytes ``item`` counts for: its length for text and bytes, else what Python says it takes."""
    if isinstance(item, Tracked):
        item = item.item
    if isinstance(item, str | bytes | bytearray | memoryview):
        return len(item)
    return sys.getsizeof(item)
