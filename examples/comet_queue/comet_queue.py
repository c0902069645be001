"""The comet chat in cogen's own words inside any ASGI app; no hub.

uvicorn comet_queue:app
curl -d hi :8000/chat/push   and   curl -H 'X-Client: k7' :8000/chat/pull
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from hubbub import LimitError
from hubbub.flow import PublishSubscribeQueue, SubscriberDroppedError

HERE = Path(__file__).parent
POLL_S = float(os.environ.get("COMET_POLL_S", "10"))
MOST_BYTES = 10_000

pubsub: PublishSubscribeQueue[str] = PublishSubscribeQueue(subscribers=1000, idle_s=300)


class ClientGoneError(Exception):
    """The client closed its connection while it waited."""


@contextlib.asynccontextmanager
async def while_there(request: Request) -> AsyncIterator[None]:
    """Run the block as long as the client waits for it: a poll that nobody waits for must not take anything."""
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise ClientGoneError from None
        raise
    finally:
        watching.cancel()


async def push(request: Request) -> Response:
    said = b""
    async for part in request.stream():  # bit by bit: nobody fills the memory
        said += part
        if len(said) > MOST_BYTES:
            return PlainTextResponse(f"more than {MOST_BYTES} bytes", 413)
    await pubsub.publish(said.decode(errors="replace"))
    return PlainTextResponse("")


async def pull(request: Request) -> Response:
    client = request.headers.get("x-client")
    if not client:
        return PlainTextResponse("say who you are: a header X-Client of your own choice", 400)
    try:
        me = pubsub.subscribe(key=client, items=10, when_full="drop-subscriber")
    except LimitError as error:
        return PlainTextResponse(str(error), 503)
    try:
        async with while_there(request), me.fetch(timeout_s=POLL_S) as batch:
            return PlainTextResponse("".join(f"{m}\r\n" for m in batch))  # and leaves the queue
    except TimeoutError:
        return PlainTextResponse("")
    except (
        SubscriberDroppedError
    ) as error:  # too slow, or away for too long; the next pull begins anew
        return PlainTextResponse(str(error), 410)
    except ClientGoneError:
        return PlainTextResponse("")


async def style(_: Request) -> Response:
    return FileResponse(HERE.parent / "comet" / "web" / "comet.css")


app = Starlette(
    routes=[
        Route("/chat/push", push, methods=["POST"]),
        Route("/chat/pull", pull),
        Route("/comet.css", style),
        Mount("/", StaticFiles(directory=HERE / "web", html=True)),
    ]
)
