"""The root: a space's mapping of entry points, object 0. It exists from the beginning, empty."""

from __future__ import annotations

from typing import Any

from hubbub.space.containers import Map


class Root(Map[str, Any]):
    """Names to persistent objects or values: ``root["room"]``, ``root.setdefault("room", Room())``."""

    _hubbub_implicit = True
