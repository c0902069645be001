"""Make a space out of a backup, as of any tid that it holds; and prove that a backup can be restored.

Theory of operation
===================

The space is made beside its place (`hubbub.backup.placing`), read back and compared with the backup, and only then
moved there.

The restored space has an id of its own: it is another one from here on, even where all that is in it is the same, so
that neither a backup of the first nor a peer that has seen more of it takes the one for the other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import msgspec

from hubbub.backup.commits import BlobPiece
from hubbub.backup.filling import Filler
from hubbub.backup.folder import BackupFile, BackupFolder
from hubbub.backup.placing import new_space
from hubbub.backup.reading import RowPiece, check_digests, read_items
from hubbub.kernel import CorruptRecordError, Job, StoreError, tid_text
from hubbub.store.base import StoredCommit
from hubbub.store.blobs import BLOB
from hubbub.store.making import note_packed
from hubbub.store.sqlite import SQLiteStore
from hubbub.store.upkeep import COMMIT_BYTES


class RestoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore, or the check of a backup, has found.

    Attributes:
        last: The newest tid that is restored.
        commits, records, blobs: How many were restored, read back and found equal.
        rows: Keyed rows; None where there are none for this tid.
        floor: The history of the space below this tid is not whole; 0 if all of it is there.
        size: Bytes of the files of the backup that were read.
        seconds: How long it took.
    """

    last: int
    commits: int
    records: int
    blobs: int
    rows: int | None
    floor: int
    size: int
    seconds: float


def restore(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    at: int | None = None,
    job: Job | None = None,
) -> RestoreReport:
    """Make the space at ``path`` as it was at tid ``at``, out of a backup, and compare it with the backup.

    Commits come back with their tids, labels, records and blobs. The keyed rows (sessions, results of calls, jobs)
    come back where ``at`` is the end of a run, since they were saved as of then only.

    Args:
        folder: The backup.
        path: Where the space is to be. Nothing may be there.
        at: A tid; None for the newest.
        job: For progress, and to stop it.

    Raises:
        CorruptRecordError: Something in the backup is damaged; names file and offset. Nothing is left at ``path``.
            A tid before that may still be restored.
        StoreError: There is something at ``path``, or the backup does not reach to ``at``; nothing has changed.
        JobStoppedError: It was stopped. Nothing is left.
        DiskFullError: There is no room. Nothing is left.
    """
    source = BackupFolder(folder)
    with new_space(path) as built:
        _, files = source.space_of(at)
        return _build(source.path, files, built, at, job or Job())


def check(
    folder: str | os.PathLike[str], *, at: int | None = None, job: Job | None = None
) -> RestoreReport:
    """Prove that a backup can be restored: restore it into a temporary folder, compare all of it, and remove that.

    All files of the backup are compared with their checksums too, those of older chains included.

    Args:
        folder: The backup. It takes as much room again, in the same folder's parent, while it runs.
        at: As of which tid; None for the newest.
        job: For progress, and to stop it.

    Raises:
        HubbubError: As `restore`.
    """
    source = BackupFolder(folder)
    manifest, files = source.space_of(at)
    manifest.chains()
    check_digests(source.path, manifest.files)
    try:
        building = Path(tempfile.mkdtemp(prefix="hubbub-check-", dir=source.path.parent))
    except OSError as error:
        raise StoreError(
            f"no folder can be made in {source.path.parent} to restore into: {error.strerror}"
        ) from error
    try:
        return _build(source.path, files, building / "space.hub", at, job or Job())
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _build(
    folder: Path, files: list[BackupFile], path: Path, at: int | None, job: Job
) -> RestoreReport:
    began = time.monotonic()
    total = sum(file.records for file in files)
    rows, newest = _fill(folder, files, path, at, job, total)
    floor = max(file.floor for file in files)
    if floor:
        # Not above what there is: whoever has seen all of it has missed nothing.
        note_packed(path, min(floor, newest))
    commits, records, blobs = _compare(folder, files, path, at, job, total)
    last = at if at is not None else files[-1].last
    if at is None and (commits, records) != (
        sum(file.commits for file in files),
        sum(file.records for file in files),
    ):
        raise CorruptRecordError(
            f"{folder} holds {commits:,} commits with {records:,} records, and its manifest says otherwise"
        )
    return RestoreReport(
        last=last,
        commits=commits,
        records=records,
        blobs=blobs,
        rows=rows,
        floor=floor,
        size=sum(file.size for file in files),
        seconds=time.monotonic() - began,
    )


