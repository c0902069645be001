"""Logging in: `login` and the client that it gives."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Self

from hubbub.kernel import ConfigurationError
from hubbub.mount.address import URL
from hubbub.mount.secured import Certificates
from hubbub.perspective.avatar import Mind
from hubbub.perspective.client.connection import ClientConnection, ClientState
from hubbub.perspective.client.mind import Invoke
from hubbub.perspective.client.proxies import Place, Reference, _Names
from hubbub.perspective.client.transport import Connector, StreamConnector
from hubbub.wire import session as wire


class Client(_Names):
    """One logged-in user. Every public name that is not listed here is a name of the avatar.

    If the connection is lost it comes back by itself for as long as the host keeps the session: calls wait, and none
    runs twice (PE4); watches go on with the newest answer; streams and the mind say where they miss something (PE6).

    For names of the avatar that this class has itself there are brackets: ``await me["close"]()``.
    """

    __slots__ = ("_hubbub_connection",)

    def __init__(self, connection: ClientConnection) -> None:
        self._hubbub_connection = connection
        self._hubbub_place = Place(connection)

    @property
    def state(self) -> ClientState:
        """Connecting, open, reconnecting or closed."""
        return self._hubbub_connection.state

    @property
    def identity(self) -> str:
        """Whom the host takes us for, such as ``password:ann``."""
        welcome = self._hubbub_connection.protocol.welcome
        return welcome.identity if welcome is not None else ""

    async def close(self) -> None:
        """Log out. Idempotent."""
        await self._hubbub_connection.close()

    async def wait_closed(self, timeout_s: float | None = None) -> bool:
        """Wait until the session has ended. Returns False if it has not after ``timeout_s`` seconds.

        Raises:
            HubbubError: If it ended because the connection was lost for good, or the host ended it.
        """
        return await self._hubbub_connection.wait_closed(timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<client of {self.identity or 'nobody yet'}, {self.state.value}>"


class Login:
    """A login that was not made yet: ``me = await login(...)`` or ``async with login(...) as me``."""

    def __init__(
        self,
        connector: Connector,
        hello: wire.Hello,
        mind: Mind | None,
        timeout_s: float,
        on_state: Callable[[ClientState], None] | None,
        on_gap: Callable[[str], None] | None,
        invoke: Invoke | None = None,
        reference: Callable[[ClientConnection, int], Any] = Reference,
    ) -> None:
        if mind is not None and not isinstance(mind, Mind):
            raise ConfigurationError(
                f"mind= takes an object of a subclass of hubbub.Mind, not {type(mind).__qualname__}"
            )
        self._connector = connector
        self._hello = hello
        self._mind = mind
        self._timeout_s = timeout_s
        self._on_state = on_state
        self._on_gap = on_gap
        self._invoke = invoke
        self._reference = reference
        self._client: Client | None = None

    def __await__(self) -> Generator[Any, None, Client]:
        return self._log_in().__await__()

    async def __aenter__(self) -> Client:
        self._client = await self._log_in()
        return self._client

    async def __aexit__(self, *exc: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def _log_in(self) -> Client:
        connection = ClientConnection(
            self._connector,
            self._hello,
            self._mind,
            self._reference,
            on_state=self._on_state,
            on_gap=self._on_gap,
            invoke=self._invoke,
        )
        await connection.open(self._timeout_s)
        return Client(connection)


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
    ca: URL | None = None,
    cert: URL | None = None,
    key: URL | None = None,
) -> Login:
    """Log in to a hub as one of its users: ``async with hubbub.login("hub://127.0.0.1:1975", name="ann") as me``.

    Args:
        url: ``hub://host:port/space`` (port 1975 without one), ``hubs://`` for TLS, ``hub+unix:///path``; or several.
        name: Whom to log in as.
        password: If the hub asks for one.
        checker: Which of the hub's checkers is meant; without it the one that fits the credentials.
        credentials: What else that checker wants to see, such as ``{"token": ...}``.
        mind: An object of a subclass of `Mind`: the host may call its public methods, plain or async.
        timeout_s: Seconds that the login may take.
        on_state: Called with each new `ClientState`.
        on_gap: Called with a reason (``restart``, ``lag``, ``slow``) when calls of the mind were missed.
        ca: A PEM file with the certificates that are trusted for ``hubs://``; those of the system without it.
        cert: A PEM file with a certificate of ours, for a host that asks for one.
        key: A PEM file with its private key, if that is not in the same file.

    Raises:
        ConfigurationError: If ``url`` or ``mind`` makes no sense.
        BrokenError: When it is awaited: nobody answers there.
        AccessError: When it is awaited: the hub does not let us in.
    """
    connector = StreamConnector(url, Certificates(ca, cert, key))
    hello = hello_of(name, password, checker, credentials, mind, connector.space)
    return Login(connector, hello, mind, timeout_s, on_state, on_gap)


def hello_of(
    name: str | None,
    password: str | None,
    checker: str,
    credentials: Mapping[str, str] | None,
    mind: Mind | None,
    space: str = "",
) -> wire.Hello:
    """Return the first message of a login."""
    given = dict(credentials or {})
    if name is not None:
        given["name"] = name
    if password is not None:
        given["password"] = password
    return wire.Hello(
        checker=checker, credentials=given, mind=mind is not None, space=space
    )
