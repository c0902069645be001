from __future__ import annotations

import asyncio
import signal

import httpx
import pytest

from hubbub import AddressInUseError, ConfigurationError, Limits
from hubbub.gateway import WebServer
from tests.conformance.gateway.application import served


async def app(scope, receive, send):
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


async def test_a_taken_port_says_what_to_do():
    first, second = WebServer(app, Limits()), WebServer(app, Limits())
    await first.start("127.0.0.1:0", authenticated=False)
    try:
        with pytest.raises(AddressInUseError, match=f"{first.address} is taken.*--web"):
            await second.start(first.address, authenticated=False)
    finally:
        await first.close()
        await second.close()


@pytest.mark.rule("GW2")
async def test_an_open_door_is_refused():
    server = WebServer(app, Limits())
    with pytest.raises(ConfigurationError, match="--public"):
        await server.start("0.0.0.0:0", authenticated=False)
    await server.start("0.0.0.0:0", authenticated=False, public=True)
    await server.close()


async def test_it_finishes_what_has_begun_and_takes_nothing_new():
    server = WebServer(app, Limits())
    await server.start("127.0.0.1:0", authenticated=False)
    handler = signal.getsignal(signal.SIGINT)
    async with httpx.AsyncClient() as web, httpx.AsyncClient() as late:
        slow = asyncio.create_task(web.get(f"{server.url}slow"))
        await asyncio.sleep(0.1)
        server.stop_accepting()
        with pytest.raises(httpx.ConnectError):
            await late.get(server.url)
        await server.close()
        assert (await slow).text == "done"
    assert signal.getsignal(signal.SIGINT) is handler
    await server.close()


async def test_a_unix_socket_is_served_and_removed(tmp_path):
    path = tmp_path / "web.sock"
    server = WebServer(app, Limits())
    await server.start(str(path), authenticated=False)
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as web:
        assert (await web.get("/")).text == "done"
    await server.close()
    assert not path.exists()


async def test_who_is_connected_is_told_when_the_hub_stops():
    async with served() as hub, httpx.AsyncClient(base_url=hub.url) as web:
        (welcome,) = (await web.post("_hub/open", json={"t": "hello"})).json()
        place = {
            "session": welcome["session"],
            "secret": welcome["secret"],
            "cursor": welcome["cursor"],
        }
        poll = asyncio.create_task(web.post("_hub/poll", json={**place, "wait_s": 20}))
        await asyncio.sleep(0.1)
        hub.web.stop_accepting()
        hub.hub.portal.drain()
        await hub.web.close()
        assert (await poll).json()[0]["reason"] == "drain"
