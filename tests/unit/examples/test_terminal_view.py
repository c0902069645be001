"""What the terminal's conversation makes of the host's list, without a host."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from textual.app import App, ComposeResult

CHAT = Path(__file__).resolve().parents[3] / "examples" / "chat"
# The middle of a minute, so that lines a second apart are of one group.
NOON = (time.time() // 86400) * 86400 + 43200 + 5


class Line(NamedTuple):
    author: str
    text: str
    at: float


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(CHAT))
    return importlib.import_module("terminal_view")


def app_of(conversation: Any) -> App[None]:
    class Screen(App[None]):
        def compose(self) -> ComposeResult:
            yield conversation

    return Screen()


def lines_of(*said: tuple[str, str], begin: float = NOON) -> list[Line]:
    return [Line(author, text, begin + n) for n, (author, text) in enumerate(said)]


async def test_lines_are_grouped_by_author_and_minute(view: ModuleType) -> None:
    conversation = view.Conversation()
    async with app_of(conversation).run_test() as pilot:
        lines = [
            *lines_of(("ann", "one"), ("ann", "two"), ("bob", "three")),
            Line("bob", "four", NOON + 60),
        ]
        conversation.update(lines, looking=True)
        await pilot.pause()
        heads = [child.has_class("first") for child in conversation.query(view.LineView)]
        assert heads == [True, False, True, True]
        assert conversation.shown[1:] == ["one", "two", "three", "four"]


async def test_what_was_shown_stays_while_nothing_is_missing_between(view: ModuleType) -> None:
    conversation = view.Conversation()
    lines = lines_of(*[("ann", f"line {n}") for n in range(9)])
    async with app_of(conversation).run_test():
        conversation.update(lines[:5], looking=True)
        conversation.update(lines[3:7], looking=True)
        assert conversation.shown[1:] == [f"line {n}" for n in range(7)]
        # Something is missing: what came before can't be joined to it.
        conversation.update(lines[8:], looking=True)
        assert conversation.shown[1:] == ["line 8"]


async def test_the_same_line_twice_is_two_lines(view: ModuleType) -> None:
    conversation = view.Conversation()
    twice = [Line("ann", "again", NOON), Line("ann", "again", NOON)]
    async with app_of(conversation).run_test():
        conversation.update(twice[:1], looking=True)
        conversation.update(twice, looking=True)
        assert conversation.shown[1:] == ["again", "again"]


async def test_a_line_that_comes_back_takes_the_place_of_the_pending_one(view: ModuleType) -> None:
    conversation = view.Conversation()
    conversation.me = "ann"
    async with app_of(conversation).run_test():
        conversation.update([], looking=True)
        conversation.pending = [view.Pending("hello "), view.Pending("more")]
        conversation.pending[0].state = conversation.pending[1].state = "sending"
        conversation.draw()
        assert conversation.shown == ["hello ", "more"]
        conversation.update(lines_of(("ann", "hello")), looking=True)
        assert conversation.shown[1:] == ["hello", "more"]
        assert [pending.text for pending in conversation.pending] == ["more"]


async def test_what_is_unread_is_counted_and_marked_only_while_away(view: ModuleType) -> None:
    conversation = view.Conversation()
    conversation.me = "ann"
    lines = lines_of(("bob", "old"), ("bob", "seen"), ("bob", "new"), ("ann", "mine elsewhere"))
    async with app_of(conversation).run_test():
        conversation.update(lines[:1], looking=False)
        assert conversation.unread == 0, "what is there at first is not news"
        conversation.update(lines[:2], looking=True)
        conversation.looked_away()
        conversation.update(lines, looking=False)
        assert conversation.unread == 1
        assert conversation.shown[1:] == ["old", "seen", "-- New --", "new", "mine elsewhere"]
        conversation.looked_back()
        assert conversation.unread == 0


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain\nlines", "plain\nlines"),
        ("tab\there", "tab    here"),
        ("\x1b[31mred", "�[31mred"),
        ("a\r\nb", "a\nb"),
        ("left\u202eright", "left�right"),
        ("zero\u200bwidth", "zerowidth"),
        ("漢字 🙂 é", "漢字 🙂 é"),
    ],
)
def test_a_terminal_is_not_given_what_it_would_obey(
    view: ModuleType, text: str, shown: str
) -> None:
    assert view.clean(text) == shown


def test_days_have_names(view: ModuleType) -> None:
    now = time.time()
    assert view.day_name(now) == "Today"
    assert view.day_name(now - 86400) == "Yesterday"
    assert view.day_name(0).endswith("1970") or view.day_name(0).endswith("1969")
