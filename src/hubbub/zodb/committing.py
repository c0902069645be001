"""One transaction that ZODB commits: what it writes, its vote, and the conflicts that are resolved on the way.

Theory of operation
===================

    store, restore, undo, ...: kept here  --vote--> the mount checks all of it and reserves its objects  --finish--> tid
                                             |  ^
                                   conflict  v  | resolved by the class (`ZODB.ConflictResolution`)
                                            here

So a conflict is told by ``tpc_vote``, never by ``store``. Any number of transactions may be under way at once, and
those that finish at once share an fsync (ST3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from ZODB import POSException

from hubbub.kernel import (
    Changeset,
    ConflictError,
    HubbubError,
    LocalProtocolError,
    Record,
    Tid,
    UnknownObjectError,
    is_ephemeral,
    oid_bytes,
)
from hubbub.mount import Mount
from hubbub.mount.base import Ballot
from hubbub.zodb.blobs import BlobFiles
from hubbub.zodb.failures import told_to_zodb, translated
from hubbub.zodb.labels import label_of
from hubbub.zodb.pickles import described


class Resolve(Protocol):
    """Resolve a conflict, as ``ZODB.ConflictResolution.tryToResolveConflict`` does; or raise ZODB's ConflictError."""

    def __call__(
        self, oid: bytes, committed_serial: bytes, old_serial: bytes, new: bytes, committed: bytes
    ) -> bytes:
        """Return the data that holds both changes."""
        ...


class Write(msgspec.Struct):
    """What a transaction writes of one object.

    Attributes:
        serial: The tid of the record that its writer had read; 0 for a new object.
        data: The data record; None says that the object is gone.
        is_checked: Whether it conflicts with a newer record; not so if it is restored.
    """

    serial: int
    data: bytes | None
    is_checked: bool = True


class Pending:
    """A transaction between ``tpc_begin`` and its end.

    Args:
        mount: Where it goes.
        files: Where its blobs go.
        transaction: ZODB's own object for it.
        tid: The tid that it has to get, because it is a copy; 0 for a new one.
        status: Its status, if it is a copy.
        untransformed: Returns the pickle in a data record, which a wrapper may have changed.
    """

    def __init__(
        self,
        mount: Mount,
        files: BlobFiles,
        transaction: Any,
        tid: int,
        status: str,
        untransformed: Callable[[bytes], bytes],
    ) -> None:
        self.transaction = transaction
        self.writes: dict[int, Write] = {}
        self.copied: dict[int, int] = {}
        self.current: dict[int, int] = {}
        self.blobs: dict[int, str] = {}
        self._mount = mount
        self._files = files
        self._tid = tid
        self._status = status
        self._untransformed = untransformed
        self._ballot: Ballot | None = None

    def write(self, oid: int, serial: int, data: bytes | None, *, is_checked: bool = True) -> None:
        """Have the state of ``oid`` stored.

        Raises:
            StorageError: A store can't take this oid.
        """
        if is_ephemeral(oid):
            raise POSException.StorageError(f"oid {oid:#x} is too high: 2**61 - 1 is the highest")
        self.writes[oid] = Write(serial, data, is_checked)
        self.put_blob(oid, None)

    def put_blob(self, oid: int, name: str | None) -> None:
        """Have the staged file ``name`` be the blob of what is written of ``oid``; None for none."""
        old = self.blobs.pop(oid, None)
        if old is not None:
            self._files.drop(old)
        if name is not None:
            self.blobs[oid] = name

    def vote(self, resolve: Resolve) -> list[bytes]:
        """Have all of it checked and reserved; return the oids of the objects whose conflicts were resolved.

        Raises:
            POSException.ConflictError: A conflict that can't be resolved. Nothing is reserved.
            POSException.StorageError: As `Mount.vote`.
        """
        resolved: list[bytes] = []
        if not self.writes and not self.current:
            return resolved
        if self._tid:
            self._check_restored()
        while self._ballot is None:
            try:
                self._ballot = self._mount.vote(self._changeset())
            except ConflictError as error:
                write = self.writes.get(error.oid)
                if write is not None and not error.committed_tid and write.data is not None:
                    # It is not here yet: read from the base of a DemoStorage. ZODB's own storages take it as new, too.
                    write.serial = 0
                    continue
                self._resolve(error, resolve)
                resolved.append(oid_bytes(error.oid))
            except LocalProtocolError as error:
                raise POSException.StorageTransactionError(str(error)) from error
            except HubbubError as error:
                raise translated(error) from error
        return resolved

    def _changeset(self) -> Changeset:
        writes = []
        for oid, write in self.writes.items():
            if write.data is None:
                writes.append(Record(oid, write.serial, "", (), b""))
            else:
                name, refs = described(self._untransformed(write.data))
                writes.append(Record(oid, write.serial, name, refs, write.data))
        return Changeset(
            self._mount.begin(),
            writes,
            list(self.current.items()),
            label=label_of(self.transaction, self._status, self.copied),
            blobs=self.blobs,
            restored_tid=self._tid,
        )

    def _check_restored(self) -> None:
        """Check what is stored, not restored, though its tid is given: a store takes a copy as it is."""
        for oid, write in self.writes.items():
            if write.is_checked:
                try:
                    committed = self._mount.load(oid, self._mount.begin()).tid
                except UnknownObjectError:
                    continue
                if committed != write.serial:
                    raise _conflict(oid, committed, write.serial, write.data)

    def _resolve(self, error: ConflictError, resolve: Resolve) -> None:
        write = self.writes.get(error.oid)
        if write is None:
            raise POSException.ReadConflictError(
                oid=oid_bytes(error.oid),
                serials=(oid_bytes(error.committed_tid), oid_bytes(error.read_tid)),
            ) from error
        if error.committed is None or error.base is None or write.data is None:
            raise _conflict(error.oid, error.committed_tid, write.serial, write.data) from error
        write.data = resolve(
            oid_bytes(error.oid),
            oid_bytes(error.committed.tid),
            oid_bytes(write.serial),
            write.data,
            error.committed.payload,
        )
        write.serial = error.committed.tid

    def finish(self) -> Tid:
        """Store what has voted, durably, and return its tid.

        Raises:
            POSException.StorageTransactionError: It has not voted.
            POSException.StorageError: As `Mount.finish`.
        """
        if self._ballot is None:
            raise POSException.StorageTransactionError("tpc_finish without tpc_vote")
        with told_to_zodb():
            tid, _ = self._mount.finish(self._ballot)
        self._ballot = None
        self.blobs = {}
        return tid

    def drop(self) -> None:
        """Give it up. Harmless after `finish`."""
        for name in self.blobs.values():
            self._files.drop(name)
        self.blobs = {}
        if self._ballot is not None:
            with told_to_zodb():
                self._mount.drop(self._ballot)
            self._ballot = None


def _conflict(
    oid: int, committed: int, serial: int, data: bytes | None
) -> POSException.ConflictError:
    return POSException.ConflictError(
        oid=oid_bytes(oid), serials=(oid_bytes(committed), oid_bytes(serial)), data=data
    )
