"""From plain values and references to bytes: the writing half of the value codec (`hubbub.space.codec`).

A writer walks a value only as far as it must: a list or dict of simple values goes to msgspec as it is. Its walk keeps
no path; when something is refused, `hubbub.space.blame` walks again to find where.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import persistent
from msgspec.msgpack import Ext

from hubbub.kernel import UnstorableError
from hubbub.space import scalars
from hubbub.space.blame import MAX_DEPTH, Refusal, located
from hubbub.space.classes import class_name, has_own_hash
from hubbub.space.opaque import OpaqueReference
from hubbub.space.shapes import CODED, CODES, UnfitError, shape_of
from hubbub.space.unknown import UnknownValue
from hubbub.space.weak import WeakRef

REF, TUPLE, SET, FROZENSET, PAIRS, WEAK_REF = 1, 6, 7, 8, 9, 16

RefOf = Callable[[Any], int]
"""Gives a persistent object's oid; assigns one to a new object, or raises `UnstorableError`."""

SIMPLE = frozenset((type(None), bool, int, float, str, bytes))
_SAFE = SIMPLE - {int, str}

_encode = msgspec.msgpack.Encoder().encode
_number = struct.Struct(">Q").pack


class Writer:
    """Turns values into what msgspec can encode, collecting references. One per record.

    Args:
        ref_of: Gives oids.
        careful: Look at each int and str: some are too big, or not Unicode, for MessagePack. The caller tries without
            first, because msgspec finds out by itself.

    Attributes:
        refs: Oids met, each once, in order.
        has_mutable: Whether it met a plain value that can be changed in place (SP8).
        has_refs: Whether it met a reference, weak ones included.
    """

    __slots__ = ("_depth", "_in_key", "_plain", "has_mutable", "has_refs", "ref_of", "refs")

    def __init__(self, ref_of: RefOf, *, careful: bool = False) -> None:
        self.ref_of = ref_of
        self.refs: dict[int, None] = {}
        self._plain = _SAFE if careful else SIMPLE
        self._depth = 0
        self._in_key = 0
        self.has_mutable = False
        self.has_refs = False

    def packed(self, value: Any) -> Any:
        """Return ``value`` in a form that msgspec encodes. Raises `Refusal`."""
        cls = type(value)
        if cls in self._plain:
            return value
        write = _writers.get(cls)
        if write is None:
            write = _writer_for(cls)
        return write(self, value)

    def nested(self, values: Any) -> list[Any]:
        """Return the packed form of each of ``values``, one level deeper."""
        plain = self._plain
        if plain.issuperset(map(type, values)):
            return list(values)
        self._go_deeper()
        packed = self.packed
        result = [value if type(value) in plain else packed(value) for value in values]
        self._depth -= 1
        return result

    def _go_deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Refusal(f"is nested more than {MAX_DEPTH} deep, or contains itself")

    def parts(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Return ``parts`` with their values packed."""
        plain = self._plain
        if plain.issuperset(map(type, parts.values())):
            return parts
        self._go_deeper()
        packed = self.packed
        result = {
            name: value if type(value) in plain else packed(value) for name, value in parts.items()
        }
        self._depth -= 1
        return result

    def keys(self, values: Any) -> list[Any]:
        """As `nested`, for what will be hashed when it is read: before any other object can be loaded."""
        self._in_key += 1
        result = self.nested(values)
        self._in_key -= 1
        return result

    # --- by type ------------------------------------------------------------------------------------------------------

    def write_int(self, value: int) -> Any:
        """Write an int of any size."""
        if -(1 << 63) <= value < 1 << 64:
            return value
        return Ext(scalars.BIG_INT, scalars.int_bytes(value))

    def write_str(self, value: str) -> Any:
        """Write a str, lone surrogates and all."""
        try:
            value.encode()
        except UnicodeEncodeError:
            return Ext(scalars.TEXT, scalars.text_bytes(value))
        return value

    def write_list(self, value: list[Any]) -> Any:
        """Write a list as an array."""
        self.has_mutable = True
        if self._plain.issuperset(map(type, value)):
            return value
        return self.nested(value)

    def write_tuple(self, value: tuple[Any, ...]) -> Any:
        """Write a tuple."""
        if self._plain.issuperset(map(type, value)):
            return Ext(TUPLE, _encode(value))
        return Ext(TUPLE, _encode(self.nested(value)))

    def write_set(self, value: Any) -> Any:
        """Write a set or frozenset, sorted."""
        items = sorted(map(_encode, self.keys(value)))
        code = FROZENSET
        if type(value) is set:
            code = SET
            self.has_mutable = True
        return Ext(code, _encode([msgspec.Raw(item) for item in items]))

    def write_dict(self, value: dict[Any, Any]) -> Any:
        """Write a dict as a map if it can be one."""
        self.has_mutable = True
        plain = self._plain
        if SIMPLE.issuperset(map(type, value)) and (
            plain is SIMPLE or not any(type(self.packed(key)) is Ext for key in value)
        ):
            if plain.issuperset(map(type, value.values())):
                return value
            return dict(zip(value, self.nested(value.values()), strict=True))
        return Ext(PAIRS, _encode([self.keys(value), self.nested(value.values())]))

    def write_reference(self, value: Any) -> Any:
        """Write a reference to a persistent object."""
        cls = type(value)
        if self._in_key and has_own_hash(cls):
            raise Refusal(
                f"a {cls.__qualname__} has a hash of its own, which is not known before it is loaded; "
                "use its id as the key"
            )
        self.has_refs = True
        oid = self.ref_of(value)
        self.refs[oid] = None
        return Ext(REF, _number(oid) + class_name(cls).encode())

    def write_weak_reference(self, value: WeakRef[Any]) -> Any:
        """Write a weak reference, which is not among the oids that the record refers to."""
        self.has_refs = True
        target = value.target
        oid = self.ref_of(target)
        if not oid:
            # The root, which is there anyway; or who asks knows no oids yet, and has to see that there is one.
            self.refs[oid] = None
        is_opaque = type(target) is OpaqueReference
        name = target.class_name if is_opaque else class_name(type(target))
        return Ext(WEAK_REF, _number(oid) + name.encode())

    def write_opaque(self, value: OpaqueReference) -> Any:
        """Write a reference as it was read."""
        self.has_refs = True
        self.refs[value.oid] = None
        return Ext(REF, _number(value.oid) + value.class_name.encode())

    def write_bytearray(self, value: bytearray) -> Any:
        """Write a bytearray."""
        self.has_mutable = True
        return Ext(scalars.BYTEARRAY, bytes(value))

    def write_unknown(self, value: UnknownValue) -> Any:
        """Write a value of an unknown class as it was."""
        kind = value.hubbub_kind
        single = scalars.UNKNOWN_WRITERS.get(kind)
        if single is not None:
            return Ext(single[0], single[1](value.hubbub_fields))
        parts = self.parts(value.hubbub_fields)
        return Ext(CODES[kind], _encode([value.hubbub_class, parts]))


_Write = Callable[[Writer, Any], Any]

_writers: dict[type, _Write] = {
    int: Writer.write_int,
    str: Writer.write_str,
    list: Writer.write_list,
    tuple: Writer.write_tuple,
    set: Writer.write_set,
    frozenset: Writer.write_set,
    dict: Writer.write_dict,
    OpaqueReference: Writer.write_opaque,
    UnknownValue: Writer.write_unknown,
    WeakRef: Writer.write_weak_reference,
}


def _scalar_writer(code: int, to_bytes: Callable[[Any], bytes]) -> _Write:
    def write(_writer: Writer, value: Any) -> Any:
        try:
            return Ext(code, to_bytes(value))
        except (TypeError, UnicodeError) as error:
            raise Refusal(str(error)) from None

    return write


for _cls, _how in scalars.WRITERS.items():
    _writers[_cls] = _scalar_writer(*_how)
_writers[bytearray] = Writer.write_bytearray
_own_forms = SIMPLE.union(_writers)


def has_own_form(cls: type) -> bool:
    """Tell whether values of ``cls`` itself have a form of their own in the encoding."""
    return cls in _own_forms


def forget_writer(cls: type) -> None:
    """Find out anew how values of ``cls`` are written, the next time that there is one."""
    if cls not in _own_forms:
        _writers.pop(cls, None)


def _writer_for(cls: type) -> _Write:
    """Find out how values of ``cls`` are written. Raises `Refusal`."""
    if issubclass(cls, persistent.Persistent):
        _writers[cls] = Writer.write_reference
        if not hasattr(cls, "__dataclass_fields__") and not hasattr(cls, "__attrs_attrs__"):
            _flat.add(cls)
        return Writer.write_reference
    try:
        shape = shape_of(cls)
    except UnfitError as error:
        raise Refusal(str(error)) from None
    code, name, parts_of, is_mutable = shape.code, shape.name, shape.parts, not shape.is_frozen

    def write_coded(writer: Writer, value: Any) -> Any:
        # What the codec made of the value is nobody else's: nothing in it can be changed in place.
        had_mutable = writer.has_mutable
        packed = write(writer, value)
        writer.has_mutable = had_mutable or is_mutable
        return packed

    def write(writer: Writer, value: Any) -> Any:
        try:
            parts = parts_of(value)
        except UnfitError as error:
            raise Refusal(str(error)) from None
        if is_mutable:
            writer.has_mutable = True
        return Ext(code, _encode((name, writer.parts(parts))))

    _writers[cls] = write_coded if code == CODED else write
    return _writers[cls]


Encoded = tuple[bytes, tuple[int, ...], bool]
"""Bytes, oids referred to, and whether there is a plain value in it that can be changed in place (SP8)."""


def encode_with(pack: Callable[[Writer], Any], ref_of: RefOf) -> Encoded:
    """Encode what ``pack`` makes with a writer. ``pack`` may be called twice.

    Raises:
        Refusal, UnstorableError: What is in it can't be stored; where is not said.
    """
    writer = Writer(ref_of)
    try:
        return _encode(pack(writer)), tuple(writer.refs), writer.has_mutable
    except (OverflowError, UnicodeEncodeError):
        # Some int or str is more than MessagePack can hold: look at each of them.
        writer = Writer(ref_of, careful=True)
        return _encode(pack(writer)), tuple(writer.refs), writer.has_mutable


def encode_value(value: Any, ref_of: RefOf, path: str = "value") -> tuple[bytes, tuple[int, ...]]:
    """Encode one value.

    Args:
        value: Any storable value.
        ref_of: Called for each persistent object in it.
        path: What to call the value in an error.

    Returns:
        Its bytes, and the oids that it refers to, each once, in order of appearance.

    Raises:
        UnstorableError: Naming the place in the value that can't be stored (SP2).
    """
    return examine_value(value, ref_of, path)[:2]


def examine_value(value: Any, ref_of: RefOf, path: str = "value") -> Encoded:
    """As `encode_value`; tell also whether there is a plain value in it that can be changed in place (SP8)."""
    try:
        if type(value) in SIMPLE:
            try:
                return _encode(value), (), False
            except (OverflowError, UnicodeEncodeError):
                pass
        return encode_with(lambda writer: writer.packed(value), ref_of)
    except (Refusal, UnstorableError) as error:
        raise located(
            value, path, error, lambda part: encode_with(lambda w: w.packed(part), ref_of)
        ) from None


def encode_state(
    state: dict[str, Any],
    ref_of: RefOf,
    path: str = "object",
    stamp: dict[str, Any] | None = None,
) -> Encoded:
    """Encode an ordinary object's attributes, leaving out those that begin with ``_v_`` or ``_p_``.

    Args:
        state: Attribute name to value.
        ref_of: Called for each persistent object in it.
        path: What to call the object; an error's path is that of the attribute: ``Room.settings['a']``.
        stamp: What the state says about versions (`hubbub.space.schema`).

    Returns:
        Bytes, the oids that it refers to, and whether any attribute holds a plain mutable value.

    Raises:
        UnstorableError: Naming the place that can't be stored.
    """
    if not are_stored(state):
        state = {name: value for name, value in state.items() if name[:3] not in _VOLATILE}
    if stamp:
        state = {**stamp, **state}
    if _flat.issuperset(map(type, state.values())):
        try:
            writer = _spare.pop()
        except IndexError:
            writer = _FlatWriter()
        writer.ref_of = ref_of
        try:
            payload = writer.encode(state)
        except (Refusal, UnstorableError, OverflowError, UnicodeEncodeError):
            # What is wrong, and where, is found out below.
            pass
        else:
            refs = writer.refs
            writer.ref_of = _no_refs
            if refs:
                writer.refs = []
            _spare.append(writer)
            return payload, tuple(dict.fromkeys(refs)) if refs else (), False
    try:
        return encode_with(lambda writer: writer.parts(state), ref_of)
    except (Refusal, UnstorableError) as error:
        for name, value in state.items():
            # The attribute at fault says so again, with its path.
            encode_value(value, ref_of, f"{path}.{name}")
        raise UnstorableError(path, str(error)) from None


class _FlatWriter:
    """Encodes a state whose values are simple or persistent objects, in one call of msgspec.

    It calls back for each persistent object: their classes are of no kind that msgspec has a form for.
    """

    __slots__ = ("encode", "ref_of", "refs")

    def __init__(self) -> None:
        self.encode = msgspec.msgpack.Encoder(enc_hook=self._reference).encode
        self.ref_of: RefOf = _no_refs
        self.refs: list[int] = []

    def _reference(self, value: Any) -> Ext:
        oid = self.ref_of(value)
        self.refs.append(oid)
        return Ext(REF, _number(oid) + class_name(type(value)).encode())


def _no_refs(value: Any) -> int:
    raise AssertionError(value)


# Types that `_FlatWriter` encodes, persistent classes as they are met; and writers that nobody uses now.
_flat: set[type] = set(SIMPLE)
_spare: list[_FlatWriter] = []


# --- names of attributes ----------------------------------------------------------------------------------------------

_VOLATILE = ("_v_", "_p_")
# Names of attributes that are stored, as they are met.
_stored: set[str] = set()
_STORED = 10_000


def are_stored(names: Iterable[str]) -> bool:
    """Tell whether attributes of all these ``names`` are stored: none begins with ``_v_`` or ``_p_``."""
    if _stored.issuperset(names):
        return True
    if any(name[:3] in _VOLATILE for name in names):
        return False
    if len(_stored) < _STORED:
        _stored.update(names)
    return True
