"""A wire without a port: real messages through a real session and portal, in the form that travels over TCP.

What the host has for its users is handed over when it has come to rest, to all users in the same turn of the loop. So
a test that has awaited a command can rely on everything that follows from it having arrived, at every user.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hubbub.gateway.carriers import fault_of
from hubbub.kernel import BrokenError, HubbubError, RemoteProtocolError
from hubbub.perspective.client.transport import Take
from hubbub.perspective.portal import Portal
from hubbub.perspective.session import Session
from hubbub.wire import session as wire

log = logging.getLogger("hubbub.testing")

_FORM = "msgpack"
_TAKE_BYTES = 256 << 10


class InProcessWire:
    """One connection of a test's user: the client's `Transport` and the session's `Carrier` in one.

    Args:
        portal: Where it ends.
        address: Where it seems to come from.
        note: Called whenever a message moves.
        wake: Called when the session has something to hand over.
    """

    def __init__(
        self, portal: Portal, address: str, note: Callable[[], None], wake: Callable[[], None]
    ) -> None:
        self._portal = portal
        self._address = address
        self._note = note
        self._wake_pump = wake
        self._session: Session | None = None
        self._opening: asyncio.Task[None] | None = None
        self._early: list[wire.ToHost] = []
        self._inbox: deque[wire.ToClient] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self.is_due = False

    @property
    def has_ended(self) -> bool:
        """Whether it is closed or broken."""
        return self._ended

    # --- the client's side (Transport) ----------------------------------------------------------

    def send(self, messages: Sequence[wire.ToHost]) -> None:
        for message in messages:
            if self._ended:
                return
            self._note()
            self._arrive(wire.decode_to_host(wire.encode(message, _FORM), _FORM))

    async def carry(self, take: Take) -> None:
        while messages := await self._receive():
            if not take(messages):
                return

    async def _receive(self) -> Sequence[wire.ToClient]:
        while not self._inbox:
            if self._ended:
                return ()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        messages = list(self._inbox)
        self._inbox.clear()
        self._note()
        return messages

    # --- the host's side ------------------------------------------------------------------------

    def _arrive(self, message: wire.ToHost) -> None:
        if self._session is not None:
            try:
                self._session.heard(self._portal.host.clock.now())
                self._session.receive(message)
            except HubbubError as error:
                self._fail(error)
        elif isinstance(message, wire.Hello) and self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open(message))
        else:
            self._early.append(message)

    async def _open(self, hello: wire.Hello) -> None:
        try:
            session, welcome = await self._portal.open(hello, _FORM, self._address, self)
        except Exception as error:  # noqa: BLE001 - becomes a fault, and goes to the log
            self._fail(error)
            return
        if self._ended:
            session.detach(self)
            return
        self._session = session
        self._hand_over([welcome])
        early, self._early = self._early, []
        for message in early:
            self._arrive(message)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, RemoteProtocolError):
            self.close(wire.Fault("protocol", error.code, str(error)))
        else:
            self.close(fault_of(error, "an in-process connection"))

    def wake(self) -> None:
        """There is something to take (Carrier)."""
        self.is_due = True
        self._wake_pump()

    def deliver(self) -> None:
        """Hand over what the session has for its user now."""
        self.is_due = False
        session = self._session
        if session is None:
            self.is_due = not self._ended  # the welcome comes first
            return
        while not self._ended:
            taken = session.take(_TAKE_BYTES)
            if not taken:
                return
            self._hand_over([wire.decode_to_client(data, _FORM) for data in taken])

    def _hand_over(self, messages: Sequence[wire.ToClient]) -> None:
        self._note()
        self._inbox.extend(messages)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- either side ----------------------------------------------------------------------------

    def close(self, message: Any = None) -> None:
        """Close: by the session, with its last message, or by the client, without one. Idempotent."""
        if self._ended:
            return
        if message is not None:
            self._hand_over([message])
        self.cut(keep=True)

    async def closed(self) -> None:
        """Nothing is left behind `close` (Transport)."""

    def cut(self, *, keep: bool = False) -> None:
        """Break the connection; what was not read yet is lost, unless it is to be kept."""
        if self._ended:
            return
        self._ended = True
        self._note()
        if not keep:
            self._inbox.clear()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._session is not None:
            self._session.detach(self)


class InProcessConnector:
    """Makes in-process connections, when the hub is up and the test lets it (a `Connector`).

    Args:
        open_wire: Makes one; waits until the hub is up.
        address: Where they seem to come from.
    """

    where = "the hub under test"
    heartbeats = False

    def __init__(self, open_wire: Callable[[str], Any], address: str) -> None:
        self._open_wire = open_wire
        self._address = address
        self._allowed = asyncio.Event()
        self._allowed.set()
        self.current: InProcessWire | None = None
        self.is_closed = False

    async def connect(self) -> InProcessWire:
        await self._allowed.wait()
        if self.is_closed:
            raise BrokenError("the hub under test has been stopped")
        self.current = await self._open_wire(self._address)
        return self.current

    def cut(self, *, stay_away: bool) -> None:
        """Break the connection that there is; ``stay_away``: until `allow`."""
        if stay_away:
            self._allowed.clear()
        if self.current is not None:
            self.current.cut()

    def allow(self) -> None:
        """Let the client connect again."""
        self._allowed.set()
