"""What one session has to send: what waits, what was sent and is not acknowledged, and its numbers (PE5; sans-I/O).

Theory of operation
===================

    waiting (no number yet)  --take-->  sent (numbered)  --ack-->  gone
       |        ^                         ^ |
     _pass    _hold                       | rewind, after a reconnect: sent again, same numbers, same bytes
       v        |                         |
    passing (numbered) --take-------------'

What is held is `hubbub.wire.deliveries.Encoded`: bytes without a number, shared by all sessions that get the same item
or answer, so that a delivery costs a session one place in a list. Numbers follow each other, and what was sent is kept
in order: so they need not be kept themselves.

`take` sends no more than half of the bounds ahead of the acknowledgements; so a slow reader of large answers still
leaves room for what can't wait.

What nothing waits before, and `take` would return, may be numbered when it is offered: most often it is the next thing
taken. If anything else happens before that, it waits as if it had never been numbered.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from hubbub.kernel import RemoteProtocolError
from hubbub.perspective.offers import Acknowledged, StreamBounds
from hubbub.perspective.tallies import items_of, tally_of
from hubbub.wire.deliveries import Encoded, numbered
from hubbub.wire.session import (
    Answer,
    Gap,
    Item,
    Lagged,
    MindCall,
    cursor_text,
    encode,
)

_NO_BOUND = 1 << 62


class Outgoing:
    """Number what is sent, and keep it until it is acknowledged. What may be offered is its subclass's affair.

    Args:
        form: ``json`` or ``msgpack``: what deliveries are encoded in.
        items: Deliveries that are held at most.
        limit_bytes: Their bytes.
        epoch: The first epoch.

    Attributes:
        newest: The number that was given last.
        acknowledged: The newest that the client has acknowledged.
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
        "_passing",
        "_results",
        "_sent",
        "_sent_bytes",
        "_serial",
        "_streams",
        "_touched",
        "_waiting",
        "_waiting_bytes",
        "acknowledged",
        "epoch",
        "form",
        "newest",
    )

    def __init__(self, form: str, items: int, limit_bytes: int, epoch: str) -> None:
        self.form = form
        self.epoch = epoch
        self.acknowledged = 0
        self.newest = 0
        self._items_limit = items
        self._bytes_limit = limit_bytes
        self._streams: dict[int, StreamBounds] = {}
        self._serial = 0
        self._empty()

    def _empty(self) -> None:
        self._waiting: dict[int, Encoded] = {}  # by serial, in order
        self._sent: list[Encoded] = []  # the last of them has the number `newest`
        self._passing: list[bytes] | None = None  # the last of `_sent`, which were not taken yet
        self._again = 0  # the number from which on what was sent is to be sent again; 0: nothing is
        self._answers: dict[int, int] = {}  # watch id -> serial
        self._results: dict[int, None] = {}
        self._minds: StreamBounds | None = None
        self._touched: dict[StreamBounds, None] = {}  # streams of which something waits
        # What counts; what was sent; what waits, whether it counts or not.
        self._items = self._bytes = self._sent_bytes = self._waiting_bytes = 0
        self._lagged = False

    # --- the transport's side ---

    @property
    def cursor(self) -> str:
        """What the next delivery to be taken comes after."""
        self._hold()
        return cursor_text(self.epoch, self._again - 1 if self._again else self.newest)

    @property
    def pending(self) -> bool:
        """Whether `take` would return something."""
        if self._lagged or self._again or self._passing:
            return True
        if self._waiting:
            for entry in self._waiting.values():
                return self._has_room(entry.cost)
        return False

    @property
    def held(self) -> tuple[int, int]:
        """Items and bytes that count now."""
        self._hold()
        return self._items, self._bytes

    def take(self, limit_bytes: int) -> list[bytes]:
        """Return encoded messages to be sent now, at most ``limit_bytes`` unless the first alone is larger."""
        waiting, passing = self._waiting, self._passing
        if passing is not None:
            if len(passing) == 1 or self._sent_bytes <= limit_bytes:
                self._passing = None
                return passing
            self._hold()
        if self._lagged or self._again:
            return self._take_again(limit_bytes)
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
        if self._passing is not None and seq > self.newest - len(self._passing):
            self._hold()
        if seq > self.newest:
            raise RemoteProtocolError(
                f"delivery {seq} was acknowledged, {self.newest} is the newest"
            )
        before = self.newest - len(self._sent)
        if seq <= before:
            return Acknowledged([], [])
        gone = self._sent[: seq - before]
        del self._sent[: seq - before]
        tally = tally_of(gone)
        for stream_id, count, size in tally.items:
            stream = self._streams.get(stream_id)
            if stream is None:
                continue
            if (
                stream.since > before
            ):  # the first of them were of a stream before it, with the same number
                count, size = items_of(gone[stream.since - before :], stream_id)
            stream.items -= count
            stream.size -= size
        for call_id in tally.calls:
            self._results.pop(call_id, None)
        self._items -= len(gone)
        self._bytes -= tally.size
        self._sent_bytes -= tally.size
        if self._again and self._again <= seq:
            self._again = seq + 1 if seq < self.newest else 0
        self.acknowledged = seq
        return Acknowledged(list(tally.calls), list(tally.ended))

    def rewind(self, seq: int) -> bool:
        """Send everything after number ``seq`` again. Returns False, and changes nothing, if not all of it is here."""
        self._hold()
        if not self.acknowledged <= seq <= self.newest:
            return False
        self._again = seq + 1 if seq < self.newest else 0
        return True

    # --- what waits ---

    def _append(self, entry: Encoded) -> int:
        serial = self._serial = self._serial + 1
        self._waiting[serial] = entry
        self._waiting_bytes += entry.cost
        if entry.counts:
            self._items += 1
            self._bytes += entry.cost
        return serial

    def _let_wait(self, stream: StreamBounds, entries: Sequence[Encoded], size: int) -> None:
        self._waiting_bytes += size
        self._touched[stream] = None
        count, serial = len(entries), self._serial + 1
        if count == 1:
            self._waiting[serial] = entries[0]
            stream.waiting.append(serial)
        else:
            serials = range(serial, serial + count)
            self._waiting.update(zip(serials, entries, strict=True))
            stream.waiting += serials
        self._serial += count

    def _mind_waits(self, serial: int) -> None:
        minds = self._of_minds()
        minds.waiting.append(serial)
        self._touched[minds] = None

    def _remove(self, serial: int) -> None:
        """Drop an answer or a gap that waits."""
        self._waiting_bytes -= self._waiting.pop(serial).cost

    def _fits(self, count: int, size: int) -> bool:
        return self._items + count <= self._items_limit and self._bytes + size <= self._bytes_limit

    def _stream_of(self, entry: Encoded) -> StreamBounds | None:
        if entry.kind is MindCall or entry.id == 0:
            return self._of_minds()
        return self._streams.get(entry.id)

    def _of_minds(self) -> StreamBounds:
        minds = self._minds
        if minds is None:
            minds = self._minds = StreamBounds(_NO_BOUND, _NO_BOUND, "lag", 0)
        return minds

    # --- what passes ---

    def pass_on(self) -> list[bytes] | None:
        """Do the same as `take` where one delivery was numbered and nothing waits behind it; else return None."""
        passing = self._passing
        if passing is None or len(passing) > 1:
            return None
        self._passing = None
        return passing

    def _pass(self, entries: Sequence[Encoded], size: int) -> bool:
        if self._waiting or self._passing is not None or self._again or self._lagged:
            return False
        sent = self._sent
        items, total = len(sent) + len(entries), self._sent_bytes + size
        # All that counts was sent: so this is the rule of `take`, and stricter than that of `_fits`.
        if (items - 1) * 2 >= self._items_limit or total * 2 > self._bytes_limit:
            return False
        sent += entries
        self._items = items
        self._bytes = self._sent_bytes = total
        first = self.newest + 1
        self._passing = numbered(entries, first, self.form)
        self.newest = first + len(entries) - 1
        return True

    def _hold(self) -> None:
        """Let what is passing wait, as if it had not been numbered."""
        if self._passing is None:
            return
        count = len(self._passing)
        self._passing = None
        self.newest -= count
        entries = self._sent[-count:]
        del self._sent[-count:]
        size = sum(entry.cost for entry in entries)
        self._sent_bytes -= size
        first = entries[0]
        if first.kind is Item:
            self._let_wait(self._streams[first.id], entries, size)
            return
        self._items -= 1
        self._bytes -= size
        serial = self._append(first)
        if first.kind is Answer:
            self._answers[first.id] = serial
        elif first.kind is MindCall:
            self._mind_waits(serial)

    # --- taking ---

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
