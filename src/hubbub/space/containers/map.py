"""Map: what `dict` is, shared, at any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Generic, NamedTuple, TypeVar, overload

from BTrees.OOBTree import OOBTree

from hubbub.space.classes import register
from hubbub.space.containers.attributes import note_assignment
from hubbub.space.containers.changes import CLEARED, DELETED
from hubbub.space.containers.keys import is_plain, key_bytes, plain_key
from hubbub.space.containers.tree import Tree
from hubbub.space.containers.walk import newest_items

K = TypeVar("K")
V = TypeVar("V")

_absent: Any = object()


class Entry(NamedTuple):
    """A value with its key, where the key can't be told from its bytes. Never seen outside."""

    key: Any
    value: Any


Entry.__hubbub_name__ = "hubbub.Entry"  # type: ignore[attr-defined]
register(Entry)


class Map(Tree, Generic[K, V], name="hubbub.Map"):
    """A mapping for any storable, hashable keys, mixed ones too: ``Map(main=Board())``, ``Map({(1, 2): "x"})``.

    Unlike a dict it iterates in a fixed order: numbers in numeric order, str alphabetically (by code point), kinds
    one after the other. As in a dict ``1``, ``1.0`` and ``True`` are one key, and the first one given stays.

    Cost: a look-up or change touches one bucket of at most 30 items and the few nodes above it, at any size. ``len()``
    touches every bucket once there is more than one (a count would make all writers meet in one record); ``bool()``
    only the first.

    Like every persistent object it equals only itself; compare ``dict(a)`` to compare contents.
    """

    __slots__ = ()

    @staticmethod
    def shown_key(data: bytes) -> str:
        """Return how an error names the key that is stored as ``data``."""
        try:
            return repr(plain_key(data))
        except LookupError:
            return repr(data)

    @overload
    def __init__(self) -> None: ...
    @overload
    def __init__(self: Map[str, V], **named: V) -> None: ...
    @overload
    def __init__(self, source: Mapping[K, V] | Iterable[tuple[K, V]], /) -> None: ...
    @overload
    def __init__(
        self: Map[str, V], source: Mapping[str, V] | Iterable[tuple[str, V]], **named: V
    ) -> None: ...
    def __init__(self, *source: Any, **named: Any) -> None:
        super().__init__()
        if source or named:
            self.update(*source, **named)

    def __getitem__(self, key: K) -> V:
        found: Any = OOBTree.get(self, key_bytes(key), _absent)
        if found is _absent:
            raise KeyError(key)
        value: V = found.value if type(found) is Entry else found
        return value

    def get(self, key: K, default: Any = None) -> Any:
        """Return the value at ``key``, or ``default``."""
        found = OOBTree.get(self, key_bytes(key), default)
        return found.value if type(found) is Entry else found

    def __contains__(self, key: object) -> bool:
        return bool(OOBTree.__contains__(self, key_bytes(key)))

    has_key = __contains__

    def __setitem__(self, key: K, value: V) -> None:
        data = key_bytes(key)
        if type(key) is not str and data[0] != 0x38:
            # An equal key of another type may be there: it stays.
            old = OOBTree.get(self, data, _absent)
            if type(old) is Entry:
                key = old.key
            elif old is not _absent:
                key = plain_key(data)
        self._note(key, value)
        plain = is_plain(key) and type(value) is not Entry
        OOBTree.__setitem__(self, data, value if plain else Entry(key, value))

    def __delitem__(self, key: K) -> None:
        data = key_bytes(key)
        old = OOBTree.get(self, data, _absent)
        if old is _absent:
            raise KeyError(key)
        self._note(_key(data, old), DELETED)
        OOBTree.__delitem__(self, data)

    def setdefault(self, key: K, default: Any = None) -> Any:
        """Return the value at ``key``; ``default`` is put there first if there is none."""
        value = self.get(key, _absent)
        if value is _absent:
            self[key] = value = default
        return value

    def pop(self, key: K, default: Any = _absent) -> Any:
        """Remove ``key`` and return its value. Raises `KeyError` if there is none, and no ``default``."""
        value = self.get(key, _absent)
        if value is not _absent:
            del self[key]
        elif default is _absent:
            raise KeyError(key)
        else:
            value = default
        return value

    def popitem(self) -> tuple[K, V]:
        """Remove the last item in the order of iteration and return it. Raises `KeyError` if there is none."""
        for data, found in newest_items(self):
            key = _key(data, found)
            value = found.value if type(found) is Entry else found
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

    def __ior__(self, other: Any) -> Map[K, V]:
        self.update(other)
        note_assignment(self)
        return self

    def clear(self) -> None:
        """Remove everything."""
        self._note(CLEARED, None)
        OOBTree.clear(self)

    def _not_here(self, *args: object) -> Any:
        raise TypeError(f"{type(self).__qualname__} has no such method; SortedMap may have")

    # Methods of B-trees that speak of keys as they are inside.
    insert = minKey = maxKey = byValue = iterkeys = itervalues = iteritems = _not_here  # noqa: N815

    def __iter__(self) -> Iterator[K]:
        return (_key(data, found) for data, found in OOBTree.items(self))

    def __reversed__(self) -> Iterator[K]:
        return (_key(data, found) for data, found in newest_items(self))

    def items(self) -> _Items[K, V]:
        """Return (key, value) of all in order, lazily."""
        return _Items(self)

    def keys(self) -> _Keys[K, V]:
        """Return the keys in order, lazily."""
        return _Keys(self)

    def values(self) -> _Values[K, V]:
        """Return the values in the order of their keys, lazily."""
        return _Values(self)


def _key(data: bytes, found: Any) -> Any:
    return found.key if type(found) is Entry else plain_key(data)


class _View(Generic[K, V]):
    def __init__(self, owner: Map[K, V]) -> None:
        self._owner = owner

    def __len__(self) -> int:
        return len(self._owner)

    def __repr__(self) -> str:
        return f"<{type(self).__name__.strip('_').lower()} of {self._owner!r}>"


class _Keys(_View[K, V]):
    def __iter__(self) -> Iterator[K]:
        return iter(self._owner)

    def __contains__(self, key: object) -> bool:
        return key in self._owner


class _Values(_View[K, V]):
    def __iter__(self) -> Iterator[V]:
        return (
            found.value if type(found) is Entry else found for found in OOBTree.values(self._owner)
        )


class _Items(_View[K, V]):
    def __iter__(self) -> Iterator[tuple[K, V]]:
        for data, found in OOBTree.items(self._owner):
            if type(found) is Entry:
                yield found.key, found.value
            else:
                yield plain_key(data), found

    def __contains__(self, item: object) -> bool:
        if type(item) is not tuple or len(item) != 2:
            return False
        value = self._owner.get(item[0], _absent)
        return bool(value is not _absent and (value is item[1] or value == item[1]))


MutableMapping.register(Map)
