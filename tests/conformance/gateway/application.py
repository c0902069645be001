"""A small application, and a hub of it on real ports."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hubbub
from hubbub import (
    Anonymous,
    Avatar,
    Gateway,
    Hub,
    Identity,
    Limits,
    Persistent,
    Realm,
    Refused,
    Root,
    action,
    command,
    query,
    stream,
    view,
)
from hubbub.gateway import Listener, WebServer, create_app
from hubbub.gateway.direct_websocket import EXTENSION
from hubbub.store import Store


class GatewayRoom(Persistent):
    def __init__(self) -> None:
        self.lines: tuple[str, ...] = ()

    @view
    def recent(self, limit: int = 50) -> list[str]:
        return list(self.lines[-limit:])


class GatewayMember(Avatar):
    def __init__(self, name: str, room: GatewayRoom) -> None:
        self.name, self._room = name, room

    @query
    def room(self) -> GatewayRoom:
        return self._room

    @query
    def whoami(self) -> str:
        return self.name

    @command
    def say(self, text: str) -> int:
        if not text:
            raise Refused("empty", "Say something.")
        self._room.lines = (*self._room.lines, text)
        return len(self._room.lines)

    @command
    def publish(self, text: str, times: int = 1) -> None:
        for number in range(times):
            hubbub.publish("lines", f"{text}{number}")

    @stream(items=100)
    def lines(self) -> AsyncIterator[str]:
        return hubbub.subscribe("lines")

    @stream(items=3, when_full="disconnect")
    def few(self) -> AsyncIterator[str]:
        return hubbub.subscribe("lines")

    @command
    def block(self, seconds: float) -> None:
        time.sleep(seconds)

    @command
    def poke(self) -> None:
        self.minds.poked(self.name, at="once")

    @action(timeout_s=20)
    async def ask(self, question: str) -> Any:
        (mind,) = self.minds
        return await mind.call("answer", question)

    @command
    def fail(self) -> None:
        raise ValueError("not for their eyes")


class GatewayRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return GatewayMember(who.name, root.setdefault("room", GatewayRoom()))


def make_hub() -> Hub:
    """Return the application, for anybody."""
    return Hub(GatewayRealm(), checkers=[Anonymous()])


OTHER_SERVER = "another-server"
"""A WebSocket with this query is carried as under a server that is not ours."""


class AnyServer:
    """The web face, under our own server or, for those who ask for it, as under another one."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.direct_polls = app.direct_polls

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket" and scope["query_string"] == OTHER_SERVER.encode():
            del scope["extensions"][EXTENSION]
        await self.app(scope, receive, send)


class Served:
    """A running hub and where it is found."""

    def __init__(self, hub: Hub, web: WebServer, tcp: Listener) -> None:
        self.hub, self.web, self.tcp = hub, web, tcp

    @property
    def url(self) -> str:
        return self.web.url

    async def drain(self) -> None:
        self.web.stop_accepting()
        self.tcp.stop_accepting()
        self.hub.portal.drain()


@asynccontextmanager
async def served(
    limits: Limits | None = None,
    gateway: Gateway | None = None,
    pages: Path | None = None,
    store: Store | None = None,
    data: str = "memory:",
    **options: Any,
) -> AsyncIterator[Served]:
    """Run the application on free ports."""
    limits = limits or Limits(max_connections_per_address=1000)
    hub = Hub(
        GatewayRealm(),
        checkers=options.pop("checkers", [Anonymous()]),
        limits=limits,
        gateway=gateway,
        pages=pages,
    )
    await hub.start(store, data=data)
    web = WebServer(AnyServer(create_app(hub)), limits)
    tcp = Listener(hub.portal, host=hub.host)
    try:
        await web.start("127.0.0.1:0", authenticated=False)
        await tcp.start("127.0.0.1:0", authenticated=False)
        yield Served(hub, web, tcp)
    finally:
        hub.portal.drain()
        await tcp.close()
        await web.close(timeout_s=2)
        await hub.stop()
