"""The example chat: two browser pages and a terminal in one room, over whatever transport there is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.conftest import Login
from tests.e2e.hosts import EXAMPLES, ROOT, Host, Hosts, environment
from tests.e2e.pages import (
    DESKTOP,
    PHONE,
    Visitor,
    block_events,
    block_websocket,
    enter,
    visit,
)
from tests.e2e.terminals import Terminals

pytestmark = [pytest.mark.browser, pytest.mark.timeout(60)]

FALLBACK_S = 5.0


@pytest.mark.rule("LV1", "GW1")
async def test_a_line_typed_in_any_is_seen_in_the_others(
    browser: Browser, chat: Host, terminals: Terminals
) -> None:
    ann, bob = await enter(browser, chat, "ann"), await enter(browser, chat, "bob")
    cyd = await terminals.open(chat, "cyd")

    await ann.say("from the first page")
    await bob.sees("from the first page")
    await cyd.sees("from the first page")

    await bob.say("from the second page")
    await ann.sees("from the second page")
    await cyd.sees("from the second page")

    await cyd.type("from the terminal")
    await ann.sees("from the terminal")
    await bob.sees("from the terminal")
    await cyd.sees("from the terminal")

    said = ["from the first page", "from the second page", "from the terminal"]
    assert await ann.texts() == await bob.texts() == cyd.lines == said
    await expect(ann.page.locator("#people li .name")).to_have_text(["ann", "bob", "cyd"])
    assert await ann.transport() == "ws"
    assert ann.problems == bob.problems == []


@pytest.mark.rule("LV1")
async def test_who_leaves_is_no_longer_here(
    browser: Browser, chat: Host, login: Login, terminals: Terminals
) -> None:
    ann = await enter(browser, chat, "ann")
    cyd = await terminals.open(chat, "cyd")
    names = ann.page.locator("#people li .name")
    await expect(names).to_have_text(["ann", "cyd"])
    await cyd.leave()
    await expect(names).to_have_text(["ann"])


@pytest.mark.rule("PE2")
async def test_a_refusal_is_shown_and_the_line_given_back(browser: Browser, chat: Host) -> None:
    ann = await enter(browser, chat, "ann")
    await ann.say("x" * 2001)
    await expect(ann.page.locator("#toast")).to_have_text("That is more than 2,000 characters.")
    await expect(ann.page.locator("#text")).to_have_value("x" * 2001)
    assert await ann.texts() == []


async def talk(host: Host, login: Login) -> None:
    """Something to look at: several authors, long and short lines, several in a row."""
    ann, bob = await login(host, "ann"), await login(host, "bob")
    await ann.say("Has anybody looked at the boiler since this morning? " * 4)
    await ann.say("It makes a noise.")
    await bob.say("Like a kettle?\nOr like a train?")
    await ann.say("Unbreakable" * 30)


async def enter_by(visitor: Visitor, url: str, transport: str) -> float:
    """Enter the room by ``transport``; return how many seconds it took."""
    if transport in ("sse", "poll"):
        await block_websocket(visitor)
    if transport == "poll":
        await block_events(visitor)
    await visitor.page.goto(url)
    await visitor.page.fill("#name", visitor.name)
    began = time.monotonic()
    await visitor.page.press("#name", "Enter")
    await visitor.until_state("live")
    took = time.monotonic() - began
    assert await visitor.transport() == transport
    return took


@pytest.mark.rule("GW1")
async def test_with_websocket_blocked_and_then_events_too_the_page_looks_the_same(
    browser: Browser, chat: Host, login: Login
) -> None:
    await talk(chat, login)
    speaker = await login(chat, "dan")
    visitors = [await visit(browser, f"eve-{way}") for way in ("ws", "sse", "poll")]
    for visitor, way in zip(visitors, ("ws", "sse", "poll"), strict=True):
        assert await enter_by(visitor, chat.web, way) < FALLBACK_S
        await visitor.sees("It makes a noise.")

    # News arrive on each, and what is typed on each arrives.
    await speaker.say("now")
    for visitor in visitors:
        await visitor.sees("now")
    looks = [await visitor.boxes() for visitor in visitors]
    assert looks[0] == looks[1] == looks[2]
    for visitor in visitors:
        await visitor.say(f"typed by {visitor.name}")
        for other in visitors:
            await other.sees(f"typed by {visitor.name}")
    texts = [await visitor.texts() for visitor in visitors]
    assert texts[0] == texts[1] == texts[2]
    assert [visitor.problems for visitor in visitors] == [[], [], []]


BUFFERED = '''
import os, sys
sys.path.insert(0, os.environ["CHAT"])
from chat import hub
from starlette.applications import Starlette
from starlette.routing import Mount


class Buffering:
    """A proxy that knows no WebSocket and hands on only whole answers."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            return await send({"type": "websocket.close"})
        held = []

        async def hold(message):
            held.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                for kept in held:
                    await send(kept)

        await self.app(scope, receive, send if scope["type"] == "lifespan" else hold)


