"""Checkers that are functions of the application: what they get, and in which order they are asked."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hubbub import Anonymous, Avatar, Hub, Identity, Realm, Root, command
from hubbub.kernel import LoginFailedError
from hubbub.perspective.checkers import LoginRequest
from hubbub.store import MemoryStore
from hubbub.wire import session as wire


class Named(Avatar):
    def __init__(self, who: Identity) -> None:
        self.who = who.id

    @command
    def whoami(self) -> str:
        return self.who


class NamedRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return Named(who)


async def by_header(request: Any) -> Identity | None:
    user = request.headers.get("x-user") if request.request is not None else None
    return Identity(f"app:{user}", user) if user else None


async def by_token(request: Any) -> Identity | None:
    token = request.credentials.get("token")
    return Identity("token:ann", "ann") if token == "right" else None


class Carrier:
    def wake(self) -> None:
        pass

    def close(self, message: Any) -> None:
        pass


async def login(hub: Hub, **credentials: str) -> str:
    hello = wire.Hello(credentials=credentials)
    _, welcome = await hub.portal.open(hello, "json", "", Carrier())
    return welcome.identity.partition(":")[0]


@pytest.fixture
async def hub() -> Any:
    hub = Hub(NamedRealm(), checkers=[by_header, by_token, Anonymous()])
    await hub.start(MemoryStore())
    yield hub
    await hub.stop()


async def test_credentials_that_only_the_application_knows_never_make_a_guest(hub: Hub) -> None:
    assert await login(hub, token="right") == "token"
    with pytest.raises(LoginFailedError):
        await login(hub, token="wrong")


async def test_without_credentials_the_functions_are_asked_first(hub: Hub) -> None:
    assert await login(hub, name="zoe") == "anon"


async def test_a_function_sees_the_web_request(hub: Hub) -> None:
    transport = httpx.ASGITransport(app=hub.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as http:
        mine = await http.post("/api/whoami", json={}, headers={"x-user": "bob"})
        guest = await http.post("/api/whoami", json={})
    assert mine.json() == "app:bob"
    assert guest.json().startswith("anon:")


def test_a_login_that_did_not_come_by_the_web_says_so() -> None:
    with pytest.raises(AttributeError, match="did not come by the web"):
        LoginRequest({}).session  # noqa: B018 - the look-up is what fails
