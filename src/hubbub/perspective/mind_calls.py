"""Calls of users' minds that wait for an answer.

A call is a future and a place among the deadlines; it is no task and has no timer of its own. Whoever gives up waiting
only lets go of the future: its place is cleared by the answer, by the deadline, or with the seat.
"""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import Any

from hubbub.kernel import BrokenError, HubbubError, RemoteProtocolError
from hubbub.perspective.deadlines import Deadlines
from hubbub.perspective.encoding import encode
from hubbub.perspective.failures import error_of
from hubbub.perspective.seat import Seat
from hubbub.wire import session as wire

_NO_ARGS = {"msgpack": b"\x90", "json": b"[]"}
_NO_KWARGS = {"msgpack": b"\x80", "json": b"{}"}


class MindCalls:
    """Call minds and take their answers. Belongs to the loop."""

    def __init__(self) -> None:
        self._deadlines: Deadlines[tuple[Seat, int]] = Deadlines(self._is_late)

    def call(
        self,
        seat: Seat | None,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout_s: float | None,
    ) -> asyncio.Future[Any]:
        """Call the mind of ``seat``; returns what its answer comes in (see `RemoteMind.call`).

        Raises:
            BrokenError: If there is no such seat any more.
            UnstorableError: If an argument can't be sent.
            LimitError: If too many calls wait for this mind.
        """
        if seat is None:
            raise BrokenError("the session has ended")
        return self._called(seat, method, *_packed(args, kwargs, seat.session.form), timeout_s)

    def call_all(
        self,
        seats: list[Seat | None],
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout_s: float | None,
    ) -> list[asyncio.Future[Any] | HubbubError]:
        """Call the minds of ``seats``, with arguments that are encoded once; what `call` raises stands in its place."""
        packed: dict[str, tuple[bytes, bytes]] = {}
        calls: list[asyncio.Future[Any] | HubbubError] = []
        for seat in seats:
            try:
                if seat is None:
                    raise BrokenError("the session has ended")
                form = seat.session.form
                if form not in packed:
                    packed[form] = _packed(args, kwargs, form)
                calls.append(self._called(seat, method, *packed[form], timeout_s))
            except HubbubError as error:
                calls.append(error)
        return calls

    def _called(
        self, seat: Seat, method: str, args: bytes, kwargs: bytes, timeout_s: float | None
    ) -> asyncio.Future[Any]:
        call_id = seat.next_mind_call
        seat.next_mind_call += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        deadline = 0
        if timeout_s is not None and isfinite(timeout_s):
            deadline = self._deadlines.add((seat, call_id), timeout_s)
        seat.mind_calls[call_id] = future, deadline
        try:
            seat.session.mind_call(call_id, method, args, kwargs)
        except BaseException:
            self._taken(seat, call_id)
            raise
        return future

    def answered(self, seat: Seat, call_id: int, value: Any, failure: wire.Failure | None) -> None:
        """Take an answer in; one that nobody waits for is dropped."""
        future = self._taken(seat, call_id)
        if future is None:
            return
        if failure is not None:
            future.set_exception(error_of(failure))
            return
        try:
            future.set_result(wire.plain_value(value, seat.session.form))
        except RemoteProtocolError as error:
            future.set_exception(error)

    def lose(self, seat: Seat) -> None:
        """Tell everybody who waits for the mind of ``seat`` that its session has ended."""
        for call_id in list(seat.mind_calls):
            future = self._taken(seat, call_id)
            if future is not None:
                future.set_exception(BrokenError("the session has ended"))

    def _taken(self, seat: Seat, call_id: int) -> asyncio.Future[Any] | None:
        """Clear the place of a call, and return its future if somebody waits."""
        waiting = seat.mind_calls.pop(call_id, None)
        if waiting is None:
            return None
        future, deadline = waiting
        if deadline:
            self._deadlines.remove((seat, call_id), deadline)
        return None if future.done() else future

    def _is_late(self, call: tuple[Seat, int]) -> None:
        future = self._taken(*call)
        if future is not None:
            future.set_exception(TimeoutError("the user's mind did not answer in time"))


def _packed(args: tuple[Any, ...], kwargs: dict[str, Any], form: str) -> tuple[bytes, bytes]:
    """Return arguments by position and by name as bytes."""
    by_position = encode(list(args), form) if args else _NO_ARGS[form]
    return by_position, encode(kwargs, form) if kwargs else _NO_KWARGS[form]
