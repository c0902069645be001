"""How much a peer asks for ahead of need. No I/O.

Theory of operation
===================

What the host sends along with a record is a guess. Of each piece of guesses one record, the *mark*, is laid where its
first use is seen. Whoever reaches the mark is following the guesses: the next piece is asked for at once, so that it is
on its way before this one is used up, and it may be larger. Whoever asks for something else before the mark is reached
has no use for them, and gets fewer.

    piece arrives --mark reached--> room grows, the next piece is asked for
            '-------load misses---> room shrinks
"""

from __future__ import annotations

from collections.abc import Sequence

from hubbub.kernel import Record

_FIRST_BYTES = 32 << 10
_LEAST_BYTES = 2 << 10
_MOST_BYTES = 128 << 10
_SHORTEST = 4
_MARK_AT = 4


class Ahead:
    """Guarded by its owner's lock.

    Attributes:
        room: Bytes to ask for.
        mark: The oid whose use shows that the guesses are good; None where there is none.
        goes_on: Whether the host has more.
        asked: The id of the call that asks for more; 0: none.
    """

    def __init__(self) -> None:
        self.room = _FIRST_BYTES
        self.mark: int | None = None
        self.goes_on = False
        self.asked = 0

    def missed(self) -> int:
        """A load has to ask the host. Return the room for what may come along."""
        if self.asked:
            # More is under way, and most likely this is in it.
            return 0
        if self.mark is not None:
            self.mark = None
            self.room = max(_LEAST_BYTES, self.room // 2)
        return self.room

    def arrived(self, guesses: Sequence[Record], *, goes_on: bool) -> int | None:
        """Take note of a piece; return the oid to lay as its mark, if it is worth one."""
        self.goes_on = goes_on
        self.mark = guesses[len(guesses) // _MARK_AT].oid if len(guesses) >= _SHORTEST else None
        return self.mark

    def reached(self) -> bool:
        """The mark is used. Tell whether to ask for more."""
        self.mark = None
        self.room = min(_MOST_BYTES, 2 * self.room)
        return self.goes_on and not self.asked

    def broken(self) -> None:
        """The connection, and what the host knew of it, is gone."""
        self.goes_on = False
        self.asked = 0
