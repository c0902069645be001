"""Objects at a snapshot that moves: what a transaction, a read, a watch and a long-lived connection stand on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from hubbub.kernel import (
    BrokenError,
    Changeset,
    ClosedError,
    ConfigurationError,
    Label,
    PackedError,
    Record,
    SnapshotGoneError,
    Tid,
    UnknownObjectError,
    UnstorableError,
)
from hubbub.mount.base import Mount
from hubbub.mount.cache import RecordCache
from hubbub.space.connection import Connection
from hubbub.space.context import Transaction, annotated
from hubbub.store.snapshots import Snapshots


def peer_label() -> Label:
    """Return what a commit of this process says about itself."""
    return Label(command="peer", note=Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "")


class Records(Protocol):
    """Where records are: a mount, or what stands for one."""

    @property
    def cache(self) -> RecordCache:
        """See `Mount`."""
        ...

    @property
    def snapshots(self) -> Snapshots:
        """See `Mount`."""
        ...

    def load(self, oid: int, at: int) -> Record:
        """See `Mount`."""
        ...

    def new_oid(self) -> int:
        """See `Mount`."""
        ...


class Snapshot:
    """The records of a mount at one tid (a `hubbub.space.connection.Source`), which a pack keeps unless it is idle."""

    __slots__ = ("__weakref__", "_cache", "_load", "_snapshots", "is_idle", "new_oid", "tid")

    def __init__(self, mount: Records, tid: int, *, is_idle: bool = False) -> None:
        self._cache = mount.cache
        self._load = mount.load
        self._snapshots = mount.snapshots
        self.tid = tid
        self.is_idle = is_idle
        self.new_oid = mount.new_oid
        self._snapshots.add(self)

    @property
    def is_kept(self) -> bool:
        """Whether what it sees is kept; what is seen once, while it is not idle, stays."""
        return self.tid >= self._snapshots.floor

    def check(self) -> None:
        """Raise `PackedError` if what it sees is not kept any more; then it is idle."""
        try:
            self._snapshots.check(self.tid)
        except PackedError:
            self.is_idle = True
            raise

    def stay(self) -> None:
        """It is never moved: where what it sees is gone, beginning anew is no way out."""
        load = self._load

        def load_kept(oid: int, at: int) -> Record:
            try:
                return load(oid, at)
            except SnapshotGoneError as error:
                raise PackedError(error.message) from None

        self._load = load_kept

    def load(self, oid: int) -> Record:
        tid = self.tid
        cache = self._cache
        record = cache.recent.get(oid)
        if record is not None and record.tid <= tid:
            cache.recent_hits += 1
            return record
        return self._load(oid, tid)


class Workspace:
    """One coherent set of objects. Not for two threads at once.

    Args:
        mount: Where records come from.
        at: Stay at this tid; None: begin at the newest.
        read_only: Refuse every change.
        keep_volatile: Keep ``_v_`` attributes as long as this lasts (SP4).
        by_hand: Changes need no running transaction.
        serializable: Rely on all that was read (SP6). Between transactions everything is a ghost then, so that what a
            transaction wakes is what it has read.
    """

    def __init__(
        self,
        mount: Mount,
        *,
        at: int | None = None,
        read_only: bool = False,
        keep_volatile: bool = False,
        by_hand: bool = False,
        serializable: bool = False,
        kind: type[Connection] = Connection,
    ) -> None:
        self.mount = mount
        self.is_serializable = serializable
        self._snapshot = Snapshot(mount, mount.begin() if at is None else at)
        if at is not None:
            self._snapshot.stay()
            self._snapshot.check()
        elif not self._snapshot.is_kept:
            self._snapshot.tid = mount.begin()
            self._snapshot.check()
        self._written: dict[int, int] = {}
        self.objects = kind(
            self._snapshot, read_only=read_only, keep_volatile=keep_volatile, by_hand=by_hand
        )
        self.objects.blobs = mount
        self.objects.past = mount
        if serializable:
            self.objects.track()

    @property
    def tid(self) -> Tid:
        """The snapshot."""
        return Tid(self._snapshot.tid)

    def move(self) -> Tid:
        """Go to the newest snapshot: what changed since becomes ghosts. Between transactions only."""
        self.objects.mend()
        if self.is_serializable:
            self.objects.drop_track()
            self.objects.invalidate_all()
            self.objects.track()
        self._snapshot.is_idle = False
        newest = self._move()
        if not self._snapshot.is_kept:
            newest = self._move()  # a pack came between
            self._snapshot.check()
        return newest

    def _move(self) -> Tid:
        newest = self.mount.begin()
        if newest != self._snapshot.tid:
            newest, changed = self.mount.changed_since(self._snapshot.tid, self._written)
            self._written = {}
            if changed is None:
                self.objects.invalidate_all()
            elif changed:
                self.objects.invalidate(changed)
            self._snapshot.tid = newest
        return newest

    def rest(self) -> None:
        """Say that nobody reads by it until it is moved again: a pack need not keep what it sees."""
        self._snapshot.is_idle = True

    def commit(self, transaction: Transaction | None, label: Label) -> Tid:
        """Store what has changed. If that fails, call ``objects.abort``.

        Returns:
            The tid; the snapshot's own if nothing has changed.

        Raises:
            UnstorableError: Something can't be stored (SP2), or only in the host.
            HubbubError: As `Mount.commit`.
        """
        changeset = self.changeset(transaction, label)
        if changeset is None:
            self.objects.abort()
            return self.tid
        return self.committed(changeset, *self.mount.commit(changeset))

    def changeset(self, transaction: Transaction | None, label: Label) -> Changeset | None:
        """Return what has changed, to be committed; None if nothing has. Raises as `commit`."""
        prepared = self.objects.prepare()
        if prepared.ephemerals:
            raise UnstorableError(
                prepared.ephemerals[0].class_name,
                "lives in the host's memory only; a peer can't write it",
            )
        if transaction is not None and (transaction.notices or transaction.rows):
            raise ConfigurationError(
                "a peer's transaction can't send to users or start jobs; do it in a command"
            )
        if not prepared.records:
            return None
        current = self._all_read() if self.is_serializable else prepared.current
        return Changeset(
            self.tid, prepared.records, current, label=label, blobs=dict(prepared.blobs)
        )

    def _all_read(self) -> list[tuple[int, int]]:
        """Return what the transaction relies on: all that it has read, what it changes included."""
        read: list[tuple[int, int]] = []
        for oid in sorted(self.objects.reads or ()):
            try:
                read.append((oid, self._snapshot.load(oid).tid))
            except UnknownObjectError:
                read.append((oid, 0))
        return read

    def committed(self, changeset: Changeset, tid: Tid, merged: list[int]) -> Tid:
        """Take note that ``changeset`` is committed as ``tid``, ``merged`` in another state."""
        self.objects.committed(tid, merged)
        # What was merged is a ghost now, and wakes as what is stored.
        self._written = {record.oid: tid for record in changeset.writes}
        return tid


class ConnectionSavepoint:
    """A state of a long-lived connection. As a context manager it goes back when its block raises."""

    __slots__ = ("_objects", "_point")

    def __init__(self, objects: Connection) -> None:
        self._objects = objects
        self._point = objects.savepoint()

    def rollback(self) -> None:
        """Undo all changes since; see `hubbub.space.savepoints.Savepoint.rollback`.

        Raises:
            NoTransactionError: If there was a commit or abort since, or a way back to an earlier savepoint.
        """
        self._objects.roll_back(self._point)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, *_: object) -> None:
        if exc_type is not None:
            self.rollback()


class SpaceConnection:
    """A long-lived connection in the ZODB manner: objects keep their identity and their ``_v_`` attributes (SP4).

    It sees one snapshot (SP1) until `commit`, `abort` or `sync`; each of these moves it to the newest. One thread at a
    time. As a context manager it aborts and closes at the end. A pack keeps what it may read until then.

    Args:
        mount: Of the space.
        at: Look at this tid for good, to read only.
        serializable: Rely on all that a transaction has read.
    """

    _objects: type[Connection] = Connection

    def __init__(self, mount: Mount, at: int | None = None, *, serializable: bool = False) -> None:
        self._is_past = at is not None
        self._is_stale = False
        self._workspace: Workspace | None = Workspace(
            mount,
            at=at,
            read_only=mount.read_only or at is not None,
            keep_volatile=True,
            by_hand=True,
            serializable=serializable,
            kind=self._objects,
        )

    def _open(self) -> Workspace:
        if self._workspace is None:
            raise ClosedError("the connection is closed")
        if self._is_stale:
            self._move(self._workspace)
            self._is_stale = False
        return self._workspace

    @property
    def root(self) -> Any:
        """The space's mapping of entry points."""
        return self._open().objects.root

    @property
    def tid(self) -> Tid:
        """The snapshot that it sees."""
        return self._open().tid

    def savepoint(self) -> ConnectionSavepoint:
        """Return a state to which its ``rollback`` returns, as often as is wanted, until the next commit or abort.

        Raises:
            UnstorableError: If something that has changed can't be stored.
            ReadOnlyError: In a read-only connection.
        """
        return ConnectionSavepoint(self._open().objects)

    def commit(
        self,
        note: str | None = None,
        *,
        user: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Tid:
        """Store all changes and go on at the newest snapshot.

        Args:
            note: What it is about, in a few words; kept with the commit, as the next two.
            user: On whose behalf it is.
            extra: More, plain values by name.

        Raises:
            UnstorableError: Something can't be stored. The changes are given up.
            ConflictError: Somebody was first. The changes are given up, and the newest snapshot is seen.
            HubbubError: As `Mount.commit`; the same.
        """
        workspace = self._open()
        try:
            label = annotated(peer_label(), note, user, extra)
            tid = workspace.commit(None, label)
        except BaseException:
            workspace.objects.abort()
            self._go_on(workspace)
            raise
        self._go_on(workspace)
        return tid

    def abort(self) -> None:
        """Give up all changes and go on at the newest snapshot."""
        workspace = self._open()
        workspace.objects.abort()
        self._move(workspace)

    def sync(self) -> Tid:
        """Make a round trip and go on at the newest snapshot there is. Changes that are not committed are given up."""
        workspace = self._open()
        workspace.objects.abort()
        if not self._is_past:
            workspace.mount.sync()
        self._move(workspace)
        return workspace.tid

    def _go_on(self, workspace: Workspace) -> None:
        """Move, or let the next use do it: the host may be gone, and how the commit ended is what has to be told."""
        try:
            self._move(workspace)
        except (BrokenError, ClosedError):
            self._is_stale = True

    def _move(self, workspace: Workspace) -> None:
        if not self._is_past:
            workspace.move()

    def close(self) -> None:
        """Give up all changes and let the objects go. Idempotent."""
        if self._workspace is not None:
            self._workspace.objects.abort()
            self._workspace.rest()
            self._workspace = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
