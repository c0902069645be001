"""The asyncio shell around the client's state machine: connects, reconnects, and tells everybody their outcome.

Theory of operation
===================

    CONNECTING --Welcome--> OPEN --connection lost--> RECONNECTING --Welcome--> OPEN
         any --close, logged out, replaced, grace time over, session lost--> CLOSED   final

One task connects and reconnects. What comes is taken where it arrives; messages that pile up during one turn of the
loop leave in one write; no task or timer is made for a message. While the connection is away calls wait, and go out
when it is back (PE6).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from hubbub.kernel import BrokenError, ClosedError, HubbubError, LimitError, RemoteProtocolError
from hubbub.perspective.avatar import Mind
from hubbub.perspective.client import events as told
from hubbub.perspective.client.feeds import AnswerFeed, ItemFeed
from hubbub.perspective.client.mind import Invoke, MindRunner
from hubbub.perspective.client.protocol import ClientProtocol, ProtocolState
from hubbub.perspective.client.transport import Connector, Transport
from hubbub.space.codec import decode_value
from hubbub.wire import session as wire

log = logging.getLogger("hubbub.client")

ACK_S = 0.05
"""Deliveries are acknowledged this many seconds after the first of them, at the latest."""

RETRY_S = (0.05, 5.0)
"""The first and the longest pause between two attempts to connect again."""

CONNECT_S = 10.0
_ID_BYTES = 8  # a call gets its number when it is sent
GOODBYE_S = 2.0


class ClientState(Enum):
    """See the drawing at the head of `hubbub.perspective.client.connection`."""

    CONNECTING = "connecting"
    OPEN = "open"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


class ClientConnection:
    """One user's session, from the user's side. Belongs to one loop.

    Attributes:
        state: See `ClientState`.
        error: Why it is closed, if nobody here asked for it.

    Args:
        connector: Makes connections.
        hello: What to log in with.
        mind: What the host may call here.
        reference: Makes the proxy of a reference out of its number.
        on_state: Told of each new state.
        on_gap: Told when calls of the mind were missed, with the reason.
        invoke: Runs calls of the mind elsewhere (see `MindRunner`).
    """

    def __init__(
        self,
        connector: Connector,
        hello: wire.Hello,
        mind: Mind | None,
        reference: Callable[[ClientConnection, int], Any],
        *,
        on_state: Callable[[ClientState], None] | None = None,
        on_gap: Callable[[str], None] | None = None,
        invoke: Invoke | None = None,
    ) -> None:
        def object_of(handle: int, _class_name: str) -> Any:
            return reference(self, handle)

        def decode(data: bytes) -> Any:
            return decode_value(data, object_of).value

        self.state = ClientState.CONNECTING
        self.error: HubbubError | None = None
        self.protocol = ClientProtocol(hello, decode)
        self._connector = connector
        self._on_state = on_state
        self._on_gap = on_gap
        self._mind = MindRunner(mind, self._reply, self._missed, invoke)
        self._loop = asyncio.get_running_loop()
        self._transport: Transport | None = None
        self._flush_due = False
        self._taking = False  # what is sent meanwhile leaves together at its end
        self._ack_timer: asyncio.TimerHandle | None = None
        self._tick_timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._task: asyncio.Task[None] | None = None

    # --- life -----------------------------------------------------------------------------------

    async def open(self, timeout_s: float) -> None:
        """Connect and log in.

        Raises:
            BrokenError: If nobody answers, in time or at all.
            HubbubError: If the host does not want us: `LoginFailedError`, `LimitError`, `Refused`...
        """
        self._task = self._loop.create_task(self._run(), name="hubbub-client")
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._opened)
        except TimeoutError:
            error = BrokenError(f"{self._connector.where} did not answer within {timeout_s:g} s")
            await self._abandon(error)
            raise error from None
        except BaseException:
            await self._abandon(None)
            raise

    async def close(self) -> None:
        """Log out and close. Calls that are still out end with `OutcomeUnknownError`. Idempotent."""
        task = self._task
        if task is None or task.done() or task is asyncio.current_task():
            self._finish(None)
            return
        self._closing = True
        if self.state is ClientState.OPEN:
            self.protocol.acknowledge()
            self.protocol.bye()
            self._flush()
            await asyncio.wait([task], timeout=GOODBYE_S)
        await self._abandon(None)

    async def wait_closed(self, timeout_s: float | None = None) -> bool:
        """Wait until the session has ended. Returns False if it has not after ``timeout_s`` seconds.

        Raises:
            HubbubError: If it has ended because it was lost or taken away.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._closed)
        except TimeoutError:
            return False
        if self.error is not None:
            raise self.error
        return True

    async def _abandon(self, error: HubbubError | None) -> None:
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
        self._finish(error)

    def _finish(self, error: HubbubError | None) -> None:
        if self.state is ClientState.CLOSED:
            return
        for timer in (self._ack_timer, self._tick_timer):
            if timer is not None:
                timer.cancel()
        for event in self.protocol.close(error):
            self._take(event)
        self._mind.close()
        self.error = error
        self._become(ClientState.CLOSED)
        if not self._opened.done():
            self._opened.set_exception(error or ClosedError("closed before the login was over"))
            self._opened.exception()  # whoever waits for it gets it; nobody may
        self._closed.set_result(None)

    def _become(self, state: ClientState) -> None:
        if state is self.state:
            return
        self.state = state
        if self._on_state is not None:
            _guarded(self._on_state, state)

    # --- the one task ---------------------------------------------------------------------------

    async def _run(self) -> None:
        lost_at: float | None = None
        pause = RETRY_S[0]
        while True:
            parting: told.Parting | None = None
            try:
                async with asyncio.timeout(CONNECT_S):
                    transport = await self._connector.connect()
            except (BrokenError, TimeoutError) as error:
                problem = error if isinstance(error, BrokenError) else self._silence()
            else:
                parting, opened = await self._serve(transport)
                problem = BrokenError(f"the connection to {self._connector.where} was lost")
                if opened:
                    lost_at, pause = None, RETRY_S[0]
            if self._closing:
                return self._finish(None)
            if not self.protocol.resumable:
                return self._finish(parting.error if parting else problem)
            if parting is not None and parting.is_final:
                return self._finish(parting.error)
            now = self._loop.time()
            lost_at = now if lost_at is None else lost_at
            self._become(ClientState.RECONNECTING)
            assert self.protocol.welcome is not None
            if now - lost_at > self.protocol.welcome.grace_s:
                return self._finish(
                    BrokenError(f"{problem}, and it did not come back within the grace time")
                )
            wait_s = max(pause, parting.retry_s) if parting is not None else pause
            pause = min(pause * 2, RETRY_S[1])
            # A host that comes back should not meet everybody in the same moment.
            await asyncio.sleep(
                wait_s * random.uniform(0.5, 1.0) if self._connector.heartbeats else 0
            )

    def _silence(self) -> BrokenError:
        return BrokenError(f"{self._connector.where} did not answer within {CONNECT_S:g} s")

    async def _serve(self, transport: Transport) -> tuple[told.Parting | None, bool]:
        """Talk until the connection ends. Returns how the host parted, and whether the session was open."""
        self._transport = transport
        self.protocol.connected(self._loop.time())
        self._flush()
        self._tick()
        opened = False
        parting: told.Parting | None = None

        def take(messages: Sequence[wire.ToClient]) -> bool:
            nonlocal opened, parting
            now = self._loop.time()
            self._taking = True
            try:
                for message in messages:
                    for event in self.protocol.receive(message, now):
                        if isinstance(event, told.Parting):
                            parting = event
                            return False
                        opened = opened or isinstance(event, told.Opened)
                        self._take(event)
            finally:
                self._taking = False
            self._flush_taken()
            return True

        try:
            await transport.carry(take)
            return parting, opened
        except RemoteProtocolError as error:
            return told.Parting(error.code, 0.0, error, is_final=True), opened
        finally:
            self._transport = None
            self.protocol.lost()
            if self._tick_timer is not None:
                self._tick_timer.cancel()
            transport.close()
            await transport.closed()

    def _take(self, event: told.Event) -> None:
        match event:
            case told.Finished():
                future: asyncio.Future[Any] = event.call.tag
                if future.done():
                    return
                if event.error is None:
                    future.set_result(event.value)
                else:
                    future.set_exception(event.error)
            case told.MindCalled():
                self._mind.take(event)
            case told.Answered():
                event.subscription.tag.answered(event.patch)
            case told.Streamed():
                event.subscription.tag.streamed(event.item)
            case told.Missed():
                if event.subscription is None:
                    self._missed(event.reason)
                else:
                    event.subscription.tag.missed(event.reason)
            case told.Ended():
                event.subscription.tag.ended(event.error)
            case told.Opened():
                self._become(ClientState.OPEN)
                if not self._opened.done():
                    self._opened.set_result(None)
            case _:
                pass

    def _missed(self, reason: str) -> None:
        log.warning("calls of the mind were missed (%s)", reason)
        if self._on_gap is not None:
            _guarded(self._on_gap, reason)

    def _reply(self, called: told.MindCalled, value: bytes, failure: wire.Failure | None) -> None:
        self.protocol.reply(called, value, failure)
        self._flush_soon()

    # --- calls and feeds ------------------------------------------------------------------------

    async def call(self, message: wire.Call) -> Any:
        """Have ``message`` run once and return its value.

        Raises:
            LimitError: If it is larger than what the host takes. It was not sent.
            OutcomeUnknownError: If the session ended before its result was here.
            HubbubError: What the host says.
        """
        self._check_size(message)
        future: asyncio.Future[Any] = self._loop.create_future()
        pending = self.protocol.call(message, future)
        self._flush_soon()
        try:
            return await future
        except asyncio.CancelledError:
            self.protocol.cancel(pending)
            self._flush_soon()
            raise

    def _check_size(self, message: wire.Call) -> None:
        """Refuse what would end the connection: the host cuts off whoever sends more than it takes."""
        welcome = self.protocol.welcome
        if welcome is None:
            return
        packed = memoryview(message.args).nbytes + memoryview(message.kwargs).nbytes
        if packed < welcome.max_bytes // 2:
            return
        size = len(wire.encode(message, "msgpack")) + _ID_BYTES
        if size > welcome.max_bytes:
            raise LimitError(
                f"{message.name}: {size} bytes, and the host takes at most {welcome.max_bytes} at once",
                code="too_big",
            )

    def follow(self, message: wire.Watch, feed: AnswerFeed | ItemFeed) -> None:
        """Begin a watch or stream whose news go to ``feed``."""
        feed.connection = self
        feed.subscription = self.protocol.watch(message, feed, is_stream=isinstance(feed, ItemFeed))
        self._flush_soon()

    def unfollow(self, feed: AnswerFeed | ItemFeed) -> None:
        """End it. Idempotent."""
        if feed.subscription is not None:
            self.protocol.unwatch(feed.subscription)
            self._flush_soon()

    def unfollow_threadsafe(self, feed: AnswerFeed | ItemFeed) -> None:
        """The same from wherever garbage is collected."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.unfollow, feed)

    # --- sending --------------------------------------------------------------------------------

    def acknowledge(self) -> None:
        """Tell the host now what has been taken in."""
        self.protocol.acknowledge()
        self._flush()

    def _flush_soon(self) -> None:
        if not self._flush_due and not self._taking:
            self._flush_due = True
            self._loop.call_soon(self._flush_due_now)

    def _flush_due_now(self) -> None:
        self._flush_due = False
        self._flush()

    def _flush_taken(self) -> None:
        """Answer what was taken in; an acknowledgement alone leaves with the calls that its results lead to."""
        if self.protocol.has_messages:
            self._flush()
        elif self.protocol.is_ack_due:
            self._flush_soon()
        else:
            self._ack_later()

    def _flush(self) -> None:
        transport = self._transport
        if transport is None:
            return
        messages = self.protocol.take(self._loop.time())
        if messages:
            transport.send(messages)
        self._ack_later()

    def _ack_later(self) -> None:
        if self._ack_timer is None and self.protocol.unacknowledged:
            self._ack_timer = self._loop.call_later(ACK_S, self._ack)

    def _ack(self) -> None:
        self._ack_timer = None
        self.acknowledge()

    def _tick(self) -> None:
        transport = self._transport
        if transport is None or not self._connector.heartbeats:
            return
        if not self.protocol.tick(self._loop.time()):
            log.warning("no sign of life from %s", self._connector.where)
            transport.close()
            return
        self._flush()
        welcome = self.protocol.welcome
        is_open = self.protocol.state is ProtocolState.OPEN and welcome is not None
        period = welcome.heartbeat_s / 4 if is_open and welcome is not None else 1.0
        self._tick_timer = self._loop.call_later(min(period, 1.0), self._tick)


def _guarded(callback: Callable[[Any], None], argument: Any) -> None:
    try:
        callback(argument)
    except Exception:
        log.exception("a callback of the client's user failed")
