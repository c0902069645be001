"""The web door of a hub: what every endpoint needs to know, and how each says no.

Session endpoints answer with a list of session messages, whatever the status, so that a client reads one shape.
Everything else (a plain call that fails, a transport that is switched off, a foreign page) gets one JSON object
``{"kind", "code", "message"}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from hubbub.gateway.callers import Callers
from hubbub.gateway.carriers import joined
from hubbub.gateway.options import Gateway
from hubbub.kernel import ClosedError, HubbubError, RemoteProtocolError
from hubbub.kernel.limits import Limits
from hubbub.perspective.portal import Portal
from hubbub.wire import session as wire

_STATUS_OF_CODE = {
    "undeclared": 404,
    "session_lost": 410,
    "too_large": 413,
    "not_supported": 415,
    "not_found": 404,
    "wrong_method": 405,
}
_STATUS_OF_KIND = {
    "refused": 422,
    "invalid": 400,
    "protocol": 400,
    "login_failed": 401,
    "not_allowed": 403,
    "access": 403,
    "limit": 429,
    "conflict": 409,
    "closed": 503,
    "disk_full": 503,
}

DRAINED = joined([wire.encode(wire.Closing("drain"), "json")])
"""What a client is told when the host goes away."""


class Served(Protocol):
    """What the gateway needs of a `hubbub.app.Hub`."""

    gateway: Gateway
    limits: Limits
    pages: Path | None

    @property
    def portal(self) -> Portal:
        """The running portal; raises `HubbubError` when the hub is not running."""
        ...


class Door:
    """What the endpoints share.

    Attributes:
        options: Of the gateway.
        limits: Of the hub.
        callers: Judges origins and addresses.
    """

    def __init__(self, hub: Served) -> None:
        self._hub = hub
        self.options = hub.gateway
        self.limits = hub.limits
        self.callers = Callers(hub.gateway)

    @property
    def portal(self) -> Portal:
        """The hub's portal.

        Raises:
            ClosedError: If the hub is not running.
        """
        try:
            return self._hub.portal
        except HubbubError as error:
            raise ClosedError(f"nobody is at home: {error}", code="not_running") from None

    def address(self, connection: HTTPConnection) -> str:
        """Return the address behind trusted proxies."""
        return self.callers.address(connection)

    async def body(self, request: Request) -> bytes:
        """Return the whole body of ``request``.

        Raises:
            RemoteProtocolError: If it is over the limit of one message; code ``too_large``. The rest is not read.
        """
        limit = self.limits.max_message_bytes
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise RemoteProtocolError(
                    f"a request may have {limit} bytes at most", code="too_large"
                )
            parts.append(part)
        return b"".join(parts)


def status_of(kind: str, code: str) -> int:
    """Return the HTTP status that fits a failure best."""
    return _STATUS_OF_CODE.get(code) or _STATUS_OF_KIND.get(kind, 500)


def messages(texts: list[bytes], status: int = 200) -> Response:
    """Return an answer of session messages."""
    return in_session(joined(texts), status)


def in_session(body: bytes, status: int = 200) -> Response:
    """Return an answer whose body is an array of session messages."""
    return Response(body, status, {"cache-control": "no-store"}, "application/json")


def fault(fault: wire.Fault) -> Response:
    """Return the answer of a session endpoint that can't go on."""
    return messages([wire.encode(fault, "json")], status_of(fault.kind, fault.code))


def failure(failure: wire.Failure | wire.Fault) -> Response:
    """Return the answer of anything else that went wrong."""
    shown: dict[str, Any] = {"kind": failure.kind, "code": failure.code, "message": failure.message}
    incident = getattr(failure, "incident", "")
    if incident:
        shown["incident"] = incident
    status = status_of(failure.kind, failure.code)
    headers = {"cache-control": "no-store"}
    if status == 503:
        headers["retry-after"] = "1"
    return Response(msgspec.json.encode(shown), status, headers, "application/json")
