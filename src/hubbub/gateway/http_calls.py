"""Plain HTTP calls, for curl and whatever else speaks HTTP.

    POST /api/say          {"text": "hi"}        -> the command's result
    GET  /api/room.recent?limit=20               -> the answer; header Hubbub-Tid says which
         ?wait=10&after=<tid>                    -> the next answer that differs from that one, or this one after 10 s
         Accept: text/event-stream               -> every answer, as it comes
    GET  /api/lines?wait=10                      -> what a stream brings in that time
         &client=<key>                           -> and what it brought since this client's last poll

GET reads: it reaches queries, views and streams only. A path's dots are steps: the ``recent`` of the ``room``.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from hubbub.gateway import door as answers
from hubbub.gateway.carriers import Connections
from hubbub.gateway.door import Door
from hubbub.gateway.event_stream import EventStream, until_gone
from hubbub.gateway.followed import Followed
from hubbub.gateway.named_queues import NamedQueues
from hubbub.gateway.plain_session import PlainSession
from hubbub.gateway.requests import Asked, asked_in_query, credentials_of, wait_of
from hubbub.kernel import HubbubError, NotAllowedError, RemoteProtocolError
from hubbub.perspective.failures import failure_of
from hubbub.wire import session as wire

TID_HEADER = "Hubbub-Tid"
GAP_HEADER = "Hubbub-Gap"

_REMEMBERED = 4096
_ITEMS = 1000
_ITEM_BYTES = 1 << 20


class PlainCalls:
    """The endpoint of plain calls."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._queues = NamedQueues(door.limits.grace_s)
        self._answers = _Answers()

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        path: str = request.path_params["path"]
        try:
            if not all(step.isidentifier() for step in path.split(".")):
                raise NotAllowedError(f"there is no {path!r} to call", code="undeclared")
            if request.method == "POST":
                return await self._post(request, path)
            if "text/event-stream" in request.headers.get("accept", ""):
                return await self._follow(request, path)
            return await self._get(request, path)
        except _EndedError as error:
            return answers.failure(error.failure)
        except RemoteProtocolError as error:
            return answers.failure(wire.Failure("protocol", error.code, str(error)))
        except HubbubError as error:
            return answers.failure(failure_of(error, f"{request.method} {path}"))

    async def _open(self, request: Request) -> PlainSession:
        address = self._door.address(request)
        return await PlainSession.opened(
            self._door.portal, credentials_of(request), address, request
        )

    async def _post(self, request: Request, path: str) -> Response:
        body = await self._door.body(request)
        asked = Asked.of_body(body, request.headers.get("content-type", ""))
        with Connections.of(self._door.portal).hold(self._door.address(request)):
            session = await self._open(request)
            try:
                result, _ = await session.call(path, asked.args, asked.kwargs)
                while result.error is not None and asked.fits_better_after(result.error):
                    result, _ = await session.call(path, asked.args, asked.kwargs)
            finally:
                session.close()
        if result.error is not None:
            return answers.failure(result.error)
        return _json(b"null" if result.value is UNSET else bytes(result.value), result.tid)

    async def _watching(
        self, request: Request, path: str, asked: Asked
    ) -> tuple[PlainSession, list[wire.ToClient]]:
        """Log in and watch; returns what was delivered first.

        Raises:
            HubbubError: If it can't be watched.
        """
        session = await self._open(request)
        try:
            while True:
                first = await session.watch(path, asked.kwargs)
                failure = _failure_in(first)
                if failure is None:
                    return session, first
                if not asked.fits_better_after(failure):
                    raise _EndedError(failure)
        except BaseException:
            session.close()
            raise

    async def _get(self, request: Request, path: str) -> Response:
        wait_s = wait_of(request, self._door.options.poll_s) or 0.0
        asked = asked_in_query(request)
        key = (request.query_params.get("client", ""), path, _digest_of(request, asked))
        address = self._door.address(request)
        connections = Connections.of(self._door.portal)
        with connections.hold(address):
            session = self._queues.take(key) if key[0] else None
            first: list[wire.ToClient] = []
            if session is None:
                session, first = await self._watching(request, path, asked)
            waiting = _Waiting(session, request, wait_s)
            keep = False
            try:
                if session.answer is not None:
                    return await self._answer(waiting, key, request.query_params.get("after", ""))
                response, keep = await _items(waiting, first, at_once=bool(key[0]))
                keep = keep and bool(key[0])
            finally:
                waiting.stop()
                if not keep:
                    session.close()
        if keep:
            self._queues.put_back(key, session, connections, address)
        return response

    async def _answer(self, waiting: _Waiting, key: object, after: str) -> Response:
        session = waiting.session
        while True:
            assert session.answer is not None
            tid = self._answers.tid_of(key, session.answer, session.tid)
            if tid != after or not await waiting.more():
                return _json(session.answer, tid)
            failure = _failure_in(session.taken())
            if failure is not None:
                raise _EndedError(failure)

    async def _follow(self, request: Request, path: str) -> Response:
        connections = Connections.of(self._door.portal)
        address = self._door.address(request)
        connections.enter(address)
        try:
            session, first = await self._watching(request, path, asked_in_query(request))
        except BaseException:
            connections.leave(address)
            raise

        def done() -> None:
            session.close()
            connections.leave(address)

        return EventStream(Followed(session, first, self._door.limits.heartbeat_s).write, done)


