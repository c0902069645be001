"""Savepoints of a connection: the part of `hubbub.space.connection.Connection` that goes back (SP5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from persistent import Persistent

from hubbub.kernel import ReadOnlyError, Record, oid_bytes, oid_from_bytes
from hubbub.space.savepoints import Point, Stash, gone

if TYPE_CHECKING:
    from hubbub.space.prepared import Source

_set_changed = Persistent._p_changed.__set__


class Rollback:
    """The base of `Connection` for savepoints. What it works on is the connection's."""

    source: Source
    read_only: bool
    reads: set[int] | None
    _stash: Stash | None
    _cache: Any
    _new: list[Any]
    _changed: dict[int, Any]
    _changes: dict[int, dict[Any, Any]]
    _current: dict[int, int]
    _mutable: dict[int, tuple[Any, Record]]
    _to_ghost: list[Any]

    if TYPE_CHECKING:

        def _settle(self) -> None: ...

        def _encode_changed(self, records: list[Record], ephemerals: list[Record]) -> list[Any]: ...

    def savepoint(self) -> Point:
        """Return a point to which `roll_back` returns. What has changed so far need not stay in memory any more.

        Raises:
            UnstorableError: If something that has changed can't be stored; nothing else happens.
            ReadOnlyError: Where only reading is allowed.
        """
        if self.read_only:
            raise ReadOnlyError("where only reading is allowed there is nothing to go back from")
        self._settle()
        if self._stash is None:
            self._stash = Stash(self.source)
            self.source = self._stash
        stash = self._stash
        if self._changed:
            self._stash_changed(stash)
        if self._changes:
            stash.layers.append(self._changes)
            self._changes = {}
        self._make_room()
        return stash.point(len(self._new), len(self._current))

    def _stash_changed(self, stash: Stash) -> None:
        records: list[Record] = []
        watched = len(self._to_ghost)
        try:
            written = self._encode_changed(records, records)
            mutable = {id(obj) for obj in self._to_ghost[watched:]}
        finally:
            del self._to_ghost[watched:]
        for obj, record in zip(written, records, strict=True):
            stash.put(record)
            _set_changed(obj, False)
            if id(obj) in mutable:
                self._mutable[record.oid] = (obj, record)
            else:
                self._mutable.pop(record.oid, None)
        self._changed = {}

    def _make_room(self) -> None:
        """Let the cache shrink to its size, but for what may be changed in place (SP8)."""
        if self.reads is not None or len(self._cache) <= self._cache.cache_size:
            return
        kept = [obj for obj, _ in self._mutable.values() if obj._p_changed is False]
        for obj in kept:
            _set_changed(obj, True)
        self._cache.incrgc()
        for obj in kept:
            _set_changed(obj, False)
        self._changed = {}

    def roll_back(self, point: Point) -> None:
        """Return every object to its state at ``point``. Objects that are new since lose their oid (SP5).

        Raises:
            NoTransactionError: If ``point`` is gone; nothing has changed.
        """
        stash = self._stash
        if stash is None:
            raise gone()
        stash.check(point)
        lost = self._new[point.new :]
        self._wake(lost)
        changed = stash.go_back(point)
        self._disown(lost)
        del self._new[point.new :]
        for obj in self._changed.values():
            if obj._p_jar is self:
                obj._p_invalidate()
        for oid in changed:
            self._cache.invalidate(oid_bytes(oid))
        for obj, _ in self._mutable.values():
            if obj._p_jar is self:
                obj._p_invalidate()
        self._mutable = {}
        self._changed = {}
        self._changes = {}
        for oid in list(self._current)[point.current :]:
            del self._current[oid]

    def bring_back(self, record: Record) -> None:
        """Let the object of ``record`` be in that state from now on, as if this transaction had changed it to that.

        Everything is put aside: call `savepoint` before.

        Args:
            record: With the tid of the state that the transaction has found.
        """
        stash = self._stash
        assert stash is not None
        stash.put(record)
        stash.has_brought_back = True
        self._mutable.pop(record.oid, None)
        self._cache.invalidate(oid_bytes(record.oid))

    def rely_on(self, oid: int, tid: int) -> None:
        """Rely on ``oid`` being as ``tid`` has left it, when the transaction is committed."""
        self._current[oid] = tid

    def found(self, obj: Any) -> Record | None:
        """Return the record of ``obj`` that this transaction has found, if a savepoint has put another one before it.

        Returns:
            A record without a payload if ``obj`` is new in this transaction; None if it was not put aside.
        """
        stash = self._stash
        return None if stash is None else stash.found(oid_from_bytes(obj._p_oid))

    def _wake(self, lost: list[Any]) -> None:
        """Give objects that are about to lose their oid all of their state: nobody can load it afterwards."""
        by_oid = {oid_from_bytes(obj._p_oid): obj for obj in lost}
        for obj in lost:
            obj._p_activate()
            if hasattr(obj, "hubbub_detach"):
                obj.hubbub_detach(by_oid)

    def _disown(self, objects: Iterable[Any]) -> None:
        for obj in objects:
            key = obj._p_oid
            obj._p_changed = False
            if self._cache.get(key) is obj:
                del self._cache[key]
            del obj._p_jar
            del obj._p_oid
