"""Items numbered, and sent again until they are handled (sans-I/O).

Theory of operation
===================

    Numbering                                    Arrivals, one for each origin
    add --> 7 8 9 [window] --item--> ............ take --> given to the graph as `Tracked`
                       ^                                        | token done
                       '------------ handled ............ handled, said on whatever connection there is

A number leaves the window when the other side says that it has been handled. After a new connection all that is in the
window is sent again, in order. The other side gives a number to its graph once: what is in the graph already, or has
been handled, is not given again. Numbers below the *floor*, the lowest that is in the window, will not come again, and
are forgotten.

What the other side knows is lost when its process dies. Then what was not said to be handled comes again: a sink that
stores positions with its data makes that exactly once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from hubbub.flow.net.frames import Ranges
from hubbub.flow.tracking import Position, Token, Tracked
from hubbub.kernel import RemoteProtocolError

log = logging.getLogger("hubbub.flow.net")

WINDOW = 1000
"""How many items may be on their way, unless told otherwise."""

WINDOW_BYTES = 1 << 20

MOST_WINDOW = 1 << 16
"""The largest window that the other side may have."""

ORIGINS = 10_000
"""So many origins without a connection are remembered."""

NUMBERS = 1 << 20
"""So many of their numbers: about 100 MB."""

_LOOK_EVERY = 16


class Numbering:
    """Number what is sent, and keep it until it has been handled.

    Args:
        origin: Who numbers.
        first: The first number.
        items: So many may be in the window.
        limit_bytes: So many bytes may be in the window; one larger item still goes, alone.
    """

    __slots__ = ("_bytes", "_items", "_limit_bytes", "_next", "_window", "floor", "origin")

    def __init__(
        self, origin: str, *, first: int = 1, items: int = WINDOW, limit_bytes: int = WINDOW_BYTES
    ) -> None:
        self.origin = origin
        self.floor = first
        self._next = first
        self._items = items
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._window: dict[int, tuple[bytes, Tracked | None]] = {}

    def __len__(self) -> int:
        return len(self._window)

    @property
    def room(self) -> bool:
        """Whether one more item may be added."""
        return len(self._window) < self._items and self._bytes < self._limit_bytes

    def add(self, body: bytes, tracked: Tracked | None = None) -> int:
        """Give ``body`` a number, and keep it. ``tracked`` is released when it has been handled."""
        number = self._next
        self._next += 1
        self._window[number] = (body, tracked)
        self._bytes += len(body)
        return number

    def handled(self, numbers: Ranges) -> None:
        """The other side has handled ``numbers``.

        Raises:
            RemoteProtocolError: If one of them was never given.
        """
        for number in self.known(numbers):
            body, tracked = self._window.pop(number)
            self._bytes -= len(body)
            if tracked is not None:
                tracked.release()
        self.floor = next(iter(self._window), self._next)

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers in the window, in order."""
        return iter(self._window)

    def kept(self, numbers: AbstractSet[int]) -> list[tuple[int, bytes]]:
        """Return what is in the window of ``numbers``, in order."""
        window = self._window
        return [(number, window[number][0]) for number in sorted(numbers) if number in window]

    def known(self, numbers: Ranges) -> list[int]:
        """Return which of ``numbers`` are in the window.

        Raises:
            RemoteProtocolError: If one of them was never given, or comes twice: a short frame could ask for much work.
        """
        known: list[int] = []
        before = 0
        for first, last in numbers:
            if not 0 < first <= last < self._next:
                raise RemoteProtocolError(
                    f"the other side speaks of the items {first} to {last}, and the last one was {self._next - 1}"
                )
            if first <= before:
                raise RemoteProtocolError(
                    f"the other side speaks of the items {first} to {last} behind {before}: out of order, or twice"
                )
            before = last
            first = max(first, self.floor)
            if last - first < len(self._window):
                known += [n for n in range(first, last + 1) if n in self._window]
            else:
                known += [n for n in self._window if first <= n <= last]
        return known


