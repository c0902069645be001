"""Values of every storable type, and what it means that two are the same, type for type."""

from __future__ import annotations

import collections
import dataclasses
import enum
import math
from collections import namedtuple
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import strategies as st

from hubbub.space.registering import register


class Point(msgspec.Struct, frozen=True):
    x: Any
    y: Any = 0


class Settings(msgspec.Struct):
    values: Any
    more: Any = None


@dataclasses.dataclass(frozen=True)
class Line:
    begin: Any
    end: Any


@dataclasses.dataclass(slots=True)
class Cell:
    content: Any


@dataclasses.dataclass(kw_only=True)
class Named(Cell):
    """A slot below, and a field that is given by name only."""

    name: Any = None


class Tagged(msgspec.Struct, tag="tagged", array_like=True, rename="camel", kw_only=True):
    """Whatever form it has on other wires."""

    first_name: Any
    last_name: Any = msgspec.UNSET


class Fixed:
    """Of no kind that is known, frozen, with a codec."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        return f"Fixed{self.parts!r}"


class Pair(NamedTuple):
    left: Any
    right: Any = None


Old = namedtuple("Old", "a b")  # noqa: PYI024 - both kinds are stored


class Colour(enum.Enum):
    RED = "red"
    GREEN = (1, 2)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2
    ADMIN = 4


class Word(enum.StrEnum):
    YES = "yes"


class Bits(enum.IntFlag):
    ONE = 1
    TWO = 2


for _cls in (
    Point,
    Settings,
    Line,
    Cell,
    Pair,
    Old,
    Colour,
    Level,
    Rights,
    Named,
    Tagged,
    Word,
    Bits,
):
    register(_cls)
register(Fixed, encode=lambda v: list(v.parts), decode=lambda parts: Fixed(*parts), frozen=True)
register(collections.deque, name="tests.deque", encode=list, decode=collections.deque)

zones = st.sampled_from(
    [
        None,
        UTC,
        timezone(timedelta(hours=-3, minutes=-30)),
        timezone(timedelta(0), "UTC"),
        timezone(timedelta(seconds=3661), "odd"),
        ZoneInfo("Europe/Paris"),
        ZoneInfo("America/New_York"),
    ]
)
paths = st.sampled_from(
    [Path("/a/b"), PurePath("x"), PurePosixPath("."), PureWindowsPath("C:\\a\\b"), Path("a\udcff")]
)
any_text = st.text(st.characters())

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.sampled_from([2**63, 2**64, 2**64 - 1, -(2**63), -(2**63) - 1]),
    st.floats(),
    st.complex_numbers(),
    any_text,
    st.binary(),
    st.datetimes(timezones=zones),
    st.builds(lambda d, f: d.replace(fold=f), st.datetimes(timezones=zones), st.integers(0, 1)),
    st.dates(),
    st.times(timezones=zones),
    st.timedeltas(),
    zones.filter(lambda zone: zone is not None),
    st.decimals(),
    st.fractions(),
    st.uuids(),
    paths,
    st.builds(range, st.integers(), st.integers(), st.integers(1, 9)),
    st.sampled_from([*Colour, *Level, Rights.READ, Rights.READ | Rights.ADMIN, Rights(0)]),
    st.sampled_from([*Word, Bits.TWO, Bits.ONE | Bits.TWO, Bits(0)]),
    st.sampled_from([..., msgspec.UNSET]),
)


def _hashable(inner: Any) -> Any:
    return st.one_of(
        st.lists(inner, max_size=4).map(tuple),
        st.frozensets(inner, max_size=4),
        st.builds(Point, inner, inner),
        st.builds(Line, inner, inner),
        st.builds(Pair, inner, inner),
        st.builds(Fixed, inner, inner),
    )


def _can_hash(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:  # a signalling NaN
        return False
    return True


keys = st.recursive(leaves.filter(_can_hash), _hashable, max_leaves=5)


def _anything(inner: Any) -> Any:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.text(), keys), inner, max_size=4),
        st.builds(Point, inner, inner),
        st.builds(Settings, inner, inner),
        st.builds(Line, inner, inner),
        st.builds(Cell, inner),
        st.builds(Pair, inner, inner),
        st.builds(Old, inner, inner),
        st.builds(Named, content=inner, name=inner),
        st.builds(Tagged, first_name=inner, last_name=inner),
        st.builds(Fixed, inner),
        st.lists(inner, max_size=4).map(collections.deque),
    )


values = st.recursive(
    st.one_of(
        leaves,
        st.binary().map(bytearray),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
    ),
    _anything,
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same, type for type."""
    cls = type(one)
    if cls is not type(other):
        return False
    if cls is float:
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if cls is complex:
        return same(one.real, other.real) and same(one.imag, other.imag)
    if cls is Decimal:
        return one.as_tuple() == other.as_tuple()
    if cls in (datetime, time):
        return (
            one.replace(tzinfo=None) == other.replace(tzinfo=None)
            and one.fold == other.fold
            and repr(one.tzinfo) == repr(other.tzinfo)
        )
    if cls is timezone:
        return repr(one) == repr(other)
    if cls is Fixed:
        return same(one.parts, other.parts)
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if cls is dict:
        return len(one) == len(other) and all(
            same(a, c) and same(b, d)
            for (a, b), (c, d) in zip(one.items(), other.items(), strict=True)
        )
    if cls in (set, frozenset):
        rest = list(other)
        for item in one:
            for index, candidate in enumerate(rest):
                if same(item, candidate):
                    del rest[index]
                    break
            else:
                return False
        return not rest
    if isinstance(one, msgspec.Struct):
        return all(same(getattr(one, f), getattr(other, f)) for f in cls.__struct_fields__)
    if dataclasses.is_dataclass(one):
        return all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
        )
    return bool(one == other)
