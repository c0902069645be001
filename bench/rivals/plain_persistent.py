"""An attribute of a `persistent.Persistent` object that belongs to no database: the floor for any.

It lives in a `persistent` cache, as every object does that was loaded from anywhere: each use moves it to the front of
the order in which a cache lets go. That is two of about 35 ns; an object that was never stored is spared them.
"""

from __future__ import annotations

import persistent

from bench.work import read_ns


class Item(persistent.Persistent):
    def __init__(self) -> None:
        self.number = 0


class Jar:
    """Stands where a database's connection would."""

    def register(self, item: Item) -> None:
        pass

    def setstate(self, item: Item) -> None:
        pass


def loaded() -> Item:
    """Return an object in a cache."""
    jar, item, oid = Jar(), Item(), bytes(7) + b"\x01"
    item._p_jar = jar
    item._p_oid = oid
    cache = persistent.PickleCache(jar, 100)
    cache[oid] = item
    jar.__dict__["cache"] = cache  # which lasts as long
    item._p_changed = False
    return item


def read_warm(seconds: float) -> dict[str, float]:
    """Nanoseconds for one attribute."""
    return {"read-warm": read_ns(loaded(), seconds)}
