"""Deliveries as bytes, all but their number: encoded once, and shared by every session that they go to.

A delivery begins with its kind and its number, in both forms; so its bytes are a head, the number, and a tail:

    {"t":"item","n":  7  ,"id":1,"value":"hello"}

The number is a session's own and is given when a transport takes the delivery. All else is made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from hubbub.wire.session import (
    Answer,
    Delivery,
    End,
    Failure,
    Gap,
    Item,
    MindCall,
    Result,
    encode,
)

OVERHEAD_BYTES: Final = 64
"""What a delivery counts beside its values."""

_KINDS: Final = (Result, Answer, Item, Gap, End, MindCall)


class Encoded:
    """A delivery without its number. It does not change.

    Attributes:
        kind: Which struct of `hubbub.wire.session` it was.
        id: Of the call, watch, stream or mind call.
        cost: About how many bytes it takes.
        counts: Whether it counts while it waits; else its owner keeps it, bounded, until it is acknowledged.
        head, tail: Its bytes before and after the number.
    """

    __slots__ = ("cost", "counts", "head", "id", "kind", "tail")

    def __init__(
        self,
        kind: type,
        id: int,  # noqa: A002 - the wire's word
        cost: int,
        counts: bool,
        head: bytes,
        tail: bytes,
    ) -> None:
        self.kind = kind
        self.id = id
        self.cost = cost
        self.counts = counts
        self.head = head
        self.tail = tail


class Run:
    """Items of one stream that were published together, with gaps where one could not be sent.

    Attributes:
        entries: The deliveries, in order.
        cost: Of all of them.
        is_whole: Whether there are items only.
    """

    __slots__ = ("cost", "entries", "is_whole")

    def __init__(self, entries: list[Encoded]) -> None:
        self.entries = entries
        self.cost = sum(entry.cost for entry in entries)
        self.is_whole = all(entry.kind is Item for entry in entries)


def encoded(delivery: Delivery, form: str, *, kept: bool = False) -> Encoded:
    """Return ``delivery``, whose number is 0, as bytes of ``form``. ``kept``: it does not count while it waits."""
    kind = type(delivery)
    data = encode(delivery, form)
    cut = _CUTS[form][kind]
    cost = _cost(kind, delivery)
    # A number of 0 takes one byte in either form.
    return Encoded(kind, delivery.id, cost, not kept, data[:cut], data[cut + 1 :])


def encoded_result(
    call_id: int, tid: str, value: bytes | None, failure: Failure | None, form: str
) -> Encoded:
    """Return the result of a call, which its owner keeps: as `encoded`, with less to do for each of many."""
    if value is None or failure is not None:
        raw: msgspec.Raw | msgspec.UnsetType = UNSET if value is None else Raw(value)
        return encoded(Result(0, call_id, tid, raw, failure), form, kept=True)
    data = encode(Result(0, call_id, tid, Raw(value)), form)
    cut = _CUTS[form][Result]
    size = OVERHEAD_BYTES + len(value)
    return Encoded(Result, call_id, size, False, data[:cut], data[cut + 1 :])


def numbered(entries: Sequence[Encoded], first: int, form: str) -> list[bytes]:
    """Return the whole bytes of ``entries``, which get the numbers from ``first`` on."""
    if len(entries) == 1:
        return [whole(entries[0], first, form)]
    if form == "json":
        return [b"%b%d%b" % (e.head, n, e.tail) for n, e in enumerate(entries, first)]
    return [e.head + _number(n) + e.tail for n, e in enumerate(entries, first)]


def whole(entry: Encoded, number: int, form: str) -> bytes:
    """Return the bytes of ``entry`` with its number: the same object, where the one before was the same.

    What many get, those who have got the same until now get with the same number.
    """
    global _last
    same, had, data = _last
    if same is entry and had == number:
        return data
    if form == "json":
        data = b"%b%d%b" % (entry.head, number, entry.tail)
    else:
        data = entry.head + _number(number) + entry.tail
    _last = (entry, number, data)
    return data


def _cost(kind: type, delivery: Any) -> int:
    if kind is Result or kind is Item:
        return OVERHEAD_BYTES + _length(delivery.value)
    if kind is Answer:
        return OVERHEAD_BYTES + _length(delivery.value) + _length(delivery.patch)
    if kind is MindCall:
        size = len(delivery.method) + _length(delivery.args) + _length(delivery.kwargs)
        return OVERHEAD_BYTES + size
    return OVERHEAD_BYTES


def _length(value: msgspec.Raw | msgspec.UnsetType) -> int:
    return 0 if value is msgspec.UNSET else len(memoryview(value))


def _cut(kind: type, form: str) -> int:
    """Return where the number begins in every delivery of ``kind``."""
    tag = len(str(kind.__struct_config__.tag))  # type: ignore[attr-defined]
    return len('{"t":"","n":') + tag if form == "json" else len(b"\x84\xa1t\xa4\xa1n") + tag


_last: tuple[Encoded | None, int, bytes] = (None, 0, b"")
_number = msgspec.msgpack.Encoder().encode
_CUTS: Final = {form: {kind: _cut(kind, form) for kind in _KINDS} for form in ("json", "msgpack")}
