"""The forum: front ends in processes of their own, each a peer; warm pages ask the host nothing; pages are live."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.hosts import EXAMPLES, Host, Hosts, environment
from tests.e2e.pages import DESKTOP, PHONE

TOKEN = "a secret of this forum"
FrontEnd = Callable[[], httpx.Client]


@pytest.fixture
def host(hosts: Hosts) -> Host:
    return hosts.host(None, "forum", "--token", TOKEN).start()


@pytest.fixture
def front_end(hosts: Hosts, host: Host) -> Iterator[FrontEnd]:
    """Starts one more front end."""
    clients: list[httpx.Client] = []

    def start() -> httpx.Client:
        program = hosts.run(
            "-m", "uvicorn", "forum:app", "--port", "0",
            directory=EXAMPLES / "forum",
            env=environment(FORUM=host.hub, TOKEN=TOKEN),
        )  # fmt: skip
        url = program.until_logged(r"running on (http://\S+)")[1]
        client = httpx.Client(base_url=url, timeout=20)
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.close()


def start_story(web: httpx.Client, title: str, text: str, author: str = "ann") -> str:
    answer = web.post("/", data={"title": title, "text": text, "author": author})
    assert answer.status_code == 303
    return answer.headers["location"]


def answer(web: httpx.Client, story: str, text: str, author: str = "bob") -> None:
    done = web.post(story, data={"text": text, "author": author})
    assert (done.status_code, done.headers["location"]) == (303, story)


@pytest.mark.rule("SP1")
def test_a_warm_page_asks_the_host_nothing(front_end: FrontEnd) -> None:
    first, second = front_end(), front_end()
    assert "No stories yet." in first.get("/").text
    story = start_story(first, "Hubbub 1.0 is out", "At last!")
    answer(second, story, "Congratulations")
    for web in (first, second):
        for path in ("/", story):
            page = web.get(path).text
            assert "Hubbub 1.0 is out" in page
            assert "Congratulations" in page
    for web in (first, second):
        web.get("/")
        before = web.get("/stats").json()["requests"]
        for _ in range(30):
            assert web.get("/").status_code == 200
            assert web.get(story).status_code == 200
        assert web.get("/stats").json()["requests"] == before
    # What one writes the other shows, and is warm again after one look.
    answer(first, story, "And again", "carl")
    assert "And again" in second.get(story).text
    second.get("/")
    before = second.get("/stats").json()["requests"]
    second.get(story)
    second.get("/")
    assert second.get("/stats").json()["requests"] == before


@pytest.mark.rule("ST4")
async def test_answers_to_one_story_through_two_front_ends_are_all_there(
    front_end: FrontEnd,
) -> None:
    first, second = front_end(), front_end()
    story = start_story(first, "Busy", "Who is first?")
    urls = [str(first.base_url.join(story)), str(second.base_url.join(story))]
    async with httpx.AsyncClient(timeout=30) as web:
        done = await asyncio.gather(
            *(
                web.post(urls[n % 2], data={"text": f"number {n}.", "author": "ann"})
                for n in range(40)
            )
        )
    assert {answer.status_code for answer in done} == {303}
    page = first.get(story).text
    assert all(page.count(f"number {n}.") == 1 for n in range(40))
    assert "40 answers" in second.get("/").text


def test_what_makes_no_sense_is_told_and_harms_nobody(front_end: FrontEnd) -> None:
    web = front_end()
    story = start_story(web, "<script>alert(1)</script>", "$after <b>bold</b>\r\nsecond", "<i>")
    page = web.get(story).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "$after &lt;b&gt;bold&lt;/b&gt;\nsecond" in page
    for status, done in [
        (404, web.get("/s/nothing")),
        (404, web.post("/s/nothing", data={"text": "x", "author": "y"})),
        (404, web.get("/s/nothing/live")),
        (404, web.get("/no/such/page")),
        (400, web.post(story, data={"text": " ", "author": "y"})),
        (413, web.post(story, data={"text": "x" * 30_000, "author": "y"})),
        (403, web.post(story, data={"text": "x"}, headers={"Sec-Fetch-Site": "cross-site"})),
    ]:
        assert done.status_code == status
        assert "<h1>" in done.text
    assert "no answers" in web.get("/").text


@pytest.mark.rule("ST2")
def test_a_front_end_outlives_its_host(front_end: FrontEnd, host: Host) -> None:
    web = front_end()
    story = start_story(web, "Before", "the host was killed")
    host.kill()
    assert web.post(story, data={"text": "x", "author": "y"}).status_code == 503
    host.start()
    answer(web, story, "and after")
    page = web.get(story).text
    assert "the host was killed" in page
    assert "and after" in page


async def open_page(browser: Browser, url: str, problems: list[str], **options: Any) -> Page:
    context = await browser.new_context(**options)
    page = await context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    await page.goto(url)
    await expect(page.locator("body")).to_have_attribute("data-state", "live")
    return page


async def fits(page: Page) -> bool:
    width = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    return bool(await page.evaluate(width))


@pytest.mark.browser
@pytest.mark.rule("LV1")
async def test_open_pages_show_what_is_written_through_another_front_end(
    front_end: FrontEnd, browser: Browser
) -> None:
    first, second = front_end(), front_end()
    problems: list[str] = []
    phone = await open_page(
        browser, str(second.base_url), problems, viewport=PHONE, color_scheme="dark", locale="en-GB"
    )
    await expect(phone.locator(".empty")).to_contain_text("No stories yet.")
    desktop = await open_page(browser, str(first.base_url), problems, viewport=DESKTOP)
    await desktop.click("summary")
    await desktop.fill("[name=title]", "A title that is so long that it does not fit: " + "x" * 70)
    await desktop.fill("[name=text]", "First posting\nin two lines")
    await desktop.fill("[name=author]", "Ann")
    await desktop.click("text=Start it")
    await expect(desktop.locator(".postings li")).to_have_count(1)
    card = phone.locator(".stories li")
    await expect(card).to_have_count(1)
    await expect(card).to_contain_text("no answers")
    assert await fits(phone)
    await card.locator("a").click()
    await expect(phone.locator("body")).to_have_attribute("data-state", "live")
    await phone.fill("[name=text]", "An answer from the phone")
    await phone.fill("[name=author]", "Bob")
    await phone.click("button")
    await expect(desktop.locator(".postings li")).to_have_count(2)
    await expect(desktop.locator(".postings")).to_contain_text("An answer from the phone")
    assert await fits(phone)
    assert await desktop.locator("[name=author]").input_value() == "Ann", "a name is remembered"
    grounds = [
        await page.evaluate("getComputedStyle(document.body).backgroundColor")
        for page in (phone, desktop)
    ]
    assert grounds[0] != grounds[1], "dark is dark"
    assert not re.search("UTC", await phone.locator("time").first.inner_text())
    assert problems == []
