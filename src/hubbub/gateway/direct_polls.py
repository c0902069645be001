"""Long-polls that our own web server takes without a task or an ASGI message (GW1, GW2).

Theory of operation
===================

Every poll can go the long way, through the ASGI app; under other servers each does. Our own server asks here first:

    request whole --a plain one--> attached, and answered now or later (`hubbub.gateway.polls`)
         '--anything else: a trusted proxy's, of a page that may not come, garbled, of a session that sleeps
            or is lost, large, with many messages--> None: nothing was done, the app says what there is to say

Both ways give the same answers. What a page may is judged once for each origin and host, by the same `Callers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.requests import HTTPConnection

from hubbub.gateway import door as answers
from hubbub.gateway.carriers import BATCH, fault_of, joined
from hubbub.gateway.door import Door
from hubbub.gateway.guard import cors_headers
from hubbub.gateway.http_session import RESUME, HttpSessions, decode_envelope
from hubbub.gateway.polls import Poll, ResumeError
from hubbub.kernel import ClosedError, HubbubError
from hubbub.wire import session as wire

BODY_BYTES = 32 << 10
"""Larger requests go the long way."""

PATH = b"/_hub/poll"

_PAGES = 256
_HEADERS = b"content-type: application/json\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"


class Reply(NamedTuple):
    """An answer: its status, the header lines that are ours, and its body."""

    status: int
    headers: bytes
    body: bytes


class DirectPolls:
    """Take polls. Belongs to the loop."""

    def __init__(self, door: Door, sessions: HttpSessions) -> None:
        self._door = door
        self._sessions = sessions
        self._most_bytes = min(BODY_BYTES, door.limits.max_message_bytes)
        self._headers: dict[tuple[bytes, bytes], bytes | None] = {}

    def take(
        self, headers: bytes, address: str, body: bytes, answer: Callable[[Reply], None]
    ) -> Reply | Poll | None:
        """Take one request.

        Args:
            headers: What `headers_for` has returned for it.
            address: Where it comes from.
            body: All of its body.
            answer: Called later with what a poll has to say that waits.

        Returns:
            The answer, or the poll that waits for it; None if it has to go the long way. Then nothing was done.
        """
        if len(body) > self._most_bytes:
            return None
        try:
            envelope = decode_envelope(body)
            if len(envelope.messages) > BATCH:
                return None
            session = self._sessions.found(envelope)
            poll = self._sessions.polls.attached(session, envelope.cursor, address)
        except ResumeError:
            return Reply(200, headers, RESUME)
        except HubbubError:
            return None

        def tell(texts: list[bytes]) -> None:
            answer(Reply(200, headers, joined(texts)))

        try:
            self._sessions.heard(session)
            for raw in envelope.messages:
                session.receive(wire.decode_to_host(bytes(raw), "json"))
            texts = poll.begin(envelope.wait_s, tell)
        except ClosedError:
            poll.leave()
            return Reply(503, headers, answers.DRAINED)
        except HubbubError as error:
            poll.leave()
            fault = fault_of(error, "poll")
            status = answers.status_of(fault.kind, fault.code)
            return Reply(status, headers, joined([wire.encode(fault, "json")]))
        except BaseException:
            poll.leave()
            raise
        return poll if texts is None else Reply(200, headers, joined(texts))

    def headers_for(self, scope: Any, address: str) -> bytes | None:
        """Return the header lines of an answer to the page that asks; None if it has to go the long way."""
        if self._door.callers.is_trusted(address):
            return None  # who is behind it, and where it thinks that it is, stands in headers
        origin = host = None
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value if origin is None else origin
            elif name == b"host":
                host = value if host is None else host
        if origin is None:
            return _HEADERS
        key = (origin, host or b"")
        found = self._headers.get(key, b"")
        if found == b"":
            if len(self._headers) >= _PAGES:
                self._headers.clear()
            found = self._headers[key] = self._judged(scope, origin)
        return found

    def _judged(self, scope: Any, origin: bytes) -> bytes | None:
        text = origin.decode("latin-1")
        if not text.isprintable() or not self._door.callers.may_come(HTTPConnection(scope)):
            return None
        lines = [f"{name}: {value}\r\n" for name, value in cors_headers(text).items()]
        return _HEADERS + "".join(lines).encode("latin-1")
