"""Sessions over plain HTTP: server-sent events and long-poll (GW1).

Theory of operation
===================

    POST _hub/open     Hello               -> [welcome]
    POST _hub/send     messages            -> []
    POST _hub/events   cursor              -> text/event-stream; each event an array of messages
    POST _hub/poll     cursor, messages    -> an array; parked while there is nothing

Each request but the first shows session and secret. The cursor of a request acknowledges everything up to it, and what
comes after is delivered again: an answer that was lost on its way is lost for nobody. A client whose cursor the session
can't continue, or whose session sleeps since a restart of the host, is told `Closing` 'resume': it opens again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send

from hubbub.gateway import door as answers
from hubbub.gateway.carriers import (
    BATCH,
    Connections,
    Heartbeat,
    WaitingCarrier,
    fault_of,
    joined,
)
from hubbub.gateway.door import Door
from hubbub.gateway.event_stream import BEAT, EventStream, event, until_gone
from hubbub.gateway.polls import Poll, Polls, ResumeError
from hubbub.kernel import ClosedError, HubbubError, NotAllowedError, RemoteProtocolError
from hubbub.perspective.session import Session
from hubbub.wire import session as wire

FIRST_EVENT = b"data: []\n\n"


class Envelope(msgspec.Struct):
    """What a request of a session says."""

    session: str
    secret: str
    cursor: str = ""
    messages: list[msgspec.Raw] = []
    wait_s: float = 0.0


class _Numbered(msgspec.Struct):
    t: str = ""
    n: int = 0
    cursor: str = ""


_envelope = msgspec.json.Decoder(Envelope)
_numbered = msgspec.json.Decoder(_Numbered)


RESUME = joined([wire.encode(wire.Closing("resume", 0.05), "json")])
"""What a client is told that has to open again."""


def decode_envelope(data: bytes) -> Envelope:
    """Return what a request says.

    Raises:
        RemoteProtocolError: If it is none of ours; code ``garbled``.
    """
    try:
        return _envelope.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(
            f"not a request of a Hubbub client: {error}", code="garbled"
        ) from None


class HttpSessions:
    """The endpoints of sessions over HTTP.

    Attributes:
        polls: Those that wait.
    """

    def __init__(self, door: Door) -> None:
        self.polls = Polls(door)
        self._door = door
        self._streams: dict[str, Heartbeat] = {}

    async def open(self, request: Request) -> Response:
        """Log in or resume; answers with the welcome. The session's grace time runs until the next request."""
        address = self._door.address(request)
        try:
            hello = wire.decode_to_host(await self._door.body(request), "json")
            if not isinstance(hello, wire.Hello):
                raise RemoteProtocolError("open takes hello", code="garbled")
            carrier = WaitingCarrier()
            session, welcome = await self._door.portal.open(
                hello, "json", address, carrier, request=request
            )
            session.detach(carrier)
        except HubbubError as error:
            return answers.fault(fault_of(error, f"HTTP login from {address}"))
        return answers.messages([wire.encode(welcome, "json")])

    async def send(self, request: Request) -> Response:
        """Take messages in."""
        try:
            envelope = await self._envelope(request)
            session = await self._find(request, envelope)
            await self._receive(session, envelope)
        except ResumeError:
            return answers.in_session(RESUME)
        except ClosedError:
            return answers.in_session(answers.DRAINED, 503)
        except HubbubError as error:
            return answers.fault(fault_of(error, "send"))
        return answers.messages([])

    async def poll(self, request: Request) -> Response:
        """Take messages in, and answer with deliveries as soon as there are some."""
        try:
            envelope = await self._envelope(request)
            session = await self._find(request, envelope)
            address = self._door.address(request)
            poll = self.polls.attached(session, envelope.cursor, address)
            try:
                await self._receive(session, envelope)
                return answers.messages(await self._answer_of(request, poll, envelope.wait_s))
            finally:
                poll.leave()
        except ResumeError:
            return answers.in_session(RESUME)
        except ClosedError:
            return answers.in_session(answers.DRAINED, 503)
        except HubbubError as error:
            return answers.fault(fault_of(error, "poll"))

    async def events(self, request: Request) -> Response:
        """Answer with a stream of events that lasts as long as the connection."""
        address = self._door.address(request)
        try:
            envelope = await self._envelope(request)
            session = await self._find(request, envelope)
            carrier = WaitingCarrier()
            connections = Connections.of(self._door.portal)
            connections.enter(address)
            try:
                self._attach(session, carrier, envelope)
            except BaseException:
                connections.leave(address)
                raise
        except ResumeError:
            return answers.in_session(RESUME)
        except ClosedError:
            return answers.in_session(answers.DRAINED, 503)
        except HubbubError as error:
            return answers.fault(fault_of(error, "events"))

        def write(send: Send) -> Coroutine[Any, Any, None]:
            return self._write_events(send, session, carrier, envelope.cursor)

        def done() -> None:
            session.detach(carrier)
            connections.leave(address)

        return EventStream(write, done)

    def found(self, envelope: Envelope) -> Session:
        """Return the session that a request names, if it is awake.

        Raises:
            NotAllowedError: If there is none, or the secret is another; code ``session_lost``.
            RemoteProtocolError: If it began in another form.
        """
        session = self._door.portal.find(envelope.session, envelope.secret)
        if session.form != "json":
            raise RemoteProtocolError(
                "a session keeps the form that it began with", code="wrong_form"
            )
        return session

    def heard(self, session: Session) -> None:
        """Tell the event stream of ``session``, if it has one, that its client lives."""
        stream = self._streams.get(session.id)
        if stream is not None:
            stream.heard()

    async def _envelope(self, request: Request) -> Envelope:
        if request.method == "GET":
            query = request.query_params
            # A browser's own EventSource tells its place in a header when it connects again.
            cursor = request.headers.get("last-event-id") or query.get("cursor", "")
            return Envelope(query.get("session", ""), query.get("secret", ""), cursor)
        return decode_envelope(await self._door.body(request))

    async def _find(self, request: Request, envelope: Envelope) -> Session:
        try:
            return self.found(envelope)
        except NotAllowedError as lost:
            if lost.code != "session_lost":
                raise
        # It may sleep in the store since the host began anew. Opening wakes it, or says that it is lost.
        hello = wire.Hello(session=envelope.session, secret=envelope.secret, cursor=envelope.cursor)
        carrier = WaitingCarrier()
        session, _ = await self._door.portal.open(
            hello, "json", self._door.address(request), carrier, request=request
        )
        session.detach(carrier)
        raise ResumeError

    def _attach(self, session: Session, carrier: WaitingCarrier, envelope: Envelope) -> None:
        if not envelope.cursor:
            raise RemoteProtocolError("a request for deliveries needs a cursor", code="garbled")
        if not self._door.portal.attach(session, carrier, envelope.cursor):
            session.detach(carrier)
            raise ResumeError

    async def _receive(self, session: Session, envelope: Envelope) -> None:
        self.heard(session)
        for number, raw in enumerate(envelope.messages, 1):
            session.receive(wire.decode_to_host(bytes(raw), "json"))
            if not number % BATCH:
                await asyncio.sleep(0)

    async def _answer_of(self, request: Request, poll: Poll, wait_s: float) -> list[bytes]:
        """Return what ``poll`` has to say, now or when there is something."""
        answer: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()

        def tell(texts: list[bytes]) -> None:
            if not answer.done():
                answer.set_result(texts)

        at_once = poll.begin(wait_s, tell)
        if at_once is not None:
            return at_once
        gone = asyncio.create_task(_wake_when_gone(request.receive, poll))
        try:
            return await answer
        finally:
            gone.cancel()

    async def _write_events(
        self, send: Send, session: Session, carrier: WaitingCarrier, cursor: str
    ) -> None:
        """Write events until the session closes the carrier; at once, and then whenever there is something."""

        def write(data: bytes) -> Any:
            return send({"type": "http.response.body", "body": data, "more_body": True})

        beating = False

        def beat() -> None:
            nonlocal beating
            beating = True
            carrier.wake()

        gone = asyncio.current_task()
        assert gone is not None
        heartbeat = Heartbeat(self._door.limits.heartbeat_s, beat, gone.cancel)
        self._streams[session.id] = heartbeat
        try:
            await write(FIRST_EVENT)
            while not carrier.is_closed:
                await carrier.wait()
                while texts := carrier.taken_from(session):
                    cursor = cursor_after(texts, cursor)
                    await write(event(joined(texts), id_text=cursor))
                    heartbeat.sent()
                    beating = False
                if beating:
                    beating = False
                    await write(BEAT)
            assert carrier.closing is not None
            await write(event(joined([wire.encode(carrier.closing, "json")])))
        finally:
            heartbeat.stop()
            if self._streams.get(session.id) is heartbeat:
                del self._streams[session.id]


async def _wake_when_gone(receive: Receive, poll: Poll) -> None:
    await until_gone(receive)
    poll.wake()


def cursor_after(texts: list[bytes], cursor: str) -> str:
    """Return the cursor of a client that stood at ``cursor`` and has read ``texts``."""
    epoch, seq = wire.parse_cursor(cursor)
    for text in texts:
        message = _numbered.decode(text)
        if message.t == "lagged":
            epoch, seq = wire.parse_cursor(message.cursor)
        elif message.n and message.t != "pong":
            seq = message.n
    return wire.cursor_text(epoch, seq)
