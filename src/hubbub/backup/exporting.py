"""Export an object with all that it refers to into a file, and import it into any space.

Nothing is decoded but references, so classes need not be known. An import gives every object a new oid. What it stores
can't be reached until the last step puts the first object into the root, so others see all of it or nothing; what an
import that has failed leaves behind is collected by the next pack.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from hubbub.backup.commits import FRAME_BYTES, BlobPiece, Fields, piece_of, write_blob
from hubbub.backup.filling import BlobFile
from hubbub.backup.frames import (
    BLOB,
    END,
    EXPORT_MAGIC,
    HEADER,
    OBJECTS,
    FrameWriter,
    damaged,
    read_frames,
)
from hubbub.backup.source import BLOB_CLASS, Source, Target
from hubbub.kernel import (
    Changeset,
    ConfigurationError,
    Job,
    Label,
    Record,
    StoreError,
    UnknownObjectError,
    UnstorableError,
)
from hubbub.space.rereferring import Rereferrer
from hubbub.store.marks import OidSet

FORMAT = 1

_LOAD = 1000
_BATCH_RECORDS = 2000
_RECORD_BYTES = 60
_PICKLE = "zodb:"

_decode_map = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_objects = msgspec.msgpack.Decoder(list[Fields]).decode


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an export has written, or an import has stored.

    Attributes:
        oid: Of the first object.
        class_name: Its class.
        objects: How many.
        payload_bytes: Bytes of their states.
        seconds: How long it took.
    """

    oid: int
    class_name: str
    objects: int
    payload_bytes: int
    seconds: float


def export_objects(
    source: Source,
    oid: int,
    path: str | os.PathLike[str],
    *,
    at: int | None = None,
    job: Job | None = None,
) -> ExportReport:
    """Write object ``oid`` and all that it refers to, directly or not, into a new file.

    Args:
        source: The space.
        oid: Of the first object.
        path: The file. It has its name when it is whole.
        at: As of which tid; None for the newest.
        job: For progress, and to stop it.

    Raises:
        StoreError: There is such a file, or it can't be written.
        UnknownObjectError: There is no such object, or one refers to one that is not there.
        UnstorableError: An object is one that can't be moved: a pickle of ZODB.
        JobStoppedError: It was stopped. Nothing is left.
    """
    place = Path(path).absolute()
    if os.path.lexists(place):
        raise StoreError(f"{place} is there: give another name, or move it away")
    began = time.monotonic()
    at = source.sync() if at is None else at
    first = source.load(oid, at)
    job = job or Job()
    objects = byte_count = 0
    with FrameWriter(place, EXPORT_MAGIC) as out:
        head = {"format": FORMAT, "oid": oid, "class": first.class_name, "tid": at}
        out.write(HEADER, {**head, "began": time.time()})
        piece: list[Any] = []
        piece_bytes = 0
        for record in _reachable(source, oid, at):
            if record.class_name.startswith(_PICKLE):
                raise UnstorableError(
                    f"object {record.oid:#x} of class {record.class_name}",
                    "it is a pickle of ZODB's: export it there, by connection.exportFile()",
                )
            if record.class_name == BLOB_CLASS:
                with suppress(UnknownObjectError):  # one that was never written has no file
                    write_blob(out, record.oid, 0, source.blob(record.oid, record.tid))
            piece.append((record.oid, record.class_name, record.refs, record.payload))
            piece_bytes += len(record.payload) + _RECORD_BYTES
            objects += 1
            byte_count += len(record.payload)
            if piece_bytes >= FRAME_BYTES:
                out.write(OBJECTS, piece)
                piece, piece_bytes = [], 0
                job.step("exporting", objects)
        if piece:
            out.write(OBJECTS, piece)
        out.write(END, {"objects": objects})
        job.step("exporting", objects)
        out.finish()
    return ExportReport(
        oid=oid,
        class_name=first.class_name,
        objects=objects,
        payload_bytes=byte_count,
        seconds=time.monotonic() - began,
    )


def _reachable(source: Source, oid: int, at: int) -> Iterator[Record]:
    """Yield the record of ``oid`` and of all that it refers to, directly or not, each once."""
    met = OidSet()
    met.add(oid)
    waiting = array("Q", (oid,))
    while waiting:
        wanted = waiting[-_LOAD:].tolist()
        del waiting[-_LOAD:]
        found = source.upkeep.load_many(wanted, at)
        if len(found) != len(wanted):
            raise UnknownObjectError(min({*wanted} - {record.oid for record in found}), at)
        for record in found:
            waiting.extend(ref for ref in record.refs if met.add(ref))
            yield record


