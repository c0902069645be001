"""Text that scrolls by in a terminal. Needs `textual`, the extra ``terminal``."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from hubbub.flow.box import Box
from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.devices.edges import feeds_itself
from hubbub.flow.running import ENDED
from hubbub.kernel import ConfigurationError, GraphError

if TYPE_CHECKING:
    from hubbub.flow.devices.marquee import Marquee
    from hubbub.flow.devices.ticker_screen import TickerScreen


class Ticker(Component):
    """Let each item scroll by in the terminal, and keep it below. q or Ctrl-C finishes the graph.

    An item is taken when the one before has come in: what comes faster waits, and so does who sends it (FL1). Where the
    outbox is linked there is a line to type on; what is typed is sent. At the end of the inbox it ends when everything
    has scrolled by; when the graph is asked to finish, at once.

    It has the terminal for itself: no `ConsoleReader` beside it.

    Args:
        prompt: What stands in the line to type on while it is empty.
        title: What stands in the terminal's title.
        columns_per_s: How fast it scrolls.

    Raises:
        ConfigurationError: If `textual` is not installed.
        GraphError: If the speed is not more than 0.
    """

    inboxes: Boxes = {"inbox": box("what scrolls by", loose=True)}
    outboxes: Boxes = {"outbox": box("lines that are typed", loose=True)}
    independent = True

    def __init__(
        self, prompt: str = "", *, title: str = "Ticker", columns_per_s: float = 40.0
    ) -> None:
        if not columns_per_s > 0:
            raise GraphError(f"a Ticker moves more than 0 columns a second, not {columns_per_s}")
        try:
            from hubbub.flow.devices.marquee import Marquee
        except ImportError:
            raise ConfigurationError(
                "Ticker needs textual: pip install 'hubbub[terminal]'"
            ) from None
        self._prompt = prompt
        self._title = title
        self._columns_per_s = columns_per_s
        self._marquee: Marquee = Marquee()
        self._typed: Box[str] = Box("typed", items=10)
        self._finishing = asyncio.Event()

    async def main(self) -> None:
        screen = self._screen()
        left = asyncio.ensure_future(_run(screen))
        showing = asyncio.ensure_future(self._show())
        sending = asyncio.ensure_future(self._send_typed())
        try:
            await asyncio.wait([left, showing, sending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (showing, sending):
                task.cancel()
            await asyncio.wait([showing, sending])
            if not left.done():
                screen.exit()  # it puts the terminal in order
                await asyncio.wait([left])
        for task in (showing, sending, left):
            if not task.cancelled():
                task.result()
        self.running.finish()

    def finish(self) -> None:
        self._marquee.hurry()
        self._finishing.set()
        if self.inbox is not ENDED and feeds_itself(self):
            self.inbox.finish()  # its end would wait for ours

    async def _show(self) -> None:
        """Show what comes, to the end; where nothing can come, go on until the graph is asked to finish."""
        if self.inbox is ENDED:
            await self._finishing.wait()
        async for item in self.inbox:
            await self._marquee.show(_text_of(item))
        await self._marquee.until_empty()

    async def _send_typed(self) -> None:
        async for line in self._typed:
            await self.send(line)

    def _screen(self) -> TickerScreen:
        from hubbub.flow.devices.ticker_screen import TickerScreen

        return TickerScreen(
            self._title,
            self._marquee,
            columns_per_s=self._columns_per_s,
            prompt=self._prompt,
            typed=self._typed.offer if self.outlets() else None,
        )


async def _run(screen: TickerScreen) -> None:
    """Run it in the terminal.

    Raises:
        ConfigurationError: If there is none.
    """
    if not (
        sys.__stdin__ and sys.__stdin__.isatty() and sys.__stderr__ and sys.__stderr__.isatty()
    ):
        raise ConfigurationError(
            "a Ticker needs a terminal on standard input and error; ConsoleEchoer prints anywhere"
        )
    from hubbub.flow.devices.ticker_screen import run_beside_others

    await run_beside_others(screen)


def _text_of(item: Any) -> str:
    if isinstance(item, bytes | bytearray):
        return item.decode("utf-8", "backslashreplace")
    return str(item)
