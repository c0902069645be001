"""Make Hubbub's own objects of ZODB's, one after another; see `hubbub.zodb.native`.

An object is made, empty, when the first one that refers to it is converted, and filled later: so cycles and depth do no
harm. A value is tried, as if it were stored, at once, so that all that can't be is found and named by its path.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import persistent
from BTrees.Length import Length
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef as ZODBWeakRef
from ZODB.blob import Blob as ZODBBlob
from ZODB.broken import Broken
from ZODB.interfaces import BlobError, IBlobStorage
from ZODB.POSException import POSKeyError

from hubbub.kernel import UnstorableError, oid_from_bytes
from hubbub.space.blob import Blob
from hubbub.space.classes import class_name, find_class
from hubbub.space.codec import encode_value
from hubbub.space.containers import Counter, List, Map
from hubbub.space.trees import is_tree_class
from hubbub.space.weak import WeakRef

_PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes))
_CACHE_EVERY = 1000


class Problem(msgspec.Struct, frozen=True):
    """Something that can't be brought.

    Attributes:
        oid: Of the object that holds it, in the ZODB.
        where: Its class, and the attribute or item.
        why: A few words.
    """

    oid: int
    where: str
    why: str

    def __str__(self) -> str:
        return f"object {self.oid:#x}, {self.where}: {self.why}"


class _NotBroughtError(Exception):
    """A value can't be brought; says why."""


class Converter:
    """Convert what a connection of ZODB's reaches.

    Args:
        source: The connection.

    Attributes:
        problems: What can't be brought, so far.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._has_blobs = IBlobStorage.providedBy(source.db().storage)
        self._made: dict[bytes, Any] = {}
        self._unfilled: deque[tuple[Any, Any]] = deque()
        self._count = 0
        self.problems: list[Problem] = []

    def items_of(self, mapping: Any) -> dict[Any, Any]:
        """Return the converted items of a mapping of ZODB's; what can't be brought is noted and left out."""
        found: dict[Any, Any] = {}
        for key, value in mapping.items():
            self._try(mapping, f"[{key!r}]", (key, value), lambda pair: found.update([pair]))
        return found

    def convert_next(self) -> bool:
        """Fill one more object; False when there is none."""
        if not self._unfilled:
            return False
        old, new = self._unfilled.popleft()
        cls = type(old)
        if isinstance(new, List) or (is_tree_class(cls) and cls.__name__.endswith("Set")):
            put = new.append if isinstance(new, List) else new.insert
            for index, value in enumerate(old):
                self._try(old, f"[{index}]", value, put)
        elif isinstance(new, Map) or is_tree_class(cls):
            for key, value in old.items():
                self._try(old, f"[{key!r}]", (key, value), lambda pair: new.update([pair]))
        elif isinstance(new, Blob):
            _fill_blob(old, new)
        elif not isinstance(new, Counter):
            state: dict[str, Any] = {}
            for name, value in (old.__getstate__() or {}).items():
                self._try(old, f".{name}", value, _setter(state, name))
            new.__setstate__(state)
        self._count += 1
        if self._count % _CACHE_EVERY == 0:
            self._source.cacheIncrementalGC()
        return True

    def _try(self, owner: Any, where: str, value: Any, put: Callable[[Any], object]) -> None:
        """Convert ``value`` and put it where it belongs; note it if that can't be."""
        name = type(owner).__qualname__
        try:
            converted = self._converted(value)
            encode_value(converted, _some_oid, name + where)
            put(converted)
        except UnstorableError as error:
            self._note(owner, error.path, error.why)
        except (_NotBroughtError, TypeError, ValueError) as error:
            self._note(owner, name + where, str(error))

    def _note(self, owner: Any, where: str, why: str) -> None:
        self.problems.append(Problem(oid_from_bytes(owner._p_oid), where, why))

    def _converted(self, value: Any) -> Any:
        cls = type(value)
        if cls in _PLAIN:
            return value
        if isinstance(value, persistent.Persistent):
            return self._counterpart(value)
        if cls in (list, tuple, set, frozenset):
            return cls(self._converted(item) for item in value)
        if cls is dict:
            return {self._converted(key): self._converted(item) for key, item in value.items()}
        if cls is ZODBWeakRef:
            target = value()
            return None if target is None else WeakRef(self._counterpart(target))
        return value

    def _counterpart(self, old: Any) -> Any:
        """Return the object that is made of ``old``; it may be empty yet."""
        if old._p_jar is not self._source:
            raise _NotBroughtError("it refers to another database")
        new = self._made.get(old._p_oid)
        if new is None:
            if type(old) is ZODBBlob and not self._has_blobs:
                raise _NotBroughtError("say where this storage has its blobs (--blob-dir)")
            try:
                old._p_activate()
            except POSKeyError as error:
                raise _NotBroughtError(
                    f"object {oid_from_bytes(old._p_oid):#x} is not there"
                ) from error
            new = _empty(old)
            self._made[old._p_oid] = new
            self._unfilled.append((old, new))
        return new


def _empty(old: Any) -> Any:
    cls = type(old)
    if cls is PersistentMapping:
        return Map()
    if cls is PersistentList:
        return List()
    if cls is Length:
        return Counter(old())
    if cls is ZODBBlob:
        return Blob()
    if is_tree_class(cls):
        return cls()
    name = f"{cls.__module__}.{cls.__qualname__}"
    if issubclass(cls, Broken):
        raise _NotBroughtError(f"the class {name} can't be imported")
    if cls.__getstate__ is not persistent.Persistent.__getstate__:
        raise _NotBroughtError(f"the class {name} has a state of its own (__getstate__)")
    if find_class(class_name(cls)) is not cls:
        raise _NotBroughtError(f"the class {name} can't be found by its name")
    made: Any = cls
    return made.__new__(made)


def _fill_blob(old: Any, new: Blob) -> None:
    try:
        file = old.open("r")
    except BlobError:
        return  # it was never filled
    with file:
        new.write_from(file)


def _setter(state: dict[str, Any], name: str) -> Callable[[Any], None]:
    def put(value: Any) -> None:
        state[name] = value

    return put


def _some_oid(_: Any) -> int:
    return 1
