"""What deliveries that are acknowledged together amount to (PE5; sans-I/O).

What many get, many acknowledge: a page after every 32 deliveries, and the next page the same 32. So they are added up
once, as long as the same ones come again; to see that costs a comparison of two lists of the same objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from hubbub.wire.deliveries import Encoded
from hubbub.wire.session import End, Item, Result


class Tally(NamedTuple):
    """The sum of some deliveries.

    Attributes:
        size: What they cost together, in bytes.
        items: For each stream that has items among them: its id, how many, and what they cost.
        calls: Calls whose results are among them.
        ended: Watches and streams whose ends are among them.
    """

    size: int
    items: Sequence[tuple[int, int, int]]
    calls: Sequence[int]
    ended: Sequence[int]


def tally_of(entries: list[Encoded]) -> Tally:
    """Add up ``entries``, which are not changed any more: the same tally again for the same ones."""
    global _last
    same, tally = _last
    if same != entries:
        tally = _added_up(entries)
        # What is acknowledged is let go of: no more than this much is held for the next one.
        if tally.size <= _KEPT_BYTES:
            _last = (entries, tally)
    return tally


def _added_up(entries: list[Encoded]) -> Tally:
    size = 0
    items: dict[int, tuple[int, int]] = {}
    calls: list[int] = []
    ended: list[int] = []
    for entry in entries:
        cost, kind = entry.cost, entry.kind
        size += cost
        if kind is Item:
            count, of_stream = items.get(entry.id, (0, 0))
            items[entry.id] = count + 1, of_stream + cost
        elif kind is Result:
            calls.append(entry.id)
        elif kind is End:
            ended.append(entry.id)
    of_streams = [(stream_id, *sums) for stream_id, sums in items.items()]
    return Tally(size, of_streams, calls, ended)


def items_of(entries: Sequence[Encoded], stream_id: int) -> tuple[int, int]:
    """Return how many items of stream ``stream_id`` are among ``entries``, and what they cost."""
    costs = [entry.cost for entry in entries if entry.kind is Item and entry.id == stream_id]
    return len(costs), sum(costs)


_KEPT_BYTES: Final = 64 << 10
_last: tuple[list[Encoded], Tally] = ([], Tally(0, (), (), ()))
