"""The comet chat: ten lines wait for each, polls end, who is too slow is told, who goes away in a poll loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.e2e.hosts import Host, Hosts, environment
from tests.e2e.pages import DESKTOP, PHONE

POLL_S = "1"


@pytest.fixture
def comet(hosts: Hosts) -> Host:
    return hosts.host("comet:hub", "comet", env=environment(COMET_POLL_S=POLL_S)).start()


@pytest_asyncio.fixture
async def web(comet: Host) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=comet.web, timeout=20) as client:
        yield client


async def say(web: httpx.AsyncClient, *texts: str) -> None:
    for text in texts:
        answer = await web.post("api/say?name=ann", json={"text": text})
        assert answer.status_code == 200, answer.text


async def poll(web: httpx.AsyncClient, client: str, wait: float = 10) -> Any:
    answer = await web.get("api/lines", params={"wait": wait, "client": client})
    return answer.json()


async def test_a_poll_brings_what_is_said_and_ends_by_itself(web: httpx.AsyncClient) -> None:
    assert await poll(web, "k1") == []  # it begins to listen
    assert await poll(web, "k1") == []  # after the hub's own limit, not after ten seconds
    polling = asyncio.create_task(poll(web, "k1"))
    await say(web, "hi")
    heard = await polling or await poll(web, "k1")
    assert heard == ["ann: hi"]


@pytest.mark.rule("PE5")
async def test_who_is_too_slow_is_dropped_and_told(web: httpx.AsyncClient) -> None:
    for client in ("slow", "quick"):
        await poll(web, client, 0)
    await say(web, *map(str, range(10)))
    assert await poll(web, "quick") == [f"ann: {number}" for number in range(10)]
    await say(web, "one more")
    assert (await poll(web, "slow"))["code"] == "too_slow"
    assert await poll(web, "quick") == ["ann: one more"]
    await poll(web, "slow", 0)  # it begins anew
    await say(web, "again")
    assert await poll(web, "slow") == ["ann: again"]


@pytest.mark.rule("PE4")
async def test_who_goes_away_in_a_poll_loses_nothing(comet: Host, web: httpx.AsyncClient) -> None:
    await poll(web, "k1", 0)
    host, _, port = comet.web_address.rpartition(":")
    for number in range(3):
        _, writer = await asyncio.open_connection(host, int(port))
        request = f"GET /api/lines?wait=10&client=k1 HTTP/1.1\r\nHost: {comet.web_address}\r\n\r\n"
        writer.write(request.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with httpx.AsyncClient(base_url=comet.web, timeout=20) as another:
            await another.get("")  # by then the host knows of all that came before it
        await say(web, str(number))
        assert await poll(web, "k1") == [f"ann: {number}"]


async def listen(browser: Browser, comet: Host, name: str, viewport: Any) -> Page:
    page = await (await browser.new_context(viewport=viewport)).new_page()
    await page.goto(comet.web)
    await page.fill("#name", name)
    await page.press("#name", "Enter")
    await expect(page.locator("body")).to_have_attribute("data-state", "live")
    return page


@pytest.mark.browser
async def test_people_talk_in_their_browsers(comet: Host, browser: Browser) -> None:
    ann = await listen(browser, comet, "ann", DESKTOP)
    bob = await listen(browser, comet, "bob", PHONE)
    await ann.fill("#text", "hello bob")
    await ann.press("#text", "Enter")
    for page in (ann, bob):
        await expect(page.locator("#lines li")).to_have_text(["annhello bob"])
    await bob.fill("#text", "hello ann")
    await bob.press("#text", "Enter")
    await expect(ann.locator("#lines li").nth(1)).to_have_text("bobhello ann")


@pytest.mark.browser
@pytest.mark.rule("PE5")
async def test_a_page_that_was_away_for_too_long_is_told_and_listens_again(
    comet: Host, browser: Browser, web: httpx.AsyncClient
) -> None:
    ann = await listen(browser, comet, "bob", PHONE)
    await ann.context.set_offline(True)
    await say(web, *map(str, range(12)))
    await ann.context.set_offline(False)
    await expect(ann.locator("#banner-text")).to_contain_text("too slow", timeout=15_000)
    await ann.click("#again")
    await expect(ann.locator("#banner")).to_be_hidden()
    heard = ann.locator("#lines li", has_text="there again")
    await ann.fill("#text", "there again")
    await ann.press("#text", "Enter")
    await expect(heard).to_have_count(1)


@pytest.mark.browser
@pytest.mark.rule("PE4")
async def test_a_page_whose_poll_was_answered_in_vain_loses_nothing_and_shows_nothing_twice(
    comet: Host, browser: Browser, web: httpx.AsyncClient
) -> None:
    ann = await listen(browser, comet, "bob", DESKTOP)
    lost = 0

    async def lose(route: Route) -> None:
        nonlocal lost
        answer = await route.fetch()
        if "ann: one" in await answer.text() and lost < 2:
            lost += 1
            await route.abort()
        else:
            await route.fulfill(response=answer)

    await ann.route("**/_hub/poll*", lose)
    await say(web, "zero", "one", "two")
    lines = ann.locator("#lines li")
    await expect(lines).to_have_text(["annzero", "annone", "anntwo"], timeout=20_000)
    assert lost == 2
