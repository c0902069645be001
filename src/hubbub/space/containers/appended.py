"""The quick way to merge a B-tree's last leaf: both transactions have only added text keys behind all that were there.

That is what happens where many add lines under keys that sort by time. The outcome is that of the general merge
(`hubbub.space.containers.merge`), but what was there already is copied and not looked at: its bytes are the beginning
of all three states.

    [items]     0x91, the head of an array, its items                (hubbub.space.trees)
"""

from __future__ import annotations

from typing import Any

import msgspec

from hubbub.kernel import Record

_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_key_of = msgspec.msgpack.Decoder(str).decode
_ONE_PART = 0x91
_SMALL, _MEDIUM, _LARGE = 0x90, b"\xdc", b"\xdd"
_SMALL_LENGTH, _MEDIUM_LENGTH = 15, 0xFFFF


def merge_appended(old: Record, committed: Record, new: Record, step: int) -> bytes | None:
    """Return the payload that has both changes, or None if this is no such case.

    Args:
        old: What both began with.
        committed: What the first made of it.
        new: What the second would make of it.
        step: How many parts an item has.
    """
    if committed.refs or new.refs or old.payload[:1] == b"\x90":
        return None
    cut = [_cut(record.payload) for record in (old, committed, new)]
    if None in cut:
        return None
    (count, before), (count_theirs, theirs), (count_ours, ours) = cut  # type: ignore[misc]
    if not count or not (theirs.startswith(before) and ours.startswith(before)):
        return None
    added: dict[str, Any] = {}
    for tail, length in ((theirs, count_theirs - count), (ours, count_ours - count)):
        parts = _split(_head(length) + tail[len(before) :])
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
    return b"".join((bytes((_ONE_PART,)), _head(total), before, items))


def _cut(payload: bytes) -> tuple[int, bytes] | None:
    """Return how many parts the items of a leaf without a following one have, and their bytes."""
    if payload[0] != _ONE_PART:
        return None
    first = payload[1]
    if _SMALL <= first <= _SMALL | _SMALL_LENGTH:
        return first - _SMALL, payload[2:]
    if payload[1:2] == _MEDIUM:
        return int.from_bytes(payload[2:4], "big"), payload[4:]
    if payload[1:2] == _LARGE:
        return int.from_bytes(payload[2:6], "big"), payload[6:]
    return None


def _head(count: int) -> bytes:
    """Return the beginning of an array of ``count`` parts."""
    if count <= _SMALL_LENGTH:
        return bytes((_SMALL | count,))
    if count <= _MEDIUM_LENGTH:
        return _MEDIUM + count.to_bytes(2, "big")
    return _LARGE + count.to_bytes(4, "big")
