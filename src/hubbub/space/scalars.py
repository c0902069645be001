"""Extension types of the value codec for single values that MessagePack lacks.

Each has a code, a way to bytes and a way back. The bytes are language-neutral: big-endian numbers, UTF-8 text in ISO
forms, or MessagePack. `hubbub.space.codec` lists them; a code, once given, keeps its meaning for ever.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from hubbub.space.unknown import UnknownValue

BIG_INT, TEXT, COMPLEX, BYTEARRAY = 2, 3, 4, 5
DATETIME, DATE, TIME, TIMEDELTA, ZONE = 20, 21, 22, 23, 24
DECIMAL, FRACTION, UUID_, PATH, RANGE, CONSTANT = 25, 26, 27, 28, 29, 30

_pair = struct.Struct(">dd")
_encode = msgspec.msgpack.Encoder().encode
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")
_PATHS: dict[str, type[PurePath]] = {
    "pure-posix": PurePosixPath,
    "pure-windows": PureWindowsPath,
    "posix": PosixPath,
    "windows": WindowsPath,
}
_PATH_NAMES = {cls: name for name, cls in _PATHS.items()}
_CONSTANTS: dict[str, Any] = {"ellipsis": ..., "unset": msgspec.UNSET}
_zones: dict[str, ZoneInfo | None] = {}

# How a zone is written: None, a key of the tz database, or an offset (days, seconds, microseconds[, name]).
_ZoneForm = None | str | tuple[int, int, int] | tuple[int, int, int, str]
_decode_moment = msgspec.msgpack.Decoder(tuple[str, int, Any]).decode
_decode_zone = msgspec.msgpack.Decoder(Any).decode
_decode_span = msgspec.msgpack.Decoder(tuple[int, int, int]).decode
_decode_path = msgspec.msgpack.Decoder(tuple[str, bytes]).decode


def int_bytes(number: int) -> bytes:
    """Return ``number`` in two's complement, big-endian, as short as it can be."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def int_from_bytes(data: bytes) -> int:
    """Return the integer that `int_bytes` wrote."""
    return int.from_bytes(data, "big", signed=True)


def text_bytes(text: str) -> bytes:
    """Return ``text``, which has lone surrogates, as generalised UTF-8."""
    return text.encode("utf-8", "surrogatepass")


def _zone_form(zone: tzinfo | None) -> Any:
    if zone is None:
        return None
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        return (offset.days, offset.seconds, offset.microseconds, *name)
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    raise TypeError(f"a time zone of {type(zone).__qualname__} can't be stored; use zoneinfo")


def _zone(form: Any) -> tzinfo | None:
    """Return the zone that ``form`` names; `LookupError` if this machine does not have it."""
    if form is None:
        return None
    if isinstance(form, str):
        zone = _zone_by_key(form)
        if zone is None:
            raise LookupError(form)
        return zone
    days, seconds, microseconds, *name = form
    offset = timedelta(days, seconds, microseconds)
    return timezone(offset, *name) if name or offset else UTC


def _zone_by_key(key: str) -> ZoneInfo | None:
    if key not in _zones:
        found = None
        # Only a well-formed key is looked up: whatever the bytes say, no other file is opened.
        if _ZONE_KEY.fullmatch(key):
            try:
                found = ZoneInfo(key)
            except (LookupError, OSError, ValueError):
                found = None
        if len(_zones) > 1000:
            _zones.clear()
        _zones[key] = found
    return _zones[key]


def _pack_moment(moment: datetime | time) -> bytes:
    if moment.tzinfo is None and not moment.fold:
        return moment.isoformat().encode()
    local = moment.replace(tzinfo=None, fold=0).isoformat()
    return _encode((local, moment.fold, _zone_form(moment.tzinfo)))


def _moment_reader(cls: Any, kind: str) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        # Text begins with a digit, which no MessagePack array does.
        if data[0] < 0x80:
            return cls.fromisoformat(data.decode("ascii"))
        local, fold, form = _decode_moment(data)
        moment = cls.fromisoformat(local)
        try:
            zone = _zone(form)
        except LookupError:
            fields = {"local": local, "fold": fold, "zone": form}
            return UnknownValue(f"datetime:{kind}", kind, fields)
        return moment.replace(tzinfo=zone, fold=fold)

    return read


