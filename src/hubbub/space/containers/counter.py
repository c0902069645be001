"""Counter: a number to which many add at once, without a conflict. And how `BTrees.Length` is stored."""

from __future__ import annotations

import operator
from typing import Any, Self, SupportsIndex

from BTrees.Length import Length

from hubbub.kernel import CorruptRecordError, Record
from hubbub.space.classes import register
from hubbub.space.containers.attributes import check_attribute, note_assignment
from hubbub.space.persistent import Persistent
from hubbub.space.reading import ObjectOf, decode_state
from hubbub.space.states import use_codec
from hubbub.space.writing import Encoded, RefOf, encode_state

_FIELDS = ("_value", "_settings")


class Counter(Persistent, name="hubbub.Counter"):
    """A whole number that is shared: ``room.visits += 1``, ``room.visits.add(5)``, ``int(room.visits)``.

    Cost: a change writes a record of its own, of some 40 bytes; nothing of the object that holds the counter.
    Transactions that add at the same time never conflict: what they have added is added up. `set` is different: it
    conflicts with whatever was committed meanwhile; what others add meanwhile is added to what was set.

    ``room.visits += 1`` is a change of the counter. ``room.visits = 1`` replaces it.

    It is true unless it is 0. Like every persistent object it equals only itself; compare ``counter.value``.

    Args:
        value: Where it begins.
    """

    _value: int
    _settings: int

    def __init__(self, value: SupportsIndex = 0) -> None:
        self._value = operator.index(value)
        self._settings = 0

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(self, name, _FIELDS)
        super().__setattr__(name, value)

    @property
    def value(self) -> int:
        """The number."""
        return self._value

    def add(self, number: SupportsIndex = 1) -> None:
        """Add a whole ``number``, which may be negative. Nothing is written for 0.

        Raises:
            TypeError: If it is no whole number; nothing has changed.
        """
        step = operator.index(number)
        if step:
            self._value += step

    def set(self, number: SupportsIndex) -> None:
        """Make it ``number``, whatever it was.

        Raises:
            TypeError: If it is no whole number; nothing has changed.
        """
        value = operator.index(number)
        self._settings += 1
        self._value = value

    def __iadd__(self, number: SupportsIndex) -> Self:
        self.add(number)
        note_assignment(self)
        return self

    def __isub__(self, number: SupportsIndex) -> Self:
        self.add(-operator.index(number))
        note_assignment(self)
        return self

    def __int__(self) -> int:
        return self._value

    __index__ = __int__

    def __float__(self) -> float:
        return float(self._value)

    def __bool__(self) -> bool:
        return self._value != 0

    def __str__(self) -> str:
        return str(self._value)

    def __format__(self, spec: str) -> str:
        return format(self._value, spec)


class _CounterCodec:
    """Payload: ``{"value": n}``, and ``"settings": n`` once it was set."""

    def encode(self, obj: Counter, ref_of: RefOf) -> Encoded:
        obj._p_activate()
        state = {"value": obj._value}
        if obj._settings:
            state["settings"] = obj._settings
        return encode_state(state, ref_of, type(obj).__qualname__)

    def fill(self, obj: Counter, record: Record, object_of: ObjectOf) -> bool:
        value, settings = read_count(record)
        obj.__setstate__({"_value": value, "_settings": settings})
        return False


class _LengthCodec:
    """Payload: as of a `Counter`."""

    def encode(self, obj: Any, ref_of: RefOf) -> Encoded:
        return encode_state({"value": obj.__getstate__()}, ref_of, type(obj).__qualname__)

    def fill(self, obj: Any, record: Record, object_of: ObjectOf) -> bool:
        obj.__setstate__(read_count(record)[0])
        return False


def read_count(record: Record) -> tuple[Any, int]:
    """Return the number that ``record`` of a counter or length holds, and how often it was set.

    Raises:
        CorruptRecordError: If it holds none.
    """
    state = decode_state(record.payload, _no_objects).value
    value, settings = state.get("value"), state.get("settings", 0)
    if type(value) not in (int, float) or type(settings) is not int:
        raise CorruptRecordError("a counter without a number")
    return value, settings


def _no_objects(_oid: int, name: str) -> Any:
    raise CorruptRecordError(f"a counter that refers to a {name}")


def merge_counts(
    old: Record, committed: Record, new: Record
) -> tuple[bytes, tuple[int, ...]] | str:
    """Return the record to which both have added; see `hubbub.space.containers.merge`."""
    before, theirs, ours = map(read_count, (old, committed, new))
    if ours[1] != before[1]:
        return "it was set to a number while others changed it"
    state = {"value": theirs[0] + ours[0] - before[0]}
    if theirs[1]:
        state["settings"] = theirs[1]
    return encode_state(state, _no_oid)[:2]


def _no_oid(obj: Any) -> int:
    raise CorruptRecordError(f"a counter that refers to {obj!r}")


register(Length)
use_codec(Counter, _CounterCodec())
use_codec(Length, _LengthCodec())
