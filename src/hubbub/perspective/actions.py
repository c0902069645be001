"""Actions: `async def` methods of an avatar that call the outside world, outside any transaction.

An action's ``self`` is a stand-in: it has the avatar's plain attributes as they were when the action began, and its
methods can be given to ``await self.run(...)``, which runs them as a command on the real avatar.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hubbub.kernel import HubbubError, Label
from hubbub.perspective import avatar as avatars
from hubbub.perspective.declarations import Declaration
from hubbub.perspective.encoding import encode
from hubbub.perspective.host import Outcome
from hubbub.perspective.seat import Seat
from hubbub.space.connection import Connection

if TYPE_CHECKING:
    from hubbub.perspective.desk import Desk

_PLAIN = (str, int, float, bytes, bool, type(None))


class ActionHost:
    """What ``self.run``, ``self.read`` and minds reach in an action."""

    def __init__(self, desk: Desk, seat: Seat) -> None:
        self._desk = desk
        self._seat = seat

    async def run_in_action(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run ``fn`` as one command of this user."""
        label = Label(
            self._seat.identity.id,
            self._seat.avatar_class.__qualname__,
            f"action:{getattr(fn, '__name__', 'fn')}",
        )
        return await self._desk.host.call(self._bound(fn, args), label, session=self._seat.face)

    async def read_in_action(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run ``fn`` as a query of this user."""
        return await self._desk.host.read(self._bound(fn, args), session=self._seat.face)

    def call_mind(
        self,
        session_id: str,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout_s: float | None,
    ) -> asyncio.Future[Any]:
        """Call a mind; returns what its answer comes in."""
        return self._desk.call_mind(session_id, method, args, kwargs, timeout_s)

    async def call_minds(
        self,
        session_ids: tuple[str, ...],
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout_s: float | None,
    ) -> list[Any]:
        """Call several minds and wait for all; what went wrong stands in the place of an answer."""
        calls = self._desk.call_minds(session_ids, method, args, kwargs, timeout_s)
        answers: list[Any] = []
        try:
            for call in calls:
                try:
                    answers.append(call if isinstance(call, HubbubError) else await call)
                except (HubbubError, TimeoutError) as error:
                    answers.append(error)
        except asyncio.CancelledError:
            for call in calls:
                if not isinstance(call, HubbubError):
                    call.cancel()
            raise
        return answers

    def _bound(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[Connection], Any]:
        owner = getattr(fn, "__self__", None)
        if isinstance(owner, avatars.Avatar) and "_v_stand_in" in owner.__dict__:
            function = fn.__func__  # type: ignore[attr-defined]
            return lambda connection: function(self._seat.avatar(connection), *args)
        return lambda connection: fn(*args)


async def run_action(
    desk: Desk,
    seat: Seat,
    declaration: Declaration,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    done: Callable[[Outcome], None],
) -> None:
    """Run an action and tell ``done`` how it ended."""
    options = declaration.options
    attempts = 1 + options.retries
    token = avatars._action.set(ActionHost(desk, seat))
    try:
        stand_in = await desk.host.read(
            lambda connection: stand_in_of(seat.avatar(connection)), session=seat.face
        )
        while True:
            attempts -= 1
            try:
                value = await asyncio.wait_for(
                    declaration.function(stand_in, *args, **kwargs), options.timeout_s
                )
                break
            except Exception:
                if attempts <= 0:
                    raise
        done(Outcome(encode(value, seat.session.form)))
    except asyncio.CancelledError as error:
        done(Outcome(error=TimeoutError(str(error))))
        raise
    except Exception as error:  # noqa: BLE001 - the application's code; told to the caller
        done(Outcome(error=error))
    finally:
        avatars._action.reset(token)


def stand_in_of(real: Any) -> Any:
    """Return what stands for a shared object outside of a transaction: its plain attributes as they are now."""
    real._p_activate()
    cls: Any = type(real)
    stand_in = cls.__new__(cls)
    for name, value in real.__dict__.items():
        if type(value) in _PLAIN:
            stand_in.__dict__[name] = value
    if isinstance(real, avatars.Avatar):
        box = avatars.SessionList()
        box.entries = real.sessions
        stand_in.__dict__["_v_action_sessions"] = box
        stand_in.__dict__["_v_stand_in"] = True
    return stand_in
