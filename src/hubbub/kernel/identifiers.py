"""Object ids and transaction ids.

Both are 64-bit integers in code and 8 big-endian bytes where `persistent` wants bytes.

A **tid** is a time stamp in ZODB's format (ST1): the high 32 bits count minutes since 1900 on a
calendar whose months all have 31 days, the low 32 bits the fraction of that minute. Tids sort as time does.

An **oid** names one object of one space. Two high bits mark objects that live in the host's memory only:

    bit 62  EPHEMERAL_BIT  never stored, gone at a restart
    bit 61  COMPANION_BIT  the ephemeral companion of the object whose oid is the rest (presence)
    bit 59  set in every ephemeral oid that is handed out, so that companions of durable and of ephemeral objects
            never meet
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NewType

Oid = NewType("Oid", int)
Tid = NewType("Tid", int)

ROOT_OID = Oid(0)
EPHEMERAL_BIT = 1 << 62
COMPANION_BIT = 1 << 61
_EPHEMERAL_REGION = 1 << 59

_packer = struct.Struct(">Q")
_FRACTION = 1 << 32


oid_bytes: Callable[[int], bytes] = _packer.pack
"""Return the 8 big-endian bytes of an oid or tid, as `persistent` wants them."""


def oid_from_bytes(data: bytes) -> int:
    """Return the integer that `oid_bytes` packed."""
    number: int = _packer.unpack(data)[0]
    return number


def ephemeral_oid(number: int) -> Oid:
    """Return the oid of the ``number``-th ephemeral object of a host."""
    return Oid(EPHEMERAL_BIT | _EPHEMERAL_REGION | number)


def companion_oid(oid: int) -> Oid:
    """Return the oid of the ephemeral companion of object ``oid``."""
    return Oid(EPHEMERAL_BIT | COMPANION_BIT | oid)


def is_ephemeral(oid: int) -> bool:
    """Tell whether ``oid`` names an object that lives in the host's memory only."""
    return oid >= COMPANION_BIT


def tid_at(seconds: float) -> Tid:
    """Return the tid of the moment ``seconds`` (Unix time, UTC), rounded down."""
    whole = int(seconds // 60)
    fraction = int((seconds - whole * 60) / 60 * _FRACTION)
    return Tid(_first_tid(whole) | min(max(fraction, 0), _FRACTION - 1))


@lru_cache(maxsize=4)
def _first_tid(minute: int) -> int:
    """Return the first tid of a minute, counted since 1970."""
    year, month, day, hour, rest = time.gmtime(minute * 60)[:5]
    return ((((year - 1900) * 12 + month - 1) * 31 + day - 1) * 1440 + hour * 60 + rest) << 32


def tid_time(tid: int) -> float:
    """Return the Unix time, in seconds, that ``tid`` stands for."""
    return _minute_began(tid >> 32) + (tid & (_FRACTION - 1)) * 60 / _FRACTION


@lru_cache(maxsize=4)
def _minute_began(minutes: int) -> float:
    """Return the Unix time at which a minute of tids began."""
    days, minute = divmod(minutes, 1440)
    months, day = divmod(days, 31)
    year, month = divmod(months, 12)
    moment = datetime(year + 1900, month + 1, day + 1, minute // 60, minute % 60, tzinfo=UTC)
    return moment.timestamp()


def tid_text(tid: int) -> str:
    """Return ``tid`` as 16 hexadecimal digits, the form that users see and browsers get."""
    return f"{tid:016x}"


def tid_from_text(text: str) -> Tid:
    """Return the tid that `tid_text` wrote.

    Raises:
        ValueError: If ``text`` is not 1 to 16 hexadecimal digits.
    """
    if not 1 <= len(text) <= 16:
        raise ValueError(f"a tid has 1 to 16 hexadecimal digits, not {text!r}")
    return Tid(int(text, 16))
