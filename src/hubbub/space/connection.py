r"""A connection: one coherent set of objects over a source of records.

Theory of operation
===================

The connection is the *jar* of `persistent`: objects are made as ghosts, `setstate` wakes them from their record, the
first change calls `register`. What is awake is as of one moment: the source decides which (the newest decided state
for commands, the newest settled one for queries, a snapshot for peers); the owner calls `invalidate` when that moves.

    begin --body reads and writes--> prepare --> committed   objects keep their new state
                                  \            \-> abort     objects are ghosts again (SP5)
                                   \-> abort

* **Read sets.** While `track` is on, every object that wakes is noted. A connection for queries keeps nothing awake
  between runs, so what a run wakes is exactly what it read (design, section 7).
* **Plain mutable values** (SP8). A change inside a list or dict can't be seen by `persistent`. Objects that hold one
  are watched from when they wake until the transaction ends: at commit they are encoded again and compared; at the
  end of every transaction they become ghosts, so nothing unstored stays in memory.
* **New objects** get their oid when an object that refers to them is encoded, and lose it if that fails.
* **Savepoints** put what has changed before the source, so that it wakes from there (`hubbub.space.savepoints`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

from persistent import Persistent as BasePersistent
from persistent import PickleCache

from hubbub.kernel import (
    ROOT_OID,
    NoTransactionError,
    ReadOnlyError,
    Record,
    UnknownObjectError,
    UnstorableError,
    companion_oid,
    ephemeral_oid,
    is_ephemeral,
    oid_bytes,
    oid_from_bytes,
)
from hubbub.space import assignments, context, indexed
from hubbub.space.blobjar import BlobJar
from hubbub.space.classes import class_name, persistent_class
from hubbub.space.prepared import Prepared, Source, refusal
from hubbub.space.rollback import Rollback
from hubbub.space.root import Root
from hubbub.space.states import (
    class_for,
    encode_object,
    examine_object,
    fill_object,
    is_same_state,
)
from hubbub.space.writing import are_stored

_NO_SERIAL = b"\0" * 8
# As `obj._p_changed = ...`, past what the class of `obj` may do when an attribute is set.
_set_changed = BasePersistent._p_changed.__set__
_set_serial = BasePersistent._p_serial.__set__
_number = struct.Struct(">Q").unpack  # `oid_from_bytes` where every call counts


class Connection(Rollback, BlobJar):
    """Hold the objects of one reader and writer. Not for two threads at once.

    Args:
        source: Where records come from.
        cache_objects: How many awake objects are kept between transactions.
        read_only: Refuse every change (a query's connection).
        tracked: Objects wake in a running transaction only: what woke elsewhere would stay awake and grow old.
        keep_volatile: Keep ``_v_`` attributes over the ghost state (SP4).
        by_hand: Changes need no running transaction; its owner calls `prepare`, `committed` and `abort`.
    """

    def __init__(
        self,
        source: Source,
        *,
        cache_objects: int = 10_000,
        read_only: bool = False,
        tracked: bool = False,
        keep_volatile: bool = True,
        by_hand: bool = False,
    ) -> None:
        self.source: Source = source
        BlobJar.__init__(self)
        self.read_only = read_only
        self._tracked = tracked
        self._by_hand = by_hand
        self._keep_volatile = keep_volatile
        self._cache = PickleCache(self, cache_objects, 0)
        self._cached = self._cache.get
        self._new_ghost = self._cache.new_ghost
        self._changed: dict[int, Any] = {}
        self._new: list[Any] = []
        self._mutable: dict[int, tuple[Any, Record]] = {}
        self._current: dict[int, int] = {}
        self._changes: dict[int, dict[Any, Any]] = {}
        self._volatile: dict[int, dict[str, Any]] = {}
        self._written: list[Any] = []
        self._assigned: list[Any] = []
        self._to_ghost: list[Any] = []
        self._next_ephemeral = 0
        self._stash = None
        self.past: Any = None  # the ledger or mount that its records are of
        self.reads: set[int] | None = None
        self._woken: list[Any] = []
        self._spoiled: list[Any] = []
        self.root = self.get(ROOT_OID, class_name(Root))

    # --- finding objects --------------------------------------------------------------------------------------------

    def get(self, oid: int, class_name: str | None = None) -> Any:
        """Return the object ``oid``, as a ghost if it is not awake.

        Args:
            oid: Which object.
            class_name: Its stored class name, when it is known; else the record is loaded for it.

        Raises:
            UnknownObjectError: If the record has to be loaded and there is none.
        """
        key = oid_bytes(oid)
        found = self._cached(key)
        if found is not None:
            return found
        if class_name is None:
            class_name = self.source.load(oid).class_name
        cls: Any = persistent_class(class_name) or class_for(class_name)
        ghost = cls.__new__(cls)
        self._new_ghost(key, ghost)
        return ghost

    def get_all(self, oids: Iterable[int], cls: Any) -> list[Any]:
        """As `get`, for many objects of one class."""
        cached, new_ghost, make = self._cached, self._new_ghost, cls.__new__
        found = []
        for key in map(oid_bytes, oids):
            obj = cached(key)
            if obj is None:
                obj = make(cls)
                new_ghost(key, obj)
            found.append(obj)
        return found

    def add(self, obj: Any) -> int:
        """Give a new object its oid in this connection, if it has none, and return it.

        Raises:
            UnstorableError: If it belongs to another connection.
        """
        jar = obj._p_jar
        if jar is self:
            return oid_from_bytes(obj._p_oid)
        if jar is not None:
            raise UnstorableError(
                repr(obj), "belongs to another connection; fetch it again in this transaction"
            )
        if self.read_only:
            raise ReadOnlyError(
                f"a new {type(obj).__qualname__} can't be stored by a query or view; use a command"
            )
        if getattr(obj, "_hubbub_ephemeral", False):
            self._next_ephemeral += 1
            oid = int(ephemeral_oid(self._next_ephemeral))
        else:
            oid = int(self.source.new_oid())
        self._adopt(obj, oid)
        self._new.append(obj)
        obj._p_changed = True
        return oid

    def companion(self, obj: Any, cls: type) -> Any:
        """Return the ephemeral companion of ``obj``: an object of ``cls`` that exists by itself, empty at first, and
        is kept in the host's memory under an oid derived from that of ``obj``. ``cls`` is implicit."""
        return self.get(companion_oid(self.add(obj)), class_name(cls))

    def _adopt(self, obj: Any, oid: int) -> None:
        obj._p_jar = self
        obj._p_oid = oid_bytes(oid)
        self._cache[obj._p_oid] = obj

    # --- the jar, as `persistent` calls it ----------------------------------------------------------------------------

    def setstate(self, obj: Any) -> None:
        """Wake ``obj``. Called by `persistent` at the first touch of a ghost."""
        oid: int = _number(obj._p_oid)[0]
        if self._tracked:
            transaction = context.current()
            if transaction is None or transaction.connection is not self:
                raise NoTransactionError(
                    f"a {type(obj).__qualname__} that a query has found can be used only in that query: "
                    "return plain values"
                )
        if self.reads is not None:
            self.reads.add(oid)
            self._woken.append(obj)
        try:
            record = self.source.load(oid)
        except UnknownObjectError:
            # Inner nodes of a big root are of its class too, but they do not exist by themselves.
            is_implicit = getattr(obj, "_hubbub_implicit", False)
            if not is_implicit or not (oid == ROOT_OID or is_ephemeral(oid)):
                raise
            obj.__init__()
            obj._p_serial = _NO_SERIAL
            return
        if fill_object(obj, record, self.get):
            self._mutable[oid] = (obj, record)
        _set_serial(obj, oid_bytes(record.tid))
        if self._volatile:
            kept = self._volatile.pop(oid, None)
            if kept:
                obj.__dict__.update(kept)

    def register(self, obj: Any) -> None:
        """Note that ``obj`` changes. Called by `persistent` at the first change.

        Raises:
            NoTransactionError: Outside a transaction.
            ReadOnlyError: In a query.
        """
        self._check_writable(obj)
        self._changed[_number(obj._p_oid)[0]] = obj

    def _check_writable(self, obj: Any) -> None:
        transaction = context.current()
        is_running = transaction is not None and transaction.connection is self
        if not self.read_only and (is_running or self._by_hand):
            return
        # A B-tree of `BTrees` has changed already when it registers: it is put right before the next transaction.
        self._spoiled.append(obj)
        raise refusal(obj, self.read_only)

    def mend(self) -> None:
        """Make ghosts of what somebody tried to change where it is not allowed. Call it before a transaction.

        A plain mutable value that was reached outside of a transaction may have been changed in place: it goes too.
        """
        if self._mutable:
            for obj, _ in self._mutable.values():
                if obj._p_jar is self:
                    obj._p_invalidate()
            self._mutable.clear()
        if self._spoiled:
            spoiled, self._spoiled = self._spoiled, []
            for obj in spoiled:
                if obj._p_jar is self:
                    obj._p_invalidate()

    def readCurrent(self, obj: Any) -> None:  # noqa: N802 - the jar protocol's name
        """Note that the commit relies on ``obj`` being unchanged (SP6). Called by B-trees."""
        serial = obj._p_serial
        if serial is not None and obj._p_oid is not None:
            self._current[oid_from_bytes(obj._p_oid)] = oid_from_bytes(serial)

    def oldstate(self, obj: Any, tid: bytes) -> Any:
        """Not kept here; part of the jar protocol."""
        raise UnknownObjectError(oid_from_bytes(obj._p_oid), oid_from_bytes(tid))

    def keep_volatile(self, obj: Any) -> None:
        """Put aside the ``_v_`` attributes of ``obj``, which is about to become a ghost (SP4)."""
        if not self._keep_volatile:
            return
        attributes = obj.__dict__
        if are_stored(attributes):
            return
        kept = {key: value for key, value in attributes.items() if key.startswith("_v_")}
        if kept:
            self._volatile[oid_from_bytes(obj._p_oid)] = kept

    def note_change(self, obj: Any, key: Any, value: Any) -> dict[Any, Any]:
        """Note that the container ``obj`` is about to get ``value`` at ``key`` in this transaction (LV3).

        Returns:
            What is noted for it: at once, more may be put there.

        Raises:
            NoTransactionError, ReadOnlyError: As `register`. Nothing has changed.
        """
        oid: int = _number(obj._p_oid)[0]
        changes = self._changes.get(oid)
        if oid not in self._changed:  # else it has been asked
            self._check_writable(obj)
        if changes is None:
            changes = self._changes[oid] = {}
        changes[key] = value
        return changes

    def note_assignment(self, part: Any) -> None:
        """Note that ``part`` was put where it is already, as ``owner.part += 1`` does: no change of its owner."""
        self._assigned.append(part)

    def refresh_indexes(self) -> None:
        """Let the indexes of collections follow what has changed. Raises as `Collection.refresh`."""
        indexed.refresh(self._changed)

    # --- reading ------------------------------------------------------------------------------------------------------

    def track(self) -> None:
        """Begin to note what is read. Everything is a ghost at this moment."""
        self.reads = set()

    def end_track(self) -> frozenset[int]:
        """Return the oids read since `track`, and make ghosts of them again."""
        reads = frozenset(self.reads or ())
        self.reads = None
        try:
            self._check_unchanged()
        finally:
            self._ghost_all()
        return reads

    def drop_track(self) -> None:
        """As `end_track` after a failed run: nothing is checked, nothing is returned."""
        self.reads = None
        self._ghost_all()

    def _check_unchanged(self) -> None:
        for obj, record in self._mutable.values():
            try:
                payload, _ = encode_object(obj, self._known_oid)
            except UnstorableError:
                payload = b""
            if not is_same_state(obj, payload, record, self.get, self._known_oid):
                raise ReadOnlyError(
                    f"a query or view changed a value inside {type(obj).__qualname__}; use a command"
                )

    def _ghost_all(self) -> None:
        woken, self._woken = self._woken, []
        for obj in woken:
            obj._p_invalidate()
        self._mutable.clear()
        self._current.clear()

    def _known_oid(self, obj: Any) -> int:
        if obj._p_jar is not self:
            raise UnstorableError(repr(obj), "is not stored")
        return oid_from_bytes(obj._p_oid)

    def invalidate(self, oids: Iterable[int]) -> None:
        """Make ghosts of objects whose records have changed."""
        for oid in oids:
            self._cache.invalidate(oid_bytes(oid))
            self._mutable.pop(oid, None)

    def forget(self, oids: Iterable[int]) -> None:
        """Let go of all that is kept of objects that are gone, ``_v_`` attributes included."""
        for oid in oids:
            self._cache.invalidate(oid_bytes(oid))
            self._volatile.pop(oid, None)

    def invalidate_all(self) -> None:
        """Make ghosts of everything."""
        for obj in list(self._cache.lru_items()):
            obj[1]._p_invalidate()
        self._mutable.clear()

    # --- ends of a transaction ----------------------------------------------------------------------------------------

    def prepare(self) -> Prepared:
        """Encode what has changed, with all new objects that it refers to.

        Raises:
            UnstorableError: If something can't be stored; names the attribute's path. Call `abort` then (SP2).
            NotUniqueError: If a unique index of a collection is violated. Call `abort` then.
        """
        if self.staged is not None:
            self.staged.check_closed()
        self._settle()
        changed, stash = self._changed, self._stash
        if not changed and stash is None:
            return Prepared([], [], self._relied_on(changed), self._changes)
        records: list[Record] = []
        ephemerals: list[Record] = []
        self._written = self._encode_changed(records, ephemerals)
        if stash is None:
            relied_on = self._relied_on(changed)
            return Prepared(records, ephemerals, relied_on, self._changes, self._blobs_of(records))
        for oid, record in stash.records.items():
            if oid not in changed:
                (ephemerals if is_ephemeral(oid) else records).append(record)
                obj = self._cached(oid_bytes(oid))
                if obj is not None and obj._p_state >= 0:
                    self._written.append(obj)
        relied_on = self._relied_on({**stash.records, **changed})
        changes = stash.changes(self._changes)
        return Prepared(records, ephemerals, relied_on, changes, self._blobs_of(records))

    def _settle(self) -> None:
        """Find out what has changed indeed, and let follow what follows it."""
        if self._mutable:
            self._find_changed_in_place()
        indexed.refresh(self._changed)
        if self._assigned:
            assignments.drop_unchanged(
                self._assigned, self._changed, self.source, self.get, self._known_oid
            )

    @property
    def has_changed(self) -> bool:
        """Whether anything has changed since the transaction began, as far as that can be seen without looking."""
        return bool(self._changed or self._stash)

    def _encode_changed(self, records: list[Record], ephemerals: list[Record]) -> list[Any]:
        """Encode what has changed since the last savepoint; return the objects, in order."""
        written: list[Any] = []
        queue = list(self._changed.items())
        for oid, obj in queue:  # grows while new objects are found
            new_before = len(self._new)
            is_stored = not is_ephemeral(oid)
            ref_of = self._durable_ref if is_stored else self.add
            payload, refs, has_mutable = examine_object(obj, ref_of)
            if has_mutable:
                self._to_ghost.append(obj)
            serial = obj._p_serial
            read_tid = _number(serial)[0] if serial is not None else 0
            record = Record(oid, read_tid, class_name(type(obj)), refs, payload)
            (records if is_stored else ephemerals).append(record)
            written.append(obj)
            if len(self._new) > new_before:
                queue += [(oid_from_bytes(new._p_oid), new) for new in self._new[new_before:]]
        return written

    def _find_changed_in_place(self) -> None:
        """Note which watched objects hold a plain value that is not what it was (SP8)."""
        for oid, (obj, record) in self._mutable.items():
            if oid not in self._changed:
                ref_of = self._ref_from(oid)
                payload, _ = encode_object(obj, ref_of)
                if not is_same_state(obj, payload, record, self.get, ref_of):
                    self._changed[oid] = obj

    def _relied_on(self, changed: dict[int, Any]) -> list[tuple[int, int]]:
        """Return what was read with `readCurrent`, is stored, and is not written itself."""
        if not self._current:
            return []
        return [(oid, tid) for oid, tid in self._current.items() if tid and oid not in changed]

    def _ref_from(self, owner: int) -> Callable[[Any], int]:
        return self.add if is_ephemeral(owner) else self._durable_ref

    def _durable_ref(self, obj: Any) -> int:
        oid: int = _number(obj._p_oid)[0] if obj._p_jar is self else self.add(obj)
        if is_ephemeral(oid):
            raise UnstorableError(
                repr(obj), "lives in the host's memory only; a durable object can't refer to it"
            )
        return oid

    def committed(self, tid: int, merged: Iterable[int] = ()) -> None:
        """Take note that what `prepare` returned is committed as ``tid``, ``merged`` in another state."""
        if self._written:
            serial = oid_bytes(tid)
            for obj in self._written:
                _set_changed(obj, False)
                _set_serial(obj, serial)
            for oid in merged:
                self._cache.invalidate(oid_bytes(oid))
        self._end(is_committed=True)

    def abort(self) -> None:
        """Give up: changed objects become ghosts, new ones lose their oid (SP5)."""
        if self._stash is not None:
            self._wake(self._new)
        self._disown(self._new)
        new = {id(obj) for obj in self._new}
        for obj in self._changed.values():
            if id(obj) not in new:
                obj._p_invalidate()
        if self._stash is not None:
            for oid in self._stash.records:
                self._cache.invalidate(oid_bytes(oid))
        self._end()

    def _end(self, *, is_committed: bool = False) -> None:
        if self.staged is not None:
            staged, self.staged = self.staged, None
            staged.end(is_committed=is_committed)
        if self._stash is not None:
            self.source = self._stash.source
            self._stash = None
        if self._mutable:
            for obj, _ in self._mutable.values():
                if obj._p_jar is self:
                    obj._p_invalidate()
            self._mutable = {}
        # What was changed may hold a plain mutable value now, though its old record did not.
        for obj in self._to_ghost:
            if obj._p_jar is self:
                obj._p_invalidate()
        self._to_ghost = []
        self._changed = {}
        self._new = []
        self._current = {}
        self._changes = {}
        self._written = []
        self._assigned = []
        if self.reads is None:
            self._cache.incrgc()
