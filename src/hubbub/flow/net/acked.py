"""The wire of `acked=True`: numbered both ways, and sent again until it is handled (sans-I/O).

    --> preface, hello        <-- preface, hello        nothing else before; then all that is in the window, in order
    --> item 1, item 2 ...    <-- handled 1-2           when the graph there has handled them
    --> end                   <-- end                   each when all that it sent is handled; then it is closed

How items are numbered and kept is in `hubbub.flow.net.numbering`; how frames look in `hubbub.flow.net.frames`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hubbub.flow.net.frames import (
    PREFACE,
    Again,
    Alive,
    End,
    Frames,
    Handled,
    Hello,
    Item,
    Message,
    Refusal,
    frame,
    ranges,
)
from hubbub.flow.net.framing import FRAME_BYTES, Framing, Length, Raw
from hubbub.flow.net.numbering import Arrivals, Numbering, Origins, track
from hubbub.flow.net.wires import Encode
from hubbub.flow.tracking import Token, Tracked
from hubbub.kernel import FramingError, ProtocolError, RemoteProtocolError

HELLO_S = 5.0
"""How long the other side may take to say who it is."""

_AROUND = 64
"""More than an item's frame has around its body."""


class Acked:
    """What one connection speaks whose items are numbered.

    Args:
        numbering: Numbers what is sent; it may outlive the connection.
        origins: What has come from whom; it outlives the connection.
        encode: Makes bytes of an item.
        framing: Makes an item of bytes; this connection's own.
        met: Called when the other side has said who it is.
    """

    heartbeat_s: float | None = 15.0
    hello_s: float | None = HELLO_S

    __slots__ = (
        "_again",
        "_arrivals",
        "_call",
        "_deaf",
        "_encode",
        "_frames",
        "_framing",
        "_given",
        "_is_over",
        "_met",
        "_news",
        "_numbering",
        "_origins",
        "at_end",
    )

    def __init__(
        self,
        numbering: Numbering,
        origins: Origins,
        encode: Encode,
        framing: Framing,
        met: Callable[[], None] | None = None,
    ) -> None:
        self._numbering = numbering
        self._origins = origins
        self._encode = encode
        self._framing = framing
        self._met = met
        self._frames = Frames(getattr(framing, "limit_bytes", FRAME_BYTES) + _AROUND)
        self._arrivals: Arrivals | None = None
        self._given: set[int] = set()
        self._again: set[int] = set()
        self._news: Callable[[], None] = _nothing
        self._call: Callable[[], None] | None = None
        self._deaf = False
        self._is_over = False
        self.at_end = False

    @property
    def origin(self) -> str:
        """Who is at the other end; nothing until that is said."""
        return self._arrivals.origin if self._arrivals is not None else ""

    @property
    def is_met(self) -> bool:
        return self._arrivals is not None

    # ------------------------------------------------------------------------ sending

    def opened(self, news: Callable[[], None]) -> bytes:
        self._news = news
        return PREFACE + frame(Hello(self._numbering.origin, self._numbering.floor))

    def room(self) -> bool:
        return self._arrivals is not None and self._numbering.room

    def settled(self) -> bool:
        return not len(self._numbering)

    def pack(self, items: Sequence[Any], limit_bytes: int) -> tuple[bytes, int]:
        numbering, encode = self._numbering, self._encode
        made: list[bytes] = []
        before = self._sent_again()  # in order: what is new goes behind it
        size = 0
        for item in items:
            if made and (size >= limit_bytes or not numbering.room):
                break
            tracked = item if type(item) is Tracked else None
            try:
                body = encode(item.item if tracked is not None else item)
            except FramingError:
                if made:
                    break  # it is the first one next time
                raise
            number = numbering.add(body, tracked)
            data = frame(Item(number, numbering.floor, body))
            made.append(data)
            size += len(data)
        return b"".join(before + made), len(made)

    def wrote(self, items: Sequence[Any]) -> None:
        pass  # they are kept until they are handled

    def farewell(self) -> bytes:
        return self.alive() + frame(End())

    def alive(self) -> bytes:
        return frame(Alive(self._numbering.floor))

    @staticmethod
    def refusal(reason: str) -> bytes:
        return frame(Refusal(reason))

    def reply(self) -> bytes:
        out = self._sent_again()
        if self._arrivals is not None:
            handled, lost = self._arrivals.to_say(self._news)
            if handled:
                out.append(frame(Handled(ranges(handled))))
            if lost:
                out.append(frame(Again(ranges(lost))))
        return b"".join(out)

    # ----------------------------------------------------------------------- receiving

    def feed(self, data: bytes) -> list[Any]:
        items: list[Any] = []
        try:
            for message in self._frames.feed(data):
                self._heard(message, items)
        except ProtocolError as error:
            raise FramingError(str(error), items=items) from None
        return items

    def end(self) -> list[Any]:
        return []

    def deafen(self) -> None:
        self._deaf = True

    def when_handled(self, call: Callable[[], None]) -> None:
        if self._given:
            self._call = call
        else:
            call()

    def lost(self) -> None:
        """The connection is gone; what it gave may still be handled."""
        if not self._is_over:
            self._is_over = True
            if self._arrivals is not None:
                self._arrivals.users -= 1
                self._arrivals.leave(self._news)

    def abandon(self) -> None:
        """The graph that this gave to has ended: what is not handled has to come again."""
        given, self._given = self._given, set()
        if self._arrivals is not None:
            self._arrivals.lost(given, self._news)

    def _heard(self, message: Message, items: list[Any]) -> None:
        if isinstance(message, Refusal):
            raise RemoteProtocolError(f"the other side refuses the connection: {message.reason}")
        arrivals = self._arrivals
        if arrivals is None:
            if not isinstance(message, Hello):
                raise RemoteProtocolError("the other side has not said who it is")
            self._greet(message)
            return
        if isinstance(message, Item):
            self._take(message, arrivals, items)
        elif isinstance(message, Handled):
            self._numbering.handled(message.numbers)
        elif isinstance(message, Again):
            self._again.update(self._numbering.known(message.numbers))
        elif isinstance(message, Alive):
            arrivals.raise_floor(message.floor)
        elif isinstance(message, End):
            self.at_end = True
        else:
            raise RemoteProtocolError("the other side has said twice who it is")

    def _greet(self, hello: Hello) -> None:
        if not 0 < len(hello.origin) <= 200 or hello.floor < 1:
            raise RemoteProtocolError("the other side has no proper origin")
        self._arrivals = arrivals = self._origins.of(hello.origin, hello.floor)
        arrivals.users += 1
        arrivals.listen(self._news)
        self._again.update(self._numbering)
        if self._met is not None:
            self._met()

    def _sent_again(self) -> list[bytes]:
        """Return the frames of what has to be sent again, once."""
        if not self._again:
            return []
        again, self._again = self._again, set()
        floor = self._numbering.floor
        return [frame(Item(number, floor, body)) for number, body in self._numbering.kept(again)]

    def _take(self, message: Item, arrivals: Arrivals, items: list[Any]) -> None:
        number = message.number
        if self._deaf:
            return  # nobody takes it, so nobody says that it is handled
        if self.at_end or not 1 <= message.floor <= number:
            raise RemoteProtocolError(f"item {number} makes no sense here")
        if not arrivals.take(number, message.floor):
            return
        try:
            found = self._framing.feed(message.body)
        except FramingError:
            arrivals.forget(number)
            raise
        if len(found) != 1:
            arrivals.forget(number)
            raise RemoteProtocolError(
                f"item {number} holds {len(found)} items: is the framing the same on both sides?"
            )
        self._given.add(number)
        items.append(track(found[0], Token(self._token_done, arrivals.position(number))))

    def _token_done(self, token: Token) -> None:
        number = token.position.number
        assert self._arrivals is not None
        self._arrivals.handled(number)
        self._given.discard(number)
        if not self._given and self._call is not None:
            call, self._call = self._call, None
            call()


def numbered_framing(framing: Framing) -> Framing:
    """Return what frames one item where items are numbered: chunks keep their bounds there."""
    return Length(framing.limit_bytes) if isinstance(framing, Raw) else framing


def _nothing() -> None:
    pass