class _EndedError(HubbubError):
    """What is watched has ended with ``failure``."""

    def __init__(self, failure: wire.Failure) -> None:
        super().__init__(failure.message, code=failure.code)
        self.failure = failure


class _Waiting:
    """The time that one request has, which ends early when its client goes."""

    def __init__(self, session: PlainSession, request: Request, wait_s: float) -> None:
        self.session = session
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + wait_s
        self._gone = asyncio.create_task(until_gone(request.receive))
        self._gone.add_done_callback(lambda _: session.wake())

    def stop(self) -> None:
        """Look after the client no more."""
        self._gone.cancel()

    async def more(self) -> bool:
        """Wait until something may have come. Returns False when the time is over or the client gone."""
        left_s = self._until - self._loop.time()
        return left_s > 0 and await self.session.wait_for(left_s) and not self._gone.done()


class _Answers:
    """Which tid each caller knows an answer by.

    A tid moves on with every commit, and so would the tid of an answer that nobody keeps watching. Here an answer that
    reads the same keeps the tid that it was first seen with; what is forgotten costs a poll that returns at once.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[object, tuple[bytes, str]] = OrderedDict()

    def tid_of(self, key: object, answer: bytes, tid: str) -> str:
        """Return the tid of ``answer``, which was given for ``tid`` now."""
        digest = hashlib.blake2b(answer, digest_size=16).digest()
        known = self._known.get(key)
        if known is None or known[0] != digest:
            known = self._known[key] = (digest, tid)
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known[1]


async def _items(
    waiting: _Waiting, found: list[wire.ToClient], *, at_once: bool
) -> tuple[Response, bool]:
    """Collect what a stream brings; returns the response, and whether the stream goes on.

    Args:
        waiting: For how long.
        found: What it brought already.
        at_once: Return with the first items, because nothing is lost until the next poll.
    """
    items: list[bytes] = []
    size = 0
    gap = ""
    while True:
        found += waiting.session.taken()
        for message in found:
            if isinstance(message, wire.Item):
                items.append(bytes(message.value))
                size += len(message.value)
            elif isinstance(message, wire.Gap):
                gap = message.reason
            elif isinstance(message, wire.End):
                if message.error is not None and not items:
                    raise _EndedError(message.error)
                return _list(items, gap or (message.error.code if message.error else "")), False
        found = []
        is_enough = (items and at_once) or len(items) >= _ITEMS or size >= _ITEM_BYTES
        if is_enough or not await waiting.more():
            return _list(items, gap), True


def _list(items: list[bytes], gap: str) -> Response:
    response = _json(b"[" + b",".join(items) + b"]", "")
    if gap:
        response.headers[GAP_HEADER] = gap
    return response


def _json(data: bytes, tid: str) -> Response:
    headers = {"cache-control": "no-store"}
    if tid:
        headers[TID_HEADER] = tid
    return Response(data, 200, headers, "application/json")


def _failure_in(messages: list[wire.ToClient]) -> wire.Failure | None:
    for message in messages:
        if isinstance(message, wire.End):
            return message.error or wire.Failure("closed", "ended", "it has ended")
    return None


def _digest_of(request: Request, asked: Asked) -> bytes:
    """Return what tells this caller's question from others'."""
    who = sorted(credentials_of(request).items())
    return hashlib.blake2b(repr((who, asked.args, asked.kwargs)).encode(), digest_size=16).digest()