class Arrivals:
    """What has come from one origin, and what has become of it.

    Args:
        origin: Who numbered it.
        floor: Numbers below will not come.

    Attributes:
        users: How many connections there are from this origin.
        doubles: How many came that were known already.
    """

    __slots__ = (
        "_again",
        "_done",
        "_given",
        "_news",
        "_to_say",
        "doubles",
        "floor",
        "origin",
        "users",
    )

    def __init__(self, origin: str, floor: int) -> None:
        self.origin = origin
        self.floor = floor
        self.users = 0
        self.doubles = 0
        self._given: set[int] = set()
        self._done: set[int] = set()
        self._to_say: set[int] = set()
        self._again: set[int] = set()
        self._news: Callable[[], None] | None = None

    @property
    def remembered(self) -> int:
        """How many numbers are kept of it."""
        return len(self._done) + len(self._to_say)

    @property
    def in_use(self) -> bool:
        """Whether somebody is connected, or something is in a graph."""
        return self.users > 0 or bool(self._given)

    def listen(self, news: Callable[[], None]) -> None:
        """From now on call ``news`` when there is something to say: the newest connection says it."""
        self._news = news

    def leave(self, news: Callable[[], None]) -> None:
        """Call ``news`` no more."""
        if self._news == news:
            self._news = None

    def raise_floor(self, floor: int) -> None:
        """Forget the numbers below ``floor``."""
        if floor <= self.floor:
            return
        if floor - self.floor <= len(self._done):
            self._done.difference_update(range(self.floor, floor))
        else:
            self._done = {number for number in self._done if number >= floor}
        self.floor = floor

    def take(self, number: int, floor: int) -> bool:
        """Note that ``number`` has come. Return whether it has to be given to the graph.

        Raises:
            RemoteProtocolError: If the window of the other side is too large.
        """
        self.raise_floor(floor)
        if number - self.floor >= MOST_WINDOW:
            raise RemoteProtocolError(
                f"item {number} came while {self.floor} has not been handled: the window is larger than {MOST_WINDOW}"
            )
        if number < self.floor or number in self._done:
            self.doubles += 1
            if len(self._to_say) > MOST_WINDOW:
                raise RemoteProtocolError(
                    f"more than {MOST_WINDOW} items came again, and what is said of them is not read"
                )
            self._to_say.add(number)
            return False
        if number in self._given:
            self.doubles += 1
            return False
        self._given.add(number)
        return True

    def position(self, number: int) -> Position:
        """Return the position of ``number``."""
        return Position(self.origin, number, self.floor)

    def handled(self, number: int) -> None:
        """Nothing that stems from ``number`` is in the graph any more."""
        if number in self._given:
            self._given.discard(number)
            if number >= self.floor:
                self._done.add(number)
            self._to_say.add(number)
            if self._news is not None:
                self._news()

    def forget(self, number: int) -> None:
        """``number`` could not be given after all."""
        self._given.discard(number)

    def lost(self, numbers: set[int], news: Callable[[], None]) -> None:
        """``numbers`` were given to a graph that has ended. Those that it has not handled have to come again.

        Whoever has connected since then has sent them already, and is asked for them.

        Args:
            numbers: The numbers.
            news: What the connection listens by that gave them: it ends, too, and does not ask.
        """
        lost = numbers & self._given
        self._given -= lost
        if lost and self._news is not None and self._news != news:
            self._again |= lost
            self._news()

    def to_say(self, news: Callable[[], None]) -> tuple[set[int], set[int]]:
        """Return what has been handled, or came again after it was, and what has to come again.

        Each is said once, by the connection that listens.
        """
        if self._news != news:
            return set(), set()
        said = self._to_say, self._again
        self._to_say, self._again = set(), set()
        return said


class Origins:
    """The arrivals of all origins, as long as this process lives.

    Those of whom nothing is in a graph, and who are not connected, are forgotten when there are too many of them, or of
    their numbers: the ones longest away first. What such an origin sends again is then given again.
    """

    __slots__ = ("_arrivals", "_made")

    def __init__(self) -> None:
        self._arrivals: dict[str, Arrivals] = {}
        self._made = 0

    def of(self, origin: str, floor: int) -> Arrivals:
        """Return the arrivals of ``origin``, which says that numbers below ``floor`` will not come."""
        arrivals = self._arrivals.pop(origin, None)
        if arrivals is None:
            arrivals = Arrivals(origin, floor)
            self._make_room()
        elif floor < arrivals.floor:
            log.warning(
                "%r numbers from %d on again, and its items below %d are handled already: those that come are taken "
                "for the same ones; an origin= may only be kept where the same items get the same numbers again",
                origin,
                floor,
                arrivals.floor,
            )
        arrivals.raise_floor(floor)
        self._arrivals[origin] = arrivals  # the newest is the last
        return arrivals

    def _make_room(self) -> None:
        self._made += 1
        origins, numbers = len(self._arrivals) + 1 - ORIGINS, 0
        if self._made % _LOOK_EVERY == 0:
            numbers = sum(each.remembered for each in self._arrivals.values()) - NUMBERS
        if origins <= 0 and numbers <= 0:
            return
        for origin, arrivals in list(self._arrivals.items()):
            if origins <= 0 and numbers <= 0:
                return
            if not arrivals.in_use:
                del self._arrivals[origin]
                origins -= 1
                numbers -= arrivals.remembered


def track(item: Any, token: Token) -> Tracked:
    """Return ``item`` with ``token``, which has no other place."""
    tracked = Tracked(item, (token,))
    token.release()
    return tracked
