"""What becomes of what is offered to a backlog, and the bounds of one of its streams (PE5)."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from hubbub.perspective.declarations import WhenFull
from hubbub.wire.session import Failure

TOO_SLOW = Failure("limit", "too_slow", "this stream was not read fast enough")
"""Why a stream with the policy ``disconnect`` ends."""


class Offered(Enum):
    """What became of an offer."""

    KEPT = auto()  # it will be delivered, or a gap will stand in its place
    LAGGED = auto()  # everything was dropped: offer again what is kept elsewhere
    ENDED = auto()  # its stream was too slow and has ended
    IGNORED = auto()  # its stream is not open


class Acknowledged(NamedTuple):
    """What the client has taken in: calls whose results, and watches whose ends, it now has."""

    calls: list[int]
    ended: list[int]


class Dropped(NamedTuple):
    """What a lag or a new epoch has dropped.

    Attributes:
        results: Calls whose results were on their way by the present carrier; not known to have arrived.
        mind_calls: Calls of the mind that want a reply; some may have arrived.
        minds: Whether any call of the mind was dropped.
    """

    results: list[int]
    mind_calls: list[int]
    minds: bool


NOTHING_DROPPED = Dropped([], [], minds=False)


class StreamBounds:
    """What one stream may have waiting or unacknowledged, and what it has."""

    __slots__ = (
        "gap",
        "items",
        "items_limit",
        "since",
        "size",
        "size_limit",
        "waiting",
        "when_full",
    )

    def __init__(self, items: int, size: int, when_full: WhenFull, since: int) -> None:
        self.items_limit = items
        self.size_limit = size
        self.when_full: WhenFull = when_full
        self.since = since  # items with numbers up to this one were another stream's of the same id
        self.items = 0  # sent or waiting
        self.size = 0
        self.waiting: list[int] = []  # serials, in order
        self.gap = 0  # serial of a waiting gap, or 0

    def has_room(self, items: int, size: int) -> bool:
        """Tell whether so many items, of ``size`` bytes together, are within the bounds."""
        return self.items + items <= self.items_limit and self.size + size <= self.size_limit
