"""The states of persistent objects: attributes or B-tree nodes <-> payloads of records.

The connection calls three functions and knows nothing of what is in a payload: `class_for`, `encode_object`,
`fill_object`. How a class writes its state is its `StateCodec`: the attributes as one MessagePack map, unless the class
or one of its bases has another (`use_codec`): B-tree nodes do, and containers that merge without decoding items.

A decoded state that holds nothing mutable is kept with its record (`Record.memo`), so that the next object that wakes
from the same record, in this connection or another, only has its references put in. Of ordinary objects it is kept when
the record is woken from the second time: most objects of a peer wake once, and what they hold is not kept twice.
"""

from __future__ import annotations

from collections.abc import Callable
from types import GetSetDescriptorType
from typing import Any, Protocol

import persistent

from hubbub.kernel import (
    ConfigurationError,
    CorruptRecordError,
    Record,
    SchemaError,
    StoreError,
    UnstorableError,
)
from hubbub.space.classes import class_name, find_class, persistent_class
from hubbub.space.placeholders import UnknownObject, placeholder_class
from hubbub.space.reading import ObjectOf, StateDecoder, read
from hubbub.space.schema import Schema, schema_of, take_stamp
from hubbub.space.upgrading import VersionedDecoder, upgraded_payload
from hubbub.space.writing import Encoded, RefOf, encode_state


class StateCodec(Protocol):
    """How the state of one kind of persistent object is written."""

    def encode(self, obj: Any, ref_of: RefOf) -> Encoded:
        """Return the payload of ``obj``, the oids that it refers to, each once, and as `fill`."""
        ...

    def fill(self, obj: Any, record: Record, object_of: ObjectOf) -> bool:
        """Give ``obj`` the state that ``record`` holds. Tell whether it holds a plain mutable value (SP8)."""
        ...


_OF_ZODB = "zodb:"  # see hubbub.zodb.pickles

_codecs: dict[type, StateCodec] = {}
_finders: list[Callable[[type], StateCodec | None]] = []
_found: dict[type, StateCodec] = {}


def use_codec(cls: type, codec: StateCodec) -> None:
    """Let ``codec`` write the states of ``cls`` and its subclasses."""
    _codecs[cls] = codec
    _found.clear()


def use_codec_finder(finder: Callable[[type], StateCodec | None]) -> None:
    """Ask ``finder`` for the codec of classes that have none of their own; it may answer None."""
    _finders.append(finder)
    _found.clear()


def _codec_of(cls: type) -> StateCodec:
    codec = _found.get(cls)
    if codec is None:
        codec = _found[cls] = _find_codec(cls)
    return codec


def _find_codec(cls: type) -> StateCodec:
    codec = _codec_for(cls)
    if not isinstance(codec, _Attributes) and schema_of(cls) is not None:
        raise ConfigurationError(
            f"{cls.__qualname__} is a container, which stores no attributes: it can't have a version or defaults; "
            "put it on an object that can"
        )
    return codec


def _codec_for(cls: type) -> StateCodec:
    for base in cls.__mro__:
        if base is persistent.Persistent:
            return _Attributes(cls)
        if base in _codecs:
            return _codecs[base]
        for finder in _finders:
            codec = finder(base)
            if codec is not None:
                return codec
    raise TypeError(f"{cls} is not a persistent class")


def class_for(name: str) -> Any:
    """Return the persistent class that is stored as ``name``.

    A class that is not known here is stood in for by a subclass of `UnknownObject`, one for each name (SP3).
    """
    cls = persistent_class(name)
    if cls is not None:
        return cls
    cls = find_class(name)
    if cls is None or not issubclass(cls, persistent.Persistent):
        return placeholder_class(name)
    return cls


def encode_object(obj: Any, ref_of: RefOf) -> tuple[bytes, tuple[int, ...]]:
    """Return the payload of ``obj``'s state, and the oids that it refers to, each once, in order of appearance.

    Args:
        obj: A persistent object; a ghost is woken.
        ref_of: Gives the oid of each persistent object that it refers to.

    Raises:
        UnstorableError: Naming the path of what can't be stored (SP2).
    """
    return _codec_of(type(obj)).encode(obj, ref_of)[:2]


