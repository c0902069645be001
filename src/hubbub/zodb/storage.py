"""The storage that ZODB is given: each of its methods in a few lines, over the parts in the other modules."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import zope.interface
from ZODB import POSException, interfaces
from ZODB.ConflictResolution import ConflictResolvingStorage
from ZODB.UndoLogCompatible import UndoLogCompatible
from ZODB.utils import z64

from hubbub.kernel import (
    Changeset,
    Commit,
    HubbubError,
    Record,
    oid_bytes,
    oid_from_bytes,
    tid_at,
)
from hubbub.mount import RemoteMount
from hubbub.mount.secured import Certificates
from hubbub.zodb.blobs import BlobFiles
from hubbub.zodb.committing import Pending
from hubbub.zodb.failures import told_to_zodb
from hubbub.zodb.labels import NORMAL
from hubbub.zodb.news import News
from hubbub.zodb.opening import mount_for_zodb
from hubbub.zodb.past import StoredTransaction, UndoLog, tid_of_undo_id, transactions
from hubbub.zodb.pickles import is_blob
from hubbub.zodb.reading import Loaded, Reader
from hubbub.zodb.undoing import Undo

OnFinish = Callable[[bytes], object]


def _tid_of(serial: bytes | str | None) -> int:
    """Return the tid of a serial: None, as for a new object, and text, as from old applications, will do."""
    if isinstance(serial, str):
        serial = serial.encode("latin-1")
    return oid_from_bytes(serial or z64)


@zope.interface.implementer(
    interfaces.IMultiCommitStorage,
    interfaces.IStorageRestoreable,
    interfaces.IStorageIteration,
    interfaces.IStorageUndoable,
    interfaces.IStorageCurrentRecordIteration,
    interfaces.IExternalGC,
    interfaces.ReadVerifyingStorage,
    interfaces.IBlobStorageRestoreable,
)
class HubbubStorage(ConflictResolvingStorage, UndoLogCompatible):
    """A storage of ZODB's over any Hubbub store. Any thread may call any method at any time.

    Several transactions may commit at once. Conflicts are found, and resolved, in ``tpc_vote``.

    Args:
        url: The path of a file, or ``memory:``, which this process then owns; or the ``hub://host:port`` of a
            ``hubbub serve --data FILE --listen HOST:PORT``.
        read_only: Refuse every change.
        blob_dir: Folder for the blobs of transactions that are under way, and for those of a host that are in use
            here; on the same disk as the file, best. Without it a temporary one serves.
        pack_gc: Whether `pack` collects what the root can't reach, unless it is told.
        token: What a host asks of its peers.
        name: What `getName` says, instead of ``url``.
        wait_timeout_s: How long a call waits for a host that is gone.
        cache_bytes: Bytes of records of a host that are kept here.
        server_sync: Whether each transaction begins with a round trip to the host, so that it certainly sees what was
            committed before it began.
        ca: A PEM file with the certificates that are trusted for ``hubs://``; those of the system without it.
        cert: A PEM file with a certificate of ours, for a host that asks for one.
        key: A PEM file with its private key, if that is not in the same file.

    Raises:
        StoreError: The space holds objects of Hubbub's own; or as `hubbub.open`.
        HubbubError: As `hubbub.open`.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        read_only: bool = False,
        blob_dir: str | os.PathLike[str] | None = None,
        pack_gc: bool = True,
        token: str = "",
        name: str = "",
        wait_timeout_s: float = 30.0,
        cache_bytes: int = 64 << 20,
        server_sync: bool = False,
        ca: str | os.PathLike[str] | None = None,
        cert: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
    ) -> None:
        opened = mount_for_zodb(
            url,
            token=token,
            read_only=read_only,
            wait_timeout_s=wait_timeout_s,
            cache_bytes=cache_bytes,
            certificates=Certificates(ca, cert, key),
            blob_dir=blob_dir,
        )
        self._mount = opened.mount
        self.fshelper = BlobFiles(
            self._mount, None if blob_dir is None else Path(blob_dir), opened.folder
        )
        self._url = os.fspath(url)
        self._name = name or self._url
        self._read_only = read_only
        self._pack_gc = pack_gc
        self._server_sync = server_sync
        self._news = News(self._mount)
        self._reader = Reader(self._mount)
        self._undo_log = UndoLog(self._mount)
        # DemoStorage borrows it, under this name, and calls from within it what takes it.
        self._lock = threading.RLock()
        self._pending: dict[int, Pending] = {}

    def __repr__(self) -> str:
        return f"<HubbubStorage {self._name}>"

    # --- what it is -------------------------------------------------------------------------------------------------

    def getName(self) -> str:
        """Return its name, for people."""
        return self._name

    def sortKey(self) -> str:
        """Return what orders it among the storages of one transaction."""
        return f"hubbub:{self._url}"

    def isReadOnly(self) -> bool:
        """Tell whether changes are refused."""
        return self._read_only

    def supportsUndo(self) -> bool:
        """Tell that there is `undo`."""
        return True

    def __len__(self) -> int:
        """Count the objects. On a large space that takes its time."""
        with told_to_zodb():
            return self._mount.upkeep.stats().objects

    def __bool__(self) -> bool:
        # Else an empty storage would be false.
        return True

    def getSize(self) -> int:
        """Return how many bytes it takes, blobs not included. On a large space that takes its time."""
        with told_to_zodb():
            found = self._mount.upkeep.stats()
        return found.file_bytes or found.payload_bytes

    def registerDB(self, wrapper: Any) -> None:
        """Have ``wrapper`` told of others' commits from now on."""
        super().registerDB(wrapper)
        self._news.register(wrapper)

    def lastTransaction(self) -> bytes:
        """Return the tid of the last transaction whose changes were told."""
        return oid_bytes(self._news.told)

    def sync(self) -> None:
        """Take in what others have committed; see ``server_sync``."""
        with told_to_zodb():
            if self._server_sync:
                self._mount.sync()
            self._news.catch_up()

    def close(self) -> None:
        """Close it, and what it has mounted. Idempotent."""
        self._mount.close()
        self._news.close()
        self.fshelper.close()

    # --- reading ----------------------------------------------------------------------------------------------------

    def loadBefore(self, oid: bytes, tid: bytes) -> Loaded | None:
        """Return data, tid and the next tid of the record of ``oid`` as of before ``tid``; None if there was none."""
        return self._reader.load_before(oid, tid)

    def load(self, oid: bytes, version: str = "") -> tuple[bytes, bytes]:
        """Return the newest data of ``oid`` and its tid."""
        return self._reader.current(oid)

    def loadSerial(self, oid: bytes, serial: bytes) -> bytes:
        """Return what transaction ``serial`` wrote of ``oid``."""
        return self._reader.revision(oid, serial)

    def getTid(self, oid: bytes) -> bytes:
        """Return the tid of the newest record of ``oid``."""
        with self._news.lock:
            return self._reader.current(oid)[1]

    def history(self, oid: bytes, size: int = 1, filter: Any = None) -> list[dict[str, Any]]:  # noqa: A002 - ZODB's name
        """Describe the newest ``size`` revisions of ``oid``, newest first."""
        return self._reader.history(oid, size, filter)

    def record_iternext(
        self,
        next: bytes | None = None,  # noqa: A002 - ZODB's name
    ) -> tuple[bytes, bytes, bytes, bytes | None]:
        """Return oid, tid and data of one current record, and where to go on: None at the end."""
        return self._reader.record_next(next)

    def iterator(
        self, start: bytes | None = None, stop: bytes | None = None
    ) -> Iterator[StoredTransaction]:
        """Iterate over the transactions from ``start`` to ``stop``, both included, that there are now."""
        return transactions(self._mount, start, stop)

    def lastInvalidations(self, count: int) -> list[tuple[bytes, list[bytes]]]:
        """Return (tid, oids) of the last ``count`` transactions, oldest first."""
        with self._news.lock:
            return self._undo_log.newest(count)

    # --- a transaction ----------------------------------------------------------------------------------------------

    def new_oid(self) -> bytes:
        """Return an oid that nobody else gets."""
        self._check_writable()
        with told_to_zodb():
            return oid_bytes(self._mount.new_oid())

    def _check_writable(self) -> None:
        if self._read_only:
            raise POSException.ReadOnlyError("this storage was opened to read only")

    def _pending_of(self, transaction: Any) -> Pending:
        self._check_writable()
        pending = self._pending.get(id(transaction))
        if pending is None:
            raise POSException.StorageTransactionError(self, transaction)
        return pending

    def tpc_begin(self, transaction: Any, tid: bytes | None = None, status: str = NORMAL) -> None:
        """Begin to commit ``transaction``, as a copy if ``tid`` is given."""
        self._check_writable()
        number = 0 if tid is None else oid_from_bytes(tid)
        pending = Pending(
            self._mount,
            self.fshelper,
            transaction,
            number,
            status,
            self._crs_untransform_record_data,
        )
        with self._lock:
            if id(transaction) in self._pending:
                raise POSException.StorageTransactionError(
                    "tpc_begin was called twice for one transaction"
                )
            self._pending[id(transaction)] = pending

    def tpc_transaction(self) -> Any:
        """Return a transaction that is being committed, or None."""
        with self._lock:
            return next((pending.transaction for pending in self._pending.values()), None)

    def store(
        self, oid: bytes, serial: bytes | None, data: bytes, version: str, transaction: Any
    ) -> None:
        """Have ``data`` stored as the state of ``oid``, which was read at ``serial``."""
        pending = self._pending_of(transaction)
        pending.write(oid_from_bytes(oid), _tid_of(serial), data)

    def restore(
        self,
        oid: bytes,
        serial: bytes,
        data: bytes | None,
        version: str,
        prev_txn: bytes | None,
        transaction: Any,
    ) -> None:
        """Have ``data``, which was committed elsewhere, stored as it is; None says that the object is gone."""
        pending = self._pending_of(transaction)
        number = oid_from_bytes(oid)
        pending.write(number, 0, data, is_checked=False)
        if prev_txn is not None:
            pending.copied[number] = oid_from_bytes(prev_txn)

    def deleteObject(self, oid: bytes, serial: bytes, transaction: Any) -> None:
        """Have it stored that ``oid``, which was read at ``serial``, is gone."""
        pending = self._pending_of(transaction)
        pending.write(oid_from_bytes(oid), _tid_of(serial), None)

    def checkCurrentSerialInTransaction(self, oid: bytes, serial: bytes, transaction: Any) -> None:
        """Have the transaction conflict if ``oid`` has changed since ``serial``, or does so before its end."""
        self._pending_of(transaction).current[oid_from_bytes(oid)] = oid_from_bytes(serial)

    def undo(self, transaction_id: bytes, transaction: Any) -> tuple[None, list[bytes]]:
        """Undo the transaction of this name; returns the oids that change by it.

        Raises:
            UndoError: It can't be undone. Nothing has changed.
        """
        pending = self._pending_of(transaction)
        undo = Undo(self._mount, tid_of_undo_id(transaction_id), pending, self.tryToResolveConflict)
        oids = undo.run()
        for number, source in undo.sources.items():
            pending.put_blob(number, self.fshelper.again(number, source))
        return None, list(map(oid_bytes, oids))

    def tpc_vote(self, transaction: Any) -> list[bytes]:
        """Have all checked and reserved; returns the oids whose conflicts were resolved."""
        return self._pending_of(transaction).vote(self.tryToResolveConflict)

    def tpc_finish(self, transaction: Any, f: OnFinish | None = None) -> bytes:
        """Store it durably, call ``f`` with its tid, and return that.

        A transaction that writes nothing is not stored; then the last tid is returned.
        """
        pending = self._pending_of(transaction)
        try:
            if not pending.writes:
                pending.drop()
                with self._news.lock:
                    tid = self._news.told
                    if f is not None:
                        f(oid_bytes(tid))
            else:
                tid = self._news.finish(pending.finish, pending.writes.keys(), f)
        finally:
            self._forget(transaction)
        return oid_bytes(tid)

    def tpc_abort(self, transaction: Any) -> None:
        """Give it up. One that was not begun here is none of ours."""
        pending = self._pending.get(id(transaction))
        if pending is not None:
            self._forget(transaction)

    def _forget(self, transaction: Any) -> None:
        with self._lock:
            pending = self._pending.pop(id(transaction))
        pending.drop()

    def restore_commit(self, commit: Commit, blobs: dict[int, str]) -> None:
        """Store a transaction that was committed elsewhere as it is, with copies of the files of its blobs.

        Raises:
            HubbubError: As `hubbub.mount.Mount.commit`.
        """
        names = {oid: self.fshelper.copied(file) for oid, file in blobs.items()}
        changeset = Changeset(
            self._mount.begin(),
            [Record(r.oid, 0, r.class_name, r.refs, r.payload) for r in commit.records],
            label=commit.label,
            blobs=names,
            restored_tid=commit.tid,
        )
        try:
            self._mount.commit(changeset)
        except HubbubError:
            for name in names.values():
                self.fshelper.drop(name)
            raise

    # --- blobs ------------------------------------------------------------------------------------------------------

    def temporaryDirectory(self) -> str:
        """Return the folder for blobs that are not committed."""
        return self.fshelper.temp_dir

    def storeBlob(
        self,
        oid: bytes,
        oldserial: bytes | None,
        data: bytes,
        blobfilename: str,
        version: str,
        transaction: Any,
    ) -> None:
        """Have ``data`` stored as the state of ``oid``, and the file as its blob, which is taken over."""
        self.store(oid, oldserial, data, "", transaction)
        name = self.fshelper.take(blobfilename)
        self._pending_of(transaction).put_blob(oid_from_bytes(oid), name)

    def restoreBlob(
        self,
        oid: bytes,
        serial: bytes,
        data: bytes | None,
        blobfilename: str,
        prev_txn: bytes | None,
        transaction: Any,
    ) -> None:
        """Have a blob stored that was committed elsewhere; the file is taken over."""
        self.restore(oid, serial, data, "", prev_txn, transaction)
        name = self.fshelper.take(blobfilename)
        self._pending_of(transaction).put_blob(oid_from_bytes(oid), name)

    def loadBlob(self, oid: bytes, serial: bytes) -> str:
        """Return the path of the blob of ``oid`` at ``serial``."""
        return self.fshelper.getBlobFilename(oid, serial)

    def openCommittedBlobFile(self, oid: bytes, serial: bytes, blob: Any = None) -> BinaryIO:
        """Open the blob of ``oid`` at ``serial`` to read it."""
        return self.fshelper.open(oid, serial, blob)

    # --- the past ---------------------------------------------------------------------------------------------------

    def undoLog(
        self,
        first: int = 0,
        last: int = -20,
        filter: Callable[[dict[str, Any]], object] | None = None,  # noqa: A002
    ) -> list[dict[str, Any]]:
        """Describe what can be undone, newest first: from number ``first`` up to ``last``, or -``last`` of them."""
        return self._undo_log.described(first, last, filter)

    def pack(
        self,
        pack_time: float,
        referencesf: Callable[..., Any] | None,
        gc: bool | None = None,
    ) -> None:
        """Drop what was old at ``pack_time`` (Unix time), and, with ``gc``, what the root could not reach then.

        Raises:
            StorageError: The space declares to keep its past for longer, or a pack is running already.
        """
        self._check_writable()
        collect = self._pack_gc if gc is None else gc
        with told_to_zodb():
            at = min(tid_at(max(pack_time, 0.0)) - 1, self._mount.begin())
            self._mount.upkeep.pack(at, collect=collect)
            if isinstance(self._mount, RemoteMount):
                self._mount.forget()  # what was dropped would be found here

    def copyTransactionsFrom(self, other: Any, verbose: bool = False) -> None:
        """Copy all transactions of another storage, with their tids."""
        for copied in other.iterator():
            self.tpc_begin(copied, copied.tid, copied.status)
            for record in copied:
                self.restore(record.oid, record.tid, record.data, "", record.data_txn, copied)
                if is_blob(record.data):
                    try:
                        file = other.loadBlob(record.oid, record.tid)
                    except POSException.POSKeyError:
                        continue  # it was never filled
                    self._pending_of(copied).put_blob(
                        oid_from_bytes(record.oid), self.fshelper.copied(file)
                    )
            self.tpc_vote(copied)
            self.tpc_finish(copied)
