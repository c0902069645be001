"""The web face of a hub as an ASGI app. It can be served by itself, or mounted in another app under any path.

    /_hub/ws                          WebSocket
    /_hub/open, send, events, poll    sessions over plain HTTP
    /_hub/hubbub.js, hubbub.d.ts      the browser client
    /api/<path>                       plain calls
    /                                 the application's pages

Every transport is only a carrier of the same session (GW1).
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from hubbub.gateway import door as answers
from hubbub.gateway.direct_polls import DirectPolls
from hubbub.gateway.door import Door, Served
from hubbub.gateway.guard import Guard, refuse
from hubbub.gateway.http_calls import PlainCalls
from hubbub.gateway.http_session import HttpSessions
from hubbub.gateway.pages import CLIENT_FILES, ClientFiles, Pages
from hubbub.gateway.websocket import serve_websocket
from hubbub.wire import session as wire


class WebFace(Starlette):
    """The web face of a hub.

    Attributes:
        direct_polls: Takes polls without ASGI, under our own server; None if the hub offers none.
    """

    direct_polls: DirectPolls | None = None


def create_app(hub: Served) -> WebFace:
    """Return the web face of ``hub``, which may be started later.

    Args:
        hub: With ``gateway``, ``limits``, ``pages`` and, while it runs, ``portal``.

    Raises:
        ConfigurationError: If its pages are not there.
    """
    door = Door(hub)
    sessions = HttpSessions(door)
    routes: list[BaseRoute] = [
        Mount("/_hub", app=Guard(_sessions(door, sessions), door.callers)),
        Mount("/api", app=Guard(_calls(door), door.callers)),
    ]
    if hub.pages is not None:
        routes.append(Mount("/", app=Pages(hub.pages, door.options.page_policy)))
    face = WebFace(routes=routes)
    if "poll" in door.options.transports:
        face.direct_polls = DirectPolls(door, sessions)
    return face


def _sessions(door: Door, sessions: HttpSessions) -> ASGIApp:
    transports = door.options.transports

    async def websocket(websocket: WebSocket) -> None:
        await serve_websocket(websocket, door)

    routes: list[BaseRoute] = []
    if "ws" in transports:
        routes.append(WebSocketRoute("/ws", websocket))
    if "sse" in transports or "poll" in transports:
        routes.append(Route("/open", sessions.open, methods=["POST"]))
        routes.append(Route("/send", sessions.send, methods=["POST"]))
    if "sse" in transports:
        routes.append(Route("/events", sessions.events, methods=["GET", "POST"]))
    if "poll" in transports:
        routes.append(Route("/poll", sessions.poll, methods=["POST"]))
    client = ClientFiles()
    routes += [Route(f"/{name}", client.endpoint(name), methods=["GET"]) for name in CLIENT_FILES]
    on = ", ".join(transports) or "none"
    missing = _Missing(f"this hub does not offer that; its transports are: {on}")
    return Router(routes, default=missing)


def _calls(door: Door) -> ASGIApp:
    missing = _Missing("this hub takes no plain calls")
    if not door.options.calls:
        return missing
    calls = PlainCalls(door)

    async def call(request: Request) -> Response:
        return await calls(request)

    return Router([Route("/{path}", call, methods=["GET", "POST"])], default=missing)


class _Missing:
    """Answers 404, and says why."""

    def __init__(self, message: str) -> None:
        self._message = message

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure = wire.Failure("not_allowed", "not_found", self._message)
        await refuse(scope, receive, send, answers.failure(failure))
