"""Copy a space into another store: with all its history, or as it is now.

With its history a copy has the same tids, and can be gone on with later: it takes what is new. Keyed rows (sessions,
results of calls, jobs) are copied into a file or memory; a host keeps its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from hubbub.backup.filling import Filler, copy_file
from hubbub.backup.source import Source, Target, blob_size_of, commits_above
from hubbub.kernel import (
    ROOT_OID,
    Changeset,
    Job,
    Label,
    ReadOnlyError,
    Record,
    StoreError,
    tid_text,
)
from hubbub.store.base import Store, StoredCommit
from hubbub.store.blobs import BLOB

_PIECE = 1000
_BATCH_BYTES = 1 << 20
_RECORD_BYTES = 60


class CopyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy has brought over.

    Attributes:
        after: It copied the commits above this tid; 0 for all.
        last: The newest tid of the source that it has.
        floor: The history of the copy below this tid is not whole; 0 if all of it is there.
        commits, records, rows: How many.
        seconds: How long it took.
    """

    after: int = 0
    last: int
    floor: int = 0
    commits: int
    records: int
    rows: int = 0
    seconds: float


def copy_to_store(source: Source, store: Store, *, job: Job | None = None) -> CopyReport:
    """Copy a space with its history into a store that is empty and that nobody else uses; its rows if they may be read.

    If `CopyReport.floor` is not 0, whoever opens the store has to be told (`hubbub.store.making.note_packed`).

    Raises:
        StoreError: The store is not empty. Nothing has changed.
        JobStoppedError: It was stopped; the store holds a part.
    """
    if store.last_tid:
        raise StoreError("the store to copy to is not empty: copy into a new file")
    began = time.monotonic()
    job = job or Job()
    upkeep = source.upkeep
    filler = Filler(store)
    source.sync()
    # As in a backup: the rows are read at one moment, and the copy ends with the tid of then.
    try:
        newest, rows = upkeep.all_rows()
    except ReadOnlyError:
        # Who may only read does not get what sessions are resumed with.
        newest, rows = source.sync(), []
    source.wait(newest - 1, 30.0)
    for commit in commits_up_to(source, 0, newest):
        for oid in commit.blobs:
            filler.add_file(oid, source.blob(oid, commit.tid))
        filler.add(commit)
        if not filler.commits % 256:
            job.step("copying", filler.records)
    # Blobs came with their commits.
    filler.add_rows(row for row in rows if row[0] != BLOB)
    identity = upkeep.identity()
    return CopyReport(
        last=newest,
        floor=min(identity.packed_tid, filler.last),
        commits=filler.commits,
        records=filler.records,
        rows=sum(row[0] != BLOB for row in rows),
        seconds=time.monotonic() - began,
    )


def commits_up_to(source: Source, after: int, end: int) -> Iterator[StoredCommit]:
    """Yield the commits of a space of which something is kept, above ``after``, up to ``end``."""
    while after < end:
        found = commits_above(source, after, end)
        yield from (commit for commit in found if commit.records)
        after = found[-1].tid if found else end


def copy_history(source: Source, target: Target, *, job: Job | None = None) -> CopyReport:
    """Copy a space, commit by commit with its tids, into another that is empty or an older copy of it.

    Peers that have mounted the other space before have been promised oids that are taken now: they should mount it
    anew, and so should whoever goes on with ``target``, if that is a peer's.

    Raises:
        StoreError: The other space has commits that this one does not have. Nothing has changed.
        JobStoppedError: It was stopped; the next copy goes on from there.
        HubbubError: As `Mount.commit`; likewise.
    """
    began = time.monotonic()
    job = job or Job()
    end = source.sync()
    after = target.sync()
    if after:
        _must_be_a_copy(source, target, after)
    commits = records = 0
    for commit in commits_up_to(source, after, end):
        # As new objects: so the other space gives none of these oids to anybody else.
        writes = [Record(r.oid, 0, r.class_name, r.refs, r.payload) for r in commit.records]
        with staged_blobs(source, target, commit.tid, commit.blobs) as blobs:
            target.commit(
                Changeset(after, writes, label=commit.label, restored_tid=commit.tid, blobs=blobs)
            )
        commits += 1
        records += len(commit.records)
        job.step("copying", records)
    return CopyReport(
        after=after,
        last=end,
        commits=commits,
        records=records,
        seconds=time.monotonic() - began,
    )


@contextmanager
def staged_blobs(
    source: Source, target: Target, tid: int, oids: Iterable[int]
) -> Iterator[dict[int, str]]:
    """Give the names of files that hold the blobs of ``oids`` at ``tid``, staged; they go if they are not committed."""
    blobs: dict[int, str] = {}
    try:
        for oid in oids:
            path = target.stage()
            blobs[oid] = path.name
            copy_file(source.blob(oid, tid), path)
        yield blobs
    except BaseException:
        for name in blobs.values():
            target.unstage(name)
        raise


def _must_be_a_copy(source: Source, target: Target, after: int) -> None:
    ours, theirs = (space.upkeep.transaction(after) for space in (source, target))
    if ours is None or theirs is None or (ours.label, ours.oids) != (theirs.label, theirs.oids):
        raise StoreError(
            f"the space to copy to ends with a commit at tid {tid_text(after)} that the other does not have: copy "
            "into an empty one, or into an older copy"
        )
    if source.upkeep.identity().packed_tid > after:
        raise StoreError(
            f"the copy ends at tid {tid_text(after)}, and the space is packed beyond that: copy into an empty one"
        )


def copy_current(
    source: Source, target: Target, *, at: int | None = None, job: Job | None = None
) -> CopyReport:
    """Copy what there is, without history, into a space that is empty. Oids stay, tids are new.

    The root comes last, so nothing of it can be seen before all of it is there.

    Args:
        source: The space.
        target: The other one.
        at: As of which tid; None for the newest.
        job: For progress, and to stop it.

    Raises:
        StoreError: The other space is not empty. Nothing has changed.
        JobStoppedError: It was stopped; what it has stored can't be reached.
        HubbubError: As `Mount.commit`; likewise.
    """
    began = time.monotonic()
    job = job or Job()
    at = source.sync() if at is None else at
    if target.sync():
        raise StoreError(
            "the space to copy to is not empty: without history a copy needs an empty one"
        )
    label = Label(command="copy", note=f"as of {tid_text(at)}")
    root: list[Record] = []
    batch: list[Record] = []
    batch_bytes = commits = records = 0
    last_oid = -1
    base = 0
    while piece := source.upkeep.current(last_oid, at, _PIECE):
        last_oid = piece[-1].oid
        for record in piece:
            records += 1
            copied = Record(record.oid, 0, record.class_name, record.refs, record.payload)
            if record.oid == ROOT_OID:
                root.append(copied)
                continue
            if blob_size_of(source, record) is not None:
                # Alone, so that one that is large does not make others wait on both sides.
                with staged_blobs(source, target, record.tid, (record.oid,)) as blobs:
                    base = target.commit(Changeset(base, [copied], label=label, blobs=blobs))[0]
                commits += 1
                continue
            batch.append(copied)
            batch_bytes += len(copied.payload) + _RECORD_BYTES
            if batch_bytes >= _BATCH_BYTES:
                base = target.commit(Changeset(base, batch, label=label))[0]
                commits += 1
                batch, batch_bytes = [], 0
        job.step("copying", records)
    if batch or root:
        base = target.commit(Changeset(base, [*batch, *root], label=label))[0]
        commits += 1
    return CopyReport(
        last=at, floor=base, commits=commits, records=records, seconds=time.monotonic() - began
    )
