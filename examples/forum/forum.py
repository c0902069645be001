"""A forum with several front ends, each a peer of one space: a page that is warm asks the host nothing.

hubbub serve --data forum.hub --token secret
TOKEN=secret uvicorn forum:app --port 8001        and another one: --port 8002
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import parse_qs

import stories
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import hubbub

HERE = Path(__file__).parent
MOST_BYTES = 20_000
BEAT_S = 15.0

PAGE = Template((HERE / "web" / "page.html").read_text())
FRONT_FORM = """<details><summary>Start a story</summary><form method="post" action="/">
<label>Title <input name="title" required maxlength="120" autocomplete="off"></label>
<label>Text <textarea name="text" required maxlength="5000" rows="4"></textarea></label>
<label>Your name <input name="author" required maxlength="40" autocomplete="nickname"></label>
<button>Start it</button></form></details>"""
ANSWER_FORM = """<form method="post" class="answer">
<label>Your answer <textarea name="text" required maxlength="5000" rows="3"></textarea></label>
<label>Your name <input name="author" required maxlength="40" autocomplete="nickname"></label>
<button>Answer</button></form>"""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    url = os.environ.get("FORUM", "hub://127.0.0.1:1975")
    with hubbub.open(url, token=os.environ.get("TOKEN", ""), wait_timeout_s=5) as space:
        await space.arun(stories.setup)
        app.state.space = space
        yield


def space_of(request: Request) -> hubbub.Space:
    space: hubbub.Space = request.app.state.space
    return space


def page(
    title: str, content: str, *, live: str = "", before: str = "", after: str = ""
) -> HTMLResponse:
    return HTMLResponse(
        PAGE.substitute(title=escape(title), content=content, live=live, before=before, after=after)
    )


# --- pages ------------------------------------------------------------------------------------------------------------


async def front(request: Request) -> Response:
    content = await space_of(request).aread(stories.front)
    return page(
        "Forum", f'<ul id="list" class="stories">{content}</ul>', live="/live", before=FRONT_FORM
    )


async def story(request: Request) -> Response:
    key = request.path_params["key"]
    title = await _title(request, key)
    content = await space_of(request).aread(stories.postings, key)
    back = '<a class="back" href="/">All stories</a>'
    heading = f"{back}<h2>{escape(title)}</h2>"
    listed = f'<ol id="list" class="postings">{content}</ol>'
    return page(title, listed, live=f"/s/{key}/live", before=heading, after=ANSWER_FORM)


async def _title(request: Request, key: str) -> str:
    title = await space_of(request).aread(stories.title, key)
    if title is None:
        raise HTTPException(404, "There is no such story.")
    return title


async def add_story(request: Request) -> Response:
    form = await _form(request, "title", "text", "author")
    key = await space_of(request).arun(stories.start, form["title"], form["author"], form["text"])
    return RedirectResponse(f"/s/{key}", 303)


async def add_posting(request: Request) -> Response:
    form = await _form(request, "text", "author")
    key = request.path_params["key"]
    await _title(request, key)
    # Run again after a conflict; but appends to a Log don't conflict.
    await space_of(request).arun(stories.post, key, form["author"], form["text"])
    return RedirectResponse(f"/s/{key}", 303)


async def _form(request: Request, *names: str) -> dict[str, str]:
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "Another site's page can't post here.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"A posting has at most {MOST_BYTES:,} bytes.")
    fields = parse_qs(body.decode(errors="replace"))
    form = {name: "\n".join(fields.get(name, [""])[0].strip().splitlines()) for name in names}
    for name, value in form.items():
        if not value:
            raise HTTPException(400, f"The {name} is missing.")
    return form


# --- live -------------------------------------------------------------------------------------------------------------


async def live_front(request: Request) -> Response:
    return _events(space_of(request).awatch(stories.front))


async def live_story(request: Request) -> Response:
    key = request.path_params["key"]
    await _title(request, key)
    return _events(space_of(request).awatch(stories.postings, key))


def _events(contents: AsyncIterator[str]) -> Response:
    """Send what is shown whenever it has changed: a live query in this peer, with the read set of its last run."""
    return StreamingResponse(
        _as_events(contents), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _as_events(contents: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    following = asyncio.ensure_future(anext(contents))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=BEAT_S)
            if not done:
                yield ": still here\n\n"  # so that a dead connection is noticed
                continue
            try:
                content = following.result()
            except (StopAsyncIteration, hubbub.HubbubError):
                return  # the browser connects again
            yield "".join(f"data: {line}\n" for line in content.split("\n")) + "\n"
            following = asyncio.ensure_future(anext(contents))
    finally:
        following.cancel()


# --- all of it --------------------------------------------------------------------------------------------------------


async def stats(request: Request) -> Response:
    found = space_of(request).stats
    return JSONResponse({"requests": found.requests, "cached_bytes": found.cached_bytes})


async def failed(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        status, said = error.status_code, error.detail
    else:
        status, said = 503, "The forum can't be reached at the moment. Try again in a few seconds."
    back = '<a class="back" href="/">All stories</a>'
    answer = page("Forum", f'<p class="empty">{escape(said)}</p>', before=back)
    answer.status_code = status
    return answer


app = Starlette(
    routes=[
        Route("/", front),
        Route("/", add_story, methods=["POST"]),
        Route("/live", live_front),
        Route("/s/{key}", story),
        Route("/s/{key}", add_posting, methods=["POST"]),
        Route("/s/{key}/live", live_story),
        Route("/stats", stats),
        Mount("/web", StaticFiles(directory=HERE / "web")),
    ],
    exception_handlers={HTTPException: failed, hubbub.BrokenError: failed},
    lifespan=lifespan,
)
