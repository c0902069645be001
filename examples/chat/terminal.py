"""The chat in a terminal.

python terminal.py [--connect hub://127.0.0.1:1975] [--name ann] [--light]

It is a user like a browser's page: it watches two views of the room, and calls one command. If the connection goes it
comes back by itself; what is typed meanwhile is kept, and said after.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import os
import secrets
import time
import unicodedata
from typing import Any, ClassVar

from terminal_view import Conversation, Pending, clean, clock, colour_of
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.theme import Theme
from textual.widgets import Footer, Static, TextArea

import hubbub

LINES = 200
RETRY_S = (0.25, 5.0)
NEW_LINE = ("ctrl+j", "shift+enter", "alt+enter")

DARK = Theme(
    "room-dark",
    primary="#62cfc0", accent="#62cfc0", warning="#ffcf85", error="#ffb1a8", success="#5fd08a",
    foreground="#e8edea", background="#111514", surface="#1c2220", panel="#1c2220", dark=True,
)  # fmt: skip
LIGHT = Theme(
    "room-light",
    primary="#0f6a62", accent="#0f6a62", warning="#8a4b00", error="#a3271f", success="#17803f",
    foreground="#1c211f", background="#f4f3ef", surface="#ffffff", panel="#ffffff", dark=False,
)  # fmt: skip


class Composer(TextArea, inherit_bindings=False):
    """Where one types. Keys that page belong to the conversation."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding
        for binding in TextArea.BINDINGS
        if isinstance(binding, Binding) and binding.key not in ("pageup", "pagedown")
    ]

    class Sent(Message):
        """Somebody pressed Enter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def on_key(self, event: events.Key) -> None:
        # Here and not as bindings of the program: these would overtake the letters that were typed before.
        if event.key == "enter":
            text, self.text = self.text, ""
            if text:
                self.post_message(self.Sent(text))
        elif event.key in NEW_LINE:
            self.insert("\n")
        else:
            return
        event.stop()
        event.prevent_default()

    def give_back(self, text: str) -> None:
        """Put a refused line where it can be mended, before what was typed since."""
        self.text = f"{text}\n{self.text}" if self.text else text
        self.move_cursor(self.document.end)


class Chat(App[None]):
    """The room on a screen.

    Args:
        url: The hub's address.
        name: Whom to be known as.
        light: Begin with dark letters on light ground.
    """

    TITLE = "The Room"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (64, "-wide")]
    CSS_PATH = "terminal.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "shown_only", "Send", key_display="Enter"),
        Binding("ctrl+q", "leave", "Leave", priority=True),
        Binding("pageup", "scroll(-1)", "Back", priority=True, key_display="PgUp"),
        Binding("pagedown", "scroll(1)", "Forward", priority=True, key_display="PgDn", show=False),
        Binding("escape", "newest", "Newest", priority=True, key_display="Esc"),
        Binding("ctrl+j", "shown_only", "New line"),
        Binding("ctrl+t", "light_or_dark", "Light/dark", priority=True),
        Binding("f5", "again", "Say again", priority=True),
        Binding("f8", "forget", "Drop", priority=True),
    ]

    def __init__(self, url: str, name: str, *, light: bool = False) -> None:
        super().__init__()
        self.url = url
        self.me = unicodedata.normalize("NFKC", name)
        self.conversation = Conversation()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = LIGHT.name if light else DARK.name
        # Who shows the same key is the same person, so that one's own lost session is not in the way.
        self._key = secrets.token_urlsafe()
        self._hub: Any = None
        self._people: list[str] = []
        self._state = "connecting"
        self._was_live = False
        self._since = time.time()
        self._another_name: asyncio.Event | None = None
        self._saying: set[asyncio.Task[None]] = set()

    # --- what is on the screen ----------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        with Horizontal(id="head"):
            yield Static(self.TITLE or "", id="title")
            yield Static("", id="unread")
            yield Static("", id="state")
        yield Static("", id="people-line")
        with Horizontal(id="middle"):
            with Vertical(id="main"):
                yield Static("", id="banner")
                yield self.conversation
                yield Static("", id="notice")
                yield Composer(id="composer", placeholder="Say something", compact=True)
            with Vertical(id="aside"):
                yield Static("", id="people")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.conversation.me = self.me
        self.query_one(Composer).focus()
        self._show_state()
        self._show_people()
        self.run_worker(self._stay(), name="connection")
        self.set_interval(1.0, self._show_state)

    def _show_state(self) -> None:
        if not self.query("#state"):
            return  # it is over, or has not begun
        live = self._state == "open"
        since = clock(self._since)
        words = {
            "connecting": "○ connecting",
            "open": "● live",
            "reconnecting": f"◌ reconnecting since {since}",
        }
        state = self.query_one("#state", Static)
        state.update(words.get(self._state, "○ not connected"))
        state.set_class(live, "live")
        banner = self.query_one("#banner", Static)
        # Shorter breaks are nobody's concern.
        banner.display = not live and time.time() - self._since > 0.7 and self._another_name is None
        what = "No connection yet, trying" if self._state == "connecting" else "No connection"
        banner.update(f"{what} since {since}. What you write is kept, and said after.")
        unread = self.conversation.unread
        self.query_one("#unread", Static).update(f"{unread} new" if unread else "")

    def _show_people(self) -> None:
        names, dark = self._people, self.current_theme.dark
        label = f"{len(names)} here" if names else "Nobody here yet"
        rows = [f"[b]{label}[/b]", ""]
        for name in names:
            shown = clean(name).replace("[", "\\[")
            you = " [dim]you[/dim]" if name == self.me else ""
            rows.append(f"[{colour_of(name, dark=dark).hex}]●[/] {shown}{you}")
        self.query_one("#people", Static).update("\n".join(rows))
        listed = ", ".join(clean(name) for name in names).replace("[", "\\[")
        self.query_one("#people-line", Static).update(f"[b]{label}[/b]  {listed}")

    def notice(self, words: str) -> None:
        """Say something above the composer; empty words take it away."""
        box = self.query_one("#notice", Static)
        box.update(words.replace("[", "\\["))
        box.display = bool(words)

    # --- the connection -----------------------------------------------------------------------------------------------

    async def _stay(self) -> None:
        """Be logged in, whatever happens, until the program ends."""
        pause = RETRY_S[0]
        while True:
            try:
                me = await hubbub.login(
                    self.url,
                    name=self.me,
                    credentials={"key": self._key},
                    on_state=self._on_state,
                )
            except (hubbub.AccessError, hubbub.Refused) as error:
                await self._ask_name(str(error))
            except hubbub.ConfigurationError as error:
                self.exit(return_code=2, message=str(error))
                return
            except hubbub.HubbubError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_S[1])
            else:
                pause = RETRY_S[0]
                # Whatever ends a session, such as a host that knows nothing of it: there is another one.
                with contextlib.suppress(hubbub.HubbubError):
                    async with me:
                        await self._take_part(me)
                self._hub = None
                await asyncio.sleep(RETRY_S[0])

    async def _take_part(self, me: Any) -> None:
        self._hub = me
        self._on_state(me.state)
        self._say_what_waits()
        tasks = [
            asyncio.create_task(self._follow_lines(me.room().recent.watch(limit=LINES))),
            asyncio.create_task(self._follow_people(me.room().people.watch())),
            asyncio.create_task(_end_of(me)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_lines(self, watch: Any) -> None:
        async for lines in watch:
            self.conversation.update(lines, looking=self.app_focus)
            self._show_state()

    async def _follow_people(self, watch: Any) -> None:
        async for names in watch:
            self._people = list(names)
            self._show_people()

    def _on_state(self, state: Any) -> None:
        word: str = state.value
        if word in ("closed", "connecting"):  # of this session; another one is tried at once
            word = "reconnecting" if self._was_live else "connecting"
        self._was_live = self._was_live or word == "open"
        if word != self._state:
            if "open" in (word, self._state):
                self._since = time.time()
            self._state = word
        self._show_state()

    async def _ask_name(self, why: str) -> None:
        self.notice(f"{why} Type another name.")
        composer = self.query_one(Composer)
        composer.placeholder = "Another name"
        self._another_name = asyncio.Event()
        self._show_state()
        await self._another_name.wait()
        self._another_name = None
        composer.placeholder = "Say something"

    # --- what one says ------------------------------------------------------------------------------------------------

    def on_composer_sent(self, sent: Composer.Sent) -> None:
        text = sent.text
        self.notice("")
        if self._another_name is not None:
            self.me = self.conversation.me = unicodedata.normalize("NFKC", text.strip())
            self._another_name.set()
            return
        self.conversation.pending.append(Pending(text))
        self.conversation.spoke()
        self._show_state()
        self._say_what_waits()

    def _say_what_waits(self) -> None:
        if self._hub is None:
            return
        for pending in self.conversation.pending:
            if pending.state == "waiting":
                pending.state = "sending"
                task = asyncio.create_task(self._say(self._hub, pending))
                self._saying.add(task)
                task.add_done_callback(self._saying.discard)
        self.conversation.draw()

    async def _say(self, hub: Any, pending: Pending) -> None:
        try:
            await hub.say(pending.text)
            pending.state = "done"  # and durable; the room's next answer brings the line itself
            self.set_timer(2.0, lambda: self._discard(pending))
        except hubbub.OutcomeUnknownError:
            pending.state = "unknown"
            self.refresh_bindings()
        except (hubbub.BrokenError, hubbub.ClosedError):
            pending.state = "waiting"  # it certainly was not said; it will be, by the next session
            self._hub = None if hub is self._hub else self._hub
            self._say_what_waits()
        except hubbub.HubbubError as error:
            self._discard(pending)
            self.query_one(Composer).give_back(pending.text)
            self.notice(str(error))
        self.conversation.draw()

    def _discard(self, pending: Pending) -> None:
        if pending in self.conversation.pending:
            self.conversation.pending.remove(pending)
            self.conversation.draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("again", "forget"):
            return any(pending.state == "unknown" for pending in self.conversation.pending)
        return True

    def action_again(self) -> None:
        for pending in self.conversation.pending:
            if pending.state == "unknown":
                pending.state = "waiting"
        self.refresh_bindings()
        self._say_what_waits()

    def action_forget(self) -> None:
        for pending in list(self.conversation.pending):
            if pending.state == "unknown":
                self._discard(pending)
        self.refresh_bindings()

    # --- keys ---------------------------------------------------------------------------------------------------------

    def action_scroll(self, pages: int) -> None:
        if pages < 0:
            self.conversation.scroll_page_up(animate=False)
        else:
            self.conversation.scroll_page_down(animate=False)

    def action_shown_only(self) -> None:
        """In the footer: the composer itself does it."""

    def action_newest(self) -> None:
        self.notice("")
        self.conversation.to_end()

    def action_light_or_dark(self) -> None:
        self.theme = DARK.name if self.theme == LIGHT.name else LIGHT.name
        self.conversation.draw(afresh=True)
        self._show_people()

    async def action_leave(self) -> None:
        if self._hub is not None:
            await self._hub.close()
        self.exit()

    def on_app_blur(self, _event: events.AppBlur) -> None:
        self.conversation.looked_away()

    def on_app_focus(self, _event: events.AppFocus) -> None:
        self.conversation.looked_back()
        self._show_state()


async def _end_of(me: Any) -> None:
    """Wait for the end of a session, and raise why."""
    await me.wait_closed()
    raise hubbub.ClosedError("the session has ended")


def _light_ground() -> bool:
    """Tell whether the terminal says that it is light."""
    ground = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return ground in ("7", "15")


def main() -> None:
    parser = argparse.ArgumentParser(description="The chat in a terminal.")
    parser.add_argument(
        "--connect", metavar="URL", default="hub://127.0.0.1:1975", help="which hub [%(default)s]"
    )
    parser.add_argument("--name", default=None, help="whom to be known as [your system name]")
    parser.add_argument(
        "--light", action="store_true", default=_light_ground(), help="dark on light"
    )
    options = parser.parse_args()
    app = Chat(options.connect, options.name or getpass.getuser(), light=options.light)
    with contextlib.suppress(KeyboardInterrupt):
        app.run()
    raise SystemExit(app.return_code or 0)


if __name__ == "__main__":
    main()
