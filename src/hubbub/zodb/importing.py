"""Bring the transactions of any storage of ZODB's into a space, as they are: tids, oids, pickles, blobs, meta data.

What comes out is for `HubbubStorage`. The space is empty, or holds the beginning of the same history, perhaps because
an import was stopped, or was done while the application went on writing: then only what is new comes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
from ZODB import interfaces
from ZODB.config import storageFromFile
from ZODB.FileStorage import FileStorage

from hubbub.kernel import (
    Commit,
    ConfigurationError,
    Job,
    Record,
    StoreError,
    Tid,
    is_ephemeral,
    oid_from_bytes,
    tid_text,
)
from hubbub.store import open_store
from hubbub.zodb.labels import label_of
from hubbub.zodb.opening import HOST_SCHEMES, check_class_name
from hubbub.zodb.pickles import BLOB, described
from hubbub.zodb.storage import HubbubStorage

_FILE_STORAGE = (b"FS21", b"FS30")
_GROUP_BYTES = 8 << 20
_GROUP_COMMITS = 2000


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import has brought.

    Attributes:
        transactions: How many transactions came.
        records: How many records they hold.
        blobs: How many of these have a blob.
        empty: Transactions without a record, which a space does not keep.
        already_there: Transactions that the space had already.
        last_tid: The tid of the newest one.
    """

    transactions: int = 0
    records: int = 0
    blobs: int = 0
    empty: int = 0
    already_there: int = 0
    last_tid: int = 0


def is_file_storage(path: str | os.PathLike[str]) -> bool:
    """Tell whether the file is one of ZODB's ``FileStorage``, by its first bytes."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4) in _FILE_STORAGE
    except OSError:
        return False


def open_source(
    path: str | os.PathLike[str], blob_dir: str | os.PathLike[str] | None = None
) -> Any:
    """Open what is to be imported: a ``Data.fs``, or a file with a storage section of ZODB's configuration.

    Args:
        path: Of the file.
        blob_dir: The folder of the blobs of a ``Data.fs``.

    Raises:
        ConfigurationError: It is neither, or there is none.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}")
    if is_file_storage(file):
        return FileStorage(
            str(file), read_only=True, blob_dir=None if blob_dir is None else os.fspath(blob_dir)
        )
    if blob_dir is not None:
        raise ConfigurationError("the folder of blobs is given in the configuration itself")
    try:
        with file.open() as text:
            return storageFromFile(text)
    except Exception as error:  # a configuration may fail in any way that its storage does
        raise ConfigurationError(
            f"{file} is no Data.fs, and no configuration of a storage of ZODB's: {error}"
        ) from error


class _Target(Protocol):
    """Where transactions go."""

    @property
    def last_tid(self) -> int: ...

    def copy(self, commit: Commit, blobs: dict[int, str]) -> None:
        """Take in one transaction, and copies of the files of its blobs."""
        ...

    def close(self) -> None: ...


class _FileTarget:
    """A space in a file, which nobody serves: groups are written to it, each with one fsync (ST3)."""

    def __init__(self, path: str) -> None:
        self._store = open_store(path)
        try:
            first = self._store.current(-1, self._store.last_tid, 1)
            if first:
                check_class_name(first[0], path)
        except BaseException:
            self._store.close()
            raise
        self._group: list[Commit] = []
        self._bytes = 0

    @property
    def last_tid(self) -> int:
        return self._group[-1].tid if self._group else self._store.last_tid

    def copy(self, commit: Commit, blobs: dict[int, str]) -> None:
        names = {}
        for oid, file in blobs.items():
            staged = self._store.stage()
            shutil.copyfile(file, staged)
            self._store.seal(staged.name)
            names[oid] = staged.name
            self._bytes += staged.stat().st_size
        commit.blobs = names
        self._group.append(commit)
        self._bytes += commit.byte_count
        if self._bytes > _GROUP_BYTES or len(self._group) >= _GROUP_COMMITS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._group:
            self._store.write(self._group)
            self._group, self._bytes = [], 0

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._store.close()


class _ServedTarget:
    """A space that a host serves."""

    def __init__(self, url: str, token: str) -> None:
        self._storage = HubbubStorage(url, token=token)

    @property
    def last_tid(self) -> int:
        return oid_from_bytes(self._storage.lastTransaction())

    def copy(self, commit: Commit, blobs: dict[int, str]) -> None:
        self._storage.restore_commit(commit, blobs)

    def close(self) -> None:
        self._storage.close()


