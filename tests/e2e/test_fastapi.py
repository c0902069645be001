"""The hub inside a FastAPI app: one process, one port, and the app's own routes work on the space."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser

from tests.e2e.hosts import EXAMPLES, Hosts, Program, environment
from tests.e2e.pages import visit


class App:
    """The example, served by uvicorn on a free port."""

    def __init__(self, hosts: Hosts, data: Path) -> None:
        self._hosts = hosts
        self._data = data
        self._port = "0"
        self.program = self.start()

    def start(self) -> Program:
        self.program = self._hosts.run(
            "-m", "uvicorn", "app:app", "--port", self._port,
            directory=EXAMPLES / "fastapi_app",
            env=environment(HUBBUB_DATA=str(self._data)),
        )  # fmt: skip
        self.url: str = self.program.until_logged(r"running on (http://\S+)")[1]
        self._port = self.url.rpartition(":")[2]
        return self.program


@pytest.fixture
def app(hosts: Hosts, tmp_path: Path) -> App:
    return App(hosts, tmp_path / "chat.hub")


@pytest.mark.rule("ST2")
def test_the_apps_routes_work_on_the_space_and_it_lasts(app: App) -> None:
    with httpx.Client(base_url=app.url, timeout=10) as web:
        assert web.get("/count").json() == 0
        assert web.post("/webhook", params={"text": "deployed"}).status_code == 200
        assert web.get("/count").json() == 1
        assert web.post("/live/api/say", json={"text": "from curl"}).status_code == 200
        lines = web.get("/live/api/room.recent").json()
        assert [line["text"] for line in lines] == ["deployed", "from curl"]
        app.program.kill()
        app.start()
        assert web.get("/count").json() == 2
        assert app.program.terminate() in (0, -15)
    assert "Traceback" not in app.program.logged


@pytest.mark.browser
async def test_the_page_under_a_path_shows_what_the_webhook_said(
    app: App, browser: Browser
) -> None:
    ann = await visit(browser, "ann")
    await ann.enter(f"{app.url}/live/")
    assert await ann.transport() == "ws"
    async with httpx.AsyncClient(base_url=app.url, timeout=10) as web:
        await web.post("/webhook", params={"text": "deployed"})
    await ann.sees("deployed")
    await ann.say("thank you")
    await ann.sees("thank you")
    async with httpx.AsyncClient(base_url=app.url, timeout=10) as web:
        assert (await web.get("/count")).json() == 2
    assert ann.problems == []


def test_the_readme_says_how_it_is_run() -> None:
    text = (EXAMPLES / "fastapi_app" / "README.md").read_text()
    assert re.search(r"uvicorn app:app", text)
