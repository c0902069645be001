"""The chat's objects as ordinary objects, and as a whole in a `TestHub`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hubbub import Refused
from hubbub.testing import TestHub

CHAT = Path(__file__).resolve().parents[3] / "examples" / "chat"


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(CHAT))
    return sys.modules.get("chat") or importlib.import_module("chat")


def test_a_member_says_something(chat: ModuleType) -> None:
    room = chat.Room()
    chat.Member("ann", room).say("  hi ")
    (line,) = room.recent()
    assert (line.author, line.text) == ("ann", "hi")


@pytest.mark.parametrize("text, code", [("", "empty"), ("  \n", "empty"), ("x" * 2001, "too_long")])
def test_what_a_member_can_not_say(chat: ModuleType, text: str, code: str) -> None:
    room = chat.Room()
    with pytest.raises(Refused) as caught:
        chat.Member("ann", room).say(text)
    assert caught.value.code == code
    assert room.recent() == []


@pytest.mark.rule("LV1", "PE6")
async def test_live_and_after_a_kill(chat: ModuleType) -> None:
    async with TestHub(chat.hub) as t:
        ann, bob = await t.login("ann"), await t.login("bob")
        watch = bob.room().recent.watch()
        assert await anext(watch) == []
        await ann.say("hi")
        assert (await anext(watch))[-1].text == "hi"
        assert await bob.room().people() == ["ann", "bob"]
        await t.kill_and_restart()
        assert [line.text for line in await bob.room().recent()] == ["hi"]
        here = bob.room().people.watch()
        assert await anext(here) == ["ann", "bob"]
        await ann.close()
        assert await anext(here) == ["bob"]
