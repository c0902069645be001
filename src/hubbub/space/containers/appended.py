"""The quick way to merge a B-tree's last leaf: both transactions have only added text keys behind all that were there.

That is what happens where many add lines under keys that sort by time. The outcome is that of the general merge
(`hubbub.space.containers.merge`), but what was there already is copied and not looked at: its bytes are the beginning
of all three states.

    [items]     0x91, the head of an array, its items                (hubbub.space.trees)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from hubbub.kernel import Record
from hubbub.space.leaves import ONE_PART, array_head, cut_items

_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_key_of = msgspec.msgpack.Decoder(str).decode


def merge_appended(old: Record, committed: Record, new: Record, step: int) -> bytes | None:
    """Return the payload that has both changes, or None if this is no such case.

    Args:
        old: What both began with.
        committed: What the first made of it.
        new: What the second would make of it.
        step: How many parts an item has.
    """
    if committed.refs or new.refs or old.payload[0] != ONE_PART:
        return None
    if committed.payload[0] != ONE_PART or new.payload[0] != ONE_PART:
        return None
    count, before = cut_items(old.payload)
    count_theirs, theirs = cut_items(committed.payload)
    count_ours, ours = cut_items(new.payload)
    if not count or not (theirs.startswith(before) and ours.startswith(before)):
        return None
    added: dict[str, Any] = {}
    for tail, length in ((theirs, count_theirs - count), (ours, count_ours - count)):
        parts = _split(array_head(length) + tail[len(before) :])
        try:
            for place in range(0, length, step):
                key = _key_of(parts[place])
                if key in added:
                    return None
                added[key] = parts[place : place + step]
        except msgspec.ValidationError:
            return None  # a key that is no text
    items = b"".join([part for key in sorted(added) for part in added[key]])
    total = count + step * len(added)
    return b"".join((bytes((ONE_PART,)), array_head(total), before, items))


def items_behind(old: bytes, new: Sequence[bytes]) -> bytes | None:
    """Return the items that the leaves ``new`` have together behind those of the leaf ``old``; None if that is not all.

    Returns:
        An encoded array.

    Raises:
        ValueError, LookupError, msgspec.DecodeError: One of them is no leaf.
    """
    count, before = cut_items(old)
    cut = [cut_items(payload) for payload in new]
    after = b"".join([items for _, items in cut])
    if not after.startswith(before):
        return None
    return array_head(sum([length for length, _ in cut]) - count) + after[len(before) :]


def part_count(leaf: bytes) -> int:
    """Return how many parts the items of ``leaf`` have. Raises as `items_behind`."""
    return cut_items(leaf)[0]
