"""From bytes to plain values and references: the reading half of the value codec (`hubbub.space.codec`).

Reading never imports and runs no code of the application's classes (SP3). Whatever the bytes are, the outcome is a
value or `CorruptRecordError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from hubbub.kernel import CorruptRecordError, HubbubError
from hubbub.space import scalars
from hubbub.space.classes import find_class, has_own_hash
from hubbub.space.shapes import KINDS, UnfitError, shape_of
from hubbub.space.unknown import UnknownValue
from hubbub.space.writing import FROZENSET, PAIRS, REF, SET, SIMPLE, TUPLE

ObjectOf = Callable[[int, str], Any]
"""Returns the persistent object with this oid, as a ghost of the class of this name if it is not awake."""

_NATIVE_MUTABLE = frozenset((list, dict))
_Named = tuple[str, dict[str, Any]]


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """A decoded value, and what is in it.

    Attributes:
        value: The value; for a state, a dict of attributes.
        has_mutable: Whether it holds a plain value that can be changed in place: a list, dict, set, bytearray, unfrozen
            struct or dataclass (SP8). The dict of a state itself does not count.
        has_refs: Whether it holds a reference to a persistent object.
    """

    value: Any
    has_mutable: bool
    has_refs: bool

    @property
    def is_shareable(self) -> bool:
        """Whether all connections may use this one value."""
        return not (self.has_mutable or self.has_refs)


class Reader:
    """Decodes one value after the other. Not for two threads at once.

    Attributes:
        object_of: Makes references; to be set before each use.
        has_mutable, has_refs: As in `Decoded`, of all that was read since they were reset.
    """

    __slots__ = (
        "_any",
        "_as_unknown",
        "_in_key",
        "_items",
        "_named",
        "_pairs",
        "_state",
        "has_mutable",
        "has_refs",
        "object_of",
    )

    def __init__(self) -> None:
        hook = self._extension
        decoder = msgspec.msgpack.Decoder
        self._any = decoder(Any, ext_hook=hook).decode
        self._items = decoder(tuple[Any, ...], ext_hook=hook).decode
        self._pairs = decoder(tuple[msgspec.Raw, list[Any]], ext_hook=hook).decode
        self._named = decoder(_Named, ext_hook=hook).decode
        self._state = decoder(dict[str, Any], ext_hook=hook).decode
        self._as_unknown = 0
        self._in_key = 0
        self.has_mutable = False
        self.has_refs = False
        self.object_of: ObjectOf = _no_objects

    def value(self, data: Any) -> Any:
        """Return the value that ``data`` encodes. Raises anything if it is damaged: see `reading`."""
        value = self._any(data)
        if type(value) in _NATIVE_MUTABLE:
            self.has_mutable = True
        return value

    def state(self, data: Any) -> dict[str, Any]:
        """Return the attributes that ``data`` encodes. Raises anything if it is damaged."""
        state: dict[str, Any] = self._state(data)
        self._look_into(state.values())
        return state

    def state_as_stored(self, data: Any) -> dict[str, Any]:
        """As `state`, with every value that has a class as an `UnknownValue`: it is written back byte for byte."""
        self._as_unknown += 1
        return self.state(data)

    def reset(self) -> None:
        """Forget what was seen."""
        self.has_mutable = self.has_refs = False
        self._as_unknown = self._in_key = 0
        self.object_of = _no_objects

    def _look_into(self, values: Any) -> None:
        # A list or dict that stands in something else is seen here; deeper ones are inside a mutable value anyway.
        if not _NATIVE_MUTABLE.isdisjoint(map(type, values)):
            self.has_mutable = True

    def _extension(self, code: int, data: memoryview) -> Any:
        read = _readers.get(code)
        if read is None:
            raise CorruptRecordError(f"there is no extension type {code}")
        return read(self, data)

    # --- by code ------------------------------------------------------------------------------------------------------

    def read_tuple(self, data: Any) -> tuple[Any, ...]:
        """Read a tuple."""
        items: tuple[Any, ...] = self._items(data)
        if not SIMPLE.issuperset(map(type, items)):
            self._look_into(items)
        return items

    def read_reference(self, data: memoryview) -> Any:
        """Read a reference."""
        self.has_refs = True
        name = str(data[8:], "utf-8")
        if len(data) < 9:
            raise CorruptRecordError("a reference is cut off")
        found = self.object_of(int.from_bytes(data[:8], "big"), name)
        if self._in_key and has_own_hash(type(found)):
            raise CorruptRecordError(f"a {name}, which has a hash of its own, is used as a key")
        return found

    def _keys(self, data: Any) -> tuple[Any, ...]:
        self._in_key += 1
        try:
            return self.read_tuple(data)
        finally:
            self._in_key -= 1

    def read_set(self, data: memoryview) -> set[Any]:
        """Read a set."""
        self.has_mutable = True
        return set(self._keys(data))

    def read_frozenset(self, data: memoryview) -> frozenset[Any]:
        """Read a frozenset."""
        return frozenset(self._keys(data))

    def read_pairs(self, data: memoryview) -> dict[Any, Any]:
        """Read a dict with keys that a map can't have."""
        self.has_mutable = True
        raw, values = self._pairs(data)
        return dict(zip(self._keys(raw), values, strict=True))

    def read_bytearray(self, data: memoryview) -> bytearray:
        """Read a bytearray."""
        self.has_mutable = True
        return bytearray(data)

    def read_named(self, code: int, data: memoryview) -> Any:
        """Read a value with named parts."""
        if not self._as_unknown:
            name, parts = self._named(data)
            cls = find_class(name)
            if cls is not None:
                try:
                    shape = shape_of(cls)
                    if shape.code == code:
                        value = shape.make(parts)
                        if not shape.is_frozen:
                            self.has_mutable = True
                        elif not SIMPLE.issuperset(map(type, parts.values())):
                            self._look_into(parts.values())
                        return value
                except UnfitError:
                    pass
        # Once more, with all that is inside in the same form: so it is written back as it is.
        self._as_unknown += 1
        try:
            name, parts = self._named(data)
        finally:
            self._as_unknown -= 1
        self._look_into(parts.values())
        return UnknownValue(name, KINDS[code], parts)