def examine_object(obj: Any, ref_of: RefOf) -> Encoded:
    """As `encode_object`; tell also whether ``obj`` holds a plain value that can be changed in place (SP8).

    So a connection knows, without looking itself, which of the objects that it has written must be watched.
    """
    codec = _found.get(type(obj)) or _codec_of(type(obj))
    return codec.encode(obj, ref_of)


def fill_object(obj: Any, record: Record, object_of: ObjectOf) -> bool:
    """Give ``obj`` the state that ``record`` holds.

    Args:
        obj: A ghost of the record's class.
        record: Where its state is; ``memo`` is used, and set when the decoded state may be shared.
        object_of: Makes ghosts of the objects that it refers to; loads nothing.

    Returns:
        Whether the state holds a plain mutable value, whose changes `persistent` can't see (SP8).

    Raises:
        CorruptRecordError: If the payload is damaged; ``obj`` has no state then.
        SchemaError: If it can't become a state of the class as it is here (SP7); the same.
        StoreError: If it is a record of ZODB's; the same.
    """
    try:
        return _codec_of(type(obj)).fill(obj, record, object_of)
    except CorruptRecordError as error:
        if record.class_name.startswith(_OF_ZODB):
            raise StoreError(
                f"object {record.oid:#x} is one of an application of ZODB's ({record.class_name}): open this space "
                "with hubbub.zodb.HubbubStorage, or bring its objects into another one as Hubbub's own by "
                "'hubbub space import --native'"
            ) from error
        raise
    except SchemaError as error:
        error.found_in(record.oid, record.tid)
        raise


def is_same_state(
    obj: Any, payload: bytes, record: Record, object_of: ObjectOf, ref_of: RefOf
) -> bool:
    """Tell whether ``payload``, which ``obj`` has become, is what ``record`` holds.

    Other bytes can be the same state: those of an older shape of a class, or of what was renamed since (SP7). Then
    only what wakes from the record now tells whether something was changed in place (SP8).
    """
    if payload == record.payload:
        return True
    cls: Any = type(obj)
    fresh = cls.__new__(cls)
    fill_object(fresh, record, object_of)
    return encode_object(fresh, ref_of)[0] == payload


def current_record(record: Record) -> Record:
    """Return ``record`` with its state as its class has it now; itself if that is how it is (SP7).

    Raises:
        SchemaError: If the class is older than the record, or a step fails.
    """
    cls = find_class(record.class_name)
    schema = None if cls is None else schema_of(cls)
    if schema is None or cls is None:
        return record
    try:
        payload, refs = upgraded_payload(schema, record.payload)
    except SchemaError as error:
        error.found_in(record.oid, record.tid)
        raise
    return Record(record.oid, record.tid, class_name(cls), refs, payload)


UNSHAREABLE = "unshareable"
"""Memo of a record whose state has to be decoded for each object anew."""

_WOKEN = "woken"
"""Memo of a record from which one object has woken."""

_Shared = tuple[dict[str, Any], tuple[tuple[str, int, str], ...]]


class _Ref:
    """Stands for a reference in a decoded state that is shared by several connections."""

    __slots__ = ("class_name", "oid")

    def __init__(self, oid: int, class_name: str) -> None:
        self.oid = oid
        self.class_name = class_name


