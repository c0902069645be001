"""Log: items are only added, at the end; cheap at any length; additions never conflict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from hubbub.space import context
from hubbub.space.containers.attributes import check_attribute
from hubbub.space.containers.changes import CLEARED, FIRST
from hubbub.space.containers.loghead import HeadCodec, end_of, front_of
from hubbub.space.containers.parts import (
    Inline,
    Part,
    by_object,
    by_oid,
    chunks,
    folded,
    opened,
    sealed,
)
from hubbub.space.persistent import Persistent
from hubbub.space.states import use_codec
from hubbub.space.writing import Encoded, examine_value

T = TypeVar("T")

INLINE_BYTES = 512
"""What the head may hold of former transactions; more is sealed by the next one."""

OWN_BYTES = 1024
"""What a transaction may leave in the head; more it seals itself, so that the next one need not write it again."""

CHUNK_BYTES = 4096
"""How much goes into one chunk when many items are added at once."""

_FIELDS = ("_parts", "_end", "_start", "_first")
_set_changed = Persistent._p_changed.__set__


class Log(Persistent, Generic[T], name="hubbub.Log"):
    """A sequence that only grows at its end, and may be trimmed at its beginning.

    Every item has a *position*, counted from 0 and never changed: what is trimmed stays counted. Whoever remembers a
    position can read on from there with `since`, without a clock, and nothing is skipped.

    Cost: an addition writes its own bytes and about a kilobyte, at any length. ``last(n)`` touches only what holds
    these. Two transactions that add at the same time merge; the later one's items come behind the earlier one's.

    Attributes:
        first: Position of the first item that is kept.
        end: Position that the next item will get.
    """

    _start: int
    _first: int
    _end: int
    _parts: tuple[Any, ...]
    _p_changed: Any

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._start = 0
        self._first = 0
        self._end = 0
        self._parts = ()
        self.extend(items)

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(self, name, _FIELDS)
        super().__setattr__(name, value)

    @property
    def first(self) -> int:
        """Position of the first item that is kept."""
        return self._first

    @property
    def end(self) -> int:
        """Position that the next item will get."""
        return self._end

    # --- adding -------------------------------------------------------------------------------------------------------

    def append(self, item: T) -> None:
        """Add ``item`` at the end, with the transaction's time.

        Raises:
            UnstorableError: If it can't be stored; nothing has changed.
        """
        encoded = examine_value(item, _any_oid, f"{type(self).__qualname__} item")
        self._add((item,), (encoded,))

    def extend(self, items: Iterable[T]) -> None:
        """Add ``items`` at the end, in order, with the transaction's time. Raises as `append`; all or none."""
        added = list(items)
        if added:
            where = f"{type(self).__qualname__} item"
            self._add(added, [examine_value(item, _any_oid, where) for item in added])

    def _add(self, items: Sequence[T], encoded: Sequence[Encoded]) -> None:
        own_from = self._begin()
        now = context.now()
        jar = self._p_jar
        # Awake and registered: from here on it is this dict that changes.
        state = self.__dict__
        noted = {} if jar is None else jar.note_change(self, FIRST, state["_first"])
        parts = state["_parts"]
        inline = parts[-1] if parts else None
        for item, (data, refs, has_mutable) in zip(items, encoded, strict=True):
            end = state["_end"]
            noted[end] = item
            if type(inline) is not Inline:
                inline = Inline([], [], 0, bytearray())
                state["_parts"] = (*state["_parts"], inline)
            inline.add(now, item, data, is_final=not (refs or has_mutable))
            state["_end"] = end + 1
            if inline.byte_count > CHUNK_BYTES:
                self._seal_own(own_from)
                inline = state["_parts"][-1]
        if type(inline) is Inline and inline.byte_count > OWN_BYTES:
            self._seal_own(own_from)

    def _begin(self) -> int:
        """Tell the connection, which may refuse; tidy up what former transactions left.

        Returns:
            The position from which on items are this transaction's own.
        """
        self._p_activate()
        if self._p_changed:
            # A new object is changed from the beginning, and all its own.
            own_from: int = self.__dict__.get("_v_own_from", 0)
            return own_from
        _set_changed(self, True)
        state = self.__dict__
        end: int = state["_end"]
        jar = self._p_jar
        if jar is not None:
            found = jar.found(self)
            if found is not None:
                # A savepoint has put it aside: some of its items are this transaction's own already.
                own_from = state["_v_own_from"] = end_of(found) if found.payload else 0
                return own_from
        state["_v_own_from"] = end
        parts = state["_parts"]
        front = front_of(state)
        if front is None:
            parts = by_oid(parts)
        last = parts[-1] if parts else None
        if (type(last) is Inline and last.byte_count > INLINE_BYTES) or (
            # Merged in front of sealed parts.
            front is None and Inline in map(type, parts[:-1])
        ):
            whole = [
                sealed(part.times, part.items, part.packed) if type(part) is Inline else part
                for part in parts
            ]
            parts = tuple(folded(whole, 0))
        state["_parts"] = parts
        return end

    def hubbub_detach(self, lost: Mapping[int, Any]) -> None:
        """See `by_object`."""
        self.__dict__["_parts"] = by_object(self._parts, lost)

    def _seal_own(self, own_from: int) -> None:
        """Seal what this transaction has added, apart from what was there before: so it can be merged."""
        *rest, inline = self._parts
        begin = max(0, own_from - (self._end - inline.length))
        if begin:
            kept = Inline(inline.times[:begin], inline.items[:begin], INLINE_BYTES)
            rest.append(kept)
        rest.append(sealed(inline.times[begin:], inline.items[begin:]))
        position, first_own = self._start, 0
        for part in rest:
            if position >= own_from:
                break
            position += part.length
            first_own += 1
        self._parts = tuple(folded(rest, first_own))

    # --- reading ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return how many items are kept."""
        return self._end - self._first

    def _range(self, low: int, high: int) -> Iterator[T]:
        low, high = max(low, self._first), min(high, self._end)
        for begin, chunk in chunks(self._parts, self._start, low, high, self._p_jar):
            yield from chunk.items[max(0, low - begin) : high - begin]

    def last(self, count: int) -> list[T]:
        """Return the newest ``count`` items, or all if there are fewer, the newest last."""
        return list(self._range(self._end - max(0, count), self._end))

    def since(self, position: int, limit: int | None = None) -> tuple[list[T], int]:
        """Return the items from ``position`` on, and the position to go on from.

        Items that were trimmed are not there any more: what is returned begins with the first kept one. Compare
        ``position`` with `first` to find out.

        Args:
            position: 0, or what an earlier call returned.
            limit: How many items at most; None for all.
        """
        low = max(position, self._first)
        high = self._end if limit is None else min(self._end, low + max(0, limit))
        return list(self._range(low, high)), max(low, high)

    def __getitem__(self, index: int | slice) -> Any:
        """Return the item at a position, or counted from the end if it is negative; a slice gives a list.

        Raises:
            IndexError: If it was trimmed or is not there yet.
        """
        if isinstance(index, slice):
            if index.step not in (None, 1):
                return list(self._range(*self._absolute(index)))[:: index.step]
            return list(self._range(*self._absolute(index)))
        position = index + self._end if index < 0 else index
        if not self._first <= position < self._end:
            raise IndexError(
                f"there is no item {index}: kept are {self._first} to {self._end - 1}"
                if self._first < self._end
                else f"there is no item {index}: the log is empty"
            )
        for item in self._range(position, position + 1):
            return item
        raise AssertionError("a log's parts don't cover its positions")

    def _absolute(self, wanted: slice) -> tuple[int, int]:
        low = self._first if wanted.start is None else wanted.start
        high = self._end if wanted.stop is None else wanted.stop
        return low + self._end if low < 0 else low, high + self._end if high < 0 else high

    def __iter__(self) -> Iterator[T]:
        return self._range(self._first, self._end)

    def __reversed__(self) -> Iterator[T]:
        low, high = self._first, self._end
        for begin, chunk in chunks(
            self._parts, self._start, low, high, self._p_jar, backwards=True
        ):
            yield from reversed(chunk.items[max(0, low - begin) : high - begin])

    # --- trimming -----------------------------------------------------------------------------------------------------

    def trim(self, *, before: float | None = None, keep: int | None = None) -> int:
        """Forget items at the beginning. Both bounds may be given: what either forgets is forgotten.

        Args:
            before: Forget the items that were added before this time (Unix time, seconds), up to the first
                that was not.
            keep: Forget all but the newest this many.

        Returns:
            How many were forgotten.
        """
        first = self._first
        if keep is not None:
            first = max(first, self._end - max(0, keep))
        if before is not None:
            first = max(first, self._first_since(before))
        forgotten = first - self._first
        if forgotten:
            jar = self._p_jar
            self._begin()
            if jar is not None:
                jar.note_change(self, CLEARED, None)
            self._drop(first)
        return forgotten

    def _first_since(self, before: float) -> int:
        """Return the position of the first kept item that is not older than ``before``."""
        position = self._start
        parts = list(self._parts)
        while parts:
            part = parts.pop(0)
            if part.newest < before or position + part.length <= self._first:
                position += part.length
            elif isinstance(part, Part) and part.level:
                parts[:0] = opened(part, self._p_jar).parts
            else:
                times = part.times if isinstance(part, Inline) else opened(part, self._p_jar).times
                for offset, time in enumerate(times):
                    if time >= before and position + offset >= self._first:
                        return position + offset
                position += part.length
        return self._end

    def _drop(self, first: int) -> None:
        """Let go of all that is before ``first``, down to single chunks."""
        parts = list(self._parts)
        start = self._start
        while parts and start < first:
            part = parts[0]
            if start + part.length <= first:
                start += part.length
                parts.pop(0)
            elif isinstance(part, Inline):
                gone = first - start
                rest = Inline(part.times[gone:], part.items[gone:], part.byte_count)
                parts[0] = rest
                start = first
            elif part.level:
                parts[:1] = opened(part, self._p_jar).parts
            else:
                break
        self._first, self._start, self._parts = first, start, tuple(parts)


def forget_encoded(log: Log[Any]) -> None:
    """Have the items in the head of ``log`` encoded anew when it is stored, where it would take them as they were."""
    log._p_activate()
    for part in log._parts:
        if isinstance(part, Inline):
            part.packed = None


def _any_oid(_obj: Any) -> int:
    return 0


use_codec(Log, HeadCodec())
