"""What the user holds: the client itself, calls that were not made yet, references, watches and streams.

A name after a dot is something declared on the host's side; calling it makes a `Request`, which does nothing yet:

    await me.say("hello")               calls the command
    await me.room()                     calls the query; a persistent object comes back as a `Reference`
    me.room().recent.watch(limit=20)    goes on from what the query would hand out, in one message
    me.lines.stream()                   follows a stream
    me["close"]("x")                    the same as a dot, for names that the client itself has
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import msgspec

from hubbub.kernel import InvalidArgumentsError, NotAllowedError
from hubbub.perspective.client.connection import ClientConnection
from hubbub.perspective.client.feeds import AnswerFeed, Change, ItemFeed
from hubbub.wire import session as wire

Steps = tuple[wire.Step, ...]
Packed = tuple["msgspec.Raw | None", "msgspec.Raw | None"]
"""Arguments by position and by name; None where there are none."""


class Place:
    """Where something is called: a reference's number or the avatar, and the steps from there.

    ``origin`` are the steps by which a reference was found: they still hold when its number does not any more, because
    the host has started again.
    """

    __slots__ = ("connection", "origin", "ref", "steps")

    def __init__(
        self,
        connection: ClientConnection,
        ref: int = 0,
        steps: Steps = (),
        origin: Steps | None = None,
    ) -> None:
        self.connection = connection
        self.ref = ref
        self.steps = steps
        self.origin = origin

    def step(self, name: str, packed: Packed) -> Place:
        """Return the place one step further."""
        step = _filled(wire.Step(name), packed)
        origin = None if self.origin is None else (*self.origin, step)
        return Place(self.connection, self.ref, (*self.steps, step), origin)

    def by_origin(self) -> Place | None:
        """Return the same place without a reference's number, if its way is known."""
        return None if self.origin is None else Place(self.connection, 0, self.origin)

    async def call(self, name: str, packed: Packed) -> Any:
        """Call ``name`` here and return its value. A reference knows then how it was found."""
        try:
            value = await self._call(name, packed)
        except NotAllowedError as error:
            other = self.by_origin()
            if error.code != "unknown_reference" or other is None:
                raise
            try:
                value = await other._call(name, packed)
            except NotAllowedError as second:
                # A command had handed it out: that is no way which can be gone again.
                raise (error if second.code == "undeclared" else second) from None
        if isinstance(value, Reference):
            known = self.origin if self.ref else self.steps
            if known is not None:
                value._hubbub_place.origin = (*known, _filled(wire.Step(name), packed))
        return value

    async def _call(self, name: str, packed: Packed) -> Any:
        message = _filled(wire.Call(0, name, list(self.steps), self.ref), packed)
        return await self.connection.call(message)

    def follow(self, name: str, packed: Packed, feed: AnswerFeed | ItemFeed) -> None:
        """Begin a watch or stream of ``name`` here."""
        message = _filled(wire.Watch(0, name, list(self.steps), self.ref), packed)
        other = self.by_origin()
        if other is not None:
            feed.fallback = lambda: other.follow(name, packed, feed)
        self.connection.follow(message, feed)


class Member:
    """Something declared on the host's side, by its name."""

    __slots__ = ("_name", "_place")

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Request:
        return Request(self._place, self._name, packed(self._name, args, kwargs))

    def watch(self, *args: Any, **kwargs: Any) -> Watch:
        """Follow the answers of a query or view (LV1): `async for answer in ...`. It begins at once."""
        feed = AnswerFeed()
        self._place.follow(self._name, packed(self._name, args, kwargs), feed)
        return Watch(self._place.connection, feed)

    def changes(self, *args: Any, **kwargs: Any) -> Changes:
        """As `watch`, and say with each answer what has changed in it: `async for change in ...`."""
        feed = AnswerFeed()
        self._place.follow(self._name, packed(self._name, args, kwargs), feed)
        return Changes(self._place.connection, feed)

    def stream(
        self, *args: Any, on_gap: Callable[[str], None] | None = None, **kwargs: Any
    ) -> Stream:
        """Follow a stream: `async for item in ...`. It begins at once.

        Args:
            *args: The stream's own.
            on_gap: Called with a reason when the reader comes to where items are missing.
            **kwargs: The stream's own.
        """
        feed = ItemFeed(on_gap)
        self._place.follow(self._name, packed(self._name, args, kwargs), feed)
        return Stream(self._place.connection, feed)

    def __repr__(self) -> str:
        return f"<{self._name} of a hub>"


