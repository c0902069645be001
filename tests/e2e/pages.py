"""The chat's page in a real browser, as a person uses it."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.e2e.hosts import Host

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
PATIENCE_MS = 10_000


class Visitor:
    """One person with the page open, in a browser profile of their own."""

    def __init__(self, context: BrowserContext, page: Page, name: str) -> None:
        self.context = context
        self.page = page
        self.name = name
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    async def enter(self, url: str) -> None:
        """Open the page and say one's name. Returns when it is live."""
        await self.page.goto(url)
        await self.page.fill("#name", self.name)
        await self.page.press("#name", "Enter")
        await self.until_state("live")

    async def until_state(self, state: str, timeout_ms: int = PATIENCE_MS) -> None:
        await expect(self.page.locator("body")).to_have_attribute(
            "data-state", state, timeout=timeout_ms
        )

    async def transport(self) -> str | None:
        return await self.page.locator("body").get_attribute("data-transport")

    async def say(self, text: str) -> None:
        await self.page.fill("#text", text)
        await self.page.press("#text", "Enter")

    async def sees(self, text: str, timeout_ms: int = PATIENCE_MS) -> None:
        """Wait until a line of this text is shown, once, and not as one that is still being sent."""
        line = self.page.locator("#lines .line:not(.sending)", has_text=text)
        await expect(line).to_have_count(1, timeout=timeout_ms)

    async def texts(self) -> list[str]:
        return await self.page.locator("#lines .line .text").all_text_contents()

    async def boxes(self) -> list[dict[str, Any]]:
        """What each line says, and where it stands."""
        found: list[dict[str, Any]] = await self.page.evaluate(
            """() => [...document.querySelectorAll("#lines > li")].map(li => {
                 const {x, y, width, height} = li.getBoundingClientRect()
                 return {class: li.className, text: li.innerText, box: [x, y, width, height].map(Math.round)}
               })"""
        )
        return found


async def visit(
    browser: Browser, name: str, viewport: dict[str, int] | None = None, **options: Any
) -> Visitor:
    """Open a profile with an empty page."""
    context = await browser.new_context(viewport=viewport or DESKTOP, **options)  # type: ignore[arg-type]
    return Visitor(context, await context.new_page(), name)


async def enter(
    browser: Browser, host: Host, name: str, viewport: dict[str, int] | None = None
) -> Visitor:
    """Open the page of ``host`` and say one's name."""
    visitor = await visit(browser, name, viewport)
    await visitor.enter(host.web)
    return visitor


async def block_websocket(visitor: Visitor) -> None:
    """Have every WebSocket of this page fail, as behind a proxy that knows none."""
    await visitor.page.route_web_socket("**/*", lambda socket: socket.close(code=1011))


async def block_events(visitor: Visitor) -> None:
    """Have every request for an event stream fail."""
    await visitor.page.route("**/_hub/events", lambda route: route.abort())
