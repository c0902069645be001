"""The comet chat with a queue in a Starlette app: ten wait for each, too slow is dropped, away in a poll loses nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.hosts import EXAMPLES, Hosts, environment
from tests.e2e.pages import PHONE


@pytest.fixture
def url(hosts: Hosts, tmp_path: Path) -> str:
    program = hosts.run(
        "-m", "uvicorn", "comet_queue:app", "--port", "0",
        directory=EXAMPLES / "comet_queue",
        env=environment(COMET_POLL_S="1"),
    )  # fmt: skip
    return program.until_logged(r"running on (http://\S+)")[1]


@pytest_asyncio.fixture
async def web(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        yield client


async def push(web: httpx.AsyncClient, *texts: str) -> None:
    for text in texts:
        assert (await web.post("/chat/push", content=text)).status_code == 200


async def pull(web: httpx.AsyncClient, client: str) -> httpx.Response:
    return await web.get("/chat/pull", headers={"X-Client": client})


async def visit(url: str) -> None:
    """Ask for the page, on a connection of its own: by then the server knows of all that came before it."""
    async with httpx.AsyncClient(base_url=url, timeout=20) as another:
        assert (await another.get("/")).status_code == 200


async def test_push_wakes_every_pull_and_an_idle_one_ends_empty(web: httpx.AsyncClient) -> None:
    assert (await pull(web, "ann")).text == ""
    assert (await pull(web, "bob")).text == ""
    pulls = [asyncio.create_task(pull(web, client)) for client in ("ann", "bob")]
    await push(web, "hi")
    for client, pulling in zip(("ann", "bob"), pulls, strict=True):
        assert ((await pulling).text or (await pull(web, client)).text) == "hi\r\n"


async def test_what_makes_no_sense_is_refused_and_harms_nobody(web: httpx.AsyncClient) -> None:
    assert (await web.get("/chat/pull")).status_code == 400
    await pull(web, "ann")
    assert (await web.post("/chat/push", content=b"x" * 20_000)).status_code == 413
    assert (await web.post("/chat/push", content=b"\xff")).status_code == 200
    assert (await pull(web, "ann")).text == "\ufffd\r\n"


async def test_who_is_too_slow_is_dropped_told_and_begins_anew(web: httpx.AsyncClient) -> None:
    for client in ("slow", "quick"):
        await pull(web, client)
    await push(web, *map(str, range(10)))
    assert (await pull(web, "quick")).text.split() == [str(number) for number in range(10)]
    await push(web, "one more")
    told = await pull(web, "slow")
    assert told.status_code == 410
    assert re.search("it was too slow: 10 items waited for it", told.text)
    assert (await pull(web, "quick")).text == "one more\r\n"
    await pull(web, "slow")
    await push(web, "again")
    assert (await pull(web, "slow")).text == "again\r\n"


async def test_who_goes_away_in_a_poll_loses_nothing(url: str, web: httpx.AsyncClient) -> None:
    await pull(web, "ann")
    host, _, port = url.removeprefix("http://").rpartition(":")
    for number in range(3):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /chat/pull HTTP/1.1\r\nHost: localhost\r\nX-Client: ann\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await visit(url)
        await push(web, str(number))
        assert (await pull(web, "ann")).text == f"{number}\r\n"


@pytest.mark.browser
async def test_people_talk_in_their_browsers_and_one_away_is_told(
    url: str, browser: Browser, web: httpx.AsyncClient
) -> None:
    pages = []
    for _ in range(2):
        context = await browser.new_context(viewport=PHONE)  # type: ignore[arg-type]
        pages.append(await context.new_page())
    ann, bob = pages
    for page, name in ((ann, "ann"), (bob, "bob")):
        await page.goto(url)
        await page.fill("#name", name)
        await page.press("#name", "Enter")
        await expect(page.locator("body")).to_have_attribute("data-state", "live")
    await ann.fill("#text", "hello bob")
    await ann.press("#text", "Enter")
    for page in (ann, bob):
        await expect(page.locator("#lines li")).to_have_text(["annhello bob"])
    await bob.context.set_offline(True)
    await expect(bob.locator("body")).to_have_attribute("data-state", "reconnecting")
    await push(web, *map(str, range(12)))
    await bob.context.set_offline(False)
    await expect(bob.locator("#banner-text")).to_contain_text("too slow")
    await bob.click("#again")
    await expect(bob.locator("body")).to_have_attribute("data-state", "live")
    await bob.fill("#text", "there again")
    await bob.press("#text", "Enter")
    await expect(bob.locator("#lines li", has_text="there again")).to_have_count(1)
