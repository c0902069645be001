"""Files for the browser: the built client out of the package, and the application's own pages."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from hubbub.kernel import ConfigurationError

CLIENT_FILES = {
    "hubbub.js": "text/javascript",
    "hubbub.d.ts": "text/plain",
    "hubbub.js.map": "application/json",
}
# Kept by browsers, and asked for again each time: a new host brings a new client.
_FRESH = "no-cache"


class ClientFiles:
    """The endpoints of the browser client."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[bytes, str]] = {}

    def endpoint(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers with the built file ``name``."""

        async def answer(request: Request) -> Response:
            return self._answer(request, name)

        return answer

    def _answer(self, request: Request, name: str) -> Response:
        data, etag = self._file(name)
        headers = {"etag": etag, "cache-control": _FRESH, "x-content-type-options": "nosniff"}
        if not data:
            return Response(f"there is no {name}", 404, media_type="text/plain")
        if etag in request.headers.get("if-none-match", ""):
            return Response(None, 304, headers)
        return Response(data, 200, headers, CLIENT_FILES[name])

    def _file(self, name: str) -> tuple[bytes, str]:
        found = self._read.get(name)
        if found is None:
            resource = files("hubbub.gateway").joinpath("static", name)
            data = resource.read_bytes() if resource.is_file() else b""
            found = (data, f'"{hashlib.sha256(data).hexdigest()[:20]}"')
            if data:
                self._read[name] = found
        return found


class Pages:
    """The application's directory of static files, with headers that close what is commonly left open.

    Args:
        directory: Where they are; ``index.html`` is the first.
        policy: Their Content-Security-Policy.

    Raises:
        ConfigurationError: If there is no such directory.
    """

    def __init__(self, directory: Path, policy: str) -> None:
        if not directory.is_dir():
            raise ConfigurationError(f"pages={str(directory)!r}: there is no such directory")
        self._files: ASGIApp = StaticFiles(directory=directory, html=True)
        self._headers = {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": _FRESH,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one file."""

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._files(scope, receive, with_headers)
