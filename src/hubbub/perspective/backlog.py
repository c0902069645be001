"""One session's bounded queue of deliveries (PE5, PE6; sans-I/O).

Theory of operation
===================

    offer -->  waiting (a struct, no number)  --take-->  sent (bytes, numbered)  --ack-->  gone
                                                          |
                       rewind, after a reconnect:  sent again, same numbers, same bytes

What waits for room elsewhere, and is bounded there, costs nothing here until it is sent: an answer (one per watch, its
bytes are shared by all who watch), a call's result, the end of a watch. Such a delivery is offered with ``kept=True``.
Everything else counts from the moment it is offered. `take` sends no more than half of the bounds ahead of the
acknowledgements; so a slow reader of large answers still leaves room for what can't wait.

    an offer past the bounds:   everything is dropped, the numbering starts again under a new epoch, and one `Lagged`
                                is the next thing taken. `offer` says so, and its owner offers anew what it keeps.

Each stream has a bound of its own besides, and a policy for when it is full:

    disconnect   what waits is dropped, the stream ends with ``too_slow``
    lag          what waits is dropped, a `Gap` stands in its place; so does what comes while there is no room
    latest       as ``lag``, but the newest item is kept behind the gap
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from hubbub.kernel import LocalProtocolError, RemoteProtocolError
from hubbub.perspective.declarations import WhenFull
from hubbub.wire.session import (
    Answer,
    Delivery,
    End,
    Failure,
    Gap,
    Item,
    Lagged,
    MindCall,
    Result,
    cursor_text,
    encode,
)

OVERHEAD_BYTES = 64
"""What a delivery counts beside its values."""

TOO_SLOW = Failure("limit", "too_slow", "this stream was not read fast enough")
"""Why a stream with the policy ``disconnect`` ends."""

_NO_BOUND = 1 << 62


class Offered(Enum):
    """What became of an offer."""

    KEPT = auto()  # it will be delivered, or a gap will stand in its place
    LAGGED = auto()  # everything was dropped: offer again what is kept elsewhere
    ENDED = auto()  # its stream was too slow and has ended
    IGNORED = auto()  # its stream is not open


class Acknowledged(NamedTuple):
    """What the client has taken in: calls whose results, and watches whose ends, it now has."""

    calls: list[int]
    ended: list[int]


class Dropped(NamedTuple):
    """What a lag or a new epoch has dropped.

    Attributes:
        results: Calls whose results were on their way by the present carrier; not known to have arrived.
        mind_calls: Calls of the mind that want a reply; some may have arrived.
        minds: Whether any call of the mind was dropped.
    """

    results: list[int]
    mind_calls: list[int]
    minds: bool


class _Entry:
    __slots__ = ("cost", "counted", "data", "delivery", "n", "serial")

    def __init__(self, serial: int, delivery: Delivery, cost: int, counted: bool) -> None:
        self.serial = serial
        self.delivery = delivery
        self.cost = cost
        self.counted = counted
        self.n = 0
        self.data = b""


class _Stream:
    __slots__ = ("gap", "items", "items_limit", "size", "size_limit", "waiting", "when_full")

    def __init__(self, items: int, size: int, when_full: WhenFull) -> None:
        self.items_limit = items
        self.size_limit = size
        self.when_full: WhenFull = when_full
        self.items = 0  # sent or waiting
        self.size = 0
        self.waiting: dict[int, None] = {}  # serials, in order
        self.gap = 0  # serial of a waiting gap, or 0


class Backlog:
    """Hold what one user has not acknowledged yet (PE5).

    Args:
        form: ``json`` or ``msgpack``: what deliveries are encoded in.
        items: Deliveries that are held at most.
        limit_bytes: Their bytes.
        epoch: The first epoch; unlike any that this session had before.
        new_epoch: Makes the later ones.
    """

    def __init__(
        self,
        form: str,
        items: int,
        limit_bytes: int,
        epoch: str,
        new_epoch: Callable[[], str] = lambda: secrets.token_hex(6),
    ) -> None:
        self.form = form
        self.epoch = epoch
        self.acknowledged = 0
        self.newest = 0
        self.dropped = Dropped([], [], minds=False)
        self._items_limit = items
        self._bytes_limit = limit_bytes
        self._new_epoch = new_epoch
        self._streams: dict[int, _Stream] = {}
        self._serial = 0
        self._empty()

    def _empty(self) -> None:
        # An OrderedDict: taken from the front, and out of the middle, without a search.
        self._waiting: OrderedDict[int, _Entry] = OrderedDict()
        self._sent: deque[_Entry] = deque()
        self._again: deque[_Entry] = deque()
        self._answers: dict[int, _Entry] = {}
        self._results: set[int] = set()
        self._minds = _Stream(_NO_BOUND, _NO_BOUND, "lag")
        self._items = self._bytes = self._sent_bytes = 0
        self._lagged = False

    # --- what the owner asks ---

    @property
    def cursor(self) -> str:
        """What the next delivery to be taken comes after."""
        return cursor_text(self.epoch, self._again[0].n - 1 if self._again else self.newest)

    @property
    def pending(self) -> bool:
        """Whether `take` would return something."""
        if self._lagged or self._again:
            return True
        return bool(self._waiting) and self._has_room(next(iter(self._waiting.values())))

    @property
    def held(self) -> tuple[int, int]:
        """Items and bytes that count now."""
        return self._items, self._bytes

    def has_result(self, call_id: int) -> bool:
        """Tell whether a result of this call is waiting, or sent and not acknowledged."""
        return call_id in self._results

    def has_answer(self, watch_id: int) -> bool:
        """Tell whether an answer of this watch is waiting; the next one replaces it, so it has to be whole."""
        return watch_id in self._answers

    # --- offers ---

    def open_stream(
        self, stream_id: int, items: int, limit_bytes: int, when_full: WhenFull
    ) -> None:
        """Let items of this stream in, up to ``items`` and ``limit_bytes`` waiting or unacknowledged.

        Raises:
            LocalProtocolError: If it is open, or the number is 0 (which stands for minds). Nothing has changed.
        """
        if stream_id in self._streams or stream_id < 1:
            raise LocalProtocolError(f"stream {stream_id} can't be opened")
        self._streams[stream_id] = _Stream(items, limit_bytes, when_full)

    def offer(self, delivery: Delivery, *, kept: bool = False) -> Offered:
        """Queue ``delivery``, or find that there is no room for it. Never waits.

        Args:
            delivery: Its number is not looked at; it gets one when it is taken.
            kept: Its owner keeps it, bounded, until it is acknowledged, and can offer it again.
        """
        if isinstance(delivery, Answer):
            waiting = self._answers.get(delivery.id)
            if waiting is not None:
                waiting.delivery = delivery
                waiting.cost = _cost(delivery)
                return Offered.KEPT
            self._answers[delivery.id] = self._append(delivery, counted=False)
            return Offered.KEPT
        if isinstance(delivery, Item):
            return self._offer_item(delivery)
        if isinstance(delivery, Gap):
            return self._offer_gap(delivery)
        if isinstance(delivery, End):
            self._streams.pop(delivery.id, None)
        if not kept and not self._fits(_cost(delivery)):
            self._lag(delivery)
            return Offered.LAGGED
        entry = self._append(delivery, counted=not kept)
        if isinstance(delivery, Result):
            self._results.add(delivery.id)
        elif isinstance(delivery, MindCall):
            self._minds.waiting[entry.serial] = None
        return Offered.KEPT

    def forget(self, stream_id: int) -> None:
        """Drop what waits of a watch or stream that its user has left. What was sent stays until acknowledged."""
        self.drop_answer(stream_id)
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._drop_waiting(stream)
            self._remove(stream.gap)

    def drop_answer(self, watch_id: int) -> None:
        """Drop the answer of this watch that waits, if one does: its user may not see it any more."""
        entry = self._answers.get(watch_id)
        if entry is not None:
            self._remove(entry.serial)

    # --- the transport's side ---

    def take(self, limit_bytes: int) -> list[bytes]:
        """Return encoded messages to be sent now, at most ``limit_bytes`` unless the first alone is larger."""
        taken: list[bytes] = []
        size = 0
        if self._lagged:
            self._lagged = False
            taken.append(encode(Lagged(cursor_text(self.epoch, 0)), self.form))
        while self._again:
            entry = self._again[0]
            if taken and size + entry.cost > limit_bytes:
                return taken
            self._again.popleft()
            taken.append(entry.data)
            size += entry.cost
        while self._waiting:
            entry = next(iter(self._waiting.values()))
            if not self._has_room(entry) or (taken and size + entry.cost > limit_bytes):
                break
            self._number(entry)
            taken.append(entry.data)
            size += entry.cost
        return taken

    def ack(self, seq: int) -> Acknowledged:
        """Let go of all deliveries up to number ``seq``.

        Raises:
            RemoteProtocolError: If nothing with that number was sent. Nothing has changed.
        """
        if seq > self.newest:
            raise RemoteProtocolError(
                f"delivery {seq} was acknowledged, {self.newest} is the newest"
            )
        done = Acknowledged([], [])
        while self._sent and self._sent[0].n <= seq:
            entry = self._sent.popleft()
            self._discount(entry)
            self._sent_bytes -= entry.cost
            delivery = entry.delivery
            if isinstance(delivery, Result):
                self._results.discard(delivery.id)
                done.calls.append(delivery.id)
            elif isinstance(delivery, End):
                done.ended.append(delivery.id)
        while self._again and self._again[0].n <= seq:
            self._again.popleft()
        self.acknowledged = max(self.acknowledged, seq)
        return done

    def rewind(self, seq: int) -> bool:
        """Send everything after number ``seq`` again. Returns False, and changes nothing, if not all of it is here."""
        if not self.acknowledged <= seq <= self.newest:
            return False
        self._again = deque(entry for entry in self._sent if entry.n > seq)
        return True

    def reset(self) -> Dropped:
        """Drop everything, close all streams and begin a new epoch; no `Lagged` is sent."""
        self._streams.clear()
        self._lag(None)
        self._lagged = False
        return self.dropped

    # --- inside ---

    def _fits(self, cost: int) -> bool:
        return self._items < self._items_limit and self._bytes + cost <= self._bytes_limit

    def _has_room(self, entry: _Entry) -> bool:
        if not self._sent:
            return True
        return (
            len(self._sent) * 2 < self._items_limit
            and (self._sent_bytes + entry.cost) * 2 <= self._bytes_limit
        )

    def _append(self, delivery: Delivery, *, counted: bool) -> _Entry:
        self._serial += 1
        entry = _Entry(self._serial, delivery, _cost(delivery), counted)
        self._waiting[entry.serial] = entry
        if counted:
            self._items += 1
            self._bytes += entry.cost
        return entry

    def _number(self, entry: _Entry) -> None:
        """Move the first waiting entry to the sent ones."""
        del self._waiting[entry.serial]
        delivery = entry.delivery
        self.newest += 1
        delivery.n = entry.n = self.newest
        entry.data = encode(delivery, self.form)
        if not entry.counted:
            entry.counted = True
            self._items += 1
            self._bytes += entry.cost
        if isinstance(delivery, Answer):
            del self._answers[delivery.id]
        elif isinstance(delivery, (Item, Gap, MindCall)):
            stream = self._stream_of(delivery)
            if stream is not None:
                stream.waiting.pop(entry.serial, None)
                if stream.gap == entry.serial:
                    stream.gap = 0
        # The values are in the bytes now; holding on to both would double what a slow client costs.
        if isinstance(delivery, (Item, Answer, MindCall)):
            entry.delivery = _hollow(delivery)
        self._sent.append(entry)
        self._sent_bytes += entry.cost

    def _offer_item(self, item: Item) -> Offered:
        stream = self._streams.get(item.id)
        if stream is None:
            return Offered.IGNORED
        cost = _cost(item)
        if _is_full(stream, cost):
            if stream.when_full == "disconnect":
                self.forget(item.id)
                self._append(End(0, item.id, TOO_SLOW), counted=False)
                return Offered.ENDED
            self._lose_waiting(item.id, stream)
            if stream.when_full == "lag" and _is_full(stream, cost):
                return Offered.KEPT
        if not self._fits(cost):
            self._lag(item)
            return Offered.LAGGED
        entry = self._append(item, counted=True)
        stream.waiting[entry.serial] = None
        stream.items += 1
        stream.size += cost
        return Offered.KEPT

    def _offer_gap(self, gap: Gap) -> Offered:
        stream = self._stream_of(gap)
        if stream is None:  # it has ended, and what was dropped then is missing all the same
            self._append(gap, counted=False)
        elif stream.gap <= next(
            reversed(stream.waiting), 0
        ):  # else the last that waits is a gap already
            stream.gap = self._append(gap, counted=False).serial
        return Offered.KEPT

    def _lose_waiting(self, stream_id: int, stream: _Stream) -> None:
        """Put one gap in the place of what waits of a stream."""
        first = next(iter(stream.waiting), 0)
        if not stream.gap and first:
            entry = self._waiting[first]
            del stream.waiting[first]
            self._discount(entry)
            entry.delivery = Gap(0, stream_id, "lag")
            entry.cost = OVERHEAD_BYTES
            entry.counted = False
            stream.gap = first
        elif not stream.gap:
            stream.gap = self._append(Gap(0, stream_id, "lag"), counted=False).serial
        self._drop_waiting(stream)

    def _drop_waiting(self, stream: _Stream) -> None:
        for serial in stream.waiting:
            self._discount(self._waiting.pop(serial))
        stream.waiting.clear()

    def _remove(self, serial: int) -> None:
        entry = self._waiting.pop(serial, None)
        if entry is not None:
            self._discount(entry)
            if isinstance(entry.delivery, Answer):
                del self._answers[entry.delivery.id]

    def _discount(self, entry: _Entry) -> None:
        if entry.counted:
            self._items -= 1
            self._bytes -= entry.cost
        if isinstance(entry.delivery, Item):
            stream = self._streams.get(entry.delivery.id)
            if stream is not None:
                stream.items -= 1
                stream.size -= entry.cost

    def _stream_of(self, delivery: Item | Gap | MindCall) -> _Stream | None:
        if isinstance(delivery, MindCall) or delivery.id == 0:
            return self._minds
        return self._streams.get(delivery.id)

    def _lag(self, refused: Delivery | None) -> None:
        arriving = {entry.n for entry in self._again}
        lost = [entry.delivery for entry in (*self._sent, *self._waiting.values())]
        if refused is not None:
            lost.append(refused)
        minds = [delivery.id for delivery in lost if isinstance(delivery, MindCall)]
        gap = any(isinstance(delivery, Gap) and delivery.id == 0 for delivery in lost)
        self.dropped = Dropped(
            [
                entry.delivery.id
                for entry in self._sent
                if isinstance(entry.delivery, Result) and entry.n not in arriving
            ],
            [mind_id for mind_id in minds if mind_id],
            bool(minds) or gap,
        )
        self._empty()
        for stream in self._streams.values():
            stream.items = stream.size = stream.gap = 0
            stream.waiting.clear()
        self.epoch = self._new_epoch()
        self.newest = self.acknowledged = 0
        self._lagged = True


def _is_full(stream: _Stream, cost: int) -> bool:
    return stream.items >= stream.items_limit or stream.size + cost > stream.size_limit


def _cost(delivery: Delivery) -> int:
    """Return about how many bytes ``delivery`` takes, encoded."""
    size = OVERHEAD_BYTES
    if isinstance(delivery, MindCall):
        return size + len(delivery.method) + _length(delivery.args) + _length(delivery.kwargs)
    if isinstance(delivery, Answer):
        return size + _length(delivery.value) + _length(delivery.patch)
    if isinstance(delivery, (Result, Item)):
        size += _length(delivery.value)
    return size


def _length(value: msgspec.Raw | msgspec.UnsetType) -> int:
    return 0 if value is msgspec.UNSET else len(memoryview(value))


_EMPTY = msgspec.Raw(b"")


def _hollow(delivery: Item | Answer | MindCall) -> Delivery:
    """Return ``delivery`` without its values: what has to be known about it once it is encoded."""
    if isinstance(delivery, Item):
        return Item(delivery.n, delivery.id, _EMPTY)
    if isinstance(delivery, Answer):
        return Answer(delivery.n, delivery.id, "")
    return MindCall(delivery.n, delivery.id, "", _EMPTY, _EMPTY)
