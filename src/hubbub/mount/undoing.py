"""Undo: a transaction that takes back what others have done, as if they had never run.

Theory of operation
===================

For each object that an undone transaction wrote, the state before it comes back. The write says that it replaces the
state that the undone transaction left; so where that was changed again since, the commit merges as for any other
transaction that comes too late, by the object's class, or is a conflict:

    undone        before --> undone --> now         base: undone, committed first: now, to be committed: before
    several       the newest first; where one that stays lies between them, the states are merged here

An object that an undone transaction made is left as it is: nothing of what comes back refers to it, and a pack
collects it. If it was changed since, taking it away would take that away too: a conflict. The root is never taken away,
it becomes empty. An undo is undone in its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from hubbub.kernel import (
    ROOT_OID,
    Changeset,
    ConflictError,
    FeedGapError,
    Label,
    PackedError,
    Record,
    Tid,
    UndoError,
    UnknownObjectError,
    tid_text,
)
from hubbub.mount.base import Mount
from hubbub.space import context
from hubbub.space.blobfiles import BLOB_CLASS, link_or_copy
from hubbub.space.classes import class_name
from hubbub.space.connection import Connection
from hubbub.space.containers import merge_records
from hubbub.space.root import Root
from hubbub.store.ledger import Ledger

_EMPTY_TREE = b"\x90"


class _Past(Protocol):
    """Where an undo finds what was: a mount, or a host's ledger."""

    newest: int

    def load(self, oid: int, at: int) -> Record: ...

    def records_of(self, tid: int) -> list[Record]: ...

    def check_kept(self, tid: int) -> None: ...


class _Mounted:
    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self.newest: int = mount.begin()
        self.load = mount.load
        self.records_of = mount.upkeep.records_of

    def check_kept(self, tid: int) -> None:
        if tid > self.newest:
            raise _none(tid)
        check_kept(self._mount, tid)


