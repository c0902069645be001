"""The WebSocket carrier: JSON text frames of one message or an array of them (GW1).

Theory of operation
===================

    ACCEPTED --Hello in time--> OPENING --portal--> CARRYING --closing, fault--> last message, close
                                                       '--lost, silent-------> detached; the grace time runs

On our own server the socket is then carried directly (`hubbub.gateway.direct_websocket`). Under another one there are
two tasks: one reads, one waits for the session and writes everything that is due in one frame. Writing waits for the
server's own flow control, so a slow reader holds one frame here and the rest stays in the session's bounded backlog.
"""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect

from hubbub.gateway.carriers import (
    BATCH,
    HELLO_S,
    Connections,
    Heartbeat,
    WaitingCarrier,
    fault_of,
    joined,
    split_messages,
)
from hubbub.gateway.direct_websocket import DirectWebSocket, WebSocketCarrier, socket_of
from hubbub.gateway.door import Door
from hubbub.kernel import HubbubError, RemoteProtocolError
from hubbub.perspective.session import Session
from hubbub.wire import session as wire

_PONG = wire.encode(wire.Pong(), "json")


async def serve_websocket(websocket: WebSocket, door: Door) -> None:
    """Carry one session over ``websocket`` until either side ends it."""
    await websocket.accept()
    address = door.address(websocket)
    socket = socket_of(websocket.scope)
    if socket is not None:
        await _serve_directly(websocket, door, address, socket)
        return
    carrier = WaitingCarrier()
    session: Session | None = None
    try:
        portal = door.portal
        with Connections.of(portal).hold(address):
            hello = await _hello(websocket, door)
            session, welcome = await portal.open(hello, "json", address, carrier, request=websocket)
            await _carry(websocket, door, session, carrier, welcome)
    except (HubbubError, TimeoutError) as error:
        await _finish(websocket, fault_of(_named(error), f"WebSocket login from {address}"))
    except WebSocketDisconnect:
        pass
    finally:
        if session is not None:
            session.detach(carrier)


async def _serve_directly(
    websocket: WebSocket, door: Door, address: str, socket: DirectWebSocket
) -> None:
    """Let the session in, and leave: the socket has a carrier then."""
    left: list[Connections] = []
    try:
        portal = door.portal
        connections = Connections.of(portal)
        connections.enter(address)
        left.append(connections)
        hello = await _hello(websocket, door)
        carrier = WebSocketCarrier(
            socket, door.limits.max_message_bytes, lambda: connections.leave(address)
        )
        session, welcome = await portal.open(hello, "json", address, carrier, request=websocket)
        left.clear()
        carrier.take_over(session, welcome)
    except (HubbubError, TimeoutError) as error:
        await _finish(websocket, fault_of(_named(error), f"WebSocket login from {address}"))
    except WebSocketDisconnect:
        pass
    finally:
        for connections in left:
            connections.leave(address)


async def _hello(websocket: WebSocket, door: Door) -> wire.Hello:
    async with asyncio.timeout(HELLO_S):
        data = await _receive(websocket, door.limits.max_message_bytes)
    texts = split_messages(data)
    hello = wire.decode_to_host(texts[0], "json") if len(texts) == 1 else None
    if not isinstance(hello, wire.Hello):
        raise RemoteProtocolError("the first message has to be hello, alone", code="garbled")
    return hello


async def _receive(websocket: WebSocket, limit_bytes: int) -> bytes:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1000)
    text = message.get("text")
    if text is None:
        raise RemoteProtocolError("messages are text, not binary", code="garbled")
    data: bytes = text.encode("utf-8", "surrogatepass")
    if len(data) > limit_bytes:
        raise RemoteProtocolError(
            f"a message of {len(data)} bytes is over the limit of {limit_bytes}", code="too_large"
        )
    return data


async def _carry(
    websocket: WebSocket,
    door: Door,
    session: Session,
    carrier: WaitingCarrier,
    welcome: wire.Welcome,
) -> None:
    tasks: list[asyncio.Task[None]] = []

    def silent() -> None:
        for task in tasks:
            task.cancel()

    beating = _Beating(carrier, door.limits.heartbeat_s, silent)
    reader = asyncio.create_task(_read(websocket, door, session, carrier, beating.heartbeat))
    writer = asyncio.create_task(_write(websocket, session, carrier, beating, welcome))
    tasks += (reader, writer)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if carrier.closing is not None and not writer.done():
            await asyncio.wait([writer], timeout=door.limits.heartbeat_s)
    finally:
        beating.heartbeat.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Beating:
    """The heartbeat, and whether one is due."""

    def __init__(self, carrier: WaitingCarrier, period_s: float, silent: object) -> None:
        assert callable(silent)
        self._carrier = carrier
        self.due = False
        self.heartbeat = Heartbeat(period_s, self._beat, silent)

    def _beat(self) -> None:
        self.due = True
        self._carrier.wake()


async def _read(
    websocket: WebSocket,
    door: Door,
    session: Session,
    carrier: WaitingCarrier,
    heartbeat: Heartbeat,
) -> None:
    limit_bytes = door.limits.max_message_bytes
    try:
        while True:
            data = await _receive(websocket, limit_bytes)
            heartbeat.heard()
            for number, part in enumerate(split_messages(data), 1):
                session.receive(wire.decode_to_host(part, "json"))
                if not number % BATCH:
                    await asyncio.sleep(0)
    except HubbubError as error:
        carrier.close(fault_of(error, f"session {session.id}"))
    except WebSocketDisconnect:
        pass


async def _write(
    websocket: WebSocket,
    session: Session,
    carrier: WaitingCarrier,
    beating: _Beating,
    welcome: wire.Welcome,
) -> None:
    try:
        await websocket.send_text(wire.encode(welcome, "json").decode())
        while True:
            await carrier.wait()
            while texts := carrier.taken_from(session):
                text = texts[0] if len(texts) == 1 else joined(texts)
                await websocket.send_text(text.decode())
                beating.heartbeat.sent()
                beating.due = False
            if carrier.closing is not None:
                await _finish(websocket, carrier.closing)
                return
            if beating.due:
                beating.due = False
                await websocket.send_text(_PONG.decode())
    except WebSocketDisconnect:
        pass


async def _finish(websocket: WebSocket, last: wire.Closing | wire.Fault) -> None:
    try:
        await websocket.send_text(wire.encode(last, "json").decode())
        await websocket.close(1000 if isinstance(last, wire.Closing) else 1008)
    except (WebSocketDisconnect, RuntimeError):
        pass  # it is gone already


def _named(error: BaseException) -> BaseException:
    if isinstance(error, TimeoutError):
        return RemoteProtocolError(f"no hello within {HELLO_S:g} s", code="garbled")
    return error
