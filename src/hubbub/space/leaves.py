"""Leaves of B-trees that grow at their end, as all do to which many add under keys that sort by time.

Theory of operation
===================

A leaf is a record, so whoever adds one item writes all, and everybody else reads all. But what was there before is the
beginning of it, byte for byte:

    before   [items]      0x91, the head of an array, its items      (hubbub.space.trees)
    now      [items]      0x91, the head of an array, the same items, those that are new

So of a leaf that was decoded lately the items are known with their bytes, and only what stands behind them is decoded
or encoded. Items are the same as long as they are the same objects: known are only leaves without a reference and
without anything that can be changed in place.
"""

from __future__ import annotations

from operator import is_
from typing import Any

import msgspec

ONE_PART = 0x91
"""First byte of a leaf that no other follows."""

_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_SMALL, _MEDIUM, _LARGE = 0x90, b"\xdc", b"\xdd"
_SMALL_LENGTH = 15
_LEAVES = 256
_LEAF_BYTES = 16 << 10
_SHORT = 16


def array_head(count: int) -> bytes:
    """Return how an encoded array of ``count`` begins."""
    if count <= _SMALL_LENGTH:
        return bytes((_SMALL | count,))
    if count < 1 << 16:
        return _MEDIUM + count.to_bytes(2, "big")
    return _LARGE + count.to_bytes(4, "big")


def cut_items(leaf: bytes) -> tuple[int, bytes]:
    """Return how many parts the items of an encoded leaf have, and their bytes.

    Raises:
        ValueError, LookupError, msgspec.DecodeError: It is no leaf.
    """
    end = len(leaf)
    if leaf[0] != ONE_PART:
        end -= len(_split(leaf)[1])
    first = leaf[1]
    if _SMALL <= first <= _SMALL | _SMALL_LENGTH:
        return first - _SMALL, leaf[2:end]
    if leaf[1:2] == _MEDIUM:
        return int.from_bytes(leaf[2:4], "big"), leaf[4:end]
    if leaf[1:2] == _LARGE:
        return int.from_bytes(leaf[2:6], "big"), leaf[6:end]
    raise ValueError("not the items of a leaf")


class KnownLeaves:
    """The last leaves of some trees, as they were decoded lately. Any thread."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[bytes, tuple[Any, ...]]] = {}

    def remember(self, oid: int, leaf: bytes, items: tuple[Any, ...]) -> None:
        """Note that ``leaf`` is ``items``, encoded, none of which can be changed in place or is a reference."""
        if items and leaf[0] == ONE_PART and len(leaf) <= _LEAF_BYTES:
            self._put(oid, cut_items(leaf)[1], items)

    def _put(self, oid: int, packed: bytes, items: tuple[Any, ...]) -> None:
        known = self._known
        if len(known) >= _LEAVES and oid not in known:
            known.clear()
        known[oid] = packed, items

    def read(self, oid: int, leaf: bytes) -> tuple[tuple[Any, ...], bytes] | None:
        """Return what is known of the items of ``leaf``, and those behind them as an encoded array.

        Returns:
            None if nothing is known. What is not at the beginning of ``leaf`` is of no use.
        """
        known = self._known.get(oid)
        if known is None or leaf[0] != ONE_PART:
            return None
        before, items = known
        try:
            count, after = cut_items(leaf)
        except (ValueError, LookupError):
            return None  # damaged: who reads all of it says how
        if count < len(items) or not after.startswith(before):
            return None
        return items, array_head(count - len(items)) + after[len(before) :]

    def unread(self, oid: int, items: tuple[Any, ...]) -> tuple[bytes, int] | None:
        """Return the bytes of those of ``items`` that are known, and how many these are: the first ones, and most."""
        known = self._known.get(oid)
        if known is None:
            return None
        before, first = known
        count = len(first)
        if not count <= len(items) <= count + _SHORT or not all(map(is_, first, items)):
            return None
        return before, count

    def split(self, oid: int, items: tuple[Any, ...], following: int) -> bytes | None:
        """Return the bytes of ``items``, the first ones of a leaf that is known; the others went to ``following``."""
        known = self._known.get(oid)
        if known is None:
            return None
        packed, whole = known
        count = len(items)
        if not count < len(whole) or not all(map(is_, items, whole)):
            return None
        parts = _split(array_head(len(whole)) + packed)
        self._put(following, b"".join(parts[count:]), whole[count:])
        return b"".join(parts[:count])
