"""Back a space up while it is in use: all of it the first time, and what is new from then on.

Theory of operation
===================

The commits are read in tid order. When the newest are near, the keyed rows are read at one moment, with the tid T that
was the newest then; the run ends with T.

    read up to about now -> rows and T -> read up to T -> packed beyond T meanwhile? once more with newer rows
                                                       '-> end

A pack of the space meanwhile takes nothing away that is still readable at its tid, so what is behind it is whole; only
history before it is not, and each file says up to where that is (``floor``). A pack that has gone beyond the last
backup has taken away commits that were never saved: then the run begins anew, with a full one.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from hubbub.backup.commits import CommitWriter, write_blob, write_rows
from hubbub.backup.folder import FORMAT, BackupFile, BackupFolder, Manifest
from hubbub.backup.frames import BACKUP_MAGIC, END, HEADER, FrameWriter
from hubbub.backup.source import Source, commits_above
from hubbub.kernel import BrokenError, Job, StoreError, tid_text
from hubbub.store.blobs import BLOB
from hubbub.store.upkeep import SpaceIdentity

FILE_BYTES = 512 << 20
"""A file is ended at about this size, and the run goes on in the next: so a run that is killed loses no more."""

_ATTEMPTS = 10
_SETTLE_S = 30.0


class BackupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of backup has done.

    Attributes:
        is_full: Whether it began anew.
        why_full: Why, where it was not asked for and is not the first; else empty.
        after: It saved the commits above this tid.
        last: Up to this one, with which the backup ends now.
        commits, records, blobs, rows: How many of them.
        size: Bytes that were written.
        seconds: How long it took.
        files: Names of the files that were written.
    """

    is_full: bool
    why_full: str = ""
    after: int
    last: int
    commits: int = 0
    records: int = 0
    blobs: int = 0
    rows: int = 0
    size: int = 0
    seconds: float = 0.0
    files: tuple[str, ...] = ()


def back_up(
    source: Source,
    folder: str | os.PathLike[str],
    *,
    full: bool = False,
    job: Job | None = None,
    file_bytes: int = FILE_BYTES,
) -> BackupReport:
    """Save what is new in a space since the last run; all of it the first time.

    The space may be in use, and packed, meanwhile. What was saved is durable when it returns.

    Args:
        source: The space: a mount.
        folder: Where; made if there is none. One run at a time.
        full: Begin anew. What there is stays.
        job: For progress, and to stop it.
        file_bytes: About how large a file becomes.

    Raises:
        StoreError: The folder is a backup of another space, or of this one at a later time; or it can't be written, or
            another run is going on.
        JobStoppedError: It was stopped; the next run goes on behind the last whole file.
        DiskFullError: There is no room; likewise.
        CorruptRecordError: Something in the space, or the folder's manifest, is damaged; likewise.
        BrokenError: The connection broke; likewise.
    """
    target = BackupFolder(folder)
    target.make()
    with _locked(target):
        return _Run(source, target, job or Job(), file_bytes).run(full)


@contextmanager
def _locked(target: BackupFolder) -> Iterator[None]:
    path = target.path / "lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"another backup into {target.path} is running now") from None
        yield
    finally:
        os.close(file)


