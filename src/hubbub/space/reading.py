"""From bytes to plain values and references: the reading half of the value codec (`hubbub.space.codec`).

Reading never imports and runs no code of the application's classes (SP3). Whatever the bytes are, the outcome is a
value or `CorruptRecordError`.

Theory of operation
===================

One call of msgspec decodes what MessagePack has; it calls back for each extension. A state of a class whose attributes
are known from its last record is decoded as these (`StateDecoder`): msgspec takes each name from the class then, and
the dict that it makes can be the object's own. It leaves out names that it was not told, so the attributes are counted;
if one is missing the state is decoded once more, as any map.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any, TypedDict

import msgspec

from hubbub.kernel import CorruptRecordError, HubbubError
from hubbub.space import scalars
from hubbub.space.classes import find_class, has_own_hash
from hubbub.space.opaque import OpaqueReferences
from hubbub.space.schema import Schema, refuse_stamp
from hubbub.space.shapes import CODED, KINDS, OlderVersionError, UnfitError, shape_for
from hubbub.space.stamping import encode_parts
from hubbub.space.unknown import UnknownValue, note_unknown
from hubbub.space.weak import WeakRef, weak_reference
from hubbub.space.writing import FROZENSET, PAIRS, REF, SET, SIMPLE, TUPLE, WEAK_REF

ObjectOf = Callable[[int, str], Any]
"""Returns the persistent object with this oid, as a ghost of the class of this name if it is not awake."""

_NATIVE_MUTABLE = frozenset((list, dict))
_has_no_mutable = _NATIVE_MUTABLE.isdisjoint
_number = struct.Struct(">Q").unpack_from
# Class names as references have them. Bounded: what damaged bytes say comes here too.
_class_names: dict[bytes, str] = {}
_CLASS_NAMES = 10_000
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

    Args:
        state_type: What a state is to msgspec, which leaves out what is not in it.

    Attributes:
        attributes: Decodes a map of attributes, without a look at what is in it.
        object_of: Makes references; to be set before each use.
        has_mutable, has_refs: As in `Decoded`, of all that was read since they were reset.
    """

    __slots__ = (
        "_any",
        "_as_unknown",
        "_in_key",
        "_is_search",
        "_items",
        "_named",
        "_pairs",
        "attributes",
        "has_mutable",
        "has_refs",
        "object_of",
    )

    def __init__(self, state_type: Any = dict[str, Any]) -> None:
        hook = self._extension
        decoder = msgspec.msgpack.Decoder
        self._any: Callable[[Any], Any] = decoder(Any, ext_hook=hook).decode
        self._items = decoder(tuple[Any, ...], ext_hook=hook).decode
        self._pairs = decoder(tuple[msgspec.Raw, list[Any]], ext_hook=hook).decode
        self._named = decoder(_Named, ext_hook=hook).decode
        self.attributes = decoder(state_type, ext_hook=hook).decode
        self._as_unknown = 0
        self._in_key = 0
        self._is_search = False
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
        state: dict[str, Any] = self.attributes(data)
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
        self._is_search = False
        self.object_of = _no_objects

    def _look_into(self, values: Any) -> None:
        # A list or dict that stands in something else is seen here; deeper ones are inside a mutable value anyway.
        if not _has_no_mutable(map(type, values)):
            self.has_mutable = True

    def _extension(self, code: int, data: memoryview) -> Any:
        if code == REF and not self._in_key:
            # As `read_reference`, where the name is a known one.
            raw = data.tobytes()
            name = _class_names.get(raw[8:])
            if name is not None:
                self.has_refs = True
                return self.object_of(_number(raw)[0], name)
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
        if len(_class_names) < _CLASS_NAMES:
            _class_names[bytes(data[8:])] = name
        found = self.object_of(int.from_bytes(data[:8], "big"), name)
        if self._in_key and has_own_hash(type(found)):
            raise CorruptRecordError(f"a {name}, which has a hash of its own, is used as a key")
        return found

    def read_weak_reference(self, data: memoryview) -> WeakRef[Any]:
        """Read a weak reference."""
        self.has_refs = True
        name = str(data[8:], "utf-8")
        if len(data) < 9:
            raise CorruptRecordError("a weak reference is cut off")
        if self._is_search:
            return _NOWHERE
        return weak_reference(self.object_of(int.from_bytes(data[:8], "big"), name))

    def references(self, data: Any) -> None:
        """Call ``object_of`` for each reference in what ``data`` encodes, weak ones left out."""
        # As stored: no values are made of classes that have a say in it.
        self._as_unknown += 1
        self._is_search = True
        self._any(data)

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
        misfit = ""
        if not self._as_unknown:
            had_mutable = self.has_mutable
            name, parts = self._named(data)
            cls = find_class(name)
            if cls is not None:
                try:
                    shape = shape_for(cls, code)
                    try:
                        value = shape.make(parts)
                    except OlderVersionError:
                        assert shape.schema is not None
                        parts = self._upgraded(shape.schema, data)
                        value = shape.make(parts)
                    if not shape.is_frozen:
                        self.has_mutable = True
                    elif code == CODED:
                        self.has_mutable = had_mutable
                    elif not SIMPLE.issuperset(map(type, parts.values())):
                        self._look_into(parts.values())
                    return value
                except UnfitError as error:
                    misfit = str(error)
            note_unknown(name, KINDS[code], misfit)
        # Once more, with all that is inside in the same form: so it is written back as it is.
        self._as_unknown += 1
        try:
            name, parts = self._named(data)
        finally:
            self._as_unknown -= 1
        self._look_into(parts.values())
        return UnknownValue(name, KINDS[code], parts, misfit)

    def _upgraded(self, schema: Schema, data: memoryview) -> dict[str, Any]:
        """Return the parts of a value as its class has them now (SP7). Its steps see no objects, only references."""
        object_of, self.object_of = self.object_of, OpaqueReferences()
        try:
            parts = schema.upgraded(self._named(data)[1])
        finally:
            self.object_of = object_of
        encoded, _, _ = encode_parts(schema, parts)
        current: dict[str, Any] = self._any(encoded)
        return current


