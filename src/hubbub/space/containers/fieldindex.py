"""One index of a collection: its entries, and what it can be asked.

    entry of an index      40, the value's bytes delimited, the key's bytes     ->  (value, key)
    of a unique index      40, the value's bytes delimited                      ->  (value, key)

So entries sort by value, then by key; two writers that add different members add different entries, and two that claim
one unique value meet in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from BTrees.OOBTree import OOBTree

from hubbub.space.classes import register
from hubbub.space.containers.keys import delimited, key_bytes
from hubbub.space.containers.tree import Tree
from hubbub.space.containers.walk import newest_items

K = TypeVar("K")
V = TypeVar("V")

_KIND = b"\x40"
_END = b"\xff"
"""Sorts behind all keys, and before all other values."""


class Entries(Tree, name="hubbub.IndexEntries"):
    """The entries of an index."""

    __slots__ = ()


class Spec(NamedTuple):
    """What a collection has noted of one index.

    Attributes:
        fields: The attributes that it is of.
        is_unique: Whether no two members have the same value.
        entries: Its entries.
    """

    fields: tuple[str, ...]
    is_unique: bool
    entries: Entries

    @property
    def name(self) -> str | tuple[str, ...]:
        """What it is asked for by."""
        return self.fields[0] if len(self.fields) == 1 else self.fields

    def value_in(self, noted: dict[str, Any]) -> Any:
        """Return the value that a member with these attributes has in it; None if it is not in it."""
        if len(self.fields) == 1:
            return noted.get(self.fields[0])
        value = tuple(noted.get(field) for field in self.fields)
        return None if None in value else value

    def entry_key(self, value: Any, key_data: bytes) -> bytes:
        """Return the key of the entry for a member's value."""
        start = prefix(value)
        return start if self.is_unique else start + key_data


Spec.__hubbub_name__ = "hubbub.IndexSpec"  # type: ignore[attr-defined]
register(Spec)


def prefix(value: Any) -> bytes:
    """Return what the keys of all entries for ``value`` begin with.

    Raises:
        TypeError, UnstorableError: If it can't be in an index.
    """
    return _KIND + delimited(key_bytes(value))


class FieldIndex(Generic[K, V]):
    """One index of a `Collection`: finds its members by an attribute, and in the order of it.

    What it returns is as of now, changes of this transaction included. Ask the collection for it anew in each
    transaction.

    Cost: a search touches one bucket of at most 30 entries and the few nodes above it, at any size, and whatever it
    returns.

    Attributes:
        fields: The attributes that it is of.
        is_unique: Whether no two members have the same value.
    """

    def __init__(self, spec: Spec, member_at: Callable[[K], V], settle: Callable[[], None]) -> None:
        self.fields = spec.fields
        self.is_unique = spec.is_unique
        self._spec = spec
        self._member_at = member_at
        self._settle = settle

    def _entries(self) -> Entries:
        self._settle()
        return self._spec.entries

    def __len__(self) -> int:
        """Return how many members have a value; touches all buckets."""
        return len(self._entries())

    def __contains__(self, value: Any) -> bool:
        return next(self.keys(value, value), None) is not None

    def find(self, value: Any) -> list[V]:
        """Return all members that have ``value``, in the order of their keys."""
        return list(self.members(value, value))

    def one(self, value: Any) -> V | None:
        """Return the member that has ``value``, or None.

        Raises:
            LookupError: If there are several.
        """
        found = list(islice(self.members(value, value), 2))
        if len(found) > 1:
            raise LookupError(f"several members have {self._spec.name!r} {value!r}; use find()")
        return found[0] if found else None

    def count(self, value: Any) -> int:
        """Return how many members have ``value``."""
        return sum(1 for _ in self.items(value, value))

    def items(
        self,
        min: Any = None,  # noqa: A002 - as in SortedMap
        max: Any = None,  # noqa: A002
        *,
        after: Any = None,
        before: Any = None,
        descending: bool = False,
    ) -> Iterator[tuple[Any, K]]:
        """Yield (value, member's key) in the order of values, those of one value in the order of keys. Loads no member.

        Args:
            min: From this value on, itself included.
            max: Up to this value, itself included.
            after: From behind this value.
            before: Up to this value, itself left out.
            descending: From the last to the first.
        """
        low, high = _span(min, max, after, before)
        entries = self._entries()
        if descending:
            for data, entry in newest_items(entries, high):
                if low is not None and data < low:
                    return
                yield entry
        else:
            yield from OOBTree.values(entries, low, high, False, high is not None)

    def keys(
        self,
        min: Any = None,  # noqa: A002
        max: Any = None,  # noqa: A002
        *,
        after: Any = None,
        before: Any = None,
        descending: bool = False,
    ) -> Iterator[K]:
        """Yield the keys of members, as `items`."""
        found = self.items(min, max, after=after, before=before, descending=descending)
        return (key for _, key in found)

    def members(
        self,
        min: Any = None,  # noqa: A002
        max: Any = None,  # noqa: A002
        *,
        after: Any = None,
        before: Any = None,
        descending: bool = False,
    ) -> Iterator[V]:
        """Yield members, as `items`."""
        found = self.items(min, max, after=after, before=before, descending=descending)
        return (self._member_at(key) for _, key in found)

    def lowest(self, count: int, after: Any = None) -> list[V]:
        """Return ``count`` members with the lowest values, the lowest first; with ``after`` of those above it."""
        return list(islice(self.members(after=after), max(0, count)))

    def highest(self, count: int, before: Any = None) -> list[V]:
        """Return ``count`` members with the highest values, the highest first; with ``before`` of those below it."""
        return list(islice(self.members(before=before, descending=True), max(0, count)))

    def distinct(self) -> Iterator[Any]:
        """Yield each value that a member has, once, in order. Looks at one entry for each."""
        entries = self._entries()
        low = None
        while True:
            found = next(iter(OOBTree.values(entries, low)), None)
            if found is None:
                return
            yield found[0]
            low = prefix(found[0]) + _END


def _span(low: Any, high: Any, after: Any, before: Any) -> tuple[bytes | None, bytes | None]:
    """Return the first entry key of a range, and the first one behind it."""
    if (low is not None and after is not None) or (high is not None and before is not None):
        raise TypeError("give min or after, max or before, not both")
    begin = prefix(low) if low is not None else None
    if after is not None:
        begin = prefix(after) + _END
    end = prefix(high) + _END if high is not None else None
    if before is not None:
        end = prefix(before)
    return begin, end