def import_objects(
    target: Target,
    path: str | os.PathLike[str],
    *,
    note: str = "",
    job: Job | None = None,
) -> ExportReport:
    """Store what an export holds under new oids. Nothing refers to the first object yet: put it into the root soon.

    Args:
        target: The space.
        path: The file.
        note: For the labels of the commits.
        job: For progress, and to stop it.

    Returns:
        How much there was; ``oid`` is the new one of the first object.

    Raises:
        CorruptRecordError: The file is damaged; names the offset. What was stored is not reachable.
        StoreError: It is no export, or can't be read.
        JobStoppedError: It was stopped; likewise.
        HubbubError: As `Mount.commit`.
    """
    place = Path(path).absolute()
    began = time.monotonic()
    job = job or Job()
    head = _head_of(place)
    new_oids: dict[int, int] = {}

    outside: set[int] = set()  # what only weak references have named so far

    def new_oid(oid: int) -> int:
        outside.discard(oid)
        found = new_oids.get(oid)
        if found is None:
            found = new_oids[oid] = target.new_oid()
        return found

    def weak_oid(oid: int) -> int:
        is_known = oid in new_oids and oid not in outside
        found = new_oid(oid)
        if not is_known:
            # If it does not come along, nothing will be there: the reference says that its object is gone.
            outside.add(oid)
        return found

    rewrite = Rereferrer(new_oid, weak_oid).rewritten
    base = target.sync()
    label = Label(command="import", note=note or place.name)
    batch: list[Record] = []
    blobs = _Blobs(target)
    objects = byte_count = batch_bytes = 0
    for record in _objects_of(place, blobs):
        moved = rewrite(record)
        batch.append(Record(new_oid(record.oid), 0, record.class_name, moved.refs, moved.payload))
        objects += 1
        byte_count += len(moved.payload)
        batch_bytes += len(moved.payload) + _RECORD_BYTES
        if batch_bytes >= FRAME_BYTES or len(batch) >= _BATCH_RECORDS:
            job.step("importing", objects)
            target.commit(Changeset(base, batch, label=label, blobs=blobs.of(batch, new_oids)))
            batch, batch_bytes = [], 0
    if len(new_oids) - len(outside) != objects or head["oid"] not in new_oids:
        raise damaged(place, 0, "objects are missing in it")
    job.step("importing", objects)
    if batch:
        target.commit(Changeset(base, batch, label=label, blobs=blobs.of(batch, new_oids)))
    return ExportReport(
        oid=new_oids[head["oid"]],
        class_name=head["class"],
        objects=objects,
        payload_bytes=byte_count,
        seconds=time.monotonic() - began,
    )


def _head_of(path: Path) -> dict[str, Any]:
    frame = next(read_frames(path, EXPORT_MAGIC), None)
    if frame is None or frame.kind != HEADER:
        raise damaged(path, 0, "it has no header")
    head = _decoded_map(path, frame.body, frame.offset)
    if not (type(head.get("oid")) is int and type(head.get("class")) is str):
        raise damaged(path, frame.offset, "its header names no object")
    if head.get("format") != FORMAT:
        raise ConfigurationError(
            f"{path} has format version {head.get('format')}; this Hubbub reads {FORMAT}: install a newer one"
        )
    return head


def _decoded_map(path: Path, body: bytes, offset: int) -> dict[str, Any]:
    try:
        return _decode_map(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise damaged(path, offset, f"it can't be decoded ({error})") from error


class _Blobs:
    """The blobs that were read and wait for their records to be committed."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._file: BlobFile | None = None
        self._waiting: dict[int, str] = {}

    def add(self, piece: BlobPiece) -> None:
        """Write a piece."""
        if self._file is None:
            path = self._target.stage()
            self._file = BlobFile(path, piece.oid)
            self._waiting[piece.oid] = path.name
        self._file.add(piece)
        if self._file.is_whole:
            self._file.close()
            self._file = None

    def of(self, batch: list[Record], new_oids: dict[int, int]) -> dict[int, str]:
        """Return the staged names of those whose records are in ``batch``, by their new oids."""
        written = {record.oid for record in batch}
        found = {
            new_oids[old]: name
            for old, name in self._waiting.items()
            if new_oids.get(old) in written
        }
        self._waiting = {
            old: name for old, name in self._waiting.items() if new_oids.get(old) not in written
        }
        return found


def _objects_of(path: Path, blobs: _Blobs) -> Iterator[Record]:
    count = 0
    for frame in read_frames(path, EXPORT_MAGIC):
        if frame.kind == OBJECTS:
            try:
                fields = _decode_objects(frame.body)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise damaged(path, frame.offset, f"objects can't be decoded ({error})") from error
            count += len(fields)
            for oid, name, refs, payload in fields:
                yield Record(oid, 0, name, refs, payload)
        elif frame.kind == BLOB:
            blobs.add(piece_of(frame, path))
        elif frame.kind == END:
            if _decoded_map(path, frame.body, frame.offset).get("objects") != count:
                raise damaged(path, frame.offset, "it has another number of objects than it says")
        elif frame.kind != HEADER:
            raise damaged(path, frame.offset, f"there is no frame of kind {frame.kind!r}")