class _Names:
    """Public attributes, and anything in brackets, are names on the host's side."""

    __slots__ = ("_hubbub_place",)

    _hubbub_place: Place

    def _hubbub_on(self) -> Place:
        return self._hubbub_place

    def __getattr__(self, name: str) -> Member:
        if name.startswith("_"):
            raise AttributeError(name)
        return Member(self._hubbub_on(), name)

    def __getitem__(self, name: str) -> Member:
        return Member(self._hubbub_on(), name)

    __iter__ = None  # brackets alone would make Python think that this can be iterated


class Request(_Names):
    """A call that was not made yet. ``await`` makes it; a further name goes on from what it would hand out."""

    __slots__ = ("_hubbub_name", "_hubbub_packed", "_hubbub_used")

    def __init__(self, place: Place, name: str, packed: Packed) -> None:
        self._hubbub_place = place
        self._hubbub_name = name
        self._hubbub_packed = packed
        self._hubbub_used = False

    def __await__(self) -> Generator[Any, None, Any]:
        self._hubbub_used = True
        place = self._hubbub_place
        return place.call(self._hubbub_name, self._hubbub_packed).__await__()

    def _hubbub_on(self) -> Place:
        self._hubbub_used = True
        return self._hubbub_place.step(self._hubbub_name, self._hubbub_packed)

    def __del__(self) -> None:
        if not self._hubbub_used:
            warnings.warn(
                f"{self._hubbub_name}(...) was neither awaited nor gone on from: it was not called",
                RuntimeWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return f"<call of {self._hubbub_name}, not made yet>"


class Reference(_Names):
    """A shared object that the host has handed out: its commands can be called, its views be watched.

    Two are equal if they are the same object of the same session. After a restart of the host the way by which it was
    found is gone again, if that was by queries; else what is called on it raises `NotAllowedError`, code
    ``unknown_reference``.
    """

    __slots__ = ()

    def __init__(self, connection: ClientConnection, handle: int) -> None:
        self._hubbub_place = Place(connection, handle)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reference):
            return NotImplemented
        mine, others = self._hubbub_place, other._hubbub_place
        return mine.ref == others.ref and mine.connection is others.connection

    def __hash__(self) -> int:
        return hash((self._hubbub_place.ref, id(self._hubbub_place.connection)))

    def __repr__(self) -> str:
        return f"<reference {self._hubbub_place.ref}>"


class _Following:
    """What watches and streams have in common: an async iterator that can be closed."""

    def __init__(self, connection: ClientConnection, feed: AnswerFeed | ItemFeed) -> None:
        self._connection = connection
        self._feed = feed

    def close(self) -> None:
        """End it; a reader that waits stops. Idempotent."""
        self._connection.unfollow(self._feed)
        self._feed.close()

    async def aclose(self) -> None:
        """The same, for `contextlib.aclosing`."""
        self.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def __aiter__(self) -> Any:
        return self

    def __del__(self) -> None:
        # Whoever leaves an `async for` early has no name for it any more.
        self._connection.unfollow_threadsafe(self._feed)


class Watch(_Following):
    """The answers of a query or view, the newest first; older ones that were not taken are passed over.

    Answers never go back. They are yours: changing one changes nothing else, but what is nested in it is shared with
    the answers that follow.
    """

    _feed: AnswerFeed

    async def __anext__(self) -> Any:
        return (await self._feed.next()).value


class Changes(_Following):
    """As `Watch`, but each step is a `Change`: what is new since the step before."""

    _feed: AnswerFeed

    async def __anext__(self) -> Change:
        return await self._feed.next()


class Stream(_Following):
    """The items of a stream, in order. Where some are missing, ``gaps`` grows and ``on_gap`` is called."""

    _feed: ItemFeed

    @property
    def gaps(self) -> int:
        """How many gaps the reader has passed."""
        return self._feed.gaps

    async def __anext__(self) -> Any:
        return await self._feed.next()


_M = TypeVar("_M", wire.Call, wire.Watch, wire.Step)


def packed(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Packed:
    """Return the arguments of ``name`` as they are sent.

    Raises:
        InvalidArgumentsError: If one can't be.
    """
    return _pack(name, args), _pack(name, kwargs)


def _pack(name: str, values: Any) -> msgspec.Raw | None:
    if not values:
        return None
    try:
        return msgspec.Raw(msgspec.msgpack.encode(values))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgumentsError(f"{name}: an argument can't be sent: {error}") from None


def _filled(message: _M, packed: Packed) -> _M:
    # What is left at its default is left out of the message; an empty Raw of our own would be garbage in it.
    if packed[0] is not None:
        message.args = packed[0]
    if packed[1] is not None:
        message.kwargs = packed[1]
    return message