app = Buffering(Starlette(lifespan=hub.lifespan, routes=[Mount("/", hub.asgi())]))
'''


@pytest.mark.rule("GW1")
async def test_behind_a_middleware_that_buffers_whole_answers_it_polls(
    browser: Browser, hosts: Hosts, tmp_path: Path
) -> None:
    (tmp_path / "buffered.py").write_text(BUFFERED)
    env = environment(
        CHAT=str(EXAMPLES / "chat"),
        HUBBUB_DATA=str(tmp_path / "chat.hub"),
        PYTHONPATH=os.pathsep.join([str(ROOT / "src"), str(tmp_path)]),
    )
    server = hosts.run("-m", "uvicorn", "buffered:app", "--port", "0", env=env)
    url = server.until_logged(r"running on (http://\S+)")[1] + "/"
    ann, bob = await visit(browser, "ann"), await visit(browser, "bob")
    for visitor in (ann, bob):
        await visitor.page.goto(url)
        await visitor.page.fill("#name", visitor.name)
        began = time.monotonic()
        await visitor.page.press("#name", "Enter")
        await visitor.until_state("live")
        assert time.monotonic() - began < FALLBACK_S
        assert await visitor.transport() == "poll"
    await ann.say("slowly, but surely")
    await bob.sees("slowly, but surely", timeout_ms=3000)
    await bob.say("and back")
    await ann.sees("and back", timeout_ms=3000)
    assert ann.problems == bob.problems == []


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits(
    browser: Browser,
    chat: Host,
    login: Login,
    tmp_path: Path,
    viewport: dict[str, int],
    scheme: str,
) -> None:
    await talk(chat, login)
    eve = await visit(browser, "eve", viewport, color_scheme=scheme)
    await eve.enter(chat.web)
    await eve.sees("Like a kettle?")
    await eve.say("I will have a look.")
    await eve.sees("I will have a look.")
    width = await eve.page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"], "it can be scrolled sideways"
    for selector in ("#text", "#composer button", "#status", "#lines .line.own .text"):
        box = await eve.page.locator(selector).last.bounding_box()
        assert box is not None, selector
        assert box["x"] >= 0, selector
        assert box["x"] + box["width"] <= viewport["width"], selector
        assert box["y"] >= 0, selector
        assert box["y"] + box["height"] <= viewport["height"], selector
    await expect(eve.page.locator("#text")).to_be_focused()
    await eve.page.screenshot(path=tmp_path / f"chat-{viewport['width']}-{scheme}.png")
    assert eve.problems == []


@pytest.mark.rule("PE6")
async def test_an_unread_mark_stands_where_one_looked_away(
    browser: Browser, chat: Host, login: Login
) -> None:
    dan = await login(chat, "dan")
    ann = await enter(browser, chat, "ann")
    await dan.say("before")
    await ann.sees("before")
    # Headless pages are never hidden: say so in the browser's place.
    hide = """hidden => {
      Object.defineProperty(document, "hidden", {get: () => hidden, configurable: true})
      document.dispatchEvent(new Event("visibilitychange"))
    }"""
    await ann.page.evaluate(hide, True)
    await dan.say("while away")
    await ann.sees("while away")
    await expect(ann.page).to_have_title("(1) Chat")
    await ann.page.evaluate(hide, False)
    await expect(ann.page).to_have_title("Chat")
    classes = await ann.page.locator("#lines > li").evaluate_all(
        "all => all.map(li => li.classList[0])"
    )
    assert classes == ["day", "line", "new", "line"]