def _fill(
    folder: Path, files: list[BackupFile], path: Path, at: int | None, job: Job, total: int
) -> tuple[int | None, int]:
    """Write everything; return how many rows there are, or None, and the newest tid."""
    is_end = files[-1].rows is not None and (at is None or at == files[-1].last)
    rows = 0
    store = SQLiteStore(path)
    try:
        filler = Filler(store)
        with contextlib.closing(filler):
            for item in read_items(folder, files, at):
                if isinstance(item, StoredCommit):
                    filler.add(item)
                    if not filler.commits % 256:
                        job.step("restoring", filler.records, total)
                elif isinstance(item, BlobPiece):
                    filler.add_piece(item)
                    job.step("restoring", filler.records, total)
                else:
                    filler.add_rows(item.rows)
                    rows += len(item.rows)
            filler.flush()
            job.step("restoring", filler.records, total)
    finally:
        store.close()
    return (rows if is_end else None), filler.last


def _compare(
    folder: Path, files: list[BackupFile], path: Path, at: int | None, job: Job, total: int
) -> tuple[int, int, int]:
    """Open the space anew and compare all that is in it with the backup.

    Raises:
        CorruptRecordError: If something differs.
    """
    commits = records = blobs = 0
    pieces = _Pieces()
    store = SQLiteStore(path, create=False)
    try:
        wanted = _wanted(folder, files, at, store, pieces)
        for expected, found in zip_longest(wanted, _stored(store)):
            if expected is None or found is None or not _is_same(expected, found):
                tid = (expected or found).tid
                raise CorruptRecordError(
                    f"what was restored at tid {tid_text(tid)} is not what the backup holds: the disk of {path.parent} "
                    "does not keep what is written to it",
                    tid=tid,
                )
            commits += 1
            records += len(expected.records)
            if not commits % 256:
                job.step("comparing", records, total)
        job.step("comparing", records, total)
        blobs = pieces.count
        if [row for row in store.all_rows()[1] if row[0] != BLOB] != pieces.rows:
            raise CorruptRecordError(
                "the keyed rows that were restored are not what the backup holds"
            )
    finally:
        store.close()
    return commits, records, blobs


def _is_same(one: StoredCommit, other: StoredCommit) -> bool:
    return (one.tid, one.label, one.records) == (other.tid, other.label, other.records)


class _Pieces:
    """What was compared on the way, and the rows that are to be compared at the end."""

    def __init__(self) -> None:
        self.count = 0
        self.rows: list[tuple[str, bytes, bytes]] = []


def _wanted(
    folder: Path, files: list[BackupFile], at: int | None, store: SQLiteStore, pieces: _Pieces
) -> Iterator[StoredCommit]:
    """Yield the commits of the backup. Blobs are compared as they pass."""
    for item in read_items(folder, files, at):
        if isinstance(item, StoredCommit):
            yield item
        elif isinstance(item, RowPiece):
            pieces.rows += item.rows
        else:
            with store.blob(item.oid, item.tid).open("rb") as file:
                file.seek(item.offset)
                found = file.read(len(item.data))
                size = os.fstat(file.fileno()).st_size
            if found != item.data or size != item.size:
                raise CorruptRecordError(
                    f"the blob of object {item.oid:#x} that was restored is not what the backup holds",
                    oid=item.oid,
                    tid=item.tid,
                )
            pieces.count += item.offset + len(item.data) == item.size


def _stored(store: SQLiteStore) -> Iterator[StoredCommit]:
    position = 0
    while found := store.commits(position, store.last_tid, COMMIT_BYTES):
        yield from found
        position = found[-1].tid