_Read = Callable[[Reader, memoryview], Any]


def _scalar_reader(from_bytes: Callable[[bytes], Any]) -> _Read:
    return lambda _reader, data: from_bytes(bytes(data))


def _named_reader(code: int) -> _Read:
    return lambda reader, data: reader.read_named(code, data)


_readers: dict[int, _Read] = {
    **{code: _scalar_reader(how) for code, how in scalars.READERS.items()},
    **{code: _named_reader(code) for code in KINDS},
    REF: Reader.read_reference,
    WEAK_REF: Reader.read_weak_reference,
    TUPLE: Reader.read_tuple,
    SET: Reader.read_set,
    FROZENSET: Reader.read_frozenset,
    PAIRS: Reader.read_pairs,
    scalars.BYTEARRAY: Reader.read_bytearray,
}


# What a search for references has in the place of weak ones.
_NOWHERE = weak_reference(None)


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
    except Exception as error:
        raise _as_corruption(error) from error
    finally:
        reader.reset()
        _spare.append(reader)


def _as_corruption(error: Exception) -> HubbubError:
    """Return the error to raise where ``error`` came out of a decoder."""
    if isinstance(error, HubbubError):
        return error
    if isinstance(error, RecursionError):
        return CorruptRecordError("a value is nested too deep")
    # Whatever nonsense the bytes made some constructor say.
    return CorruptRecordError(f"a value can't be decoded: {error!r}")


def note_references(data: Any, refs: dict[int, None]) -> None:
    """Add the oids that an encoded value refers to, weak references left out. Raises as `decode_value`."""

    def note(oid: int, _name: str) -> Any:
        refs[oid] = None
        return _Passed()

    read(lambda reader: reader.references(data), note)


class _Passed:
    """Stands for a persistent object that is only passed by."""


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


class StateDecoder:
    """Decodes states of one class: as `decode_state`, faster for names that it has met.

    Its dicts have interned names, as an object's own dict wants them. Threads may share it.

    Args:
        class_name: Stored name of the class.
        stamped: Let states say versions (`hubbub.space.schema`).
    """

    __slots__ = ("_class_name", "_known", "_names", "_spare", "_stamped")

    def __init__(self, class_name: str = "object", *, stamped: bool = False) -> None:
        self._class_name = class_name
        self._stamped = stamped
        self._names: frozenset[str] = frozenset()
        self._known: Any = None  # what msgspec makes of these names
        self._spare: list[Reader] = []

    def decode(self, data: bytes, object_of: ObjectOf) -> tuple[dict[str, Any], bool]:
        """Return a new dict of attributes, and whether it holds a plain mutable value. Raises as `decode_value`."""
        spare = self._spare
        try:
            reader = spare.pop()
        except IndexError:
            if self._known is None:
                return self._decode_anew(data, object_of)
            reader = Reader(self._known)
        reader.object_of = object_of
        reader.has_mutable = False
        try:
            state: dict[str, Any] = reader.attributes(data)
        except Exception as error:
            # The reader is not put back: it may be anywhere.
            raise _as_corruption(error) from error
        if len(state) != data[0] - _SMALL_MAP:
            return self._decode_anew(data, object_of)
        reader.object_of = _no_objects
        spare.append(reader)
        return state, reader.has_mutable or not _has_no_mutable(map(type, state.values()))

    def _decode_anew(self, data: bytes, object_of: ObjectOf) -> tuple[dict[str, Any], bool]:
        """Decode as any map, and learn the names; none of objects that have too many of them."""
        decoded = decode_state(data, object_of)
        state = {sys.intern(name): value for name, value in decoded.value.items()}
        if not self._stamped:
            # Here and not in `decode`: such a name is never learned.
            refuse_stamp(self._class_name, state)
        if len(state) <= _SMALL_MAP_LENGTH and len(self._names) <= _NAMES:
            self._names |= state.keys()
            known: Any = None
            if len(self._names) <= _NAMES:
                known = _typed_dict("known", dict.fromkeys(self._names, Any), total=False)
            self._known, self._spare = known, []
        return state, decoded.has_mutable


_typed_dict: Any = TypedDict
# MessagePack's first byte of a map of up to 15 pairs is this and their number.
_SMALL_MAP = 0x80
_SMALL_MAP_LENGTH = 15
_NAMES = 60
