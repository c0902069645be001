"""Undo a transaction: what it wrote goes back to what was before, in a transaction of its own that can be undone, too.

An object that was changed again since then goes back if it holds the same data all the same, or if its class can
resolve the conflict (base: as the transaction left it; one side: as it is now; other side: as it was before).
"""

from __future__ import annotations

import msgspec
from ZODB import POSException

from hubbub.kernel import Record, oid_bytes
from hubbub.mount import Mount
from hubbub.zodb.committing import Pending, Resolve
from hubbub.zodb.failures import told_to_zodb
from hubbub.zodb.labels import NORMAL, meta_of
from hubbub.zodb.pickles import BLOB, OPAQUE


class _Outcome(msgspec.Struct, frozen=True):
    """What undoes one record: the data to be written, and the record that it is copied from, if it is."""

    oid: int
    serial: int
    data: bytes | None
    source: Record | None = None


class Undo:
    """The undo of transaction ``tid`` in the transaction ``pending``.

    Args:
        mount: Where they are.
        tid: What is undone.
        pending: What undoes it, and perhaps others.
        resolve: Resolves conflicts.
    """

    def __init__(self, mount: Mount, tid: int, pending: Pending, resolve: Resolve) -> None:
        self._mount = mount
        self._tid = tid
        self._pending = pending
        self._resolve = resolve
        self._origins: dict[int, dict[int, int]] = {}
        self.sources: dict[int, int] = {}

    def run(self) -> list[int]:
        """Write what was before; return the oids. ``sources`` then tells of which tids blobs are to be copied.

        Raises:
            UndoError: It can't be undone; nothing was written.
        """
        upkeep = self._mount.upkeep
        with told_to_zodb():
            entry = upkeep.transaction(self._tid)
            if self._tid <= upkeep.identity().packed_tid:
                entry = None
            if entry is None or meta_of(entry.label).status != NORMAL:
                raise POSException.UndoError(
                    f"transaction {self._tid:016x} can't be undone: it is packed, or never was"
                )
            outcomes: list[_Outcome] = []
            failures: list[tuple[bytes, POSException.UndoError]] = []
            for record in upkeep.records_of(self._tid):
                try:
                    outcomes.append(self._undone(record))
                except POSException.UndoError as error:
                    failures.append((oid_bytes(record.oid), error))
        if failures:
            raise POSException.MultipleUndoErrors(failures)
        for outcome in outcomes:
            oid, source = outcome.oid, outcome.source
            self._pending.write(oid, outcome.serial, outcome.data)
            self._pending.copied.pop(oid, None)
            if source is not None:
                self._pending.copied[oid] = self._origin(oid, source.tid)
                if source.class_name in (BLOB, OPAQUE):
                    self.sources[oid] = source.tid
        return [outcome.oid for outcome in outcomes]

    def _undone(self, record: Record) -> _Outcome:
        """Return what undoes ``record``."""
        oid, upkeep = record.oid, self._mount.upkeep
        before = upkeep.history(oid, self._tid, 1)
        old = upkeep.revision(oid, before[0]) if before else None
        now_tid = upkeep.history(oid, None, 1)[0]
        written = self._pending.writes.get(oid)
        if written is not None:
            now = written.data
        elif now_tid == self._tid:
            now = _data(record)
        else:
            now = _data(upkeep.revision(oid, now_tid))
        if now == _data(record):
            if old is None:
                return _Outcome(oid, now_tid, None)
            return _Outcome(oid, now_tid, _data(old), old)
        if old is None:
            raise POSException.UndoError(
                "the object was made by this transaction and changed since then", oid_bytes(oid)
            )
        if now is None or old.is_gone or record.is_gone:
            raise POSException.UndoError("the object is gone in between", oid_bytes(oid))
        try:
            data = self._resolve(
                oid_bytes(oid), oid_bytes(now_tid), oid_bytes(self._tid), old.payload, now
            )
        except POSException.ConflictError as error:
            raise POSException.UndoError(
                "the object was changed by a later transaction", oid_bytes(oid)
            ) from error
        return _Outcome(oid, now_tid, data)

    def _origin(self, oid: int, tid: int) -> int:
        """Return the tid of the transaction that first wrote what ``tid`` has of ``oid``."""
        copied = self._origins.get(tid)
        if copied is None:
            with told_to_zodb():
                entry = self._mount.upkeep.transaction(tid)
            copied = {} if entry is None else dict(meta_of(entry.label).copied)
            self._origins[tid] = copied
        return copied.get(oid, tid)


def _data(record: Record) -> bytes | None:
    return None if record.is_gone else record.payload
