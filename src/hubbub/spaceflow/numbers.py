"""Which numbers of one sender have been handled: a floor, and runs above it (no I/O).

An item that becomes several on its way arrives in *parts*: 1, 2, 3 ... So what is kept of a number is how many of its
parts are stored. Neighbours with as many parts are one run::

    floor 40 | 40-57: 1 part | 58: 3 parts | 60-61: 1 part          59 is missing; below 40 nothing comes any more

The floor is the sender's: it will never again send what lies below.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Run = tuple[int, int, int]
"""First number, last number, how many parts each of them has stored."""


def _first(run: Run) -> int:
    return run[0]


class HandledNumbers:
    """The numbers of one sender, each with the count of its parts.

    Args:
        floor: Everything below it is handled.
        runs: As `runs` returned them.
    """

    __slots__ = ("_runs", "floor")

    def __init__(self, floor: int = 0, runs: Iterable[Run] = ()) -> None:
        self.floor = floor
        self._runs: list[Run] = [(first, last, parts) for first, last, parts in runs]

    @property
    def runs(self) -> tuple[Run, ...]:
        """What is handled above the floor: in order, apart from each other or of different counts."""
        return tuple(self._runs)

    def has(self, number: int, part: int = 1) -> bool:
        """Whether this part of ``number`` is handled."""
        if number < self.floor:
            return True
        place = bisect_right(self._runs, number, key=_first) - 1
        if place < 0:
            return False
        _, last, parts = self._runs[place]
        return number <= last and part <= parts

    def add(self, number: int, part: int = 1) -> bool:
        """Note that ``number`` is handled up to ``part``. Return whether that is new."""
        if self.has(number, part):
            return False
        runs = self._runs
        place = bisect_right(runs, number, key=_first) - 1
        pieces: list[Run] = [(number, number, part)]
        if place >= 0 and number <= runs[place][1]:
            first, last, parts = runs[place]
            if first < number:
                pieces.insert(0, (first, number - 1, parts))
            if number < last:
                pieces.append((number + 1, last, parts))
            runs[place : place + 1] = pieces
        else:
            place += 1
            runs[place:place] = pieces
        self._join(place - 1, place + len(pieces))
        return True

    def raise_floor(self, floor: int) -> None:
        """Forget what lies below ``floor``: it counts as handled. A lower one changes nothing."""
        if floor <= self.floor:
            return
        self.floor = floor
        runs = self._runs
        gone = 0
        while gone < len(runs) and runs[gone][1] < floor:
            gone += 1
        del runs[:gone]
        if runs and runs[0][0] < floor:
            runs[0] = (floor, *runs[0][1:])

    def _join(self, start: int, end: int) -> None:
        """Join neighbours between these places."""
        start = max(start, 0)
        joined: list[Run] = []
        for first, last, parts in self._runs[start : end + 1]:
            if joined and joined[-1][1] + 1 == first and joined[-1][2] == parts:
                joined[-1] = (joined[-1][0], last, parts)
            else:
                joined.append((first, last, parts))
        self._runs[start : end + 1] = joined
