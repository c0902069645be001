"""Avatars: what one logged-in user may do; minds: how the host calls the user; and the session as application code
sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ClassVar

import msgspec

from hubbub.kernel import ConfigurationError, NoTransactionError
from hubbub.perspective.notices import MindNotice, TimerNotice
from hubbub.space import context
from hubbub.space.persistent import Ephemeral

_PLAIN = ("connected", "disconnected", "allows")


class SessionEntry(msgspec.Struct, frozen=True):
    """One session of an avatar: its id, and whether it has a mind."""

    id: str
    mind: bool


class SessionList(Ephemeral, name="hubbub.SessionList"):
    """The companion of an avatar that lists its sessions. Kept by the host."""

    _hubbub_implicit = True

    def __init__(self) -> None:
        self.entries: tuple[SessionEntry, ...] = ()


class Avatar(Ephemeral):
    """What one logged-in user may do: declared commands, queries, streams and actions, and nothing else (PE1).

    An avatar lives in the host's memory and goes with its last session, unless the class also names `Persistent`
    among its bases: then it is stored, and one avatar can serve all of a user's sessions.

    Attributes:
        max_sessions: How many sessions may share one avatar; None for any number.
        on_limit: ``"refuse"`` turns the newcomer away, ``"replace"`` ends the oldest session.
    """

    max_sessions: ClassVar[int | None] = None
    on_limit: ClassVar[str] = "refuse"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_coroutines(cls, _PLAIN)
        if cls.on_limit not in ("refuse", "replace"):
            raise ConfigurationError(
                f"{cls.__qualname__}.on_limit is {cls.on_limit!r}; it can be 'refuse' or 'replace'"
            )

    def connected(self, session: LiveSession) -> None:
        """Called in a transaction when a session begins."""

    def disconnected(self, session: LiveSession) -> None:
        """Called in a transaction once when a session has ended: at log-out, or when its grace time is over."""

    @property
    def sessions(self) -> tuple[SessionEntry, ...]:
        """The avatar's present sessions, oldest first. Empty in a plain unit test."""
        box = _sessions_of(self)
        return box.entries if box is not None else ()

    @property
    def minds(self) -> Minds:
        """The minds of all of the avatar's sessions: ``self.minds.notify_time(t)`` calls each, after the commit."""
        return Minds(tuple(entry.id for entry in self.sessions if entry.mind))

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        """In an action: run ``fn(*args)`` as one command. ``fn`` may be a method of this avatar."""
        return await _action_host().run_in_action(fn, args)

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        """In an action: run ``fn(*args)`` as a query."""
        return await _action_host().read_in_action(fn, args)


def _sessions_of(avatar: Avatar) -> Any:
    stand_in = avatar.__dict__.get("_v_action_sessions")
    if stand_in is not None:
        return stand_in
    if avatar._p_jar is None:
        return None
    return avatar._p_jar.companion(avatar, SessionList)


class Minds:
    """Several users' minds at once. Calling a method sends it to each when the transaction is durable (PE3)."""

    def __init__(self, session_ids: tuple[str, ...]) -> None:
        self._session_ids = session_ids

    def __getattr__(self, method: str) -> Callable[..., None]:
        if method.startswith("_"):
            raise AttributeError(method)

        def send(*args: Any, **kwargs: Any) -> None:
            if not self._session_ids:
                return
            transaction = context.required(f"minds.{method}()")
            transaction.notices.append(MindNotice(self._session_ids, method, args, kwargs))

        return send

    async def call_all(
        self, method: str, *args: Any, timeout_s: float = 30.0, **kwargs: Any
    ) -> list[Any]:
        """In an action: call ``method`` of all at the same time; return the answers in the order of the minds.

        Where a mind does not answer, what `RemoteMind.call` would raise stands in the place of its answer.
        """
        _refuse_in_transaction()
        return await _action_host().call_minds(self._session_ids, method, args, kwargs, timeout_s)  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[RemoteMind]:
        return iter([RemoteMind(session_id) for session_id in self._session_ids])

    def __len__(self) -> int:
        return len(self._session_ids)


class RemoteMind:
    """One user's mind, as an action sees it."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id

    async def call(self, method: str, *args: Any, timeout_s: float = 30.0, **kwargs: Any) -> Any:
        """Call ``method`` of the mind and wait for its answer.

        Raises:
            RemoteError: If the user's side failed, or has no such method.
            BrokenError: If the session ended first.
            TimeoutError: After ``timeout_s`` seconds.
        """
        _refuse_in_transaction()
        return await _action_host().call_mind(self.session_id, method, args, kwargs, timeout_s)


class Timer(Ephemeral, name="hubbub.Timer"):
    """A repeated call that ends with its session. Changing ``period`` takes effect with the transaction's commit."""

    def __init__(self, session_id: str, period: float, owner: Any, method: str) -> None:
        self.session_id = session_id
        self._period = period
        self.owner = owner
        self.method = method
        self.active = True

    @property
    def period(self) -> float:
        """Seconds between two calls."""
        return self._period

    @period.setter
    def period(self, seconds: float) -> None:
        _check_period(seconds)
        self._period = seconds
        self._tell_host()

    def cancel(self) -> None:
        """End it. Idempotent."""
        self.active = False
        self._tell_host()

    def _tell_host(self) -> None:
        transaction = context.required("a timer")
        oid = transaction.connection.add(self)
        period = self._period if self.active else None
        transaction.notices.append(TimerNotice(self.session_id, oid, period))


class LiveSession:
    """A session as `Avatar.connected` and `Avatar.disconnected` get it."""

    __slots__ = ("has_mind", "id", "identity")

    def __init__(self, session_id: str, identity: Any, mind: bool) -> None:
        self.id = session_id
        self.identity = identity
        self.has_mind = mind

    def every(self, seconds: float, method: Callable[[], None]) -> Timer:
        """Call ``method``, a method of a shared object, every ``seconds`` in the serial order until the session ends.

        Raises:
            ConfigurationError: If ``method`` is not a method of a shared object.
        """
        _check_period(seconds)
        owner = getattr(method, "__self__", None)
        if owner is None or not hasattr(owner, "_p_oid"):
            raise ConfigurationError(
                "session.every(seconds, method) takes a method of an avatar or persistent object, "
                f"not {method!r}"
            )
        timer = Timer(self.id, seconds, owner, method.__name__)
        timer._tell_host()
        return timer


def _check_period(seconds: float) -> None:
    if not 0.001 <= seconds <= 366 * 86400:
        raise ConfigurationError(f"a period is 0.001 s to a year, not {seconds!r}")


class Mind:
    """The user's side of calls by the host: only public methods of a subclass can be called."""


_action: ContextVar[Any] = ContextVar("hubbub_action", default=None)


def _action_host() -> Any:
    host = _action.get()
    if host is None:
        raise NoTransactionError("this works only in an action, on the host")
    return host


def _refuse_in_transaction() -> None:
    if context.current() is not None:
        raise NoTransactionError(
            "a command can't wait for a mind; send with self.minds.method(...), or use an action"
        )


def refuse_coroutines(cls: type, names: tuple[str, ...]) -> None:
    """Raise ConfigurationError if a hook of ``cls`` that runs in the serial order is an ``async def``."""
    import inspect

    for name in names:
        if inspect.iscoroutinefunction(cls.__dict__.get(name)):
            raise ConfigurationError(
                f"{cls.__qualname__}.{name} is async; it runs in a transaction: make it a plain def"
            )


__all__ = [
    "Avatar",
    "LiveSession",
    "Mind",
    "Minds",
    "RemoteMind",
    "SessionEntry",
    "SessionList",
    "Timer",
]
