"""The conversation in a terminal: lines grouped by author and minute, days, and the mark where you left off.

The host's list is the truth. Lines that are still on their way stand below it.
"""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from rich.rule import Rule
from rich.text import Text
from textual.app import ComposeResult
from textual.color import Color
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

KEPT = 500

Key = tuple[float, str, str, int]


class Line(Protocol):
    """What the chat's view gives: a value with these attributes."""

    @property
    def author(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def at(self) -> float: ...


class Pending:
    """A line of one's own that the host has not acknowledged yet.

    ``state`` is ``waiting`` (not under way), ``sending``, ``done`` (and durable), or ``unknown``.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = time.time()
        self.state = "waiting"


def clean(text: str) -> str:
    """Return what others wrote without what a terminal would obey (escape codes, reversed writing)."""
    return "".join(
        letter if letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs") else "�"
        for letter in text.replace("\r\n", "\n").replace("\t", "    ")
        if letter not in "\u200b\u200c\u200d\ufeff"
    )


def clock(at: float) -> str:
    """Return a time of day."""
    return time.strftime("%H:%M", time.localtime(at))


def day_name(at: float) -> str:
    """Return the name of a day as people say it."""
    day = time.strftime("%A, %d %B %Y", time.localtime(at))
    if day == time.strftime("%A, %d %B %Y"):
        return "Today"
    if day == time.strftime("%A, %d %B %Y", time.localtime(time.time() - 86400)):
        return "Yesterday"
    return day


def colour_of(name: str, *, dark: bool) -> Color:
    """Return the colour of an author, readable on the theme's ground."""
    number = 7
    for letter in name:
        number = (number * 31 + ord(letter)) & 0xFFFFFFFF
    hue = number * 137.508 % 360 / 360
    return Color.from_hsl(hue, 0.55, 0.72) if dark else Color.from_hsl(hue, 0.7, 0.32)


class LineView(Static):
    """One line; the first of a group has its author and time above it."""

    def __init__(self, author: str, text: str, at: float, *, own: bool) -> None:
        super().__init__()
        self.author, self.text, self.at, self.own = author, clean(text), at, own
        self.note = ""

    def show(self, *, first: bool, note: str = "") -> None:
        """Draw it."""
        colour = colour_of(self.author, dark=self.app.current_theme.dark)
        self.note = note
        self.set_class(first, "first")
        self.set_class(self.own, "own")
        self.set_class(bool(note), "pending")
        self.styles.border_left = ("outer" if self.own else "vkey", colour)
        drawn = Text()
        if first:
            drawn.append(clean(self.author), f"bold {colour.hex}")
            drawn.append(f"  {clock(self.at)}\n", "dim")
        drawn.append(self.text)
        if note:
            drawn.append(f"\n{note}", "italic")
        self.update(drawn)


class Mark(Static):
    """A rule across the conversation: a day, or what is new since you looked away."""

    def __init__(self, words: str, classes: str) -> None:
        super().__init__(Rule(words, style="dim" if classes == "day" else ""), classes=classes)
        self.words = words


class Conversation(VerticalScroll, can_focus=False):
    """All lines, the newest at the bottom; it stays there unless somebody scrolls up."""

    def __init__(self) -> None:
        super().__init__(id="conversation")
        self.me = ""
        self.pending: list[Pending] = []
        self.unread = 0
        self._lines: list[Line] = []
        self._keys: list[Key] = []
        self._left_off: Key | None = None
        self._is_known = False
        self._views: dict[object, Widget] = {}

    def compose(self) -> ComposeResult:
        yield Static(
            "Nothing said yet.\nBe the first: everybody who comes later will read it too.",
            id="empty",
        )

    def on_mount(self) -> None:
        self.anchor()

    @property
    def shown(self) -> list[str]:
        """What is to be read, from top to bottom: texts of lines, words of marks."""
        found = []
        # What is removed stays among the children for a moment.
        present = set(self._views.values())
        for child in self.children:
            if child not in present:
                continue
            if isinstance(child, LineView):
                found.append(child.text)
            elif isinstance(child, Mark):
                found.append(f"-- {child.words} --")
        return found

    def update(self, newest: Sequence[Line], *, looking: bool) -> None:
        """Take in the host's newest lines. Older ones that were shown stay while nothing is missing between.

        Args:
            newest: What the view says now.
            looking: Whether the terminal has the focus.
        """
        keys = _keys_of(newest)
        before = set(self._keys)
        overlap = self._keys.index(keys[0]) if keys and keys[0] in before else 0
        self._lines = [*self._lines[:overlap], *newest][-KEPT:]
        self._keys = [*self._keys[:overlap], *keys][-KEPT:]
        for line, key in zip(newest, keys, strict=True):
            if key in before:
                continue
            if line.author == self.me:
                self._arrived(line.text)
            elif self._is_known and not looking:
                self.unread += 1
        self.pending = [p for p in self.pending if p.state != "done"]
        self._is_known = True
        self.draw()

    def _arrived(self, text: str) -> None:
        """One's own line is back from the host: what stood for it goes."""
        for pending in self.pending:
            if pending.text.strip() == text and pending.state in ("sending", "done"):
                self.pending.remove(pending)
                return

    def looked_away(self) -> None:
        """What comes from now on is new."""
        self._left_off = self._keys[-1] if self._keys else None
        self.unread = 0

    def looked_back(self) -> None:
        """The mark stays where it is until one speaks or looks away again."""
        self.unread = 0

    def spoke(self) -> None:
        """Who speaks has read."""
        self._left_off = None
        self.unread = 0
        self.draw()
        self.to_end()

    def to_end(self) -> None:
        """Go to the newest line, and stay there."""
        self.anchor()
        self.scroll_end(animate=False)

    def draw(self, *, afresh: bool = False) -> None:
        """Bring what is shown in line with what is known.

        Args:
            afresh: Draw also what has not changed, because the colours have.
        """
        wanted = self._wanted()
        for gone in self._views.keys() - {key for key, _, _ in wanted}:
            self._views.pop(gone).remove()
        previous: Widget | None = None
        for key, view, drawing in wanted:
            self._views[key] = view
            if view.parent is None:
                self.mount(view, **({"after": previous} if previous else {"before": 0}))
            previous = view
            if isinstance(view, LineView) and drawing is not None:
                first, note = drawing
                if (
                    afresh
                    or (view.has_class("first"), view.note) != drawing
                    or not view.has_class("drawn")
                ):
                    view.show(first=first, note=note)
                    view.add_class("drawn")
        self.query_one("#empty").display = self._is_known and not wanted

    def _wanted(self) -> list[tuple[object, Widget, tuple[bool, str] | None]]:
        wanted: list[tuple[object, Widget, tuple[bool, str] | None]] = []
        before: tuple[str, int] | None = None
        day = ""
        for index, (key, line) in enumerate(zip(self._keys, self._lines, strict=True)):
            today = day_name(line.at)
            if today != day:
                day, before = today, None
                wanted.append((today, self._view(today) or Mark(today, "day"), None))
            # Before the first line of somebody else: one's own are no news.
            is_new = self._left_off is not None and self._keys[index - 1] == self._left_off
            if is_new and line.author != self.me:
                before = None
                wanted.append(("new", self._view("new") or Mark("New", "new"), None))
            group = (line.author, int(line.at // 60))
            view = self._view(key) or LineView(
                line.author, line.text, line.at, own=line.author == self.me
            )
            wanted.append((key, view, (group != before, "")))
            before = group
        for pending in self.pending:
            group = (self.me, int(pending.at // 60))
            view = self._view(pending) or LineView(self.me, pending.text, pending.at, own=True)
            wanted.append((pending, view, (group != before, _NOTES[pending.state])))
            before = group
        return wanted

    def _view(self, key: object) -> Widget | None:
        return self._views.get(key)


_NOTES = {
    "waiting": "kept, and said when there is a connection",
    "sending": "sending…",
    "done": "",
    "unknown": "perhaps not said. F5 says it again, F8 drops it",
}


def _keys_of(lines: Sequence[Line]) -> list[Key]:
    """Tell lines apart, which have no number, by time, author, text, and a count where even these are the same."""
    seen: Counter[tuple[float, str, str]] = Counter()
    keys = []
    for line in lines:
        key = (line.at, line.author, line.text)
        keys.append((*key, seen[key]))
        seen[key] += 1
    return keys
