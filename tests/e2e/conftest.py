"""What the end-to-end tests share: hosts in processes of their own, a browser, users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

import hubbub
from tests.e2e.hosts import EXAMPLES, Host, Hosts
from tests.e2e.terminals import Terminals

CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Makes hosts; all are killed when the test ends."""
    made = Hosts(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def chat(hosts: Hosts) -> Host:
    """The example chat, served."""
    return hosts.serve()


@pytest_asyncio.fixture
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path, args=CHROMIUM_ARGUMENTS
        )
        try:
            yield browser
        finally:
            await browser.close()


Login = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture
async def login() -> AsyncIterator[Login]:
    """Logs users in; all are logged out when the test ends."""
    async with AsyncExitStack() as users:

        async def log_in(host: Host, name: str, **options: Any) -> Any:
            return await users.enter_async_context(hubbub.login(host.hub, name=name, **options))

        yield log_in


@pytest.fixture
def beside_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the modules of the chat example be imported here."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "chat"))


@pytest_asyncio.fixture
async def terminals(beside_chat: None) -> AsyncIterator[Terminals]:
    """Opens terminal clients; all are ended when the test ends."""
    opened = Terminals()
    try:
        yield opened
    finally:
        await opened.close()
