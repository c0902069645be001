"""The guard before every endpoint: origins, preflight requests, and errors that nobody foresaw (GW2)."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketClose

from hubbub.gateway import door as answers
from hubbub.gateway.callers import Callers
from hubbub.perspective.failures import failure_of
from hubbub.wire import session as wire

_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "content-type, authorization, hubbub-name, last-event-id",
    "access-control-max-age": "600",
}
_EXPOSED = "hubbub-tid, hubbub-gap"


class Guard:
    """Let requests through to ``app`` if the page that sent them may come.

    Args:
        app: What is guarded.
        callers: Judges origins.
    """

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request."""
        connection = HTTPConnection(scope)
        origin = connection.headers.get("origin")
        if not self._callers.may_come(connection):
            failure = wire.Failure(
                "not_allowed",
                "foreign_origin",
                f"pages of {origin} may not use this hub: Gateway(origins=[...]) lists those that may",
            )
            await refuse(scope, receive, send, answers.failure(failure))
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = cors_headers(origin) if origin is not None else {}
        if scope["method"] == "OPTIONS":
            await Response(None, 204, {**headers, **_PREFLIGHT})(scope, receive, send)
            return
        begun = False

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(
                    {"x-content-type-options": "nosniff", **headers}
                )
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        except HTTPException as error:
            failure = wire.Failure(
                "not_allowed", "wrong_method", f"{scope['method']}: {error.detail}"
            )
            await answers.failure(failure)(scope, receive, with_headers)
        except ClientDisconnect:
            pass  # in the middle of its own request
        except Exception as error:
            if begun:
                raise
            response = answers.failure(failure_of(error, f"{scope['method']} {scope['path']}"))
            await response(scope, receive, with_headers)


def cors_headers(origin: str) -> dict[str, str]:
    """Return what tells a browser that a page of ``origin`` may read the answer."""
    # No credentials: there are no cookies, and nothing else that a browser adds by itself is wanted.
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": _EXPOSED,
        "vary": "Origin",
    }


async def refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """Answer with ``response``, also where a WebSocket was asked for and the server can say why not."""
    if scope["type"] == "http":
        await response(scope, receive, send)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await WebSocketClose(1008, "refused")(scope, receive, send)
