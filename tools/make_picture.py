"""Make the moving picture of the README out of the real thing.

A host in a process of its own, two headless browsers and the terminal client share the chat. The host is killed with
SIGKILL and started again. Everything in the picture is a screenshot; only the strip at the bottom, which says what
happens to the host, is drawn.

    python tools/make_picture.py [docs/picture.gif]

Needs what developing needs, and Chromium.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from playwright.async_api import Browser, Page, async_playwright

ROOT = Path(__file__).resolve().parents[1]
PANE = (380, 560)
STRIP = 64
GAP = 12
BACK = (24, 26, 32)
COLUMNS, ROWS = 46, 33


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Host:
    """The chat's host, in a process that can be killed."""

    def __init__(self, data: Path) -> None:
        self.web, self.listen = _free_port(), _free_port()
        self._data = data
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [
                sys.executable, "-m", "hubbub", "serve", "chat:hub", "--data", str(self._data),
                "--web", f"127.0.0.1:{self.web}", "--listen", f"127.0.0.1:{self.listen}",
            ],
            cwd=ROOT / "examples" / "chat",
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(200):
            try:
                for port in (self.web, self.listen):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                await asyncio.sleep(0.05)
        raise RuntimeError("the host did not start")

    def kill(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        return self.process.pid

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)


def _font(size: int) -> Any:
    for name in ("DejaVuSansMono.ttf", "LiberationMono-Regular.ttf"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


class Film:
    """Frames out of three panes and a strip."""

    def __init__(self, pages: list[Page], terminal: Any, canvas: Page) -> None:
        self._pages = pages
        self._terminal = terminal
        self._canvas = canvas
        self._frames: list[Image.Image] = []
        self._times: list[int] = []

    async def take(self, command: str, said: str = "", ms: int = 1400) -> None:
        """Photograph all panes; the strip shows ``command`` and what it ``said``."""
        panes: list[Image.Image] = [
            Image.open(io.BytesIO(await page.screenshot())) for page in self._pages
        ]
        panes.append(await self._terminal_pane())
        width = len(panes) * PANE[0] + (len(panes) + 1) * GAP
        frame = Image.new("RGB", (width, PANE[1] + STRIP + 3 * GAP), BACK)
        for number, pane in enumerate(panes):
            frame.paste(pane.convert("RGB").resize(PANE), (GAP + number * (PANE[0] + GAP), GAP))
        draw = ImageDraw.Draw(frame)
        top = PANE[1] + 2 * GAP
        draw.rounded_rectangle((GAP, top, width - GAP, top + STRIP), 8, fill=(12, 13, 16))
        draw.text((GAP + 14, top + 10), f"$ {command}", (230, 232, 238), _font(18))
        draw.text((GAP + 14, top + 36), said, (139, 220, 158), _font(16))
        self._frames.append(frame)
        self._times.append(ms)

    async def _terminal_pane(self) -> Image.Image:
        svg = self._terminal.export_screenshot(title="terminal")
        await self._canvas.set_content(
            f"<body style='margin:0;background:#181a20'><div style='width:{PANE[0]}px'>{svg}</div></body>"
        )
        await self._canvas.evaluate(
            "([w, h]) => { const s = document.querySelector('svg');"
            " s.setAttribute('width', w); s.setAttribute('height', h);"
            " s.setAttribute('preserveAspectRatio', 'xMidYMin meet') }",
            list(PANE),
        )
        return Image.open(io.BytesIO(await self._canvas.screenshot()))

    def save(self, path: Path) -> None:
        """Write an animated GIF with one palette for all frames."""
        sheet = Image.new("RGB", (self._frames[0].width, self._frames[0].height * 2))
        sheet.paste(self._frames[0], (0, 0))
        sheet.paste(self._frames[-1], (0, self._frames[0].height))
        palette = sheet.quantize(96, dither=Image.Dither.NONE)
        frames = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in self._frames]
        frames[0].save(
            path,
            save_all=True,
            append_images=frames[1:],
            duration=self._times,
            loop=0,
            optimize=True,
        )


async def _enter(browser: Browser, host: Host, name: str) -> Page:
    context = await browser.new_context(
        viewport={"width": PANE[0], "height": PANE[1]},
        color_scheme="light" if name == "Ann" else "dark",
    )
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{host.web}/")
    await page.fill("#name-form input[name=name]", name)
    await page.click("#name-form button[type=submit], #name-form button:not([type])")
    await page.wait_for_selector("body[data-state=live]")
    return page


async def _say(page: Page, text: str) -> None:
    await page.fill("#composer textarea", text)
    await page.press("#composer textarea", "Enter")


async def _everywhere(pages: list[Page], text: str) -> None:
    for page in pages:
        await page.locator(".line .text", has_text=text).first.wait_for(timeout=15_000)
    await asyncio.sleep(0.4)


async def film(target: Path) -> None:
    """Play the story and write it to ``target``."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("this needs Debian's chromium")
    sys.path.insert(0, str(ROOT / "examples" / "chat"))
    terminal = __import__("terminal")
    with tempfile.TemporaryDirectory() as directory:
        host = Host(Path(directory) / "chat.hub")
        await host.start()
        try:
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=chromium,
                    args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
                )
                ann, bob = await _enter(browser, host, "Ann"), await _enter(browser, host, "Bob")
                canvas = await browser.new_page(viewport={"width": PANE[0], "height": PANE[1]})
                app = terminal.Chat(f"hub://127.0.0.1:{host.listen}", "Cleo")
                async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
                    pages = [ann, bob]
                    shot = Film(pages, app, canvas)
                    await asyncio.sleep(1)
                    await shot.take("hubbub serve chat:hub --data chat.hub", "serving")
                    await _say(ann, "Hello from a browser")
                    await _everywhere(pages, "Hello from a browser")
                    await shot.take("hubbub serve chat:hub --data chat.hub", "serving")
                    await pilot.press(*"And from a terminal", "enter")
                    await _everywhere(pages, "And from a terminal")
                    await shot.take("hubbub serve chat:hub --data chat.hub", "serving")
                    await _say(bob, "What if it dies?")
                    await _everywhere(pages, "What if it dies?")
                    await shot.take("hubbub serve chat:hub --data chat.hub", "serving")
                    pid = host.kill()
                    await asyncio.sleep(2.5)
                    await shot.take(f"kill -9 {pid}", "Killed", 1800)
                    await _say(ann, "Still typing...")
                    await asyncio.sleep(0.4)
                    await shot.take(f"kill -9 {pid}", "Killed", 1800)
                    await host.start()
                    await _everywhere(pages, "Still typing...")
                    await asyncio.sleep(2.5)
                    await shot.take("hubbub serve chat:hub --data chat.hub", "serving", 1600)
                    await _say(bob, "All back, nothing lost.")
                    await _everywhere(pages, "All back, nothing lost.")
                    await shot.take("hubbub serve chat:hub --data chat.hub", "serving", 3500)
                    shot.save(target)
                await browser.close()
        finally:
            host.stop()


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", str(COLUMNS))
    where = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "picture.gif"
    asyncio.run(film(where))
    print(f"{where}: {where.stat().st_size / 1024:.0f} KB")
