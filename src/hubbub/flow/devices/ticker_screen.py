"""The screen of a `Ticker`, in Textual: the line that scrolls, what has come in before, and a line to type on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, RichLog, Static

from hubbub.flow.devices.marquee import Marquee

FRAMES_PER_S = 30

KEPT_LINES = 1000
"""How many lines that have come in can be scrolled back to."""


class Line(Widget):
    """The line that scrolls."""

    DEFAULT_CSS = "Line { height: 1; background: $primary; color: $text; text-style: bold; }"

    def __init__(self, marquee: Marquee) -> None:
        super().__init__()
        self._marquee = marquee

    def render(self) -> Text:
        return Text(self._marquee.view(), no_wrap=True, end="")

    def on_resize(self, event: events.Resize) -> None:
        self._marquee.resize(event.size.width)


class TickerScreen(App[None]):
    """Show a marquee until somebody leaves.

    Args:
        title: What stands in the terminal's title.
        marquee: What scrolls.
        columns_per_s: How fast.
        prompt: What stands in the line to type on while it is empty.
        typed: Called with each line that is typed; returns whether it was taken. None: nothing can be typed.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    RichLog { padding: 0 1; background: $background; scrollbar-size-vertical: 1; }
    Input { border: none; height: 1; padding: 0 1; background: $surface; }
    Input:focus { border: none; }
    #keys { height: 1; padding: 0 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "Leave"),
        Binding("ctrl+c", "leave", "Leave", priority=True),
        Binding("ctrl+q", "leave", "Leave", priority=True),
    ]

    def __init__(
        self,
        title: str,
        marquee: Marquee,
        *,
        columns_per_s: float,
        prompt: str,
        typed: Callable[[str], bool] | None,
    ) -> None:
        super().__init__()
        self.title = title
        self._marquee = marquee
        self._columns_per_s = columns_per_s
        self._prompt = prompt
        self._typed = typed
        self._at = 0.0

    def compose(self) -> ComposeResult:
        yield Line(self._marquee)
        log = RichLog(max_lines=KEPT_LINES, wrap=True)
        log.can_focus = self._typed is None
        yield log
        if self._typed is not None:
            yield Input(placeholder=self._prompt)
        yield Static("Ctrl-C leaves" if self._typed is not None else "q leaves", id="keys")

    def on_mount(self) -> None:
        if self._typed is not None:
            self.query_one(Input).focus()
        self._at = time.monotonic()
        self.set_interval(1 / FRAMES_PER_S, self._move)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not event.value or self._typed is None:
            return
        if self._typed(event.value):
            event.input.clear()
        else:
            self.notify("Nobody takes it yet: try again in a moment.", severity="warning")

    def action_leave(self) -> None:
        self.exit()

    def _move(self) -> None:
        columns = int((time.monotonic() - self._at) * self._columns_per_s)
        if columns:
            # The rest of a column counts for the next frame, so that the speed is what was asked for.
            self._at += columns / self._columns_per_s
            self._marquee.move(columns)
            self.query_one(Line).refresh()
        log = self.query_one(RichLog)
        for text in self._marquee.seen():
            log.write(Text(text))


async def run_beside_others(screen: TickerScreen, **how: Any) -> None:
    """Run ``screen`` in a loop that is not its own.

    Args:
        screen: What to run.
        how: What `textual.app.App.run_async` takes.

    Raises:
        RuntimeError: If it failed; it has printed why.
    """
    with _tasks_as_they_are():
        await screen.run_async(**how)
    if screen.return_code:
        raise RuntimeError("the ticker's screen failed; what it printed says why")


@contextlib.contextmanager
def _tasks_as_they_are() -> Iterator[None]:
    """Keep Textual from letting every task of the loop start at once: the loop belongs to others, too."""
    loop: Any = asyncio.get_running_loop()
    set_task_factory = loop.set_task_factory

    def set_unless_eager(factory: Any) -> None:
        if factory is not getattr(asyncio, "eager_task_factory", loop):
            set_task_factory(factory)

    loop.set_task_factory = set_unless_eager
    try:
        yield
    finally:
        del loop.set_task_factory
