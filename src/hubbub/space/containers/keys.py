"""Keys as bytes that sort as the keys do and are equal when `dict` takes the keys for one.

    kind          first byte   then
    None          10
    number        20           the whole part, self-delimiting, then the binary fraction: -1 < 0 < 0.5 < 1 < 10
    other number  28           Fraction and Decimal without an exact float, and complex
    str           30           UTF-8, which sorts by code point
    bytes         38           the bytes
    tuple         40           each item, delimited, then 00: sorts item by item
    date, time    50 ...       microseconds, days
    any other     70           class name and parts, or the codec's bytes

``1``, ``1.0`` and ``True`` are one key, as in `dict`; so are equal moments in different zones. A struct or dataclass is
compared by its class and all its parts, whatever ``__eq__`` it has; a value of a class that registered a codec by what
that makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import persistent

from hubbub.kernel import UnstorableError
from hubbub.space.shapes import CODED, UnfitError, shape_of
from hubbub.space.unknown import UnknownValue
from hubbub.space.writing import encode_value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONG = 0x7E


def key_bytes(key: Any) -> bytes:
    """Return the bytes for ``key``.

    Raises:
        TypeError: If it is not hashable.
        UnstorableError: If it can't be stored, or is a persistent object, whose identity is not known by value.
    """
    if type(key) is str:
        try:
            return b"\x30" + key.encode()
        except UnicodeEncodeError:
            return b"\x30" + key.encode("utf-8", "surrogatepass")
    if type(key) is int:
        return b"\x20" + _whole(key)
    return _other(key)


def plain_key(data: bytes) -> Any:
    """Return the key that ``data`` was made of, if its type can be told: an int, str, bytes or None.

    Raises:
        LookupError: If it can't: another type may have the same bytes, or the way back is too long.
    """
    kind = data[0]
    if kind == 0x30:
        try:
            return data[1:].decode()
        except UnicodeDecodeError:
            return data[1:].decode("utf-8", "surrogatepass")
    if kind == 0x20:
        return _int_from(data)
    if kind == 0x38:
        return data[1:]
    if kind == 0x10:
        return None
    raise LookupError(data)


def is_plain(key: Any) -> bool:
    """Tell whether `plain_key` gives ``key`` back, type and all."""
    return type(key) in _PLAIN


_PLAIN = frozenset((int, str, bytes, type(None)))


# --- numbers ----------------------------------------------------------------------------------------------------------


def _whole(number: int) -> bytes:
    """Return a whole number as its length, with the sign, and its digits."""
    size = (abs(number).bit_length() + 7) // 8
    digits = abs(number).to_bytes(size, "big")
    if size < _LONG:
        head = bytes((0x80 + size if number >= 0 else 0x7F - size,))
    else:
        head = bytes((0x80 + _LONG if number >= 0 else 0x7F - _LONG,))
        count = size.to_bytes(4, "big")
        head += count if number >= 0 else _inverted(count)
    return head + (digits if number >= 0 else _inverted(digits))


def _inverted(data: bytes) -> bytes:
    return bytes(0xFF - byte for byte in data)


def _int_from(data: bytes) -> int:
    head = data[1]
    is_negative = head < 0x80
    size = 0x7F - head if is_negative else head - 0x80
    start = 2
    if size == _LONG:
        count = data[2:6]
        size = int.from_bytes(_inverted(count) if is_negative else count, "big")
        start = 6
    digits = data[start:]
    if len(digits) != size or (size > _LONG and head in (0x00, 0xFF)):
        raise LookupError(data)
    if is_negative:
        return -int.from_bytes(_inverted(digits), "big")
    return int.from_bytes(digits, "big")


def _float_bytes(number: float) -> bytes:
    if number != number:
        return b"\x20\xff\x01"
    if math.isinf(number):
        return b"\x20\xff" if number > 0 else b"\x20\x00"
    above, below = number.as_integer_ratio()
    whole, above = divmod(above, below)
    data = _whole(whole)
    if above:
        bits = below.bit_length() - 1
        size = (bits + 7) // 8
        data += (above << (size * 8 - bits)).to_bytes(size, "big").rstrip(b"\0")
    return b"\x20" + data


def _rational_bytes(number: Any) -> bytes:
    if type(number) is Decimal and not number.is_finite():
        return _float_bytes(float("nan") if number.is_nan() else float(number))
    exact = Fraction(number)
    if exact.denominator == 1:
        return b"\x20" + _whole(exact.numerator)
    try:
        near = float(exact)
    except OverflowError:
        near = math.inf if exact > 0 else -math.inf
    if math.isfinite(near) and Fraction(near) == exact:
        return _float_bytes(near)
    return b"\x28" + _float_bytes(near) + b"%x/%x" % (exact.numerator, exact.denominator)


def _complex_bytes(number: complex) -> bytes:
    if number.imag == 0:
        return _float_bytes(number.real)
    return b"\x29" + delimited(_float_bytes(number.real)) + _float_bytes(number.imag)


# --- all else ---------------------------------------------------------------------------------------------------------


def delimited(data: bytes) -> bytes:
    """Return ``data`` so that what follows it does not disturb the order: 00 ends it, 00 inside becomes 00 FF."""
    return data.replace(b"\0", b"\0\xff") + b"\0\x01"


def _tuple_bytes(items: Any) -> bytes:
    return b"\x40" + b"".join(delimited(key_bytes(item)) for item in items) + b"\0"


def _datetime_bytes(moment: datetime) -> bytes:
    if moment.utcoffset() is None:
        return b"\x51" + _whole((moment.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND)
    return b"\x50" + _whole((moment - _EPOCH) // _MICROSECOND)


def _time_bytes(moment: time) -> bytes:
    offset = moment.utcoffset()
    micros = ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 10**6 + moment.microsecond
    if offset is None:
        return b"\x54" + _whole(micros)
    return b"\x53" + _whole(micros - offset // _MICROSECOND)


def _range_bytes(steps: range) -> bytes:
    # Ranges are equal if they have the same numbers. Not len(): a range can be longer than that can say.
    parts = (steps.start, steps[-1], steps.step if steps.start != steps[-1] else 0) if steps else ()
    return b"\x60" + _tuple_bytes(parts)


_BY_TYPE: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"\x10",
    bool: lambda key: b"\x20" + _whole(int(key)),
    int: lambda key: b"\x20" + _whole(key),
    float: _float_bytes,
    Fraction: _rational_bytes,
    Decimal: _rational_bytes,
    complex: _complex_bytes,
    bytes: lambda key: b"\x38" + key,
    tuple: _tuple_bytes,
    datetime: _datetime_bytes,
    date: lambda key: b"\x52" + _whole(key.toordinal()),
    time: _time_bytes,
    timedelta: lambda key: b"\x55" + _whole(key // _MICROSECOND),
    range: _range_bytes,
    frozenset: lambda key: b"\x61" + b"".join(sorted(delimited(key_bytes(item)) for item in key)),
    UnknownValue: lambda key: (
        _coded_bytes(key.hubbub_class, key.hubbub_fields["value"])
        if key.hubbub_kind == "coded"
        else _named_bytes(key.hubbub_class, key.hubbub_fields)
    ),
}


def _coded_bytes(name: str, form: Any) -> bytes:
    """Return the bytes for a key of a class that registered a codec, which made ``form`` of it."""
    if type(form) is list:
        form = tuple(form)
    try:
        return _named_bytes(name, {"value": form})
    except TypeError:
        # It is made of something that can't be a key itself.
        return b"\x72" + delimited(name.encode()) + encode_value(form, _no_references, "key")[0]


def _named_bytes(name: str, parts: dict[str, Any]) -> bytes:
    return b"\x70" + delimited(name.encode()) + _tuple_bytes(parts.values())


def _other(key: Any) -> bytes:
    cls = type(key)
    how = _BY_TYPE.get(cls)
    if how is not None:
        return how(key)
    hash(key)
    if isinstance(key, persistent.Persistent):
        raise UnstorableError(
            f"key {key!r}", "is a persistent object; use its id or name as the key"
        )
    if isinstance(key, Enum) and isinstance(key, (str, int, float, bytes)):
        # Members of such an enum equal their plain values.
        return key_bytes(key._value_)
    if isinstance(key, PurePath):
        # A path equals the pure path of its flavour.
        kind = "windows" if "Windows" in cls.__name__ else "posix"
        text = str(key).lower() if kind == "windows" else str(key)
        return _named_bytes(f"path:{kind}", {"path": text})
    try:
        shape = shape_of(cls)
    except UnfitError:
        # UUID, zones and the like: one type, one form. Or it can't be stored, and this says so.
        return b"\x71" + encode_value(key, _no_references, f"key {key!r}")[0]
    if isinstance(key, tuple):
        return _tuple_bytes(tuple.__iter__(key))
    if shape.code == CODED:
        return _coded_bytes(shape.name, shape.parts(key)["value"])
    return _named_bytes(shape.name, shape.parts(key))


def _no_references(obj: Any) -> int:
    raise UnstorableError(repr(obj), "is a persistent object; use its id or name in a key")
