"""Containers for whole numbers of 64 bits: smaller and faster than those for any keys.

All classes of `BTrees` can be stored besides, and merge likewise: ``IOBTree``, ``OIBTree``,
``LLTreeSet``, ``fsBTree``...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSet
from typing import Any, TypeVar

from BTrees.LLBTree import LLBTree, LLTreeSet
from BTrees.LOBTree import LOBTree

from hubbub.space.containers.sets import SetMethods
from hubbub.space.containers.sortedmap import SortedMethods, bounds
from hubbub.space.containers.tree import TreeMethods
from hubbub.space.containers.walk import newest_keys

V = TypeVar("V")

_LOW, _HIGH = -(1 << 63), (1 << 63) - 1


def _check(container: Any, what: str, number: Any) -> None:
    """Refuse what would come back as something else (SP2), or not fit. Nothing has changed then."""
    name = type(container).__qualname__
    if type(number) is not int:
        raise TypeError(f"{what} of an {name} are ints, not {type(number).__qualname__}")
    if not _LOW <= number <= _HIGH:
        raise OverflowError(f"{what} of an {name} have 64 bits; a SortedMap or SortedSet takes any")


class IntMap(SortedMethods[int, V], TreeMethods, LOBTree, name="hubbub.IntMap"):
    """A mapping from ints of 64 bits to any values, in the order of its keys.

    As `SortedMap`, in cost and merge; its keys take a third of the memory, and comparing them costs nothing.
    """

    __slots__ = ()

    def __init__(self, source: Mapping[int, V] | Iterable[tuple[int, V]] = ()) -> None:
        super().__init__()
        self.update(source)

    def __setitem__(self, key: int, value: V) -> None:
        _check(self, "keys", key)
        super().__setitem__(key, value)


class IntIntMap(SortedMethods[int, int], TreeMethods, LLBTree, name="hubbub.IntIntMap"):
    """A mapping from ints of 64 bits to ints of 64 bits, in the order of its keys.

    As `SortedMap`, in cost and merge, with 60 items in a bucket; an item takes 16 bytes of memory.
    """

    __slots__ = ()
    max_leaf_size = 60

    def __init__(self, source: Mapping[int, int] | Iterable[tuple[int, int]] = ()) -> None:
        super().__init__()
        self.update(source)

    def __setitem__(self, key: int, value: int) -> None:
        _check(self, "keys", key)
        _check(self, "values", value)
        super().__setitem__(key, value)


class IntSet(SetMethods[int], TreeMethods, LLTreeSet, name="hubbub.IntSet"):
    """A set of ints of 64 bits, in their order.

    As `SortedSet`, in cost and merge, with 60 items in a bucket; an item takes 8 bytes of memory.
    """

    __slots__ = ()
    max_leaf_size = 60

    def __init__(self, items: Iterable[int] = ()) -> None:
        super().__init__()
        self.update(items)

    def add(self, item: int) -> None:
        """Add ``item``. Raises `TypeError` or `OverflowError` if it is no int of 64 bits; nothing has changed."""
        _check(self, "items", item)
        super().add(item)

    def _put(self, item: int) -> None:
        LLTreeSet.add(self, item)

    def _take(self, item: int) -> None:
        LLTreeSet.remove(self, item)

    def __contains__(self, item: object) -> bool:
        return type(item) is int and _LOW <= item <= _HIGH and bool(LLTreeSet.has_key(self, item))

    def __iter__(self) -> Iterator[int]:
        return iter(LLTreeSet.keys(self))

    def __reversed__(self) -> Iterator[int]:
        return newest_keys(self)

    def keys(
        self,
        min: int | None = None,  # noqa: A002 - as in BTrees
        max: int | None = None,  # noqa: A002
        *,
        after: int | None = None,
        before: int | None = None,
    ) -> Any:
        """Return the items in order, lazily, within bounds as in `SortedMap.items`."""
        return LLTreeSet.keys(self, *bounds(min, max, after, before))

    def newest(self, count: int, before: int | None = None) -> list[int]:
        """Return the last ``count`` items, the last first; with ``before`` only those before it."""
        return [item for _, item in zip(range(count), newest_keys(self, before), strict=False)]

    def oldest(self, count: int, after: int | None = None) -> list[int]:
        """Return the first ``count`` items; with ``after`` only those behind it."""
        return [item for _, item in zip(range(count), self.keys(after=after), strict=False)]


for _cls in (IntMap, IntIntMap):
    MutableMapping.register(_cls)
MutableSet.register(IntSet)
