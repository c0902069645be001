"""What a connection speaks: items on one side, bytes on the other (sans-I/O).

`Plain` is a framing and nothing else. `hubbub.flow.net.acked` numbers what it sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hubbub.flow.net.framing import Framing
from hubbub.flow.tracking import Token, Tracked, let_go
from hubbub.kernel import FramingError

Encode = Callable[[Any], bytes]


class Wire(Protocol):
    """What one connection speaks. It is told what comes and what is to be sent, and does no I/O."""

    heartbeat_s: float | None
    """How often a sign of life is due, or None if this knows none."""

    hello_s: float | None
    """How long the other side may take to say who it is, or None if this asks for nothing."""

    @property
    def is_met(self) -> bool:
        """Whether the other side has said who it is, where it has to."""
        ...

    at_end: bool
    """Whether the other side has said, in its own words, that it sends nothing more."""

    def opened(self, news: Callable[[], None]) -> bytes:
        """Return what is said first. ``news`` is called when `reply` has something to say, later on."""
        ...

    def room(self) -> bool:
        """Whether items may be sent now. What changes that is `feed`."""
        ...

    def pack(self, items: Sequence[Any], limit_bytes: int) -> tuple[bytes, int]:
        """Return the bytes of the first of ``items``, and of how many: those that begin before ``limit_bytes``.

        Raises:
            FramingError: If the first item can't be sent.
        """
        ...

    def wrote(self, items: Sequence[Any]) -> None:
        """``items`` were given to the system."""
        ...

    def settled(self) -> bool:
        """Whether nothing is owed to what was sent. What changes that is `feed`."""
        ...

    def feed(self, data: bytes) -> list[Any]:
        """Return the items that ``data`` completes.

        Raises:
            ProtocolError: If what came is not what this speaks; a `FramingError` has the items before.
        """
        ...

    def end(self) -> list[Any]:
        """Return what the orderly end of the stream completes.

        Raises:
            FramingError: If it ended in the middle of an item.
        """
        ...

    def reply(self) -> bytes:
        """Return what has to be said in answer to what came; perhaps nothing."""
        ...

    def alive(self) -> bytes:
        """Return a sign of life."""
        ...

    def farewell(self) -> bytes:
        """Return what says that nothing more is sent; nothing where the end of the stream says it."""
        ...

    def refusal(self, reason: str) -> bytes:
        """Return what says that this connection is not wanted; perhaps nothing."""
        ...

    def deafen(self) -> None:
        """What still comes is for nobody: give nothing, and complain of nothing."""
        ...

    def lost(self) -> None:
        """The connection is gone."""
        ...

    def abandon(self) -> None:
        """What was given to has ended: what is not handled will not be."""
        ...

    def when_handled(self, call: Callable[[], None]) -> None:
        """Nothing more is given: call ``call`` when all that was has been handled, as far as this knows."""
        ...


class Plain:
    """A framing, and nothing else.

    Args:
        encode: Makes bytes of an item.
        framing: Makes items of bytes; this connection's own.
    """

    __slots__ = ("_deaf", "_encode", "_framing")

    heartbeat_s: float | None = None
    hello_s: float | None = None
    is_met = True
    at_end = False

    def __init__(self, encode: Encode, framing: Framing) -> None:
        self._encode = encode
        self._framing = framing
        self._deaf = False

    def opened(self, news: Callable[[], None]) -> bytes:
        return b""

    def room(self) -> bool:
        return True

    def settled(self) -> bool:
        return True

    def reply(self) -> bytes:
        return b""

    def alive(self) -> bytes:
        return b""

    def farewell(self) -> bytes:
        return b""

    def refusal(self, reason: str) -> bytes:
        return b""

    def deafen(self) -> None:
        self._deaf = True

    def lost(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def pack(self, items: Sequence[Any], limit_bytes: int) -> tuple[bytes, int]:
        encode = self._encode
        made: list[bytes] = []
        size = 0
        for item in items:
            try:
                data = encode(item.item if type(item) is Tracked else item)
            except FramingError:
                if made:
                    break  # it is the first one next time
                raise
            made.append(data)
            size += len(data)
            if size >= limit_bytes:
                break
        return (made[0] if len(made) == 1 else b"".join(made)), len(made)

    def wrote(self, items: Sequence[Any]) -> None:
        let_go(items)

    def feed(self, data: bytes) -> list[Any]:
        return [] if self._deaf else self._framing.feed(data)

    def end(self) -> list[Any]:
        return [] if self._deaf else self._framing.end()

    def when_handled(self, call: Callable[[], None]) -> None:
        call()


class TrackedPlain(Plain):
    """A framing; and one token for all that comes, so that it is known when all of it has been handled."""

    __slots__ = ("_call", "_token")

    def __init__(self, encode: Encode, framing: Framing) -> None:
        super().__init__(encode, framing)
        self._call: Callable[[], None] | None = None
        self._token = Token(self._handled)

    def feed(self, data: bytes) -> list[Any]:
        try:
            return self._tracked(super().feed(data))
        except FramingError as error:
            error.items = self._tracked(error.items)
            raise

    def end(self) -> list[Any]:
        return self._tracked(super().end())

    def when_handled(self, call: Callable[[], None]) -> None:
        self._call = call
        self._token.release()

    def _tracked(self, items: list[Any]) -> list[Any]:
        tokens = (self._token,)
        return [Tracked(item, tokens) for item in items]

    def _handled(self, _token: Token) -> None:
        if self._call is not None:
            self._call()


class EncodeOnce:
    """Encode what goes out on many connections in one turn of the loop once.

    Args:
        encode: Makes bytes of an item.
    """

    __slots__ = ("_encode", "_known")

    _MOST = 4096

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._known: dict[int, tuple[Any, bytes]] = {}

    def __call__(self, item: Any) -> bytes:
        known = self._known
        found = known.get(id(item))
        if found is not None:
            return found[1]
        data = self._encode(item)
        if not known:
            # A turn later the same object may have changed.
            asyncio.get_running_loop().call_soon(known.clear)
        if len(known) < self._MOST:
            known[id(item)] = (item, data)  # with the item: so its id stays its own
        return data
