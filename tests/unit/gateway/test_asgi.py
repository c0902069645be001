"""The web face around the sessions: routes, origins, pages, mounting."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response
from starlette.routing import Mount

from hubbub import Anonymous, ConfigurationError, Gateway, Hub, Limits
from hubbub.gateway import WebServer, create_app
from tests.conformance.gateway.application import GatewayRealm, served

HELLO = {"t": "hello"}


@pytest.mark.parametrize("kept", ["ws", "sse", "poll"])
async def test_what_is_switched_off_answers_404_and_says_why(kept):
    async with (
        served(gateway=Gateway(transports=[kept])) as hub,
        httpx.AsyncClient(base_url=hub.url) as web,
    ):
        for name, path in (("sse", "_hub/events"), ("poll", "_hub/poll")):
            response = await web.post(path, json={"session": "x", "secret": "y", "cursor": "z.0"})
            if name != kept:
                assert response.status_code == 404
                assert response.json()["code"] == "not_found"
                assert kept in response.json()["message"]
            else:
                assert response.json()[0]["code"] == "session_lost"
        opened = await web.post("_hub/open", json=HELLO)
        assert opened.status_code == (404 if kept == "ws" else 200)
        url = hub.url.replace("http", "ws") + "_hub/ws"
        if kept != "ws":
            with pytest.raises(websockets.InvalidStatus) as caught:
                await websockets.connect(url)
            assert caught.value.response.status_code == 404


@pytest.mark.rule("GW2")
async def test_foreign_pages_are_refused_everywhere():
    async with served() as hub, httpx.AsyncClient(base_url=hub.url) as web:
        evil = {"origin": "https://evil.example"}
        for method, path in (
            ("POST", "_hub/open"),
            ("POST", "api/say"),
            ("GET", "api/whoami"),
            ("OPTIONS", "_hub/open"),
        ):
            response = await web.request(
                method, path, headers=evil, json=HELLO if method == "POST" else None
            )
            assert (response.status_code, response.json()["code"]) == (403, "foreign_origin")
            assert "access-control-allow-origin" not in response.headers
        url = hub.url.replace("http", "ws") + "_hub/ws"
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(url, origin=websockets.Origin("https://evil.example"))
        assert caught.value.response.status_code == 403
        async with websockets.connect(url, origin=websockets.Origin(hub.url.rstrip("/"))) as socket:
            await socket.send(json.dumps(HELLO))
            assert json.loads(await socket.recv())["t"] == "welcome"


@pytest.mark.rule("GW2")
async def test_listed_pages_may_and_no_cookie_is_set():
    gateway = Gateway(origins=["https://app.example"])
    async with served(gateway=gateway) as hub, httpx.AsyncClient(base_url=hub.url) as web:
        origin = {"origin": "https://app.example"}
        preflight = await web.options("_hub/open", headers=origin)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert "content-type" in preflight.headers["access-control-allow-headers"]
        opened = await web.post("_hub/open", json=HELLO, headers=origin)
        assert opened.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-credentials" not in opened.headers
        assert "set-cookie" not in opened.headers


async def test_garbage_is_a_fault_in_a_list():
    async with (
        served(Limits(max_message_bytes=2000)) as hub,
        httpx.AsyncClient(base_url=hub.url) as web,
    ):
        for path in ("open", "send", "events", "poll"):
            response = await web.post(f"_hub/{path}", content=b"{nonsense")
            assert (response.status_code, response.json()[0]["code"]) == (400, "garbled")
            response = await web.post(f"_hub/{path}", content=b"x" * 3000)
            assert (response.status_code, response.json()[0]["code"]) == (413, "too_large")
        (welcome,) = (await web.post("_hub/open", json=HELLO)).json()
        place = {"session": welcome["session"], "secret": welcome["secret"]}
        assert (await web.post("_hub/poll", json=place)).json()[0]["code"] == "garbled"
        assert (await web.post("_hub/poll", json={**place, "cursor": "?"})).json()[0][
            "code"
        ] == "garbled"
        wrong = {**place, "secret": "guess", "cursor": welcome["cursor"]}
        assert (await web.post("_hub/poll", json=wrong)).json()[0]["code"] == "session_lost"


async def test_an_old_cursor_has_to_open_again():
    async with served() as hub, httpx.AsyncClient(base_url=hub.url) as web:
        (welcome,) = (await web.post("_hub/open", json=HELLO)).json()
        place = {
            "session": welcome["session"],
            "secret": welcome["secret"],
            "cursor": "elsewhere.5",
        }
        for path in ("poll", "events"):
            assert (await web.post(f"_hub/{path}", json=place)).json() == [
                {"t": "closing", "reason": "resume", "retry_s": 0.05}
            ]


async def test_a_request_of_a_session_that_sleeps_since_a_restart_has_to_open_again(tmp_path: Path):
    data = str(tmp_path / "space.hub")
    async with served(data=data) as hub, httpx.AsyncClient(base_url=hub.url) as web:
        (welcome,) = (await web.post("_hub/open", json=HELLO)).json()
        place = {k: welcome[k] for k in ("session", "secret", "cursor")}
    async with served(data=data) as hub, httpx.AsyncClient(base_url=hub.url) as web:
        (closing,) = (await web.post("_hub/poll", json={**place, "wait_s": 5})).json()
        assert (closing["t"], closing["reason"]) == ("closing", "resume")
        (again,) = (await web.post("_hub/open", json={**HELLO, **place})).json()
        assert (again["t"], again["resumed"], again["session"]) == (
            "welcome",
            True,
            welcome["session"],
        )
        assert (await web.post("_hub/poll", json={**place, "cursor": again["cursor"]})).json() == []


async def test_a_poll_that_nobody_reads_loses_nothing():
    async with served() as hub, httpx.AsyncClient(base_url=hub.url) as web:
        (welcome,) = (await web.post("_hub/open", json=HELLO)).json()
        place: dict[str, Any] = {
            "session": welcome["session"],
            "secret": welcome["secret"],
            "cursor": welcome["cursor"],
        }
        gone = asyncio.create_task(web.post("_hub/poll", json={**place, "wait_s": 20}))
        await asyncio.sleep(0.1)
        gone.cancel()
        call = {"t": "call", "id": 1, "name": "whoami"}
        await web.post("_hub/send", json={**place, "messages": [call]})
        for _ in range(2):  # the same cursor, the same answer
            (result,) = (await web.post("_hub/poll", json={**place, "wait_s": 5})).json()
            assert (result["t"], result["n"]) == ("result", 1)
        place["cursor"] = welcome["cursor"].replace(".0", ".1")
        assert (await web.post("_hub/poll", json={**place, "wait_s": 0})).json() == []


async def test_a_browsers_own_event_source():
    async with served() as hub, httpx.AsyncClient(base_url=hub.url) as web:
        (welcome,) = (await web.post("_hub/open", json=HELLO)).json()
        place = {"session": welcome["session"], "secret": welcome["secret"]}
        call = {"t": "call", "id": 1, "name": "whoami"}
        await web.post("_hub/send", json={**place, "messages": [call]})
        for headers in ({}, {"last-event-id": welcome["cursor"]}):
            params = {**place, "cursor": welcome["cursor"] if not headers else ""}
            async with web.stream("GET", "_hub/events", params=params, headers=headers) as response:
                lines = [line async for line in _some(response.aiter_lines(), 5)]
            assert lines[0] == "data: []"
            assert lines[2] == f"id: {welcome['cursor'].replace('.0', '.1')}"
            assert json.loads(lines[3][6:])[0]["t"] == "result"


async def _some(lines: Any, number: int) -> Any:
    async for line in lines:
        yield line
        number -= 1
        if not number:
            return


async def test_the_client_is_served_with_an_etag():
    async with served() as hub, httpx.AsyncClient(base_url=hub.url) as web:
        script = await web.get("_hub/hubbub.js")
        assert script.headers["content-type"].startswith("text/javascript")
        etag = script.headers["etag"]
        assert (await web.get("_hub/hubbub.js", headers={"if-none-match": etag})).status_code == 304
        assert (await web.get("_hub/hubbub.d.ts")).status_code == 200
        assert (await web.get("_hub/asgi.py")).status_code == 404
        assert (await web.get("_hub/..%2fasgi.py")).status_code == 404
        wrong = await web.get("_hub/open")
        assert (wrong.status_code, wrong.json()["code"]) == (405, "wrong_method")


async def test_pages_have_sensible_headers(tmp_path: Path):
    (tmp_path / "index.html").write_text("<h1>hello</h1>")
    (tmp_path / "style.css").write_text("h1 {}")
    async with served(pages=tmp_path) as hub, httpx.AsyncClient(base_url=hub.url) as web:
        page = await web.get("/")
        assert (page.status_code, page.text) == (200, "<h1>hello</h1>")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert (await web.get("/style.css")).headers["content-type"].startswith("text/css")
        assert (await web.get("/nothing")).status_code == 404
        assert (await web.get("/..%2f..%2fetc%2fpasswd")).status_code == 404


def test_pages_that_are_not_there(tmp_path: Path):
    hub = Hub(GatewayRealm(), checkers=[Anonymous()], pages=tmp_path / "web")
    with pytest.raises(ConfigurationError, match="web"):
        create_app(hub)


async def test_a_hub_that_does_not_run_says_so():
    hub = Hub(GatewayRealm(), checkers=[Anonymous()])
    transport = httpx.ASGITransport(create_app(hub))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as web:
        response = await web.get("api/whoami")
        assert (response.status_code, response.json()["code"]) == (503, "not_running")
        assert (await web.post("_hub/open", json=HELLO)).json()[0]["kind"] == "closed"


async def _mounted(app: Any) -> WebServer:
    server = WebServer(app, Limits())
    await server.start("127.0.0.1:0", authenticated=False)
    return server


@pytest.mark.rule("GW1")
async def test_it_works_under_a_prefix_behind_a_middleware_that_buffers():
    hub = Hub(GatewayRealm(), checkers=[Anonymous()])

    async def buffer(request: Any, call_next: Any) -> Response:
        response = await call_next(request)
        body = b"".join([part async for part in response.body_iterator])
        return Response(body, response.status_code, dict(response.headers))

    outer = Starlette(routes=[Mount("/live", app=hub.asgi())])
    outer.add_middleware(BaseHTTPMiddleware, dispatch=buffer)
    await hub.start(data="memory:")
    server = await _mounted(outer)
    try:
        async with httpx.AsyncClient(base_url=server.url + "live/") as web:
            (welcome,) = (await web.post("_hub/open", json=HELLO)).json()
            place = {
                "session": welcome["session"],
                "secret": welcome["secret"],
                "cursor": welcome["cursor"],
            }
            with pytest.raises(httpx.ReadTimeout):
                await web.post("_hub/events", json=place, timeout=0.3)
            call = {"t": "call", "id": 1, "name": "whoami"}
            (result,) = (
                await web.post("_hub/poll", json={**place, "messages": [call], "wait_s": 5})
            ).json()
            assert result["t"] == "result"
            assert (await web.get("api/whoami?name=ann")).json() == "ann"
            assert (await web.get("_hub/hubbub.js")).status_code == 200
        url = server.url.replace("http", "ws") + "live/_hub/ws"
        async with websockets.connect(url) as socket:
            await socket.send(json.dumps(HELLO))
            assert json.loads(await socket.recv())["t"] == "welcome"
    finally:
        hub.portal.drain()
        await server.close(timeout_s=1)
        await hub.stop()
