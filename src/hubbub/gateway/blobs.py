"""A peer's blobs in pieces, up and down. Files are read and written in threads, a few pieces at a time."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

from hubbub.gateway.held import Held
from hubbub.gateway.outlet import Outlet
from hubbub.kernel import (
    COMPANION_BIT,
    BrokenError,
    CorruptRecordError,
    DiskFullError,
    HubbubError,
    LimitError,
    ReadOnlyError,
    RemoteProtocolError,
    StoreError,
    UnknownObjectError,
)
from hubbub.mount.failures import UPLOAD_GONE, to_failed
from hubbub.perspective.host import Host
from hubbub.wire import peer
from hubbub.wire.peer_asking import PIECE_BYTES

log = logging.getLogger("hubbub.peers")

_MOST_PIECES = 16
_MOST_UPLOADS = 1000
_MAX_NAME = 64
_MOST_BYTES = 1 << 62
_SYNC_PIECES = 32
"""So often what was uploaded is brought to the disk, so that the commit need not wait for much."""


class Transfers:
    """What one peer sends and fetches. Belongs to the loop.

    Args:
        host: Whose space it is.
        outlet: Sends the answers.
        held: Returns what is held for the peer's mount.
        told: Returns the tid up to which the peer was told what changed.
        is_read_only: Tells whether it may only read.
        limit_bytes: Bytes of what it has uploaded and not committed.
    """

    def __init__(
        self,
        host: Host,
        outlet: Outlet,
        held: Callable[[], Held],
        told: Callable[[], int],
        is_read_only: Callable[[], bool],
        limit_bytes: int,
    ) -> None:
        self._host = host
        self._outlet = outlet
        self._held = held
        self._told = told
        self._is_read_only = is_read_only
        self._limit_bytes = limit_bytes
        self._failed: dict[str, HubbubError] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, message: peer.PutPiece) -> None:
        """Keep a piece of an upload."""
        if len(message.data) > PIECE_BYTES or not 0 <= message.offset < _MOST_BYTES:
            raise RemoteProtocolError(f"a piece of a blob has at most {PIECE_BYTES} bytes")
        held = self._held()
        uploads = held.uploads
        path = uploads.get(message.name)
        try:
            if self._is_read_only():
                raise ReadOnlyError("peers may only read this space")
            if path is None:
                if message.offset and message.name in self._failed:
                    raise self._failed[message.name]  # sent before it was told
                if message.offset:
                    raise BrokenError(
                        "an upload is gone, for the host was started anew", code=UPLOAD_GONE
                    )
                if len(uploads) >= _MOST_UPLOADS or not 0 < len(message.name) <= _MAX_NAME:
                    raise LimitError(f"more than {_MOST_UPLOADS} blobs wait for their commits")
                path = uploads[message.name] = self._host.live.blobs.stage()
                self._failed.pop(message.name, None)
            if message.offset > held.size_of(path.name) + _MOST_PIECES * PIECE_BYTES:
                # Reading a hole of any size would cost the peer nothing, and those who commit beside it hours.
                raise LimitError("a piece of a blob is too far behind the end of the others")
            if held.grows(path.name, message.offset + len(message.data)) > self._limit_bytes:
                too_much = LimitError(
                    f"more than {self._limit_bytes} bytes of blobs wait for their commits: commit some of them first"
                )
                self._give_up(message.name, too_much)
                raise too_much
        except HubbubError as error:
            self._outlet.answer(to_failed(message.id, error))
            return
        found = path
        self._begin(message.id, lambda: self._write(found, message), message.name)

    def _write(self, path: Path, message: peer.PutPiece) -> peer.Put:
        try:
            descriptor = os.open(path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, message.data, message.offset)
                if message.offset // PIECE_BYTES % _SYNC_PIECES == _SYNC_PIECES - 1:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError("there is no room for blobs on the host's disk") from error
            raise StoreError(f"a blob can't be written: {error.strerror}") from error
        return peer.Put(message.id)

    def drop(self, message: peer.DropUpload) -> None:
        """Forget an upload."""
        self._failed.pop(message.name, None)
        self._remove(message.name)

    def _give_up(self, name: str, error: HubbubError) -> None:
        """Remove an upload that has failed: what is half there would take the room that others need."""
        if self._remove(name):
            if len(self._failed) >= _MOST_UPLOADS:
                del self._failed[next(iter(self._failed))]
            self._failed[name] = error

    def _remove(self, name: str) -> bool:
        held = self._held()
        path = held.uploads.pop(name, None)
        if path is None:
            return False
        self._host.live.blobs.unstage(path.name)
        held.gone(path.name)
        return True

    def get(self, message: peer.GetPiece) -> None:
        """Answer with a piece of a blob."""
        if not (0 < message.count <= PIECE_BYTES and 0 <= message.offset < _MOST_BYTES):
            raise RemoteProtocolError(f"a piece of a blob has at most {PIECE_BYTES} bytes")
        if not (0 <= message.oid < COMPANION_BIT and 0 <= message.tid <= self._told()):
            error = UnknownObjectError(message.oid, message.tid)
            self._outlet.answer(to_failed(message.id, error))
            return
        self._begin(message.id, lambda: self._read(message))

    def _read(self, message: peer.GetPiece) -> peer.Piece:
        path = self._host.store.blob(message.oid, message.tid)
        try:
            with path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                data = os.pread(file.fileno(), message.count, message.offset)
        except FileNotFoundError:
            raise UnknownObjectError(message.oid, message.tid) from None  # packed just now
        except OSError as error:
            raise CorruptRecordError(
                f"the blob of object {message.oid:#x} can't be read: {error.strerror}",
                oid=message.oid,
                tid=message.tid,
            ) from error
        return peer.Piece(message.id, data, size)

    def _begin(
        self, call_id: int, work: Callable[[], peer.Put | peer.Piece], upload: str = ""
    ) -> None:
        if len(self._tasks) >= _MOST_PIECES:
            refusal = LimitError(f"more than {_MOST_PIECES} pieces of blobs at a time")
            self._outlet.answer(to_failed(call_id, refusal))
            return
        task = asyncio.get_running_loop().create_task(self._work(call_id, work, upload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(
        self, call_id: int, work: Callable[[], peer.Put | peer.Piece], upload: str
    ) -> None:
        try:
            answer: peer.ToPeer = await asyncio.get_running_loop().run_in_executor(None, work)
        except HubbubError as error:
            if upload:
                self._give_up(upload, error)
            answer = to_failed(call_id, self._failed.get(upload, error))
        except Exception as error:
            log.exception("a piece of a blob could not be written or read")
            answer = to_failed(call_id, error)
        self._outlet.answer(answer)
