"""SortedMap: a mapping that keeps its keys in order, at any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from BTrees.OOBTree import OOBTree

from hubbub.space.containers.attributes import note_assignment
from hubbub.space.containers.changes import CLEARED, DELETED
from hubbub.space.containers.tree import Tree
from hubbub.space.containers.walk import newest_items

K = TypeVar("K")
V = TypeVar("V")

_absent: Any = object()
_super: Any = super  # what is above is C, of which nothing is known here


class SortedMethods(Generic[K, V]):
    """What a mapping in the order of its keys can do. Stands before a B-tree among the bases of a class."""

    __slots__ = ()

    if TYPE_CHECKING:  # of the tree

        def _note(self, key: Any, value: Any) -> None: ...
        def __contains__(self, key: object) -> bool: ...
        def get(self, key: K, default: Any = None) -> Any:
            """Return the value at ``key``, or ``default``."""

    def __setitem__(self, key: K, value: V) -> None:
        self._note(key, value)
        _super(SortedMethods, self).__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self._note(key, DELETED)
        _super(SortedMethods, self).__delitem__(key)

    def setdefault(self, key: K, default: V) -> V:
        """Return the value at ``key``; ``default`` is put there first if there is none."""
        value: V = self.get(key, _absent)
        if value is _absent:
            self[key] = value = default
        return value

    def pop(self, key: K, default: Any = _absent) -> Any:
        """Remove ``key`` and return its value. Raises `KeyError` if there is none, and no ``default``."""
        value = self.get(key, _absent)
        if value is _absent:
            if default is _absent:
                raise KeyError(key)
            return default
        del self[key]
        return value

    def popitem(self) -> tuple[K, V]:
        """Remove the first item and return it. Raises `KeyError` if there is none."""
        for key, value in self.items():
            del self[key]
            return key, value
        raise KeyError(f"{type(self).__qualname__} is empty")

    def update(self, source: Mapping[K, V] | Iterable[tuple[K, V]] = (), /, **named: V) -> None:
        """Set all items of a mapping or of pairs, and those given by name."""
        pairs: Any = source.items() if hasattr(source, "items") else source
        for key, value in pairs:
            self[key] = value
        for name, value in named.items():
            self[name] = value  # type: ignore[index]

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        note_assignment(self)
        return self

    def clear(self) -> None:
        """Remove everything."""
        self._note(CLEARED, None)
        _super(SortedMethods, self).clear()

    def insert(self, key: K, value: V) -> bool:
        """Set ``key`` unless it is there; tell whether it was set."""
        if key in self:
            return False
        self[key] = value
        return True

    # --- ranges -------------------------------------------------------------------------------------------------------

    def items(
        self,
        min: K | None = None,  # noqa: A002 - as in BTrees
        max: K | None = None,  # noqa: A002
        *,
        after: K | None = None,
        before: K | None = None,
    ) -> Any:
        """Return (key, value) in order, lazily, within bounds; None is no bound.

        Args:
            min: From this key on, itself included.
            max: Up to this key, itself included.
            after: From behind this key: ``items(after=last_seen)``.
            before: Up to this key, itself left out.
        """
        return _super(SortedMethods, self).items(*bounds(min, max, after, before))

    def keys(
        self,
        min: K | None = None,  # noqa: A002
        max: K | None = None,  # noqa: A002
        *,
        after: K | None = None,
        before: K | None = None,
    ) -> Any:
        """Return the keys in order, lazily; bounds as in `items`."""
        return _super(SortedMethods, self).keys(*bounds(min, max, after, before))

    def values(
        self,
        min: K | None = None,  # noqa: A002
        max: K | None = None,  # noqa: A002
        *,
        after: K | None = None,
        before: K | None = None,
    ) -> Any:
        """Return the values in the order of their keys, lazily; bounds as in `items`."""
        return _super(SortedMethods, self).values(*bounds(min, max, after, before))

    def __iter__(self) -> Iterator[K]:
        return iter(self.keys())

    def __reversed__(self) -> Iterator[K]:
        return (key for key, _ in newest_items(self))

    def newest(self, count: int, before: K | None = None) -> list[tuple[K, V]]:
        """Return the last ``count`` items, the last first. Touches only the buckets that hold them.

        Args:
            count: How many at most.
            before: Only those before this key, itself left out: for pages.
        """
        items = newest_items(self, before)
        return [item for _, item in zip(range(count), items, strict=False)]

    def oldest(self, count: int, after: K | None = None) -> list[tuple[K, V]]:
        """Return the first ``count`` items, behind the key ``after`` if it is given."""
        items = self.items(after=after)
        return [item for _, item in zip(range(count), items, strict=False)]


def bounds(low: Any, high: Any, after: Any, before: Any) -> tuple[Any, Any, bool, bool]:
    """Return BTrees' (min, max, excludemin, excludemax)."""
    if (low is not None and after is not None) or (high is not None and before is not None):
        raise TypeError("give min or after, max or before, not both")
    return (
        low if after is None else after,
        high if before is None else before,
        after is not None,
        before is not None,
    )


class SortedMap(SortedMethods[K, V], Tree, name="hubbub.SortedMap"):
    """A mapping in the order of its keys, which must be comparable with one another: all str, all int, all tuples...

    Cost: a look-up or change touches one bucket of at most 30 items and the few nodes above it, at any size.
    ``len()`` touches every bucket once there is more than one; ``bool()`` only the first.

    Like every persistent object it equals only itself; compare ``dict(a.items())`` to compare contents.
    """

    __slots__ = ()

    @overload
    def __init__(self) -> None: ...
    @overload
    def __init__(self: SortedMap[str, V], **named: V) -> None: ...
    @overload
    def __init__(self, source: Mapping[K, V] | Iterable[tuple[K, V]], /) -> None: ...
    @overload
    def __init__(
        self: SortedMap[str, V], source: Mapping[str, V] | Iterable[tuple[str, V]], **named: V
    ) -> None: ...
    def __init__(self, *source: Any, **named: Any) -> None:
        super().__init__()
        if source or named:
            self.update(*source, **named)

    def __setitem__(self, key: K, value: V) -> None:
        self._note(key, value)
        try:
            OOBTree.__setitem__(self, key, value)
        except BaseException:
            # The tree refuses keys that it can't compare; a command may go on after that.
            self._note(CLEARED, None)
            raise


MutableMapping.register(SortedMap)
