"""A watch or stream of a plain HTTP client as server-sent events."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.types import Send

from hubbub.gateway.carriers import Heartbeat
from hubbub.gateway.event_stream import BEAT, event
from hubbub.gateway.plain_session import PlainSession
from hubbub.kernel import HubbubError
from hubbub.wire import session as wire


class Followed:
    """Write what a watch brings, until it ends.

    Answers are whole; each event's id is its tid. Items of a stream have none. ``gap`` says that items are missing,
    ``end`` that there will be no more, ``error`` why.

    Args:
        session: Watches one thing.
        first: What it has brought already.
        heartbeat_s: Seconds between two signs of life.
    """

    def __init__(
        self, session: PlainSession, first: list[wire.ToClient], heartbeat_s: float
    ) -> None:
        self._session = session
        self._first = first
        self._heartbeat_s = heartbeat_s

    async def write(self, send: Send) -> None:
        """Write events until the end."""
        beating = False

        def beat() -> None:
            nonlocal beating
            beating = True
            self._session.wake()

        async def write(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        # A reader of events has no way to show that it lives; the connection tells when it does not.
        heartbeat = Heartbeat(self._heartbeat_s, beat, None)
        messages = self._first
        try:
            await write(BEAT)
            while True:
                data, ended = self._events(messages)
                if data:
                    await write(data)
                    heartbeat.sent()
                if ended:
                    return
                messages = self._session.taken()
                if messages:
                    continue
                if beating:
                    beating = False
                    await write(BEAT)
                await self._session.wait()
        except HubbubError as error:
            await write(_error(wire.Failure("closed", error.code, str(error))))
        finally:
            heartbeat.stop()

    def _events(self, messages: list[wire.ToClient]) -> tuple[bytes, bool]:
        parts: list[bytes] = []
        answered = False
        for message in messages:
            if isinstance(message, wire.Answer):
                answered = True
            elif isinstance(message, wire.Item):
                parts.append(event(bytes(message.value)))
            elif isinstance(message, wire.Gap):
                parts.append(event(_json(message.reason), name="gap"))
            elif isinstance(message, wire.End):
                parts.append(
                    event(b"null", name="end") if message.error is None else _error(message.error)
                )
                return b"".join(parts), True
        if answered and self._session.answer is not None:
            parts.append(event(self._session.answer, id_text=self._session.tid))
        return b"".join(parts), False


def _error(failure: wire.Failure) -> bytes:
    return event(_json(failure), name="error")


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
