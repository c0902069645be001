"""The terminal client, run headless by Textual's pilot against a real host."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from tests.e2e.hosts import Host, eventually


class Terminal:
    """One person with the terminal client."""

    def __init__(self, app: Any, pilot: Any) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def shown(self) -> list[str]:
        found: list[str] = self.app.conversation.shown
        return found

    @property
    def lines(self) -> list[str]:
        """What is said, without marks."""
        return [text for text in self.shown if not text.startswith("-- ")]

    @property
    def unread(self) -> int:
        number: int = self.app.conversation.unread
        return number

    def text_of(self, selector: str) -> str:
        """What one widget shows; empty if it is not displayed."""
        widget = self.app.query_one(selector)
        return str(widget.render()) if widget.display else ""

    async def type(self, text: str, *, enter: bool = True) -> None:
        keys = [{" ": "space", "\n": "ctrl+j"}.get(letter, letter) for letter in text]
        await self.pilot.press(*keys, *(["enter"] if enter else []))

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def sees(self, text: str, timeout_s: float = 10.0) -> None:
        """Wait until a line is shown once, and not as one that is still on its way."""

        def is_there() -> bool:
            return self.lines.count(text) == 1 and all(
                p.text != text for p in self.app.conversation.pending
            )

        await eventually(is_there, f"{text!r} in {self.shown}", timeout_s)

    async def until_shows(self, selector: str, text: str, timeout_s: float = 10.0) -> None:
        await eventually(
            lambda: text in self.text_of(selector), f"{text!r} in {selector}", timeout_s
        )

    async def look_away(self) -> None:
        from textual.events import AppBlur

        self.app.post_message(AppBlur())
        await self.pilot.pause()

    async def look_back(self) -> None:
        from textual.events import AppFocus

        self.app.post_message(AppFocus())
        await self.pilot.pause()

    async def leave(self) -> None:
        await self.pilot.press("ctrl+q")


class Terminals:
    """Opens terminal clients, and ends all of them."""

    def __init__(self) -> None:
        self._ends: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    async def open(
        self, host: Host, name: str, size: tuple[int, int] = (80, 24), *, live: bool = True
    ) -> Terminal:
        module = importlib.import_module("terminal")
        app = module.Chat(host.hub, name)
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        end = asyncio.Event()

        async def keep() -> None:
            # Textual wants its program to be entered and left in one context.
            async with app.run_test(size=size) as pilot:
                opened.set_result(pilot)
                await end.wait()

        self._ends.append((end, asyncio.create_task(keep())))
        terminal = Terminal(app, await opened)
        if live:
            await terminal.until_shows("#state", "live")
        return terminal

    async def close(self) -> None:
        for end, task in self._ends:
            end.set()
            await task
