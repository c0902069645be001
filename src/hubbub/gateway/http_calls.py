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
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from hubbub.gateway import door as answers
from hubbub.gateway.carriers import Connections, Heartbeat
from hubbub.gateway.door import Door
from hubbub.gateway.event_stream import BEAT, EventStream, event, until_gone
from hubbub.gateway.named_queues import NamedQueues
from hubbub.gateway.plain_session import PlainSession, raw, steps
from hubbub.gateway.requests import Asked, asked_in_query, credentials_of, wait_of
from hubbub.kernel import HubbubError, NotAllowedError
from hubbub.perspective.failures import failure_of
from hubbub.wire import session as wire

TID_HEADER = "Hubbub-Tid"
_REMEMBERED = 4096


class PlainCalls:
    """The endpoint of plain calls."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._queues = NamedQueues(door.limits)
        self._answers = _Answers()

    async def __call__(self, request: Request) -> Response:
        path: str = request.path_params["path"]
        try:
            if not all(step.isidentifier() for step in path.split(".")):
                raise NotAllowedError(f"there is no {path!r} to call", code="undeclared")
            if request.method == "POST":
                return await self._post(request, path)
            if "text/event-stream" in request.headers.get("accept", ""):
                return await self._follow(request, path)
            return await self._get(request, path)
        except HubbubError as error:
            return _failed(error, path)

    async def _open(self, request: Request) -> PlainSession:
        address = self._door.address(request)
        return await PlainSession.opened(self._door.portal, credentials_of(request), address)

    # --- POST ---------------------------------------------------------------------------------------------------------

    async def _post(self, request: Request, path: str) -> Response:
        body = await self._door.body(request)
        asked = Asked.of_body(body, request.headers.get("content-type", ""))
        target, name = steps(path)
        with Connections.of(self._door.portal).hold(self._door.address(request)):
            session = await self._open(request)
            try:
                for call_id in range(1, len(asked.kwargs) + 2):
                    call = wire.Call(
                        call_id, name, target, args=raw(asked.args), kwargs=raw(asked.kwargs)
                    )
                    session.ask(call)
                    result = await _result(session)
                    failure = result.error
                    if failure is None or failure.kind != "invalid":
                        break
                    if not asked.read_as_text(failure.message):
                        break
            finally:
                session.close()
        if result.error is not None:
            return answers.failure(result.error)
        value = b"null" if result.value is UNSET else bytes(result.value)
        return _json(value, result.tid)

    # --- GET ----------------------------------------------------------------------------------------------------------

    async def _get(self, request: Request, path: str) -> Response:
        wait_s = wait_of(request, self._door.options.poll_s)
        client = request.query_params.get("client", "")
        with Connections.of(self._door.portal).hold(self._door.address(request)):
            if client:
                asked = asked_in_query(request)
                key = (client, path, _key(request, asked))
                session, first = await self._queues.taken(
                    key, lambda: self._watching(request, path, asked)
                )
                keep = True
            else:
                session, first = await self._watching(request, path, asked_in_query(request))
                keep = False
            gone = asyncio.create_task(_wake_when_gone(request, session))
            ended = False
            try:
                if session.answer is not None:
                    after = request.query_params.get("after", "")
                    return await self._answer(request, path, session, wait_s or 0.0, after)
                items, failure = await _items(session, first, wait_s or 0.0, at_once=keep)
                ended = failure is not None or session.is_closed
                if failure is not None and not items:
                    return answers.failure(failure)
                return _json(b"[" + b",".join(items) + b"]", "")
            except BaseException:
                ended = True
                raise
            finally:
                gone.cancel()
                if keep and not ended:
                    self._queues.put_back(key, session)
                else:
                    session.close()

    async def _watching(
        self, request: Request, path: str, asked: Asked
    ) -> tuple[PlainSession, list[wire.ToClient]]:
        """Log in, watch, and return what was delivered first; a stream may have said nothing yet.

        Raises:
            HubbubError: If it can't be watched.
        """
        session = await self._open(request)
        target, name = steps(path)
        try:
            for watch_id in range(1, len(asked.kwargs) + 2):
                # The call that follows is answered after the watch was looked at: so a stream that is silent and
                # a query that is slow can be told apart.
                session.ask(wire.Watch(watch_id, name, target, kwargs=raw(asked.kwargs)))
                first = await _first(session)
                failure = _failure_in(first)
                if failure is None:
                    return session, first
                if failure.kind != "invalid" or not asked.read_as_text(failure.message):
                    break
            raise _Failed(failure)
        except BaseException:
            session.close()
            raise
