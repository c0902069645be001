"""The ticker's screen, without a terminal."""

from __future__ import annotations

from textual.widgets import Input, RichLog

from hubbub.flow.devices.marquee import Marquee
from hubbub.flow.devices.ticker_screen import Line, TickerScreen


def screen(marquee: Marquee, typed=None) -> TickerScreen:
    return TickerScreen("Test", marquee, columns_per_s=2000, prompt="say", typed=typed)


async def test_text_scrolls_by_and_stays_below() -> None:
    marquee = Marquee()
    app = screen(marquee)
    async with app.run_test(size=(30, 8)) as pilot:
        assert app.query_one(Line).size.width == 30
        await marquee.show("[b]first[/b]")
        await marquee.show("second")
        await marquee.until_empty()
        while len(app.query_one(RichLog).lines) < 2:
            await pilot.pause()
        assert [line.text.strip() for line in app.query_one(RichLog).lines] == [
            "[b]first[/b]",
            "second",
        ]
        await pilot.press("q")
    assert app.return_code == 0


async def test_what_is_typed_is_given_on_and_stays_where_it_is_not_taken() -> None:
    taken: list[str] = []
    room = True

    def typed(line: str) -> bool:
        if room:
            taken.append(line)
        return room

    app = screen(Marquee(), typed)
    async with app.run_test(size=(40, 8)) as pilot:
        await pilot.press("q", "u", "i", "t", "enter", "enter")
        room = False
        await pilot.press("x", "enter")
        assert app.query_one(Input).value == "x"
        assert len(app._notifications) == 1
        await pilot.press("ctrl+c")
    assert taken == ["quit"]
    assert app.return_code == 0
