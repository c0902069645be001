"""What the user of `hubbub.sync` holds: names to call, references, watches and streams, all without ``await``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

from hubbub.kernel import HubbubError, LocalProtocolError
from hubbub.perspective.client import proxies
from hubbub.perspective.client.background import Background
from hubbub.perspective.client.connection import ClientConnection
from hubbub.perspective.client.feeds import AnswerFeed, Change, ItemFeed

log = logging.getLogger("hubbub.client")


class Member:
    """Something declared on the host's side, by its name: call it, watch it, or follow it as a stream."""

    def __init__(self, background: Background, place: proxies.Place, name: str) -> None:
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
        background: Background,
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

    def __init__(self, background: Background, connection: ClientConnection, handle: int) -> None:
        super().__init__(connection, handle)
        self._hubbub_background = background

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        return Member(self._hubbub_background, self._hubbub_place, name)
