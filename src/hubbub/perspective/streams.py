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

from hubbub.flow import Backplane, Published
from hubbub.kernel import HubbubError
from hubbub.perspective.actions import stand_in_of
from hubbub.perspective.declarations import Declaration
from hubbub.perspective.encoding import encode
from hubbub.perspective.failures import failure_of
from hubbub.perspective.seat import Seat
from hubbub.perspective.sending import Subscribe

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

        def sink(published: Published) -> None:
            data = published.encoded.get(session.form)
            if data is None:
                try:
                    data = published.encoded[session.form] = encode(published.item, session.form)
                except HubbubError:
                    session.gap(stream_id, "unsendable")  # never a silent hole (PE5)
                    log.exception("an item published on %r can't be sent", published.topic)
                    return
            if not session.item(stream_id, data):
                close_stream(seat, stream_id)

        seat.streams[stream_id] = backplane.subscribe(source.topic, sink)
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


class _TaskStream:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def close(self) -> None:
        self._task.cancel()
