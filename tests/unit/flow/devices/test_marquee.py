"""What stands where on a line that scrolls."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.flow.devices.marquee import Marquee, cells_of, clean


async def showing(marquee: Marquee, *texts: str) -> asyncio.Task[None]:
    async def show() -> None:
        for text in texts:
            await marquee.show(text)

    task = asyncio.ensure_future(show())
    await asyncio.sleep(0)
    return task


async def test_text_comes_in_on_the_right_and_leaves_on_the_left() -> None:
    marquee = Marquee(6)
    task = await showing(marquee, "abc")
    views = []
    for _ in range(10):
        views.append(marquee.view())
        marquee.move(1)
    assert views == [
        "      ", "     a", "    ab", "   abc", "  abc ", " abc  ", "abc   ", "bc    ", "c     ", "      ",
    ]  # fmt: skip
    await task


@pytest.mark.rule("FL1")
async def test_the_next_one_comes_when_the_one_before_has_come_in() -> None:
    marquee = Marquee(8)
    task = await showing(marquee, "abc", "de")
    marquee.move(2)
    await asyncio.sleep(0)
    assert (marquee.view(), marquee.seen()) == ("      ab", [])
    marquee.move(1)
    for _ in range(3):
        await asyncio.sleep(0)
    assert (marquee.view(), marquee.seen()) == ("     abc", ["abc"])
    marquee.move(5)
    assert marquee.view() == "abc  ·  "
    marquee.move(2)
    await task
    assert (marquee.view(), marquee.seen()) == ("c  ·  de", ["de"])


async def test_after_a_pause_the_next_one_comes_in_at_the_edge() -> None:
    marquee = Marquee(12)
    await (await showing_all(marquee, "ab"))
    marquee.move(8)
    assert marquee.view() == "  ab        "
    task = await showing(marquee, "c")
    marquee.move(1)
    await task
    assert marquee.view() == " ab  ·     c"


async def showing_all(marquee: Marquee, text: str) -> asyncio.Task[None]:
    task = await showing(marquee, text)
    marquee.move(len(text))
    return task


async def test_it_is_empty_when_all_has_left() -> None:
    marquee = Marquee(4)
    await (await showing_all(marquee, "ab"))
    empty = asyncio.ensure_future(marquee.until_empty())
    marquee.move(3)
    await asyncio.sleep(0)
    assert not empty.done()
    marquee.move(100)
    await empty
    assert marquee.view() == "    "


async def test_in_a_hurry_it_waits_for_nothing() -> None:
    marquee = Marquee(4)
    task = await showing(marquee, "long text", "more")
    marquee.hurry()
    await task
    await marquee.until_empty()
    assert marquee.seen() == ["long text", "more"]


async def test_it_may_change_its_width() -> None:
    marquee = Marquee(10)
    task = await showing(marquee, "abc")
    marquee.resize(4)
    marquee.move(3)
    await task
    assert marquee.view() == " abc"
    marquee.resize(6)
    assert marquee.view() == " abc  "


async def test_half_of_a_wide_character_is_not_shown() -> None:
    marquee = Marquee(5)
    task = await showing(marquee, "日本")
    views = []
    for _ in range(9):
        views.append(marquee.view())
        marquee.move(1)
    await task
    assert views == [
        "     ",
        "     ",
        "   日",
        "  日 ",
        " 日本",
        "日本 ",
        " 本  ",
        "本   ",
        "     ",
    ]


def test_an_accent_stands_on_what_it_belongs_to() -> None:
    assert cells_of("e\u0301日\u0301x") == ["e\u0301", "日\u0301", "", "x"]
    assert cells_of("\u0301a") == ["a"]


def test_nothing_in_a_text_moves_the_cursor() -> None:
    assert clean("a\nb\r\nc\td") == "a b c d"
    assert clean("\x1b[2J\x07") == "\ufffd[2J\ufffd"
    assert clean("a\u202eb") == "ab"
