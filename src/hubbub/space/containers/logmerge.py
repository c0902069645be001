"""Merge two transactions' additions to one log: the later one's items come behind the earlier one's.

Only the heads are looked at, and items are not decoded. A transaction never seals its own items together with earlier
ones, so what it added is a row of whole parts, whatever it did to tidy up; that row is put behind the committed parts,
and the tidying is dropped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from hubbub.kernel import CorruptRecordError, Record
from hubbub.space.reading import note_references
from hubbub.space.trees import split_parts

_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(tuple[int, int, int, list[msgspec.Raw]]).decode
_decode_sealed = msgspec.msgpack.Decoder(tuple[int, int, float, int]).decode
_decode_times = msgspec.msgpack.Decoder(list[float]).decode


class _Part(NamedTuple):
    """A sealed part as it is (``raw``, ``oid``), or inline times and encoded items."""

    length: int
    raw: Any
    oid: int
    times: list[float]
    items: list[Any]


class _Head(NamedTuple):
    start: int
    first: int
    end: int
    parts: list[_Part]


def merge_logs(old: Record, committed: Record, new: Record) -> tuple[bytes, tuple[int, ...]] | str:
    """Return the merged head and its refs, or why there is none; see `hubbub.space.containers.merge`."""
    before, theirs, ours = (_head(record.payload) for record in (old, committed, new))
    if ours.first > before.end or theirs.end < before.end or ours.end < before.end:
        return "it was trimmed beyond what the other transaction had seen"
    if ours.first < before.first:
        return "what was trimmed can't be put back beside another change"
    added = _from(ours, before.end)
    if added is None:
        return "its parts were not kept apart"
    parts = list(theirs.parts)
    if parts and added and not parts[-1].raw and not added[0].raw:
        last, following = parts.pop(), added.pop(0)
        times, items = last.times + following.times, last.items + following.items
        parts.append(_Part(len(items), None, 0, times, items))
    parts += added
    first = max(theirs.first, ours.first)
    start = theirs.start
    while parts and start + parts[0].length <= first:
        start += parts.pop(0).length
    end = theirs.end + ours.end - before.end
    packed = [part.raw or [part.times, part.items] for part in parts]
    return _encode([start, first, end, packed]), _refs(parts, (committed, new))


def _head(payload: bytes) -> _Head:
    try:
        start, first, end, raw_parts = _decode_head(payload)
        parts = [_part(raw) for raw in raw_parts]
    except msgspec.DecodeError as error:
        raise CorruptRecordError(f"a log's head can't be read: {error}") from error
    if start + sum(part.length for part in parts) != end:
        raise CorruptRecordError("a log's parts don't cover its positions")
    return _Head(start, first, end, parts)


def _part(raw: msgspec.Raw) -> _Part:
    pieces = split_parts(raw)
    if len(pieces) == 2:
        times, items = _decode_times(pieces[0]), split_parts(pieces[1])
        return _Part(len(items), None, 0, times, items)
    _, count, _, oid = _decode_sealed(raw)
    return _Part(count, raw, oid, [], [])


def _from(head: _Head, position: int) -> list[_Part] | None:
    """Return the parts of ``head`` from ``position`` on; None if a sealed part lies across it."""
    found: list[_Part] = []
    start = head.start
    for part in head.parts:
        skip = position - start
        start += part.length
        if skip <= 0:
            found.append(part)
        elif skip < part.length:
            if part.raw:
                return None
            times, items = part.times[skip:], part.items[skip:]
            found.append(_Part(len(items), None, 0, times, items))
    return found


def _refs(parts: list[_Part], sources: tuple[Record, ...]) -> tuple[int, ...]:
    refs: dict[int, None] = {}
    sealed = {part.oid for part in parts if part.raw}
    has_others = any(set(record.refs) - sealed for record in sources)

    for part in parts:
        if part.raw:
            refs[part.oid] = None
        elif has_others:
            for item in part.items:
                note_references(item, refs)
    return tuple(refs)
