"""kill -9 in the middle of 1,000 lines: what was acknowledged is there, once; nobody has to do anything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

import hubbub
from tests.e2e.conftest import Login
from tests.e2e.hosts import Host
from tests.e2e.pages import enter
from tests.e2e.terminals import Terminals

USERS = 8
LINES = 1000
IN_FLIGHT = 5
SHOWN = 100


class Crowd:
    """Users who post numbered lines, several at a time each, and note what was acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.errors: list[BaseException] = []
        self.reached = asyncio.Event()
        self._goal = 0

    async def until(self, goal: int) -> None:
        """Wait until so many lines are acknowledged."""
        self._goal = goal
        self.reached.clear()
        if len(self.acknowledged) < goal:
            await self.reached.wait()

    async def post(self, users: list[Any], lines: int) -> None:
        """Have ``users`` share ``lines`` lines and post them."""
        shares = [iter(self._share(n, lines // len(users))) for n in range(len(users))]
        await asyncio.gather(
            *(
                self._work(user, share)
                for user, share in zip(users, shares, strict=True)
                for _ in range(IN_FLIGHT)
            )
        )

    def _share(self, user: int, count: int) -> list[str]:
        return [f"line {number:03} of user {user}" for number in range(count)]

    async def _work(self, me: Any, texts: Iterator[str]) -> None:
        for text in texts:
            try:
                await me.say(text)
            except hubbub.HubbubError as error:
                self.errors.append(error)
                continue
            self.acknowledged.append(text)
            if len(self.acknowledged) >= self._goal:
                self.reached.set()


def stored(url: str) -> list[str]:
    """Return all lines, in order, as a peer (or the owner of the file) reads them."""
    with hubbub.open(url) as space:
        lines, _ = space.read(lambda root: root["room"].messages.since(0))
        return [line.text for line in lines]


@pytest.mark.browser
@pytest.mark.timeout(110)
@pytest.mark.rule("ST2", "PE4", "PE6", "LV1")
async def test_killed_in_the_middle_of_1000_lines_of_8_users(
    browser: Browser, chat: Host, login: Login, terminals: Terminals
) -> None:
    first, second = await enter(browser, chat, "page-1"), await enter(browser, chat, "page-2")
    cyd = await terminals.open(chat, "cyd")
    users = [await login(chat, f"user-{number}") for number in range(USERS)]
    crowd = Crowd()
    posting = asyncio.create_task(crowd.post(users, LINES))

    await asyncio.wait_for(crowd.until(LINES // 3), 30)
    chat.kill()
    acknowledged = list(crowd.acknowledged)
    assert len(acknowledged) < LINES, "it was over before the kill"

    # The file alone: every acknowledged line, and none twice.
    left = await asyncio.to_thread(stored, str(chat.data))
    counts = Counter(left)
    assert [text for text in acknowledged if counts[text] != 1] == []
    assert [text for text, count in counts.items() if count > 1] == []

    await first.until_state("reconnecting")
    await asyncio.to_thread(chat.start)
    await asyncio.wait_for(posting, 60)

    # With the clients' own repeats: all of them, once.
    assert crowd.errors == []
    lines = await asyncio.to_thread(stored, chat.hub)
    assert lines[: len(left)] == left
    assert len(lines) == LINES
    assert set(lines) == set(crowd.acknowledged)
    assert len(set(lines)) == LINES

    # Pages and terminal are back by themselves and show the same, in the same order.
    for visitor in (first, second):
        await visitor.until_state("live", timeout_ms=20_000)
        await visitor.sees(lines[-1], timeout_ms=20_000)
        assert (await visitor.texts())[-SHOWN:] == lines[-SHOWN:]
    await cyd.sees(lines[-1])
    assert cyd.lines[-SHOWN:] == lines[-SHOWN:]
    await first.say("back again")
    await second.sees("back again")
    await cyd.sees("back again")
    assert first.problems == second.problems == []


@pytest.mark.slow
@pytest.mark.timeout(110)
@pytest.mark.rule("ST2", "PE4")
async def test_killed_again_and_again(chat: Host, login: Login, beside_chat: None) -> None:
    users = [await login(chat, f"user-{number}") for number in range(USERS)]
    crowd = Crowd()
    posting = asyncio.create_task(crowd.post(users, LINES))
    for goal in (100, 300, 600, 800):
        await asyncio.wait_for(crowd.until(goal), 30)
        await asyncio.to_thread(chat.kill)
        await asyncio.to_thread(chat.start)
    await asyncio.wait_for(posting, 60)
    assert crowd.errors == []
    lines = await asyncio.to_thread(stored, chat.hub)
    assert len(lines) == LINES
    assert set(lines) == set(crowd.acknowledged)


@pytest.mark.rule("PE6")
async def test_a_terminal_keeps_what_is_typed_while_the_host_is_away(
    chat: Host, login: Login, terminals: Terminals
) -> None:
    cyd = await terminals.open(chat, "cyd")
    await cyd.type("before")
    await cyd.sees("before")
    chat.kill()
    await cyd.until_shows("#state", "reconnecting since")
    await cyd.until_shows("#banner", "What you write is kept")
    await cyd.type("typed while away")
    await cyd.type("and more")
    assert cyd.lines == ["before", "typed while away", "and more"]
    await asyncio.to_thread(chat.start)
    await cyd.until_shows("#state", "live")
    await cyd.sees("typed while away")
    await cyd.sees("and more")
    dan = await login(chat, "dan")
    lines = await dan.room().recent()
    assert [line.text for line in lines] == ["before", "typed while away", "and more"]


@pytest.mark.rule("PE6")
async def test_a_terminal_that_is_begun_before_the_host_waits_for_it(
    chat: Host, terminals: Terminals, tmp_path: Path
) -> None:
    chat.kill()
    cyd = await terminals.open(chat, "cyd", live=False)
    await cyd.until_shows("#banner", "No connection yet")
    await cyd.type("patience")
    await asyncio.to_thread(chat.start)
    await cyd.until_shows("#state", "live", timeout_s=15)
    await cyd.sees("patience")