class _Hosted:
    """In a host, in the serial order: what is decided counts, be it on the disk or not."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.newest: int = ledger.last_tid
        self.load = ledger.load_at
        self.records_of = ledger.records_of

    def check_kept(self, tid: int) -> None:
        if tid <= self._ledger.store.feed_floor:
            raise _packed(tid)
        if not self._ledger.records_of(tid):
            raise _none(tid)


class _Plan:
    """What an undo writes, and what it relies on."""

    def __init__(self, past: _Past) -> None:
        self._past = past
        self.writes: dict[int, Record] = {}
        self.made: dict[int, int] = {}
        # The tid of the revision that a write brings back; 0 if it is merged.
        self._brought: dict[int, int] = {}

    def take_back(self, tid: Tid) -> None:
        """Take back transaction ``tid``; those that come after it have been taken back."""
        self._past.check_kept(tid)
        for left in self._past.records_of(tid):
            before = self._before(left)
            if before is None:
                self._unmake(left)
            else:
                self._replace(left, before, tid)

    def _before(self, left: Record) -> Record | None:
        """Return the state that the undone transaction has replaced by ``left``; None if there was no object."""
        try:
            return self._past.load(left.oid, left.tid - 1)
        except UnknownObjectError:
            if left.oid != ROOT_OID:
                return None
            return Record(ROOT_OID, 0, class_name(Root), (), _EMPTY_TREE)

    def _unmake(self, left: Record) -> None:
        oid = left.oid
        write = self.writes.pop(oid, None)
        if write is None:
            self.made[oid] = self._replaced(left)
        elif self._is_as_left(left, write):
            # All that was done to it since is taken back as well.
            self.made[oid] = write.tid
        else:
            raise cannot(left.tid, left, "it was changed again, and this transaction has made it")

    def _is_as_left(self, left: Record, write: Record) -> bool:
        """Whether a planned write brings back just what the undone transaction left."""
        return self._brought.get(left.oid) == left.tid or _is_same(write, left)

    def _replaced(self, left: Record) -> int:
        """Return the tid of the state that is to be replaced: what is there now, if that is as it was left."""
        try:
            now = self._past.load(left.oid, self._past.newest)
        except UnknownObjectError:
            return left.tid
        return now.tid if _is_same(now, left) else left.tid

    def _replace(self, left: Record, before: Record, tid: Tid) -> None:
        oid = left.oid
        write = self.writes.get(oid)
        if write is None:
            self.writes[oid] = _write(before, self._replaced(left))
            self._brought[oid] = before.tid
        elif self._is_as_left(left, write):
            self.writes[oid] = _write(before, write.tid)
            self._brought[oid] = before.tid
        else:
            merged = merge_records(left, write, before)
            if isinstance(merged, str):
                raise cannot(tid, left, merged)
            payload, refs = merged
            self.writes[oid] = Record(oid, write.tid, before.class_name, refs, payload)
            self._brought[oid] = 0

    def stage_blobs(self, mount: Mount) -> dict[int, str]:
        """Return staged files for the blobs that come back: what is in them is that of their former revision."""
        staged: dict[int, str] = {}
        for oid, write in self.writes.items():
            if write.class_name != BLOB_CLASS:
                continue
            try:
                source = mount.blob(oid, self._brought[oid])
            except UnknownObjectError:
                continue  # it was empty
            path = mount.stage()
            path.unlink()
            link_or_copy(source, path)
            staged[oid] = path.name
        return staged

    def check_references(self) -> None:
        """Check that what comes back refers to what is there: an object may be collected since."""
        newest = self._past.newest
        known = set(self.writes) | set(self.made) | {int(ROOT_OID)}
        for oid, write in self.writes.items():
            try:
                known.update(self._past.load(oid, newest).refs)
            except UnknownObjectError:
                pass  # it is gone, and comes back
            for ref in write.refs:
                if ref in known:
                    continue
                try:
                    self._past.load(ref, newest)
                except UnknownObjectError:
                    raise cannot(
                        write.tid, write, f"it would refer to object {ref:#x}, which was collected"
                    ) from None
                known.add(ref)


def _is_same(one: Record, other: Record) -> bool:
    return one.payload == other.payload and one.class_name == other.class_name


def _write(before: Record, replaces: int) -> Record:
    return Record(before.oid, replaces, before.class_name, before.refs, before.payload)


def undo(mount: Mount, tids: Iterable[int], label: Label) -> Tid:
    """Take back the transactions ``tids``, in one transaction of its own, and return its tid.

    Raises:
        UndoError: It can't be done; names the object and the transaction. Nothing was stored.
        HubbubError: As `Mount.commit`.
    """
    ordered = sorted(set(tids), reverse=True)
    if not ordered:
        raise UndoError("no transaction was named that could be undone")
    plan = _Plan(_Mounted(mount))
    try:
        hold = mount.snapshots.hold(max(0, ordered[-1] - 1))
    except PackedError:
        check_kept(mount, ordered[-1])
        raise _packed(ordered[-1]) from None
    with hold:
        for tid in ordered:
            plan.take_back(Tid(tid))
        plan.check_references()
        if not plan.writes:
            raise UndoError(
                f"{_named(ordered)} only made objects to which nothing refers: there is nothing to undo"
            )
        changeset = Changeset(
            mount.begin(), list(plan.writes.values()), list(plan.made.items()), label=label
        )
        changeset.blobs = plan.stage_blobs(mount)
    try:
        tid, _ = mount.commit(changeset)
    except ConflictError as error:
        why = error.reason or "the two changes can't be merged"
        if error.oid in plan.made:
            why = "the undo would take it away"
        raise UndoError(
            f"{_named(ordered)} can't be undone: object {error.oid:#x} of class {error.class_name} was changed again "
            f"by transaction {tid_text(error.committed_tid)} ({why}); undo that one, too"
        ) from error
    finally:
        for name in changeset.blobs.values():
            mount.unstage(name)  # what was committed stays
    return tid


def undo_here(*tids: int) -> None:
    """Take back transactions within the running one, as if they had not run: in a command, or a peer's transaction.

    It becomes part of the transaction: it is committed with it, and gone with an abort or a way back to a savepoint.
    What was changed again since is merged where its class can; as by `Space.undo`.

    Args:
        *tids: Which; `hubbub.tid` tells a command's own beforehand.

    Raises:
        UndoError: It can't be done; names the object and the transaction. Nothing has changed.
        NoTransactionError: Outside a transaction.
        ReadOnlyError: In a query.
    """
    transaction = context.required("hubbub.undo()")
    connection = transaction.connection
    point = connection.savepoint()
    past: _Past
    if isinstance(connection.past, Ledger):
        past = _Hosted(connection.past)
    else:
        past = _Mounted(connection.past)
        past.newest = getattr(connection.source, "tid", past.newest)
    plan = _Plan(past)
    for tid in sorted(set(tids), reverse=True):
        plan.take_back(Tid(tid))
    plan.check_references()
    try:
        for write in plan.writes.values():
            _bring_back(connection, past, write)
        for oid, tid in plan.made.items():
            now = connection.source.load(oid)
            if now.tid != tid or not _is_same(now, past.load(oid, tid)):
                raise cannot(tid, now, "it was changed again, and the undo would take it away")
            connection.rely_on(oid, tid)
    except BaseException:
        connection.roll_back(point)
        raise
    transaction.label = label_of_undo(transaction.label, tids, transaction.label.command)


def _bring_back(connection: Connection, past: _Past, write: Record) -> None:
    """Change an object in the running transaction as ``write`` does, which replaces the state of its tid."""
    if write.class_name == BLOB_CLASS:
        raise cannot(write.tid, write, "a blob comes back by space.undo only")
    try:
        now = connection.source.load(write.oid)
    except UnknownObjectError:
        raise cannot(write.tid, write, "it is gone") from None
    left = past.load(write.oid, write.tid) if write.tid else now
    payload, refs = write.payload, write.refs
    if not _is_same(now, left):
        merged = merge_records(left, now, write)
        if isinstance(merged, str):
            raise cannot(write.tid, write, merged)
        payload, refs = merged
    connection.bring_back(Record(write.oid, now.tid, write.class_name, refs, payload))


def check_kept(mount: Mount, tid: int) -> None:
    """Check that transaction ``tid`` is there and all of its past.

    Raises:
        UndoError: If it is packed away, or there is none.
    """
    try:
        entry = next(iter(mount.feed(tid - 1, 1)), None)
    except FeedGapError:
        if tid <= mount.begin():
            raise _packed(tid) from None
        entry = None
    if entry is None or entry.tid != tid:
        raise _none(tid)


def _none(tid: int) -> UndoError:
    return UndoError(f"there is no transaction {tid_text(tid)} to undo")


def _packed(tid: int) -> UndoError:
    return UndoError(
        f"transaction {tid_text(tid)} can't be undone: the space is packed beyond it, so what was before is not kept"
    )


def cannot(tid: int, record: Record, why: str) -> UndoError:
    """Return the error for an object that stands against an undo."""
    return UndoError(
        f"transaction {tid_text(tid)} can't be undone: object {record.oid:#x} of class {record.class_name}: {why}"
    )


def label_of_undo(label: Label, tids: Sequence[int], command: str = "undo") -> Label:
    """Return the label of an undo of ``tids``."""
    more = {**label.more(), "undone": [tid_text(tid) for tid in sorted(set(tids))[:1000]]}
    return msgspec.structs.replace(label, command=command, extra=msgspec.msgpack.encode(more))


def _named(tids: Sequence[int]) -> str:
    shown = ", ".join(tid_text(tid) for tid in tids[:5])
    rest = f" and {len(tids) - 5} more" if len(tids) > 5 else ""
    return f"transaction{'s' if len(tids) > 1 else ''} {shown}{rest}"
