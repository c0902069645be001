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

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any, Self, TypeVar

from hubbub.kernel import HubbubError, LocalProtocolError
from hubbub.perspective.avatar import Mind
from hubbub.perspective.client import proxies
from hubbub.perspective.client.connection import ClientConnection, ClientState
from hubbub.perspective.client.feeds import AnswerFeed, Change, ItemFeed
from hubbub.perspective.client.login import Client as AsyncClient
from hubbub.perspective.client.login import Login, hello_of
from hubbub.perspective.client.transport import Connector, StreamConnector

log = logging.getLogger("hubbub.client")

T = TypeVar("T")
CallIn = Callable[[Callable[[], None]], Any]


class _Background:
    """A loop in a thread of its own."""

    def __init__(self, call_in: CallIn | None) -> None:
        self.call_in = call_in
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="hubbub-client", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the loop's own thread."""
        return threading.current_thread() is self._thread

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the loop do ``work`` and wait for it. Interrupting cancels it."""
        if self.is_here:
            work.close()
            raise LocalProtocolError(
                "a callback can't wait for the hub in the client's own thread, which has to receive the answer: "
                "use call_in= to run callbacks elsewhere, or do it after the callback has returned"
            )
        if self.loop.is_closed():
            work.close()
            raise LocalProtocolError("this client is closed; log in again")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def there(self, fn: Callable[[], None]) -> None:
        """Run a callback where callbacks belong. Called in the loop's thread."""
        if self.call_in is None:
            fn()
        else:
            self.call_in(fn)

    async def invoke(self, run: Callable[[], Any]) -> Any:
        """Run a call of the mind where callbacks belong, and wait for what it returns."""
        future: asyncio.Future[Any] = self.loop.create_future()

        def done(value: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        def there() -> None:
            value, problem = None, None
            try:
                value = run()
            except Exception as error:  # noqa: BLE001 - goes to whoever awaits it
                problem = error
            if not self.loop.is_closed():
                self.loop.call_soon_threadsafe(done, value, problem)

        self.there(there)
        value = await future
        return await value if inspect.isawaitable(value) else value

    def stop(self) -> None:
        """End the loop and its thread. Idempotent."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            if not self.is_here:
                self._thread.join()


class Member:
    """Something declared on the host's side, by its name: call it, watch it, or follow it as a stream."""

    def __init__(self, background: _Background, place: proxies.Place, name: str) -> None:
        self._background = background
        self._place = place
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        packed = proxies.packed(self._name, args, kwargs)
        return self._background.wait(self._place.call(self._name, packed))

    def watch(self, *args: Any, **kwargs: Any) -> Watch:
        """Follow the answers of a query or view: in a ``for`` loop, or, if the first argument is a function, by that.

        Answers that come faster than they are taken are passed over; they never go back.
        """
        callback, args = _callback(args)
        return Watch(self._background, self._follow(AnswerFeed(), args, kwargs), callback)

    def changes(self, *args: Any, **kwargs: Any) -> Changes:
        """As `watch`, with a `Change` for each answer: ``value``, and what is ``set`` and ``deleted`` in it."""
        callback, args = _callback(args)
        return Changes(self._background, self._follow(AnswerFeed(), args, kwargs), callback)

    def stream(
        self, *args: Any, on_gap: Callable[[str], None] | None = None, **kwargs: Any
    ) -> Stream:
        """Follow a stream: in a ``for`` loop, or, if the first argument is a function, by that.

        Args:
            *args: The function, if any, and the stream's own.
            on_gap: Called with a reason where items are missing.
            **kwargs: The stream's own.
        """
        callback, args = _callback(args)
        return Stream(self._background, self._follow(ItemFeed(on_gap), args, kwargs), callback)

    def _follow(self, feed: _F, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _F:
        packed = proxies.packed(self._name, args, kwargs)

        async def begin() -> None:
            self._place.follow(self._name, packed, feed)

        self._background.wait(begin())
        return feed


_F = TypeVar("_F", AnswerFeed, ItemFeed)


def _callback(args: tuple[Any, ...]) -> tuple[Callable[[Any], Any] | None, tuple[Any, ...]]:
    if args and callable(args[0]):
        return args[0], args[1:]
    return None, args


class _Following:
    """A watch or stream: an iterator, or the handle of one that a callback takes.

    Attributes:
        error: Why one that a callback takes has ended, if it has and that was not asked for.
    """

    def __init__(
        self,
        background: _Background,
        feed: AnswerFeed | ItemFeed,
        callback: Callable[[Any], Any] | None,
    ) -> None:
        self.error: HubbubError | None = None
        self._background = background
        self._feed = feed
        self._callback = callback
        self._scheduled = False
        self._closed = False
        if callback is not None:
            background.wait(self._listen())

    def close(self) -> None:
        """End it. Idempotent. A callback that has begun ends as it would."""
        if self._closed:
            return
        self._closed = True
        if not self._background.loop.is_closed():
            self._background.loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        subscription = self._feed.subscription
        if subscription is not None:
            self._connection.unfollow(self._feed)
        self._feed.close()

    @property
    def _connection(self) -> ClientConnection:
        connection = self._feed.connection
        assert connection is not None
        return connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._callback is not None:
            raise LocalProtocolError("this one is taken by its callback")
        try:
            return self._shown(self._background.wait(self._next()))
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self) -> Any:
        return await self._feed.next()

    def _shown(self, taken: Any) -> Any:
        return taken

    # --- for a callback -------------------------------------------------------------------------

    async def _listen(self) -> None:
        self._feed.on_news = self._news
        if self._feed.has_news:
            self._news()

    def _news(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._background.there(self._give)

    def _give(self) -> None:
        """Hand what there is to the callback; in the thread where callbacks belong."""
        try:
            if self._background.is_here:
                taken = self._take()
            else:
                taken = self._background.wait(self._take_in_loop())
        except (LocalProtocolError, asyncio.CancelledError):
            return  # closed meanwhile
        for one in taken:
            if self._closed or self._callback is None:
                return
            try:
                self._callback(one)
            except Exception:
                log.exception("a callback of a watch or stream failed")

    async def _take_in_loop(self) -> list[Any]:
        return self._take()

    def _take(self) -> list[Any]:
        self._scheduled = False
        taken: list[Any] = []
        try:
            while self._feed.has_news:
                one = self._feed.take()
                if isinstance(one, Change):
                    taken = [self._shown(one)]
                else:
                    taken += one
        except StopAsyncIteration:
            self._feed.on_news = None
        except HubbubError as error:
            self._feed.on_news = None
            self.error = error
            log.error("a watch or stream has ended: %s", error)
        return taken


class Watch(_Following):
    """The newest answers of a query or view."""

    def _shown(self, taken: Change) -> Any:
        return taken.value


class Changes(_Following):
    """As `Watch`, with what has changed in each."""


class Stream(_Following):
    """The items of a stream; ``gaps`` counts where some are missing."""

    _feed: ItemFeed

    @property
    def gaps(self) -> int:
        """How many gaps were passed."""
        return self._feed.gaps


class Reference(proxies.Reference):
    """A shared object that the host has handed out."""

    __slots__ = ("_hubbub_background",)

    def __init__(self, background: _Background, connection: ClientConnection, handle: int) -> None:
        super().__init__(connection, handle)
        self._hubbub_background = background

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        return Member(self._hubbub_background, self._hubbub_place, name)


class Client:
    """One logged-in user, without ``await``. See `hubbub.perspective.client.login.Client`."""

    def __init__(self, background: _Background, client: AsyncClient) -> None:
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
    url: str,
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
) -> Client:
    """Log in and return when that is done. Arguments as of `hubbub.login`, and one more.

    Args:
        url: ``hub://host:port``, ``hubs://host:port`` or ``hub+unix:///path``.
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

    Raises:
        ConfigurationError: If ``url`` or ``mind`` makes no sense.
        BrokenError: If nobody answers there.
        AccessError: If the hub does not let us in.
    """
    hello = hello_of(name, password, checker, credentials, mind)
    return _log_in(StreamConnector(url), hello, mind, timeout_s, on_state, on_gap, call_in)


def _log_in(
    connector: Connector,
    hello: Any,
    mind: Mind | None,
    timeout_s: float,
    on_state: Callable[[ClientState], None] | None,
    on_gap: Callable[[str], None] | None,
    call_in: CallIn | None,
) -> Client:
    background = _Background(call_in)

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
