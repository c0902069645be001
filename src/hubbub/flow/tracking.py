"""Follow an item through a graph until it has been handled.

A source that must know when an item has been handled sends it with a `Token`. A component *has in hand* what it took
last; what it sends meanwhile stems from that, and carries its tokens. By asking for the next item it says that the last
one is handled. So a token is done when nothing that stems from its item is in a box or in a hand any more. (The idea is
that of Storm's anchored tuples; here nobody has to anchor anything.)

    source --Tracked(item, token)--> box --> hand --send--> Tracked(other, token) --> box ...
                                              |
                                              +--asks for the next--> release

A component that keeps items back, to send them later, says so with `Component.keep`. An item that a full box drops by
its policy counts as handled: the policy was declared. What is left in a graph that was stopped, or failed, is not.

All of this belongs to one loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Token:
    """Count the places where something is that stems from one item.

    Args:
        done: Called once with this token when the last place is gone.
        position: What the source knows the item by, such as ``(origin, number)``; a sink may store it.
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


class Hand:
    """What one component has in hand: the tokens of the item that it took last."""

    __slots__ = ("tokens",)

    def __init__(self) -> None:
        self.tokens: tuple[Token, ...] = ()

    def release(self) -> None:
        """What is in hand has been handled."""
        tokens, self.tokens = self.tokens, ()
        for token in tokens:
            token.release()

    def keep(self) -> tuple[Token, ...]:
        """Put what is in hand aside, unhandled; return it, for `resume` or for releasing each."""
        tokens, self.tokens = self.tokens, ()
        return tokens

    def resume(self, tokens: tuple[Token, ...]) -> None:
        """Take what was put aside in hand again, beside what is there."""
        self.tokens += tokens
