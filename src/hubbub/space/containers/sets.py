"""Set and SortedSet: what `set` is, shared, at any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from BTrees.OOBTree import OOBTree, OOTreeSet

from hubbub.space.containers.attributes import note_assignment
from hubbub.space.containers.changes import CLEARED
from hubbub.space.containers.keys import is_plain, key_bytes, plain_key
from hubbub.space.containers.sortedmap import bounds
from hubbub.space.containers.tree import Tree, TreeMethods
from hubbub.space.containers.walk import newest_items, newest_keys

T = TypeVar("T")

_super: Any = super


class SetMethods(Generic[T]):
    """What sets can do. Stands before a B-tree among the bases of a class, which has ``_put`` and ``_take``."""

    __slots__ = ()

    if TYPE_CHECKING:  # of the class

        def _note(self, key: Any, value: Any) -> None: ...
        def _put(self, item: T) -> None: ...
        def _take(self, item: T) -> None: ...
        def __len__(self) -> int: ...
        def __iter__(self) -> Iterator[T]: ...
        def __contains__(self, item: object) -> bool: ...

    # --- changes ------------------------------------------------------------------------------------------------------

    def add(self, item: T) -> None:
        """Add ``item``. Nothing changes if it is there."""
        if item not in self:
            self._note(CLEARED, None)
            self._put(item)

    def discard(self, item: T) -> None:
        """Remove ``item`` if it is there."""
        if item in self:
            self._note(CLEARED, None)
            self._take(item)

    def remove(self, item: T) -> None:
        """Remove ``item``. Raises `KeyError` if it is not there."""
        if item not in self:
            raise KeyError(item)
        self.discard(item)

    def pop(self) -> T:
        """Remove the first item in the order of iteration and return it. Raises `KeyError` if there is none."""
        for item in self:
            self.discard(item)
            return item
        raise KeyError(f"{type(self).__qualname__} is empty")

    def clear(self) -> None:
        """Remove everything."""
        self._note(CLEARED, None)
        _super(SetMethods, self).clear()

    def update(self, *others: Iterable[T]) -> None:
        """Add all items of ``others``."""
        for other in others:
            for item in list(other):
                self.add(item)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove all items of ``others``."""
        for other in others:
            for item in list(other):
                self.discard(item)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Remove all that is not in each of ``others``."""
        kept = self.intersection(*others)
        for item in [item for item in self if item not in kept]:
            self.discard(item)

    def symmetric_difference_update(self, other: Iterable[T]) -> None:
        """Remove the items of ``other`` that are here, and add the rest of them."""
        for item in set(other):
            if item in self:
                self.discard(item)
            else:
                self.add(item)

    def __ior__(self, other: Any) -> Self:
        self.update(_checked(other))
        note_assignment(self)
        return self

    def __isub__(self, other: Any) -> Self:
        self.difference_update(_checked(other))
        note_assignment(self)
        return self

    def __iand__(self, other: Any) -> Self:
        self.intersection_update(_checked(other))
        note_assignment(self)
        return self

    def __ixor__(self, other: Any) -> Self:
        self.symmetric_difference_update(_checked(other))
        note_assignment(self)
        return self

    # --- plain sets of two --------------------------------------------------------------------------------------------

    def union(self, *others: Iterable[Any]) -> set[Any]:
        """Return a plain set of the items of this one and ``others``."""
        return set(self).union(*others)

    def intersection(self, *others: Iterable[Any]) -> set[T]:
        """Return a plain set of the items that are also in each of ``others``. Looks up; it does not read all."""
        if not others:
            return set(self)
        first, *rest = others
        return {item for item in set(first) if item in self}.intersection(*rest)

    def difference(self, *others: Iterable[Any]) -> set[T]:
        """Return a plain set of the items that are in none of ``others``."""
        return set(self).difference(*others)

    def symmetric_difference(self, other: Iterable[Any]) -> set[Any]:
        """Return a plain set of the items that are in this one or in ``other``, not in both."""
        return set(self).symmetric_difference(other)

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Tell whether none of the items of ``other`` is here."""
        return not any(item in self for item in other)

    def issubset(self, other: Iterable[Any]) -> bool:
        """Tell whether all items are in ``other``."""
        return set(self).issubset(other)

    def issuperset(self, other: Iterable[Any]) -> bool:
        """Tell whether all items of ``other`` are here."""
        return all(item in self for item in other)

    def copy(self) -> set[T]:
        """Return a plain set of the items."""
        return set(self)

    def __or__(self, other: Any) -> set[Any]:
        return self.union(other) if _is_set(other) else NotImplemented

    def __and__(self, other: Any) -> set[T]:
        return self.intersection(other) if _is_set(other) else NotImplemented

    def __sub__(self, other: Any) -> set[T]:
        return self.difference(other) if _is_set(other) else NotImplemented

    def __xor__(self, other: Any) -> set[Any]:
        return self.symmetric_difference(other) if _is_set(other) else NotImplemented

    __ror__, __rand__, __rxor__ = __or__, __and__, __xor__

    def __rsub__(self, other: Any) -> set[Any]:
        return set(other).difference(self) if _is_set(other) else NotImplemented

    def __le__(self, other: Any) -> bool:
        return self.issubset(other) if _is_set(other) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        return self.issuperset(other) if _is_set(other) else NotImplemented

    def __lt__(self, other: Any) -> bool:
        return set(self) < set(other) if _is_set(other) else NotImplemented

    def __gt__(self, other: Any) -> bool:
        return set(self) > set(other) if _is_set(other) else NotImplemented