def _read_zone(data: bytes) -> Any:
    form = _decode_zone(data)
    try:
        return _zone(form)
    except LookupError:
        return UnknownValue("zoneinfo:ZoneInfo", "zone", {"key": form})


def _pack_path(path: PurePath) -> bytes:
    return _encode((_PATH_NAMES[type(path)], text_bytes(str(path))))


def _read_path(data: bytes) -> Any:
    name, raw = _decode_path(data)
    text = raw.decode("utf-8", "surrogatepass")
    cls = _PATHS[name]
    if issubclass(cls, Path) and cls is not type(Path()):
        return UnknownValue(f"pathlib:{cls.__name__}", "path", {"flavour": name, "path": raw})
    return cls(text)


def _read_fraction(data: bytes) -> Fraction:
    above, below = data.decode("ascii").split("/")
    return Fraction(int(above, 16), int(below, 16))


def _read_range(data: bytes) -> range:
    return range(*(int(part, 16) for part in data.decode("ascii").split(" ")))


WRITERS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    complex: (COMPLEX, lambda value: _pair.pack(value.real, value.imag)),
    bytearray: (BYTEARRAY, bytes),
    datetime: (DATETIME, _pack_moment),
    date: (DATE, lambda value: value.isoformat().encode()),
    time: (TIME, _pack_moment),
    timedelta: (TIMEDELTA, lambda v: _encode((v.days, v.seconds, v.microseconds))),
    timezone: (ZONE, lambda value: _encode(_zone_form(value))),
    ZoneInfo: (ZONE, lambda value: _encode(_zone_form(value))),
    Decimal: (DECIMAL, lambda value: str(value).encode()),
    # Hexadecimal: any size in linear time, and Python limits the digits of decimal ones.
    Fraction: (FRACTION, lambda value: b"%x/%x" % (value.numerator, value.denominator)),
    UUID: (UUID_, lambda value: value.bytes),
    range: (RANGE, lambda v: b"%x %x %x" % (v.start, v.stop, v.step)),
    type(...): (CONSTANT, lambda _: b"ellipsis"),
    msgspec.UnsetType: (CONSTANT, lambda _: b"unset"),
    **dict.fromkeys(_PATH_NAMES, (PATH, _pack_path)),
}
"""Exact type -> extension code and what makes its bytes. `TypeError` or `UnicodeError` if it can't be stored."""

READERS: dict[int, Callable[[bytes], Any]] = {
    BIG_INT: int_from_bytes,
    TEXT: lambda data: data.decode("utf-8", "surrogatepass"),
    COMPLEX: lambda data: complex(*_pair.unpack(data)),
    BYTEARRAY: bytearray,
    DATETIME: _moment_reader(datetime, "datetime"),
    DATE: lambda data: date.fromisoformat(data.decode("ascii")),
    TIME: _moment_reader(time, "time"),
    TIMEDELTA: lambda data: timedelta(*_decode_span(data)),
    ZONE: _read_zone,
    DECIMAL: lambda data: Decimal(data.decode("ascii")),
    FRACTION: _read_fraction,
    UUID_: lambda data: UUID(bytes=data),
    PATH: _read_path,
    RANGE: _read_range,
    CONSTANT: lambda data: _CONSTANTS[data.decode("ascii")],
}
"""Extension code -> what makes the value of its bytes. Any ordinary exception means that the bytes are damaged."""

UNKNOWN_WRITERS: dict[str, tuple[int, Callable[[dict[str, Any]], bytes]]] = {
    "datetime": (DATETIME, lambda f: _encode((f["local"], f["fold"], f["zone"]))),
    "time": (TIME, lambda f: _encode((f["local"], f["fold"], f["zone"]))),
    "zone": (ZONE, lambda f: _encode(f["key"])),
    "path": (PATH, lambda f: _encode((f["flavour"], f["path"]))),
}
"""Kind of an `UnknownValue` that stands for a single value -> how it is written back."""
