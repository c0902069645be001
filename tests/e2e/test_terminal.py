"""The terminal client: what it shows, at any size, and what it does with keys."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.e2e.conftest import Login
from tests.e2e.hosts import EXAMPLES, Host, environment, eventually, until
from tests.e2e.terminals import Terminals

WIDE, NARROW = (80, 24), (40, 24)


def columns(terminal: object, selector: str) -> tuple[int, int]:
    """Return where a widget begins and ends."""
    region = terminal.app.query_one(selector).region  # type: ignore[attr-defined]
    return region.x, region.right


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["80x24", "40x24"])
async def test_it_fits(
    chat: Host, login: Login, terminals: Terminals, tmp_path: Path, size: tuple[int, int]
) -> None:
    bob = await login(chat, "bob")
    cyd = await terminals.open(chat, "cyd", size)
    await cyd.until_shows("#empty", "Nothing said yet.")
    await bob.say("A long line that has to be broken at either width, however it is counted. " * 2)
    await bob.say("Unbreakable" * 12)
    await cyd.type("What is that?")
    await cyd.sees("What is that?")
    wide = size == WIDE
    assert cyd.app.query_one("#aside").display is wide
    assert cyd.app.query_one("#people-line").display is not wide
    people = "#people" if wide else "#people-line"
    await cyd.until_shows(people, "2 here")
    for name in ("bob", "cyd"):
        assert name in cyd.text_of(people)
    for selector in ("#head", "#composer", "#conversation", *([] if wide else ["#people-line"])):
        begin, end = columns(cyd, selector)
        assert 0 <= begin < end <= size[0], selector
    composer = cyd.app.query_one("#composer").region
    assert composer.bottom <= size[1]
    assert cyd.app.query_one("#conversation").max_scroll_x == 0
    shot = cyd.app.export_screenshot()
    (tmp_path / f"terminal-{size[0]}.svg").write_text(shot)
    shown = re.sub(r"<[^>]+>|&#160;", "", shot)
    assert "Send" in shown, "the footer tells the keys"
    assert "Whatisthat?" in shown.replace(" ", "")


async def test_an_unread_mark_stands_where_one_looked_away(
    chat: Host, login: Login, terminals: Terminals
) -> None:
    bob = await login(chat, "bob")
    cyd = await terminals.open(chat, "cyd")
    await bob.say("before")
    await cyd.sees("before")
    await cyd.look_away()
    await bob.say("while away")
    await bob.say("and more")
    await cyd.sees("and more")
    assert cyd.shown[-4:] == ["before", "-- New --", "while away", "and more"]
    assert cyd.unread == 2
    await cyd.until_shows("#unread", "2 new")
    await cyd.look_back()
    assert cyd.unread == 0
    await eventually(lambda: not cyd.text_of("#unread"), "no number of unread lines")
    assert "-- New --" in cyd.shown, "one still has to find it"
    await cyd.type("I am back")
    await cyd.sees("I am back")
    assert "-- New --" not in cyd.shown


@pytest.mark.rule("PE2")
async def test_a_refusal_is_shown_and_the_line_given_back(chat: Host, terminals: Terminals) -> None:
    cyd = await terminals.open(chat, "cyd")
    await cyd.type("   ")
    await cyd.until_shows("#notice", "Say something.")
    assert cyd.app.query_one("#composer").text == "   "
    assert cyd.lines == []
    await cyd.type("now really")
    await cyd.sees("now really")
    assert cyd.text_of("#notice") == ""


async def test_a_name_that_is_taken_is_asked_for_again(
    chat: Host, login: Login, terminals: Terminals
) -> None:
    await login(chat, "ann")
    other = await terminals.open(chat, "ann", live=False)
    await other.until_shows("#notice", "the name 'ann' is taken Type another name.")
    await other.type("anna")
    await other.until_shows("#state", "live")
    await other.type("hello")
    await other.sees("hello")
    await other.until_shows("#people", "anna you")


@pytest.mark.rule("PE4")
async def test_what_was_perhaps_not_said_is_left_to_the_user(
    chat: Host, terminals: Terminals, tmp_path: Path
) -> None:
    cyd = await terminals.open(chat, "cyd")
    chat.running.send(signal.SIGSTOP)
    await cyd.type("on its way")
    await cyd.type("and this")
    await asyncio.sleep(0.2)  # it reaches the host's socket, and nobody reads it there
    chat.kill()
    # A host that knows nothing of the session: nobody can tell whether these lines were said.
    chat.data = tmp_path / "another.hub"
    await asyncio.to_thread(chat.start)
    await cyd.until_shows("#state", "live")
    conversation = cyd.app.conversation
    await eventually(
        lambda: [p.state for p in conversation.pending] == ["unknown"] * 2, "two unknown outcomes"
    )
    assert cyd.lines == ["on its way", "and this"]
    await cyd.press("f5")
    await cyd.sees("on its way")
    await cyd.sees("and this")
    assert conversation.pending == []


async def test_what_others_write_can_not_play_with_the_terminal(
    chat: Host, login: Login, terminals: Terminals
) -> None:
    bob = await login(chat, "bob")
    cyd = await terminals.open(chat, "cyd")
    await bob.say("\x1b[2J\x1b]0;owned\x07 [bold red]markup[/] \u202egnp.exe")
    await eventually(lambda: cyd.lines, "a line")
    (text,) = cyd.lines
    assert text == "�[2J�]0;owned� [bold red]markup[/] �gnp.exe"


async def test_several_lines_at_once_and_light_or_dark(
    chat: Host, login: Login, terminals: Terminals
) -> None:
    bob = await login(chat, "bob")
    cyd = await terminals.open(chat, "cyd")
    await cyd.type("one\ntwo")
    await eventually(lambda: cyd.lines == ["one\ntwo"], "both lines in one")
    assert [line.text for line in await bob.room().recent()] == ["one\ntwo"]
    before = cyd.app.theme
    await cyd.press("ctrl+t")
    assert cyd.app.theme != before
    assert cyd.app.current_theme.dark is False


async def test_it_stays_where_one_reads_and_esc_goes_to_the_newest(
    chat: Host, login: Login, terminals: Terminals
) -> None:
    bob = await login(chat, "bob")
    for number in range(40):
        await bob.say(f"line {number}")
    cyd = await terminals.open(chat, "cyd")
    await cyd.sees("line 39")
    conversation = cyd.app.query_one("#conversation")
    await eventually(lambda: conversation.is_vertical_scroll_end, "the newest line in view")
    await cyd.press("pageup")
    at = conversation.scroll_y
    await bob.say("news")
    await cyd.sees("news")
    await cyd.pilot.pause(0.1)
    assert conversation.scroll_y == at
    await cyd.press("escape")
    await eventually(lambda: conversation.is_vertical_scroll_end, "the newest line in view")


def test_in_a_real_terminal_nothing_that_is_typed_fast_is_lost(chat: Host) -> None:
    """Keys that come at once, as from a paste or a fast hand, are taken in their order."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = [sys.executable, "terminal.py", "--connect", chat.hub, "--name", "cyd"]
    env = environment(TERM="xterm-256color", LANG="C.UTF-8")
    child = subprocess.Popen(
        program, cwd=EXAMPLES / "chat", env=env, stdin=terminal, stdout=terminal,
        stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    try:
        shown = _read_until(controller, "live")
        assert "The Room" in shown
        os.write(controller, b"typed in one go\rand a second one\r")
        _read_until(controller, "second")
        # That may be the field in which it is typed: what is said is what the host has.
        until(lambda: len(asyncio.run(_texts(chat))) == 2, "both lines in the room", 20.0)
        os.write(controller, b"\x11")  # ctrl+q
        _drain(controller)
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.wait()
        os.close(controller)
    assert asyncio.run(_texts(chat)) == ["typed in one go", "and a second one"]


async def _texts(chat: Host) -> list[str]:
    import hubbub

    async with hubbub.login(chat.hub, name="dan") as dan:
        return [line.text for line in await dan.room().recent()]


def _read_until(controller: int, text: str) -> str:
    shown = ""
    for chunk in _chunks(controller):
        shown += chunk
        if text in shown:
            return shown
    raise AssertionError(f"{text!r} is not in {shown!r}")


def _drain(controller: int) -> None:
    for _ in _chunks(controller):
        pass


def _chunks(controller: int):
    import select

    while select.select([controller], [], [], 10)[0]:
        try:
            data = os.read(controller, 65536)
        except OSError:  # the other side is closed
            return
        yield data.decode(errors="replace")
