"""One session's bounded queue of deliveries (PE5, PE6; sans-I/O).

Theory of operation
===================

    offer, put, pass -->  `hubbub.perspective.outgoing`: waiting, sent, gone

What waits for room elsewhere, and is bounded there, costs nothing here until it is sent: an answer (one per watch, its
bytes are shared by all who watch), a call's result, the end of a watch. Such a delivery is offered with ``kept=True``.
Everything else counts from the moment it is offered.

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

from hubbub.kernel import LocalProtocolError
from hubbub.perspective.declarations import WhenFull
from hubbub.perspective.offers import NOTHING_DROPPED, TOO_SLOW, Dropped, Offered, StreamBounds
from hubbub.perspective.outgoing import Outgoing
from hubbub.wire.deliveries import Encoded, encoded, whole
from hubbub.wire.session import Answer, Delivery, End, Gap, Item, MindCall, Result


class Backlog(Outgoing):
    """Hold what one user has not acknowledged yet (PE5).

    Args:
        form: ``json`` or ``msgpack``: what deliveries are encoded in.
        items: Deliveries that are held at most.
        limit_bytes: Their bytes.
        epoch: The first epoch; unlike any that this session had before.
        new_epoch: Makes the later ones.
    """

    __slots__ = ("_new_epoch", "dropped")

    def __init__(
        self,
        form: str,
        items: int,
        limit_bytes: int,
        epoch: str,
        new_epoch: Callable[[], str] = lambda: secrets.token_hex(6),
    ) -> None:
        super().__init__(form, items, limit_bytes, epoch)
        self.dropped = NOTHING_DROPPED
        self._new_epoch = new_epoch

    # --- what the owner asks and offers ---

    def has_result(self, call_id: int) -> bool:
        """Tell whether a result of this call is waiting, or sent and not acknowledged."""
        return call_id in self._results

    def has_answer(self, watch_id: int) -> bool:
        """Tell whether an answer of this watch is waiting; the next one replaces it, so it has to be whole."""
        if self._passing is not None:
            self._hold()
        return watch_id in self._answers

    def open_stream(
        self, stream_id: int, items: int, limit_bytes: int, when_full: WhenFull
    ) -> None:
        """Let items of this stream in, up to ``items`` and ``limit_bytes`` waiting or unacknowledged.

        Raises:
            LocalProtocolError: If it is open, or the number is 0 (which stands for minds). Nothing has changed.
        """
        self._hold()
        if stream_id in self._streams or stream_id < 1:
            raise LocalProtocolError(f"stream {stream_id} can't be opened")
        self._streams[stream_id] = StreamBounds(items, limit_bytes, when_full, self.newest)

    def offer(self, delivery: Delivery, *, kept: bool = False) -> Offered:
        """`put` ``delivery``, of which nobody else has the bytes. ``kept``: see `Encoded.counts`."""
        free = kept or isinstance(delivery, Answer | Gap)
        return self.put(encoded(delivery, self.form, kept=free))

    def put(self, entry: Encoded) -> Offered:
        """Queue a delivery, or find that there is no room for it. Never waits."""
        self._hold()
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
            self._mind_waits(serial)
        return Offered.KEPT

    def put_items(self, stream_id: int, entries: Sequence[Encoded], size: int) -> bool:
        """Queue items of one stream, which together count ``size`` bytes, if there is room for all of them.

        Returns:
            False if there is not, and then nothing has changed: `put` them one by one, which is the same but slower.
        """
        self._hold()
        stream = self._streams.get(stream_id)
        count = len(entries)
        if stream is None or not stream.has_room(count, size) or not self._fits(count, size):
            return False
        stream.items += count
        stream.size += size
        self._items += count
        self._bytes += size
        self._let_wait(stream, entries, size)
        return True

    def pass_items(self, stream_id: int, entries: Sequence[Encoded], size: int) -> bool:
        """Do the same as `put_items`, and number them at once, if all of them are what `take` would return.

        Returns:
            False if they are not, and then nothing has changed.
        """
        stream = self._streams.get(stream_id)
        if (
            stream is None
            or stream.items + len(entries) > stream.items_limit
            or stream.size + size > stream.size_limit
            or not self._pass(entries, size)
        ):
            return False
        stream.items += len(entries)
        stream.size += size
        return True

    def pass_one(self, entry: Encoded) -> bool:
        """Do the same as `put`, and number it at once, if it is what `take` would return.

        Returns:
            False if it is not, or is of another kind than answers, results and calls of the mind. Nothing has changed.
        """
        kind = entry.kind
        if kind is not Answer and kind is not Result and kind is not MindCall:
            return False
        # As in `_pass`, for one: this is done for each session that gets an answer.
        if self._waiting or self._passing is not None or self._again or self._lagged:
            return False
        sent = self._sent
        count, total = len(sent), self._sent_bytes + entry.cost
        if count * 2 >= self._items_limit or total * 2 > self._bytes_limit:
            return False
        sent.append(entry)
        self._items = count + 1
        self._bytes = self._sent_bytes = total
        self.newest = number = self.newest + 1
        self._passing = [whole(entry, number, self.form)]
        if kind is Result:
            self._results[entry.id] = None
        return True

    def forget(self, stream_id: int) -> None:
        """Drop what waits of a watch or stream that its user has left. What was sent stays until acknowledged."""
        self._hold()
        self.drop_answer(stream_id)
        stream = self._close(stream_id)
        if stream is not None:
            self._drop_waiting(stream)
            if stream.gap:
                self._remove(stream.gap)

    def drop_answer(self, watch_id: int) -> None:
        """Drop the answer of this watch that waits, if one does: its user may not see it any more."""
        self._hold()
        serial = self._answers.pop(watch_id, 0)
        if serial:
            self._remove(serial)

    def reset(self) -> Dropped:
        """Drop everything, close all streams and begin a new epoch; no `Lagged` is sent."""
        self._hold()
        self._streams.clear()
        self._lag(None)
        self._lagged = False
        return self.dropped

    # --- within ---

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

    def _close(self, stream_id: int) -> StreamBounds | None:
        """Let no more items of a stream in; what waits of it stays."""
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._touched.pop(stream, None)
        return stream

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
