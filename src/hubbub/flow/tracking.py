"""Follow an item through a graph until it has been handled.

A source that must know when an item has been handled sends it with a `Token`. A component *has in hand* what it took
last; what it sends meanwhile stems from that, and carries its tokens. By asking for the next item it says that the last
one is handled. So a token is done when nothing that stems from its item is in a box or in a hand any more. (The idea is
that of Storm's anchored tuples; here nobody has to anchor anything.)

    source --Tracked(item, token)--> box --> hand --send--> Tracked(other, token) --> box ...
                                              |
                                              +--asks for the next--> release

A component that keeps items back, to send them later, says so with `Component.keep`. What counts as handled, too, is
what was declared: an item that a full box drops by its policy, what was in hand of a component that failed and restarts
by ``skip``, and, where an item goes to several, a receiver that has ended while another one reads on. What is left in a
graph that was stopped, or failed, or whose reader ended before, is not.

All of this belongs to one loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hubbub.flow.box import Box


class Position(NamedTuple):
    """What a source that numbers its items knows one by. A sink may store it, so as to know the item if it comes again.

    Attributes:
        origin: Who numbered it.
        number: Its number, from 1 on.
        floor: All numbers of this origin below are handled and will not come again: nobody has to know them any more.
    """

    origin: str
    number: int
    floor: int


class Token:
    """Count the places where something is that stems from one item.

    Args:
        done: Called once with this token when the last place is gone.
        position: What the source knows the item by, such as a `Position`; a sink may store it.
    """

    __slots__ = ("_done", "_places", "position")

    def __init__(self, done: Callable[[Token], None], position: Any = None) -> None:
        self._done = done
        self._places = 1
        self.position = position

    @property
    def handled(self) -> bool:
        """Whether nothing that stems from the item is on its way."""
        return self._places == 0

    def hold(self) -> None:
        """One place more."""
        self._places += 1

    def release(self) -> None:
        """One place less; the last one calls ``done``."""
        self._places -= 1
        if self._places == 0:
            self._done(self)


class Tracked:
    """An item in a box, with the tokens of what it stems from. It holds each of them."""

    __slots__ = ("item", "tokens")

    def __init__(self, item: Any, tokens: tuple[Token, ...]) -> None:
        self.item = item
        self.tokens = tokens
        for token in tokens:
            token.hold()

    def release(self) -> None:
        """The item is gone: its tokens lose this place."""
        for token in self.tokens:
            token.release()


def copies(items: Sequence[Any]) -> Sequence[Any]:
    """Return ``items`` for one more place: those that are tracked hold their tokens once more."""
    if Tracked not in map(type, items):
        return items
    return [Tracked(i.item, i.tokens) if type(i) is Tracked else i for i in items]


def let_go(items: Iterable[Any]) -> None:
    """Release those of ``items`` that are tracked: nothing is to be done for them any more."""
    for item in items:
        if type(item) is Tracked:
            item.release()


class Hand:
    """What one component has in hand: the tokens of the item that it took last.

    Attributes:
        tokens: What the item stems from.
        last: The box that it came from, and what was in it, for a component that may be given it again.
    """

    __slots__ = ("last", "tokens")

    def __init__(self) -> None:
        self.tokens: tuple[Token, ...] = ()
        self.last: tuple[Box[Any], Any] | None = None

    def release(self) -> None:
        """What is in hand has been handled."""
        self.last = None
        tokens, self.tokens = self.tokens, ()
        for token in tokens:
            token.release()

    def keep(self) -> tuple[Token, ...]:
        """Put what is in hand aside, unhandled; return it, for `resume` or for releasing each."""
        self.last = None
        tokens, self.tokens = self.tokens, ()
        return tokens

    def lay_back(self) -> None:
        """Lay what is in hand back into its box, as if it had never been read; what was resumed is released."""
        if self.last is not None:
            box, item = self.last
            if type(item) is Tracked:
                for token in item.tokens:
                    token.hold()  # a place in the box; the hand's is released
            box.put_back([item])
        self.release()

    def resume(self, tokens: tuple[Token, ...]) -> None:
        """Take what was put aside in hand again, beside what is there."""
        self.tokens += tokens