_Read = Callable[[Reader, memoryview], Any]


def _scalar_reader(from_bytes: Callable[[bytes], Any]) -> _Read:
    return lambda _reader, data: from_bytes(bytes(data))


def _named_reader(code: int) -> _Read:
    return lambda reader, data: reader.read_named(code, data)


_readers: dict[int, _Read] = {
    **{code: _scalar_reader(how) for code, how in scalars.READERS.items()},
    **{code: _named_reader(code) for code in KINDS},
    REF: Reader.read_reference,
    TUPLE: Reader.read_tuple,
    SET: Reader.read_set,
    FROZENSET: Reader.read_frozenset,
    PAIRS: Reader.read_pairs,
    scalars.BYTEARRAY: Reader.read_bytearray,
}


def _no_objects(oid: int, name: str) -> Any:
    raise CorruptRecordError(f"a reference to {name} {oid:#x} where none can be")


# Readers that nobody uses now. Taking and giving back are atomic, so threads share them.
_spare: list[Reader] = []


def read(how: Callable[[Reader], Any], object_of: ObjectOf) -> Decoded:
    """Call ``how`` with a reader and return what it made.

    Raises:
        CorruptRecordError: If the bytes are damaged.
        HubbubError: What ``object_of`` raises.
    """
    try:
        reader = _spare.pop()
    except IndexError:
        reader = Reader()
    reader.object_of = object_of
    try:
        value = how(reader)
        return Decoded(value, reader.has_mutable, reader.has_refs)
    except HubbubError:
        raise
    except RecursionError:
        raise CorruptRecordError("a value is nested too deep") from None
    except Exception as error:
        # Whatever nonsense the bytes made some constructor say.
        raise CorruptRecordError(f"a value can't be decoded: {error!r}") from error
    finally:
        reader.reset()
        _spare.append(reader)


def decode_value(data: bytes | memoryview, object_of: ObjectOf) -> Decoded:
    """Decode what `encode_value` wrote.

    Raises:
        CorruptRecordError: If the bytes are damaged.
        HubbubError: What ``object_of`` raises.
    """
    return read(lambda reader: reader.value(data), object_of)


def decode_state(data: bytes | memoryview, object_of: ObjectOf) -> Decoded:
    """Decode what `encode_state` wrote: `Decoded.value` is a new dict of attributes. Raises as `decode_value`."""
    return read(lambda reader: reader.state(data), object_of)