def import_storage(
    source: Any, target: str | os.PathLike[str], *, token: str = "", job: Job | None = None
) -> ImportReport:
    """Bring all transactions of ``source`` that ``target`` does not hold yet.

    Args:
        source: A storage of ZODB's that can be iterated over (`open_source`).
        target: The path of a file, made if there is none; or the address of a host.
        token: What a host asks of its peers.
        job: For progress, in bytes, and to stop it. What has come by then stays; the next import goes on there.

    Raises:
        JobStoppedError: It was stopped.
        StoreError: The space holds something else; or a record can't be stored. Those before it are there.
        HubbubError: As `hubbub.open`, or `Store.write`.
    """
    name = os.fspath(target)
    job = job or Job()
    is_served = name.partition("://")[0] in HOST_SCHEMES
    place: _Target = _ServedTarget(name, token) if is_served else _FileTarget(name)
    with closing(place), iterated(source) as found:
        return _copied(source, found, place, name, job)


@contextmanager
def iterated(source: Any) -> Iterator[Iterator[Any]]:
    """Iterate over a storage's transactions in the block; some iterators hold a file open until they are closed."""
    found = source.iterator()
    try:
        yield iter(found)
    finally:
        if hasattr(found, "close"):
            found.close()


def _copied(
    source: Any, found: Iterator[Any], target: _Target, name: str, job: Job
) -> ImportReport:
    total = int(source.getSize())
    transactions = records = files = empty = already_there = done = 0
    end = target.last_tid
    is_known = not end
    for transaction in found:
        tid = oid_from_bytes(transaction.tid)
        if tid <= end:
            is_known = is_known or tid == end
            already_there += 1
            continue
        if not is_known:
            break
        commit, blobs = _commit_of(source, transaction)
        if not commit.records:
            empty += 1
            continue
        if tid <= target.last_tid:
            raise StoreError(
                f"transaction {tid_text(tid)} comes behind {tid_text(target.last_tid)} in this storage: its tids don't "
                "grow; pack it, or mend it with ZODB's fsrecover"
            )
        target.copy(commit, blobs)
        transactions += 1
        records += len(commit.records)
        files += len(blobs)
        done += commit.byte_count
        job.step("bringing bytes", min(done, total), total)
    if not is_known:
        raise StoreError(
            f"{name} ends at transaction {tid_text(end)}, which this storage does not have: it is no beginning of the "
            "same history; give an empty space"
        )
    return ImportReport(
        transactions=transactions,
        records=records,
        blobs=files,
        empty=empty,
        already_there=already_there,
        last_tid=target.last_tid,
    )


def _commit_of(source: Any, transaction: Any) -> tuple[Commit, dict[int, str]]:
    """Return a transaction as a commit, and the files of its blobs by oid."""
    tid = Tid(oid_from_bytes(transaction.tid))
    records: dict[int, Record] = {}
    copied: dict[int, int] = {}
    blobs: dict[int, str] = {}
    for found in transaction:
        oid = oid_from_bytes(found.oid)
        if is_ephemeral(oid):
            raise StoreError(f"oid {oid:#x} is too high: 2**61 - 1 is the highest")
        if found.data is None:
            records[oid] = Record(oid, tid, "", (), b"")
        else:
            class_name, refs = described(found.data)
            records[oid] = Record(oid, tid, class_name, refs, found.data)
            if class_name == BLOB:
                file = _blob_file(source, found)
                if file is not None:
                    blobs[oid] = file
        if found.data_txn is not None:
            copied[oid] = oid_from_bytes(found.data_txn)
    label = label_of(transaction, transaction.status, copied)
    return Commit(tid, label, list(records.values())), blobs


def _blob_file(source: Any, record: Any) -> str | None:
    if not interfaces.IBlobStorage.providedBy(source):
        raise ConfigurationError(
            f"object {oid_from_bytes(record.oid):#x} is a blob: say where this storage has its blobs (--blob-dir)"
        )
    try:
        file: str = source.loadBlob(record.oid, record.tid)
    except KeyError:
        return None  # it was never filled
    return file
