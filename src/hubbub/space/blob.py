"""A blob: bytes too many for a record, in a file of their own that belongs to the transaction like all else."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, cast

from hubbub.kernel import UnstorableError, oid_from_bytes
from hubbub.space import context
from hubbub.space.blobfiles import (
    BLOB_CLASS,
    CHUNK_BYTES,
    BlobReader,
    BlobWriter,
    StagedBlobs,
    link_or_copy,
)
from hubbub.space.persistent import Persistent

_BUFFER_BYTES = 256 << 10


class _LooseFiles:
    """Where a blob's bytes are before it belongs to a connection."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="hubbub-blob-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def stage(self) -> Path:
        descriptor, name = tempfile.mkstemp(dir=self._folder)
        os.close(descriptor)
        return Path(name)

    def unstage(self, name: str) -> None:
        (Path(self._folder) / name).unlink(missing_ok=True)

    def open_blob(self, oid: int, tid: int) -> BinaryIO:
        raise UnstorableError("a blob", "was never written")


class Blob(Persistent, name=BLOB_CLASS):
    """Many bytes, in a file of their own. Streams gigabytes in constant memory.

    A shared object like any other: what is written is seen by the transaction at once, by others after the commit, and
    by nobody after an abort or a way back to a savepoint that lies before it. Two that write to the same blob conflict.
    Its record holds size and digest; a file that is damaged is a `CorruptRecordError` (ST6).

    Args:
        data: What it holds at first: bytes, a file to read from, or an iterable of bytes.
    """

    _size: int
    _digest: bytes

    def __init__(self, data: bytes | BinaryIO | Iterable[bytes] | None = None) -> None:
        self._size = 0
        self._digest = b""
        if data is not None:
            self.write_from(data)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        raise TypeError("Blob has no subclasses: let an object of your own refer to a Blob")

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(
                f"a Blob has no attribute {name!r}: keep what you know of it in the object that refers to it"
            )
        super().__setattr__(name, value)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self._size

    @property
    def digest(self) -> str:
        """The SHA-256 of its bytes in hexadecimal digits; empty for a blob without bytes."""
        return self._digest.hex()

    # --- reading ------------------------------------------------------------------------------------------------------

    def open(self, mode: str = "r") -> Any:
        """Open it as a binary file.

        Args:
            mode: ``"r"`` to read, from any place. ``"w"`` to write anew, ``"a"`` to write on behind what there is (that
                is copied). What was written counts when the file is closed; an exception in its ``with`` drops it.

        Raises:
            ReadOnlyError, NoTransactionError: If it can't be changed here.
            UnknownObjectError: If its file is packed away.
            CorruptRecordError: If its file is damaged; also while reading.
        """
        kind = mode.replace("b", "")
        if kind == "r":
            return self._reader()
        if kind not in ("w", "a"):
            raise ValueError(f"a blob is opened with 'r', 'w' or 'a', not {mode!r}")
        return self._writer(append=kind == "a")

    def read(self) -> bytes:
        """Return all of its bytes. For large ones use `open`."""
        with self.open() as file:
            data: bytes = file.read()
            return data

    def save_to(self, path: str | os.PathLike[str]) -> None:
        """Copy its bytes into a new file.

        Raises:
            FileExistsError: If there is one.
        """
        with self.open() as file, Path(path).open("xb") as out:
            shutil.copyfileobj(file, out, CHUNK_BYTES)

    def _reader(self) -> BinaryIO:
        size, digest = self._size, self._digest
        if not digest:
            return io.BytesIO()
        oid = 0 if self._p_oid is None else oid_from_bytes(self._p_oid)
        serial = self._p_serial
        tid = 0 if serial is None else oid_from_bytes(serial)
        path = self._staging(make=False)
        found = None if path is None else path.find(digest)
        if found is not None:
            raw: BinaryIO = found.open("rb", buffering=0)
        else:
            raw = self._p_jar.blob_files().open_blob(oid, tid)
        return io.BufferedReader(BlobReader(raw, size, digest, oid, tid), _BUFFER_BYTES)

    # --- writing ------------------------------------------------------------------------------------------------------

    def write_from(self, source: bytes | BinaryIO | Iterable[bytes]) -> None:
        """Replace its bytes.

        Args:
            source: Bytes, a file to read from, or an iterable of bytes.
        """
        with self.open("w") as out:
            if isinstance(source, bytes | bytearray | memoryview):
                out.write(source)
            elif hasattr(source, "read"):
                shutil.copyfileobj(cast("BinaryIO", source), out, CHUNK_BYTES)
            else:
                for piece in source:
                    out.write(piece)

    def consume_file(self, path: str | os.PathLike[str]) -> None:
        """Replace its bytes by those of a file, which is gone then. On the same disk nothing is copied.

        If the transaction aborts the file is lost all the same.
        """
        source = Path(path)
        with self.open("w") as out:
            out.take(source)
        source.unlink()

    def _writer(self, *, append: bool) -> BlobWriter:
        jar = self._p_jar
        if jar is not None:
            jar.check_writable(self)
        staging = self._staging(make=True)
        assert staging is not None
        name = repr(self)

        def done(writer: BlobWriter, digest: bytes, size: int) -> None:
            staging.writing.discard(writer)
            if size:
                staging.add(digest, writer.path)
            else:
                staging.drop(writer.path)
            self._size = size
            self._digest = digest if size else b""

        def drop(writer: BlobWriter) -> None:
            staging.writing.discard(writer)
            staging.drop(writer.path)

        begin_with = self._reader() if append and self._digest else None
        try:
            writer = BlobWriter(staging.stage(), name, done, drop, begin_with)
        finally:
            if begin_with is not None:
                begin_with.close()
        staging.writing.add(writer)
        return writer

    def _staging(self, *, make: bool) -> StagedBlobs | None:
        """Return where this transaction has what is written: of the connection, or loose until it has one."""
        jar = self._p_jar
        if jar is None:
            transaction = context.current()
            loose: StagedBlobs | None = self.__dict__.get("_v_loose")
            if loose is not None:
                return loose
            if transaction is not None and not transaction.read_only and make:
                found: StagedBlobs = transaction.connection.staged_blobs()
                return found
            if transaction is not None and transaction.connection.staged is not None and not make:
                return transaction.connection.staged
            if make:
                loose = StagedBlobs(_LooseFiles())
                self.__dict__["_v_loose"] = loose
            return loose
        if self.__dict__.get("_v_loose") is not None:
            self._move_in()
        staged: StagedBlobs | None = jar.staged_blobs() if make else jar.staged
        return staged

    def _move_in(self) -> None:
        """It belongs to a connection now, and so do its bytes."""
        loose: StagedBlobs = self.__dict__.pop("_v_loose")
        source = loose.find(self._digest)
        if source is None:
            return
        staging = self._p_jar.staged_blobs()
        path = staging.stage()
        path.unlink()
        link_or_copy(source, path)
        staging.add(self._digest, path)

    def __getstate__(self) -> Any:
        # Asked for when it is encoded, which is when a new one has got its connection.
        if self._p_jar is not None and self.__dict__.get("_v_loose") is not None:
            self._move_in()
        return super().__getstate__()