class _Attributes:
    """Ordinary objects of one class: a map of their attributes.

    Memo: (state with None for references, references by attribute).
    """

    def __init__(self, cls: type) -> None:
        self._path = cls.__qualname__
        schema = schema_of(cls)
        self._stamp = None if schema is None else schema.stamp
        self._decode = _decode_of(cls, schema)
        self._has_plain_state = _has_plain_state(cls)
        self._put = _way_to_put(cls)

    def encode(self, obj: Any, ref_of: RefOf) -> Encoded:
        if self._has_plain_state:
            obj._p_activate()
            return encode_state(obj.__dict__, ref_of, self._path, self._stamp)
        state = obj.__getstate__()
        if state is None:
            state = {}
        if type(state) is not dict:
            raise UnstorableError(
                self._path, "its state is not a dict of attributes (has it __slots__?)"
            )
        return encode_state(state, ref_of, self._path, self._stamp)

    def fill(self, obj: Any, record: Record, object_of: ObjectOf) -> bool:
        memo = record.memo
        if memo is _WOKEN:
            memo = record.memo = self._memo(record)
        if memo is None or memo is UNSHAREABLE:
            state, has_mutable = self._decode(record.payload, object_of)
            self._put(obj, state)
            if memo is None:
                record.memo = UNSHAREABLE if has_mutable else _WOKEN
            return has_mutable
        shared, refs = memo
        state = shared.copy()
        for name, oid, referred in refs:
            state[name] = object_of(oid, referred)
        self._put(obj, state)
        return False

    def _memo(self, record: Record) -> _Shared | str:
        """Return what `fill` copies for each object, or `UNSHAREABLE`."""
        count = 0

        def note(oid: int, class_name: str) -> _Ref:
            nonlocal count
            count += 1
            return _Ref(oid, class_name)

        state, has_mutable = self._decode(record.payload, note)
        refs = tuple(
            (name, ref.oid, ref.class_name) for name, ref in state.items() if type(ref) is _Ref
        )
        if has_mutable or len(refs) != count:
            # Or some references are deeper, in a tuple or a struct.
            return UNSHAREABLE
        for name, _, _ in refs:
            state[name] = None
        return state, refs


def _decode_of(
    cls: type, schema: Schema | None
) -> Callable[[bytes, ObjectOf], tuple[dict[str, Any], bool]]:
    """Return what decodes states of ``cls``."""
    if schema is None:
        return StateDecoder(class_name(cls)).decode
    return VersionedDecoder(schema).decode


def attributes_codec(cls: type) -> StateCodec:
    """Return what writes the attributes of an ordinary object: for codecs that do something besides."""
    return _Attributes(cls)


def _has_plain_state(cls: type) -> bool:
    """Tell whether the state of an object of ``cls`` is its dict of attributes."""
    return cls.__getstate__ is persistent.Persistent.__getstate__ and not any(
        vars(base).get("__slots__") for base in cls.__mro__
    )


def _way_to_put(cls: Any) -> Callable[[Any, dict[str, Any]], None]:
    """Return what gives an object of ``cls`` a state, which is the object's own from then on.

    Where the class doesn't have its say in that, the state becomes the object's dict: nothing is copied.
    """
    if cls.__setstate__ is persistent.Persistent.__setstate__:
        for base in cls.__mro__:
            own = vars(base).get("__dict__")
            if own is not None:
                if type(own) is GetSetDescriptorType:
                    put: Callable[[Any, dict[str, Any]], None] = own.__set__
                    return put
                break
    set_state: Callable[[Any, dict[str, Any]], None] = cls.__setstate__
    return set_state


# First bytes of MessagePack's maps: attributes. Other payloads belong to containers of unknown classes.
_MAPS = frozenset(bytes((byte,)) for byte in (*range(0x80, 0x90), 0xDE, 0xDF))


class _Unknown:
    """An object of a class that is not known here: kept as it is (SP3)."""

    def encode(self, obj: UnknownObject, ref_of: RefOf) -> Encoded:
        payload, refs, state = obj.hubbub_record()
        if state is not None:
            attributes = state.copy()
            stamp = take_stamp(attributes)
            again, _, _ = encode_state(attributes, ref_of, obj.hubbub_class, stamp)
            if again != payload:
                raise UnstorableError(
                    obj.hubbub_class, "was changed in place where its class is not known"
                )
        return payload, refs, state is not None

    def fill(self, obj: UnknownObject, record: Record, object_of: ObjectOf) -> bool:
        decoded = None
        if record.payload[:1] in _MAPS:
            decoded = read(lambda reader: reader.state_as_stored(record.payload), object_of)
        state = None if decoded is None else decoded.value
        obj.__setstate__({"_hubbub_record": (record.payload, record.refs, state)})
        return decoded is not None and decoded.has_mutable


use_codec(UnknownObject, _Unknown())
