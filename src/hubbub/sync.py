"""The client for scripts and windows: as `hubbub.login`, without ``await``.

    with hubbub.sync.login("hub://127.0.0.1:1975", name="ann") as me:
        me.say("hello")
        for lines in me.room().recent.watch(limit=20):
            print(lines[-1])

Theory of operation: the asynchronous client runs on a loop in a thread of its own. A call here hands its work to that
loop and waits, as long as it takes; so in the thread of another running loop it blocks that loop, and `hubbub.login` is
the better choice there. Callbacks (of watches, streams, states and the mind) run in the client's thread, where they
can't call the hub and wait for it, or, with ``call_in=``, wherever that brings them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

from hubbub.mount.address import URL
from hubbub.mount.secured import Certificates
from hubbub.perspective.avatar import Mind
from hubbub.perspective.client.background import Background, CallIn
from hubbub.perspective.client.blocking import Changes, Member, Reference, Stream, Watch
from hubbub.perspective.client.connection import ClientConnection, ClientState
from hubbub.perspective.client.feeds import Change
from hubbub.perspective.client.login import Client as AsyncClient
from hubbub.perspective.client.login import Login, hello_of
from hubbub.perspective.client.transport import Connector, StreamConnector

__all__ = [
    "Change",
    "Changes",
    "Client",
    "ClientState",
    "Member",
    "Reference",
    "Stream",
    "Watch",
    "login",
]


class Client:
    """One logged-in user, without ``await``. See `hubbub.perspective.client.login.Client`."""

    def __init__(self, background: Background, client: AsyncClient) -> None:
        self._background = background
        self._client = client

    @property
    def state(self) -> ClientState:
        """Connecting, open, reconnecting or closed."""
        return self._client.state

    @property
    def identity(self) -> str:
        """Whom the host takes us for."""
        return self._client.identity

    def close(self) -> None:
        """Log out, and end the client's thread. Idempotent."""
        if self._background.loop.is_closed():
            return
        try:
            self._background.wait(self._client.close())
        finally:
            self._background.stop()

    def wait_closed(self, timeout_s: float | None = None) -> bool:
        """Wait until the session has ended. Returns False if it has not after ``timeout_s`` seconds.

        Raises:
            HubbubError: If it ended because the connection was lost for good, or the host ended it.
        """
        return self._background.wait(self._client.wait_closed(timeout_s))

    def __getattr__(self, name: str) -> Member:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Member:
        return Member(self._background, self._client._hubbub_place, name)

    __iter__ = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._client)


def login(
    url: URL | Sequence[URL],
    *,
    name: str | None = None,
    password: str | None = None,
    checker: str = "",
    credentials: Mapping[str, str] | None = None,
    mind: Mind | None = None,
    timeout_s: float = 10.0,
    on_state: Callable[[ClientState], None] | None = None,
    on_gap: Callable[[str], None] | None = None,
    call_in: CallIn | None = None,
    ca: URL | None = None,
    cert: URL | None = None,
    key: URL | None = None,
) -> Client:
    """Log in and return when that is done. Arguments as of `hubbub.login`, and one more.

    Args:
        url: ``hub://host:port/space``, ``hubs://`` for TLS, or ``hub+unix:///path``; or several.
        name: Whom to log in as.
        password: If the hub asks for one.
        checker: Which of the hub's checkers is meant.
        credentials: What else that checker wants to see.
        mind: What the host may call here.
        timeout_s: Seconds that the login may take.
        on_state: Called with each new `ClientState`.
        on_gap: Called with a reason when calls of the mind were missed.
        call_in: Takes a function without arguments and calls it soon in another thread, where callbacks then run:
            ``lambda fn: window.after(0, fn)`` for Tk.
        ca: A PEM file with the certificates that are trusted for ``hubs://``; those of the system without it.
        cert: A PEM file with a certificate of ours, for a host that asks for one.
        key: A PEM file with its private key, if that is not in the same file.

    Raises:
        ConfigurationError: If ``url`` or ``mind`` makes no sense.
        BrokenError: If nobody answers there.
        AccessError: If the hub does not let us in.
    """
    connector = StreamConnector(url, Certificates(ca, cert, key))
    hello = hello_of(name, password, checker, credentials, mind, connector.space)
    return _log_in(connector, hello, mind, timeout_s, on_state, on_gap, call_in)


def _log_in(
    connector: Connector,
    hello: Any,
    mind: Mind | None,
    timeout_s: float,
    on_state: Callable[[ClientState], None] | None,
    on_gap: Callable[[str], None] | None,
    call_in: CallIn | None,
) -> Client:
    background = Background(call_in)

    def elsewhere(callback: Callable[[Any], None] | None) -> Callable[[Any], None] | None:
        if callback is None or call_in is None:
            return callback
        return lambda value: background.there(lambda: callback(value))

    def reference(connection: ClientConnection, handle: int) -> Reference:
        return Reference(background, connection, handle)

    async def log_in() -> AsyncClient:
        return await pending

    try:
        pending: Awaitable[AsyncClient] = Login(
            connector,
            hello,
            mind,
            timeout_s,
            elsewhere(on_state),
            elsewhere(on_gap),
            background.invoke if call_in is not None else None,
            reference,
        )
        return Client(background, background.wait(log_in()))
    except BaseException:
        background.stop()
        raise
