"""A session of one request: logs in, asks one thing, and is gone. What plain HTTP calls stand on.

It is a transient session of the portal with an in-process carrier: the same checks, limits and backlog as everybody's.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from hubbub.gateway.carriers import WaitingCarrier
from hubbub.kernel import ClosedError, HubbubError
from hubbub.perspective.failures import error_of
from hubbub.perspective.portal import Portal
from hubbub.perspective.session import Session
from hubbub.wire import patch as patches
from hubbub.wire import session as wire

_NOTHING = "-.-"
"""The path of something that nobody can have declared."""


class PlainSession:
    """One thing asked of a hub. Use `opened`.

    Attributes:
        answer: The newest whole answer of what is watched, as JSON; None before the first.
        tid: Its tid.
    """

    def __init__(self, session: Session, carrier: WaitingCarrier, cursor: str) -> None:
        self._session = session
        self._carrier = carrier
        self._epoch, _ = wire.parse_cursor(cursor)
        self._calls = 0
        self._watches = 0
        self.answer: bytes | None = None
        self.tid = ""

    @classmethod
    async def opened(
        cls, portal: Portal, credentials: dict[str, str], address: str, request: Any = None
    ) -> PlainSession:
        """Log in.

        Raises:
            HubbubError: As `Portal.open` does.
        """
        carrier = WaitingCarrier()
        hello = wire.Hello(credentials=credentials)
        session, welcome = await portal.open(
            hello, "json", address, carrier, transient=True, request=request
        )
        return cls(session, carrier, welcome.cursor)

    @property
    def is_closed(self) -> bool:
        """Whether the host has ended it."""
        return self._carrier.is_closed

    def close(self) -> None:
        """Log out and leave nothing behind. Idempotent."""
        with suppress(ClosedError):
            self._session.receive(wire.Bye())

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._carrier.wake()

    async def call(
        self, path: str, args: list[Any], kwargs: dict[str, Any]
    ) -> tuple[wire.Result, list[wire.ToClient]]:
        """Call what ``path`` names; returns the outcome, and whatever else was delivered before it.

        Raises:
            HubbubError: If the host closes the session first.
        """
        target, name = steps(path)
        self._calls += 1
        call = wire.Call(self._calls, name, target, args=_raw(args), kwargs=_raw(kwargs))
        self._session.receive(call)
        others: list[wire.ToClient] = []
        while True:
            for message in self.taken():
                if isinstance(message, wire.Result) and message.id == call.id:
                    return message, others
                others.append(message)
            await self._carrier.wait()

    async def watch(self, path: str, kwargs: dict[str, Any]) -> list[wire.ToClient]:
        """Watch what ``path`` names, and return what is delivered first.

        That holds the answer, or the end if it can't be watched; of a stream there may be nothing yet.

        Raises:
            HubbubError: If the host closes the session first.
        """
        target, name = steps(path)
        self._watches += 1
        self._session.receive(wire.Watch(self._watches, name, target, kwargs=_raw(kwargs)))
        found: list[wire.ToClient] = []
        # A stream does not say that it is open, and a query may take its time. But bodies run one after another: once
        # two calls of nothing at all have come back, the watch was looked at, and then answered, or it is a stream.
        for _ in range(2):
            _, others = await self.call(_NOTHING, [], {})
            found += others
            if any(isinstance(message, wire.Answer | wire.End) for message in found):
                break
        return found

    def taken(self) -> list[wire.ToClient]:
        """Return what has been delivered since the last time, and acknowledge it.

        Raises:
            HubbubError: If the host has closed the session.
        """
        found: list[wire.ToClient] = []
        carrier = self._carrier
        while texts := carrier.taken_from(self._session):
            seq = 0
            for text in texts:
                message = wire.decode_to_client(text, "json")
                if isinstance(message, wire.Lagged):
                    self._epoch, seq = wire.parse_cursor(message.cursor)
                elif isinstance(message, wire.Delivery):
                    seq = message.n
                    if isinstance(message, wire.Answer):
                        self._note(message)
                found.append(message)
            if seq:
                self._session.receive(wire.Ack(wire.cursor_text(self._epoch, seq)))
        if carrier.closing is not None and not found:
            raise _closed(carrier.closing)
        return found

    async def wait(self) -> None:
        """Wait until something may have been delivered."""
        await self._carrier.wait()

    async def wait_for(self, timeout_s: float) -> bool:
        """Wait until something may have been delivered. Returns False when ``timeout_s`` was over first."""
        return await self._carrier.wait_for(timeout_s)

    def _note(self, message: wire.Answer) -> None:
        self.tid = message.tid
        if message.value is not UNSET:
            self.answer = bytes(message.value)
        elif message.patch is not UNSET:
            before = msgspec.json.decode(self.answer or b"null")
            change = msgspec.json.decode(bytes(message.patch))
            self.answer = msgspec.json.encode(patches.apply(before, change))


def _closed(message: wire.Closing | wire.Fault) -> HubbubError:
    if isinstance(message, wire.Fault):
        return error_of(wire.Failure(message.kind, message.code, message.message))
    text = (
        "the host is shutting down"
        if message.reason == "drain"
        else f"the session ended: {message.reason}"
    )
    return error_of(wire.Failure("closed", message.reason, text))


def steps(path: str) -> tuple[list[wire.Step], str]:
    """Return what ``room.recent`` means: the steps on the way, and the name at its end."""
    *way, name = path.split(".")
    return [wire.Step(step) for step in way], name


def _raw(value: Any) -> Raw:
    """Return ``value`` as the JSON that messages carry."""
    return Raw(msgspec.json.encode(value))
