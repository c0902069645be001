"""An attribute of a `persistent.Persistent` object that belongs to no database: the floor for any."""

from __future__ import annotations

import persistent

from bench.work import read_ns


class Item(persistent.Persistent):
    def __init__(self) -> None:
        self.number = 0


def read_warm(seconds: float) -> dict[str, float]:
    """Nanoseconds for one attribute."""
    return {"read-warm": read_ns(Item(), seconds)}