class _Run:
    def __init__(self, source: Source, target: BackupFolder, job: Job, file_bytes: int) -> None:
        self._source = source
        self._upkeep = source.upkeep
        self._target = target
        self._job = job
        self._file_bytes = file_bytes
        self._written: list[BackupFile] = []

    def run(self, full: bool) -> BackupReport:
        began = time.monotonic()
        self._source.sync()
        identity = self._upkeep.identity()
        manifest = self._target.read() or Manifest(space_id=identity.space_id)
        self._check(manifest, identity)
        self._target.clear(manifest)
        why = self._reason_for_full(manifest, identity)
        after = 0 if full or why else manifest.last
        position = after
        while True:
            manifest, position, is_end = self._write_file(manifest, position)
            if is_end:
                break
        files = self._written
        return BackupReport(
            is_full=not after,
            why_full="" if full else why,
            after=after,
            last=position,
            commits=sum(file.commits for file in files),
            records=sum(file.records for file in files),
            blobs=sum(file.blobs for file in files),
            rows=(files[-1].rows or 0) if files else 0,
            size=sum(file.size for file in files),
            seconds=time.monotonic() - began,
            files=tuple(file.name for file in files),
        )

    def _check(self, manifest: Manifest, identity: SpaceIdentity) -> None:
        """Check that the folder is a backup of this space, as it was earlier."""
        path = self._target.path
        if manifest.space_id != identity.space_id:
            raise StoreError(
                f"{path} is the backup of another space ({manifest.space_id[:8]}..., this one is "
                f"{identity.space_id[:8]}...): give a folder of its own. A restored space is another one, too"
            )
        if manifest.last > identity.last_tid:
            raise StoreError(
                f"{path} is ahead of this space: it goes up to tid {tid_text(manifest.last)}, and the space ends at "
                f"{tid_text(identity.last_tid)}. Has an older copy been put in its place? Give another folder, "
                "and keep this one until you know"
            )
        entry = self._upkeep.transaction(manifest.last) if manifest.last else None
        if manifest.last > identity.packed_tid and entry is None:
            raise StoreError(
                f"{path} ends with a commit at tid {tid_text(manifest.last)}, which this space does not have: "
                "it has gone another way since an older copy was put in its place. Give another folder"
            )

    def _reason_for_full(self, manifest: Manifest, identity: SpaceIdentity) -> str:
        if not manifest.last or manifest.last >= identity.packed_tid:
            return ""
        return (
            f"the space was packed up to {tid_text(identity.packed_tid)}, beyond the last backup "
            f"({tid_text(manifest.last)})"
        )

    def _write_file(self, manifest: Manifest, after: int) -> tuple[Manifest, int, bool]:
        """Write the next file; return the new manifest, where the file ends, and whether the run is over."""
        number = manifest.files[-1].number + 1 if manifest.files else 1
        path = self._target.path
        with FrameWriter(path / f"{number:06d}.hubbak", BACKUP_MAGIC) as out:
            head = {"format": FORMAT, "space": manifest.space_id, "number": number, "after": after}
            out.write(HEADER, {**head, "began": time.time()})
            file = _File(self._source, out, self._job, after, sum(f.records for f in self._written))
            rows = file.fill(self._file_bytes)
            floor = self._floor(after)
            counts = {"commits": file.commits, "records": file.records, "blobs": file.blobs}
            end = {"last": file.position, "floor": floor, **counts, "rows": rows}
            out.write(END, end)
            out.path = path / self._target.name_of(number, after, file.position)
            made = BackupFile(
                name=out.path.name,
                number=number,
                after=after,
                last=file.position,
                floor=floor,
                commits=file.commits,
                records=file.records,
                blobs=file.blobs,
                rows=rows,
                rows_sha256=file.rows_sha256,
                size=out.size,
                sha256=out.digest,
                made=time.time(),
            )
            if not (rows is not None and _is_nothing_new(manifest, made)):
                out.finish()
                manifest = Manifest(space_id=manifest.space_id, files=(*manifest.files, made))
                self._target.write(manifest)
                self._written.append(made)
        return manifest, file.position, rows is not None

    def _floor(self, after: int) -> int:
        identity = self._upkeep.identity()
        packed = min(identity.packed_tid, identity.last_tid)
        return packed if packed > after else 0


def _is_nothing_new(manifest: Manifest, made: BackupFile) -> bool:
    """Tell whether ``made`` says nothing that the newest file does not say."""
    if not manifest.files:
        return False
    newest = manifest.files[-1]
    return (made.after, made.last) == (newest.last, newest.last) and (
        made.rows_sha256 == newest.rows_sha256 and newest.rows is not None
    )


class _File:
    """What goes into one file."""

    def __init__(self, source: Source, out: FrameWriter, job: Job, after: int, before: int) -> None:
        self._source = source
        self._upkeep = source.upkeep
        self._out = out
        self._job = job
        self._before = before
        self._writer = CommitWriter(out)
        self._after = self.position = after
        self.commits = self.records = self.blobs = 0
        self.rows_sha256 = ""

    def fill(self, most_bytes: int) -> int | None:
        """Write commits, then the rows if that is all there is.

        Returns:
            How many rows; None if the file is full and there is more.
        """
        newest = self._upkeep.identity().last_tid
        for _ in range(_ATTEMPTS):
            while self.position < newest:
                if self._out.size >= most_bytes and self.position > self._after:
                    self._writer.flush()
                    return None
                self._take(newest)
            newest, found = self._upkeep.all_rows()
            # Blobs come with their commits.
            rows = [row for row in found if row[0] != BLOB]
            self._settle(newest)
            while self.position < newest:
                self._take(newest)
            identity = self._upkeep.identity()
            if min(identity.packed_tid, identity.last_tid) <= newest:
                self._writer.flush()
                self.rows_sha256 = write_rows(self._out, rows)
                return len(rows)
            newest = identity.last_tid
        raise StoreError("the space is packed again and again: no moment of it could be saved")

    def _settle(self, tid: int) -> None:
        """Wait until ``tid``, which is durable, may be read."""
        if self._source.wait(tid - 1, _SETTLE_S) < tid:
            raise BrokenError(
                f"commit {tid_text(tid)} of the space could not be read in {_SETTLE_S:.0f} s"
            )

    def _take(self, end: int) -> None:
        self._job.step("backing up", self._before + self.records)
        found = commits_above(self._source, self.position, end)
        if not found:
            # What was the newest has no records that are kept: nothing of it is missing.
            self.position = end
            return
        for commit in found:
            for oid in commit.blobs:
                self._writer.flush()
                write_blob(self._out, oid, commit.tid, self._source.blob(oid, commit.tid))
                self.blobs += 1
                self._job.step("backing up", self._before + self.records)
            if commit.records:  # else all of it is packed away
                self._writer.add(commit)
                self.records += len(commit.records)
                self.commits += 1
        self.position = found[-1].tid
