"""Text that scrolls by: what stands where on one line of a terminal.

| .  .  .  first item · sec|ond item          the part that is to the right of the edge is still to come
^ start                  ^ width
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections import deque

from rich.cells import cell_len

GAP = "  ·  "
"""What stands between two items."""

_DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Marquee:
    """One line on which items come in on the right and leave on the left.

    Args:
        width: How many columns it has.
    """

    def __init__(self, width: int = 80) -> None:
        self._width = width
        self._start = width
        self._cells: deque[str] = deque()
        self._moved = asyncio.Event()
        self._seen: list[str] = []
        self._in_a_hurry = False

    async def show(self, text: str) -> None:
        """Let ``text`` come in; return when all of it has."""
        text = clean(text)
        self._append(text)
        while self._to_come() > 0 and not self._in_a_hurry:
            self._moved.clear()
            await self._moved.wait()
        self._seen.append(text)

    async def until_empty(self) -> None:
        """Wait until everything has left."""
        while self._cells and not self._in_a_hurry:
            self._moved.clear()
            await self._moved.wait()

    def hurry(self) -> None:
        """From now on wait for nothing."""
        self._in_a_hurry = True
        self._moved.set()

    def move(self, columns: int) -> None:
        """Move everything to the left."""
        self._start -= columns
        while self._start < 0 and self._cells:
            self._cells.popleft()
            self._start += 1
        if not self._cells:
            self._start = self._width
        self._moved.set()

    def resize(self, width: int) -> None:
        """Have another width from now on."""
        self._width = width
        self._start = min(self._start, width)

    def seen(self) -> list[str]:
        """Return what has come in since this was asked last."""
        seen, self._seen = self._seen, []
        return seen

    def view(self) -> str:
        """Return what stands on the line: exactly as many columns as it has."""
        cells = [" "] * self._start + list(self._cells)
        cells = [*cells[: self._width], *[" "] * (self._width - len(cells))]
        if cells and cells[0] == "":
            cells[0] = " "  # the right half of a wide character has no left half any more
        if cells and self._cuts_a_wide_one():
            cells[-1] = " "
        return "".join(cells)

    def _append(self, text: str) -> None:
        if self._cells:
            self._cells.extend(GAP)
            self._cells.extend(" " * (self._width - self._start - len(self._cells)))
        self._cells.extend(cells_of(text))

    def _to_come(self) -> int:
        return self._start + len(self._cells) - self._width

    def _cuts_a_wide_one(self) -> bool:
        beyond = self._width - self._start
        return 0 <= beyond < len(self._cells) and self._cells[beyond] == ""


def cells_of(text: str) -> list[str]:
    """Return what stands in each column; the second column of a wide character is ``""``."""
    cells: list[str] = []
    for character in text:
        width = cell_len(character)
        if width == 0 and cells:
            # An accent belongs to what it stands on, which may be two columns wide.
            at = -1 if cells[-1] else -2
            cells[at] += character
        elif width:
            cells += [character, *[""] * (width - 1)]
    return cells


def clean(text: str) -> str:
    """Return ``text`` on one line, without what would move the cursor or turn the direction of writing."""
    text = " ".join(text.splitlines())
    return "".join(
        "\ufffd" if unicodedata.category(character) == "Cc" else character
        for character in text.replace("\t", " ")
        if character not in _DIRECTIONS
    )