def _is_set(other: Any) -> Any:
    return isinstance(other, AbstractSet)


def _checked(other: Any) -> Any:
    if not isinstance(other, AbstractSet):
        raise TypeError(
            f"a set is needed, not a {type(other).__qualname__}; update() takes any items"
        )
    return other


class Set(SetMethods[T], Tree, name="hubbub.Set"):
    """A set of any storable, hashable items, mixed ones too: ``Set(["a", 1, (2, 3)])``.

    Unlike a set it iterates in a fixed order, as `Map` does. As in a set ``1``, ``1.0`` and ``True`` are one item, and
    the first one given stays.

    Cost: a look-up or change touches one bucket of at most 30 items and the few nodes above it, at any size. ``len()``
    touches every bucket once there is more than one; ``bool()`` only the first.

    Two transactions that add or remove different items merge. If both add the same one, or remove it, they conflict: so
    adding to a set can decide who was first.

    Like every persistent object it equals only itself; compare ``set(a)`` to compare contents. Operators such as ``|``
    and ``-`` return plain sets.
    """

    __slots__ = ()

    # Key: the item's bytes. Value: None if they tell the item, else the item.

    def __init__(self, items: Iterable[T] = ()) -> None:
        super().__init__()
        self.update(items)

    @staticmethod
    def shown_key(data: bytes) -> str:
        """Return how an error names the item that is stored as ``data``."""
        try:
            return repr(plain_key(data))
        except LookupError:
            return repr(data)

    def _put(self, item: T) -> None:
        OOBTree.__setitem__(self, key_bytes(item), None if is_plain(item) else item)

    def _take(self, item: T) -> None:
        OOBTree.__delitem__(self, key_bytes(item))

    def __contains__(self, item: object) -> bool:
        return bool(OOBTree.__contains__(self, key_bytes(item)))

    def __iter__(self) -> Iterator[T]:
        return (_item(data, found) for data, found in OOBTree.items(self))

    def __reversed__(self) -> Iterator[T]:
        return (_item(data, found) for data, found in newest_items(self))

    def _not_here(self, *args: object) -> Any:
        raise TypeError(f"{type(self).__qualname__} is a set and has no such method")

    # Methods of B-trees that speak of what is inside.
    insert = minKey = maxKey = byValue = iterkeys = itervalues = iteritems = _not_here  # noqa: N815
    keys = values = items = get = setdefault = popitem = has_key = _not_here
    __getitem__ = __setitem__ = __delitem__ = _not_here


def _item(data: bytes, found: Any) -> Any:
    return plain_key(data) if found is None else found


class SortedSet(SetMethods[T], TreeMethods, OOTreeSet, name="hubbub.SortedSet"):
    """A set in the order of its items, which must be comparable with one another: all str, all int, all tuples...

    Cost and merge: as of `Set`. ``newest`` and ``oldest`` touch only the buckets that hold what they return.

    Like every persistent object it equals only itself; compare ``list(a)`` to compare contents. Operators such as ``|``
    and ``-`` return plain sets.
    """

    __slots__ = ()

    def __init__(self, items: Iterable[T] = ()) -> None:
        super().__init__()
        self.update(items)

    def _put(self, item: T) -> None:
        OOTreeSet.add(self, item)

    def _take(self, item: T) -> None:
        OOTreeSet.remove(self, item)

    def __iter__(self) -> Iterator[T]:
        return iter(OOTreeSet.keys(self))

    def __reversed__(self) -> Iterator[T]:
        return newest_keys(self)

    def keys(
        self,
        min: T | None = None,  # noqa: A002 - as in BTrees
        max: T | None = None,  # noqa: A002
        *,
        after: T | None = None,
        before: T | None = None,
    ) -> Any:
        """Return the items in order, lazily, within bounds as in `SortedMap.items`."""
        return OOTreeSet.keys(self, *bounds(min, max, after, before))

    def newest(self, count: int, before: T | None = None) -> list[T]:
        """Return the last ``count`` items, the last first; with ``before`` only those before it."""
        return [item for _, item in zip(range(count), newest_keys(self, before), strict=False)]

    def oldest(self, count: int, after: T | None = None) -> list[T]:
        """Return the first ``count`` items; with ``after`` only those behind it."""
        return [item for _, item in zip(range(count), self.keys(after=after), strict=False)]


for _cls in (Set, SortedSet):
    MutableSet.register(_cls)
