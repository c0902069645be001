"""One session's bounded queue of deliveries (PE5, PE6; sans-I/O).

Theory of operation
===================

    offer -->  waiting (no number yet)  --take-->  sent (numbered)  --ack-->  gone
                                                    |
                 rewind, after a reconnect:  sent again, same numbers, same bytes

What is held is `hubbub.wire.deliveries.Encoded`: bytes without a number, shared by all sessions that get the same item
or answer, so that a delivery costs a session one place in a list. Numbers follow each other, and what was sent is kept
in order: so they need not be kept themselves.

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
from collections.abc import Callable, Sequence
from itertools import islice

from hubbub.kernel import LocalProtocolError, RemoteProtocolError
from hubbub.perspective.declarations import WhenFull
from hubbub.perspective.offers import (
    NOTHING_DROPPED,
    TOO_SLOW,
    Acknowledged,
    Dropped,
    Offered,
    StreamBounds,
)
from hubbub.wire.deliveries import Encoded, encoded, numbered
from hubbub.wire.session import (
    Answer,
    Delivery,
    End,
    Gap,
    Item,
    Lagged,
    MindCall,
    Result,
    cursor_text,
    encode,
)

_NO_BOUND = 1 << 62


class Backlog:
    """Hold what one user has not acknowledged yet (PE5).

    Args:
        form: ``json`` or ``msgpack``: what deliveries are encoded in.
        items: Deliveries that are held at most.
        limit_bytes: Their bytes.
        epoch: The first epoch; unlike any that this session had before.
        new_epoch: Makes the later ones.
    """

    __slots__ = (
        "_again",
        "_answers",
        "_bytes",
        "_bytes_limit",
        "_items",
        "_items_limit",
        "_lagged",
        "_minds",
        "_new_epoch",
        "_results",
        "_sent",
        "_sent_bytes",
        "_serial",
        "_streams",
        "_touched",
        "_waiting",
        "_waiting_bytes",
        "acknowledged",
        "dropped",
        "epoch",
        "form",
        "newest",
    )

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
        self.dropped = NOTHING_DROPPED
        self._items_limit = items
        self._bytes_limit = limit_bytes
        self._new_epoch = new_epoch
        self._streams: dict[int, StreamBounds] = {}
        self._serial = 0
        self._empty()

    def _empty(self) -> None:
        self._waiting: dict[int, Encoded] = {}  # by serial, in order
        self._sent: list[Encoded] = []  # the last of them has the number `newest`
        self._again = 0  # the number from which on what was sent is to be sent again; 0: nothing is
        self._answers: dict[int, int] = {}  # watch id -> serial
        self._results: dict[int, None] = {}
        self._minds: StreamBounds | None = None
        self._touched: dict[StreamBounds, None] = {}  # streams of which something waits
        # What counts; what was sent; what waits, whether it counts or not.
        self._items = self._bytes = self._sent_bytes = self._waiting_bytes = 0
        self._lagged = False

    # --- what the owner asks ---

    @property
    def cursor(self) -> str:
        """What the next delivery to be taken comes after."""
        return cursor_text(self.epoch, self._again - 1 if self._again else self.newest)

    @property
    def pending(self) -> bool:
        """Whether `take` would return something."""
        if self._lagged or self._again:
            return True
        for entry in self._waiting.values():
            return self._has_room(entry.cost)
        return False

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
        self._streams[stream_id] = StreamBounds(items, limit_bytes, when_full, self.newest)

    def offer(self, delivery: Delivery, *, kept: bool = False) -> Offered:
        """`put` ``delivery``, of which nobody else has the bytes. ``kept``: see `Encoded.counts`."""
        free = kept or isinstance(delivery, Answer | Gap)
        return self.put(encoded(delivery, self.form, kept=free))

    def put(self, entry: Encoded) -> Offered:
        """Queue a delivery, or find that there is no room for it. Never waits."""
        kind = entry.kind
        if kind is Result:
            if entry.counts and not self._fits(1, entry.cost):
                self._lag(entry)
                return Offered.LAGGED
            self._append(entry)
            self._results[entry.id] = None
            return Offered.KEPT
        if kind is Answer:
            serial = self._answers.get(entry.id)
            if serial is None:
                self._answers[entry.id] = self._append(entry)
            else:
                self._waiting_bytes += entry.cost - self._waiting[serial].cost
                self._waiting[serial] = entry
            return Offered.KEPT
        if kind is Item:
            return self._put_item(entry)
        if kind is Gap:
            return self._put_gap(entry)
        if kind is End:
            self._close(entry.id)
        if entry.counts and not self._fits(1, entry.cost):
            self._lag(entry)
            return Offered.LAGGED
        serial = self._append(entry)
        if kind is MindCall:
            minds = self._of_minds()
            minds.waiting.append(serial)
            self._touched[minds] = None
        return Offered.KEPT

    def put_items(self, stream_id: int, entries: Sequence[Encoded], size: int) -> bool:
        """Queue items of one stream, which together count ``size`` bytes, if there is room for all of them.

        Returns:
            False if there is not, and then nothing has changed: `put` them one by one, which is the same but slower.
        """
        stream = self._streams.get(stream_id)
        count = len(entries)
        if stream is None or not stream.has_room(count, size) or not self._fits(count, size):
            return False
        stream.items += count
        stream.size += size
        self._items += count
        self._bytes += size
        self._waiting_bytes += size
        self._touched[stream] = None
        serial = self._serial + 1
        if count == 1:
            self._waiting[serial] = entries[0]
            stream.waiting.append(serial)
        else:
            serials = range(serial, serial + count)
            self._waiting.update(zip(serials, entries, strict=True))
            stream.waiting += serials
        self._serial += count
        return True

    def forget(self, stream_id: int) -> None:
        """Drop what waits of a watch or stream that its user has left. What was sent stays until acknowledged."""
        self.drop_answer(stream_id)
        stream = self._close(stream_id)
        if stream is not None:
            self._drop_waiting(stream)
            if stream.gap:
                self._remove(stream.gap)

    def drop_answer(self, watch_id: int) -> None:
        """Drop the answer of this watch that waits, if one does: its user may not see it any more."""
        serial = self._answers.pop(watch_id, 0)
        if serial:
            self._remove(serial)

    # --- the transport's side ---

    def take(self, limit_bytes: int) -> list[bytes]:
        """Return encoded messages to be sent now, at most ``limit_bytes`` unless the first alone is larger."""
        if self._lagged or self._again:
            return self._take_again(limit_bytes)
        waiting = self._waiting
        if not waiting:
            return []
        sent, size = self._sent, self._waiting_bytes
        count = len(sent) + len(waiting)
        total = self._sent_bytes + size
        if (
            size > limit_bytes
            or (count - 1) * 2 >= self._items_limit
            or total * 2 > self._bytes_limit
        ):
            return self._take_some(limit_bytes)
        # All of it, as in the rule.
        entries = list(waiting.values())
        taken = numbered(entries, self.newest + 1, self.form)
        self.newest += len(entries)
        sent += entries
        waiting.clear()
        self._items, self._bytes = count, total
        self._sent_bytes, self._waiting_bytes = total, 0
        if self._answers:
            self._answers.clear()
        for stream in self._touched:
            stream.waiting.clear()
            stream.gap = 0
        self._touched.clear()
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
        before = self.newest - len(self._sent)
        if seq <= before:
            return done
        gone = self._sent[: seq - before]
        del self._sent[: seq - before]
        size = 0
        for n, entry in enumerate(gone, before + 1):
            size += entry.cost
            kind = entry.kind
            if kind is Item:
                stream = self._streams.get(entry.id)
                if stream is not None and n > stream.since:
                    stream.items -= 1
                    stream.size -= entry.cost
            elif kind is Result:
                self._results.pop(entry.id, None)
                done.calls.append(entry.id)
            elif kind is End:
                done.ended.append(entry.id)
        self._items -= len(gone)
        self._bytes -= size
        self._sent_bytes -= size
        if self._again and self._again <= seq:
            self._again = seq + 1 if seq < self.newest else 0
        self.acknowledged = seq
        return done

    def rewind(self, seq: int) -> bool:
        """Send everything after number ``seq`` again. Returns False, and changes nothing, if not all of it is here."""
        if not self.acknowledged <= seq <= self.newest:
            return False
        self._again = seq + 1 if seq < self.newest else 0
        return True

    def reset(self) -> Dropped:
        """Drop everything, close all streams and begin a new epoch; no `Lagged` is sent."""
        self._streams.clear()
        self._lag(None)
        self._lagged = False
        return self.dropped

    # --- inside: taking ---

    def _take_again(self, limit_bytes: int) -> list[bytes]:
        taken: list[bytes] = []
        size = 0
        if self._lagged:
            self._lagged = False
            taken.append(encode(Lagged(cursor_text(self.epoch, 0)), self.form))
        if self._again:
            first = self._again
            entries = self._sent[first - 1 - self.newest :]
            count = 0
            for entry in entries:
                if (taken or count) and size + entry.cost > limit_bytes:
                    break
                count += 1
                size += entry.cost
            taken += numbered(entries[:count], first, self.form)
            self._again = first + count if count < len(entries) else 0
            if self._again:
                return taken
        return taken + self._take_some(limit_bytes - size, is_first=not taken)

    def _take_some(self, limit_bytes: int, *, is_first: bool = True) -> list[bytes]:
        """Take as many as there is room for, one by one."""
        entries: list[Encoded] = []
        size = 0
        for entry in self._waiting.values():
            if not self._has_room(entry.cost, entries, size):
                break
            if (entries or not is_first) and size + entry.cost > limit_bytes:
                break
            entries.append(entry)
            size += entry.cost
        serials = list(islice(self._waiting, len(entries)))
        for serial, entry in zip(serials, entries, strict=True):
            self._note_sent(serial, entry)
        # A dict is slow at its front where much was taken from there.
        self._waiting = dict(islice(self._waiting.items(), len(entries), None))
        taken = numbered(entries, self.newest + 1, self.form)
        self.newest += len(entries)
        self._sent += entries
        self._sent_bytes += size
        self._waiting_bytes -= size
        return taken

    def _note_sent(self, serial: int, entry: Encoded) -> None:
        if not entry.counts:
            self._items += 1
            self._bytes += entry.cost
        kind = entry.kind
        if kind is Answer:
            del self._answers[entry.id]
        elif kind is Item or kind is Gap or kind is MindCall:
            stream = self._stream_of(entry)
            if stream is not None:
                if stream.gap == serial:
                    stream.gap = 0
                elif stream.waiting and stream.waiting[0] == serial:
                    del stream.waiting[0]
                if not stream.waiting and not stream.gap:
                    self._touched.pop(stream, None)

    def _has_room(self, cost: int, entries: Sequence[Encoded] = (), size: int = 0) -> bool:
        """Tell whether so much more may be sent behind what was sent and ``entries``."""
        count = len(self._sent) + len(entries)
        if not count:
            return True
        return (
            count * 2 < self._items_limit
            and (self._sent_bytes + size + cost) * 2 <= self._bytes_limit
        )

    # --- inside: offers ---

    def _fits(self, count: int, size: int) -> bool:
        return self._items + count <= self._items_limit and self._bytes + size <= self._bytes_limit

    def _append(self, entry: Encoded) -> int:
        serial = self._serial = self._serial + 1
        self._waiting[serial] = entry
        self._waiting_bytes += entry.cost
        if entry.counts:
            self._items += 1
            self._bytes += entry.cost
        return serial

    def _put_item(self, entry: Encoded) -> Offered:
        stream_id, cost = entry.id, entry.cost
        stream = self._streams.get(stream_id)
        if stream is None:
            return Offered.IGNORED
        if not stream.has_room(1, cost):
            if stream.when_full == "disconnect":
                self.forget(stream_id)
                self._append(encoded(End(0, stream_id, TOO_SLOW), self.form, kept=True))
                return Offered.ENDED
            self._lose_waiting(stream_id, stream)
            if stream.when_full == "lag" and not stream.has_room(1, cost):
                return Offered.KEPT
        if not self._fits(1, cost):
            self._lag(entry)
            return Offered.LAGGED
        stream.waiting.append(self._append(entry))
        self._touched[stream] = None
        stream.items += 1
        stream.size += cost
        return Offered.KEPT

    def _put_gap(self, gap: Encoded) -> Offered:
        stream = self._stream_of(gap)
        if stream is None:  # it has ended, and what was dropped then is missing all the same
            self._append(gap)
        elif stream.gap <= (stream.waiting[-1] if stream.waiting else 0):
            # Else the last that waits is a gap already.
            stream.gap = self._append(gap)
            self._touched[stream] = None
        return Offered.KEPT

    def _lose_waiting(self, stream_id: int, stream: StreamBounds) -> None:
        """Put one gap in the place of what waits of a stream."""
        if not stream.gap:
            gap = encoded(Gap(0, stream_id, "lag"), self.form, kept=True)
            if stream.waiting:
                serial = stream.waiting.pop(0)
                self._discount(self._waiting[serial], stream)
                self._waiting[serial] = gap
                self._waiting_bytes += gap.cost
                stream.gap = serial
            else:
                stream.gap = self._append(gap)
                self._touched[stream] = None
        self._drop_waiting(stream)

    def _drop_waiting(self, stream: StreamBounds) -> None:
        for serial in stream.waiting:
            self._discount(self._waiting.pop(serial), stream)
        stream.waiting.clear()

    def _discount(self, item: Encoded, stream: StreamBounds) -> None:
        """An item of ``stream`` does not wait any more."""
        cost = item.cost
        self._waiting_bytes -= cost
        self._items -= 1
        self._bytes -= cost
        stream.items -= 1
        stream.size -= cost

    def _remove(self, serial: int) -> None:
        """Drop an answer or a gap that waits."""
        self._waiting_bytes -= self._waiting.pop(serial).cost

    def _close(self, stream_id: int) -> StreamBounds | None:
        """Let no more items of a stream in; what waits of it stays."""
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._touched.pop(stream, None)
        return stream

    def _stream_of(self, entry: Encoded) -> StreamBounds | None:
        if entry.kind is MindCall or entry.id == 0:
            return self._of_minds()
        return self._streams.get(entry.id)

    def _of_minds(self) -> StreamBounds:
        minds = self._minds
        if minds is None:
            minds = self._minds = StreamBounds(_NO_BOUND, _NO_BOUND, "lag", 0)
        return minds

    def _lag(self, refused: Encoded | None) -> None:
        # What is to be sent again has not been taken by the present carrier.
        on_their_way = self._sent[: self._again - 1 - self.newest] if self._again else self._sent
        lost = [*self._sent, *self._waiting.values()]
        if refused is not None:
            lost.append(refused)
        minds = [entry.id for entry in lost if entry.kind is MindCall]
        gap = any(entry.kind is Gap and entry.id == 0 for entry in lost)
        self.dropped = Dropped(
            [entry.id for entry in on_their_way if entry.kind is Result],
            [mind_id for mind_id in minds if mind_id],
            bool(minds) or gap,
        )
        self._empty()
        for stream in self._streams.values():
            stream.items = stream.size = stream.gap = stream.since = 0
            stream.waiting.clear()
        self.epoch = self._new_epoch()
        self.newest = self.acknowledged = 0
        self._lagged = True
