"""Keyed changes of containers, as a commit carries them to live views (LV3).

A container tells its connection ``note_change(container, key, value)`` before each change. The value is what the key
got, or `DELETED`. The key `CLEARED` says that more changed than is listed: whoever watches has to look again.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from hubbub.space.classes import register


class Change(Enum):
    """Marks in keyed changes. As an enum, so that they pass through the value codec to peers."""

    DELETED = "deleted"
    CLEARED = "cleared"
    FIRST = "first"


Change.__hubbub_name__ = "hubbub.Change"  # type: ignore[attr-defined]
register(Change)

DELETED = Change.DELETED
"""As a value: the key is gone."""

CLEARED = Change.CLEARED
"""As a key: the container was cleared, trimmed or otherwise changed beyond what is listed."""

FIRST = Change.FIRST
"""As a key of a log's changes: its value is the position of the log's first kept item."""

Patch = list[list[Any]]
