"""A user's streams: what a ``@stream`` returned, item by item into the session.

`hubbub.subscribe` is wired to the backplane without a task. Any other async iterator gets a task of its own. An async
generator runs outside of any transaction: like an action's, its ``self`` is a stand-in with the plain attributes.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator
from typing import Any

from msgspec import Raw

from hubbub.flow import Backplane, Published, Subscription
from hubbub.kernel import HubbubError
from hubbub.perspective.actions import stand_in_of
from hubbub.perspective.declarations import Declaration
from hubbub.perspective.encoding import encode
from hubbub.perspective.failures import failure_of
from hubbub.perspective.seat import Seat
from hubbub.perspective.sending import Subscribe
from hubbub.wire import session as wire
from hubbub.wire.deliveries import Run, encoded

log = logging.getLogger("hubbub.streams")


def source_of(declaration: Declaration, obj: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Return what the declared stream of ``obj`` returns. Serial thread, in a query."""
    if inspect.isasyncgenfunction(declaration.function):
        obj = stand_in_of(obj)
    return declaration.function(obj, *args, **kwargs)


def open_stream(
    backplane: Backplane, seat: Seat, stream_id: int, declaration: Declaration, source: Any
) -> None:
    """Let the items of ``source`` flow into stream ``stream_id`` until either end closes.

    Args:
        backplane: Where `hubbub.publish` sends.
        seat: Whose stream.
        stream_id: Which; does nothing if the user has left it already.
        declaration: Its bound and policy.
        source: What the declared method returned.
    """
    session = seat.session
    if not session.is_open(stream_id):
        return
    options = declaration.options
    session.open_stream(stream_id, options.items, options.limit_bytes, options.when_full)
    if isinstance(source, Subscribe):
        stream = _TopicStream(seat, stream_id)
        stream.subscription = backplane.subscribe(source.topic, stream.sink)
        seat.streams[stream_id] = stream
        return
    task = asyncio.get_running_loop().create_task(_pump(seat, stream_id, source))
    seat.streams[stream_id] = _TaskStream(task)


def close_stream(seat: Seat, stream_id: int) -> bool:
    """Stop the source of a stream. Return whether there was one."""
    stream = seat.streams.pop(stream_id, None)
    if stream is None:
        return False
    stream.close()
    return True


async def _pump(seat: Seat, stream_id: int, source: AsyncIterator[Any]) -> None:
    session = seat.session
    failure = None
    try:
        async for item in source:
            if not session.item(stream_id, encode(item, session.form)):
                break
    except Exception as error:  # noqa: BLE001 - the application's code; told to the caller
        failure = failure_of(error, f"stream {stream_id} of {seat.identity.id}")
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()
    seat.streams.pop(stream_id, None)
    session.end(stream_id, failure)


class _TopicStream:
    """Passes on what is published on a topic."""

    __slots__ = ("_seat", "_session", "_stream_id", "subscription")

    subscription: Subscription

    def __init__(self, seat: Seat, stream_id: int) -> None:
        self._seat = seat
        self._session = seat.session
        self._stream_id = stream_id

    def sink(self, published: Published) -> None:
        session, stream_id = self._session, self._stream_id
        key = (session.form, stream_id)
        run = published.encoded.get(key)
        if run is None:
            run = published.encoded[key] = _run_of(published, session.form, stream_id)
        if not session.items(stream_id, run):
            close_stream(self._seat, stream_id)

    def close(self) -> None:
        self.subscription.close()


def _run_of(published: Published, form: str, stream_id: int) -> Run:
    """Return what was published as deliveries: each value is encoded once for each form, for all streams."""
    values = published.encoded.get(form)
    if values is None:
        values = published.encoded[form] = [_value_of(published, i, form) for i in published.items]
    return Run(
        [
            encoded(wire.Gap(0, stream_id, "unsendable"), form, kept=True)
            if value is None  # never a silent hole (PE5)
            else encoded(wire.Item(0, stream_id, Raw(value)), form)
            for value in values
        ]
    )


def _value_of(published: Published, item: Any, form: str) -> bytes | None:
    try:
        return encode(item, form)
    except HubbubError:
        log.exception("an item published on %r can't be sent", published.topic)
        return None


class _TaskStream:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def close(self) -> None:
        self._task.cancel()
