"""The side file of a space on disk: who owns it (ST8), and up to where it was acknowledged (ST6).

Theory of operation
===================

The file stands beside the space (``chat.hub-lock``) and is never deleted by its owner, since two processes could
then lock two different files of that name. What holds is the `flock`, which ends with the process, however it ends;
the text only says who it is.

    bytes 0-16    newest acknowledged tid, 16 hexadecimal digits, newline
    bytes 17-49   id of the space that this tid belongs to, 32 hexadecimal digits, newline
    then          the owner as one line of JSON, padded

The tid is written after the group's fsync and before anybody is told, into the page cache and without an fsync: after
SIGKILL it is exact, after power loss at worst older. A space whose newest tid is below it has lost acknowledged
commits.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import mmap
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hubbub.kernel import CorruptRecordError, SpaceInUseError, StoreError, Tid, tid_text

_log = logging.getLogger("hubbub.store")

_TID_SIZE = 16
_ID_AT = 17
_OWNER_AT = 50
_NO_ID = "0" * 32
_DYING_S = 10.0
_DYING_PAUSE_S = 0.005


class Owner(msgspec.Struct, frozen=True):
    """Who owns a space.

    Attributes:
        pid: Process id.
        host: Name of its machine.
        since: Unix time in seconds.
        addresses: Where it listens, when it does.
    """

    pid: int
    host: str
    since: float
    addresses: tuple[str, ...] = ()

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        where = f", listening on {', '.join(self.addresses)}" if self.addresses else ""
        return f"process {self.pid} on {self.host} since {since}{where}"


class SideFile:
    """Own one space on disk.

    Args:
        space_path: The space's main file; the side file's name is that with ``-lock`` behind it.

    Raises:
        SpaceInUseError: If another process, or another store in this one, owns the space; names it (ST8).
        StoreError: If the folder is missing or can't be written; says which.
    """

    def __init__(self, space_path: Path) -> None:
        self.space_path = space_path
        self.path = space_path.with_name(space_path.name + "-lock")
        self._noted_failure = False
        self._is_new = not self.path.exists()
        self._file = self._open()
        try:
            self._lock()
        except OSError as error:
            owner = self._read_owner()
            os.close(self._file)
            self._file = -1
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                name = "another process" if owner is None else str(owner)
                raise SpaceInUseError(
                    f"the space {space_path} is in use by {name}. Mount it over the network instead, or stop that first"
                ) from None
            raise StoreError(f"{self.path} can't be locked: {error.strerror}") from error
        self._tid, self._space_id = self._read_tid()
        self._owner = Owner(os.getpid(), socket.gethostname(), time.time())
        self._memory: mmap.mmap | None = None
        self._write_owner()
        self._map()

    def _lock(self) -> None:
        """Take the lock. Where its owner has died a moment ago, its copy process is about to (`copyprocess`)."""
        give_up_at = time.monotonic() + _DYING_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                owner = self._read_owner()
                if owner is None or not _is_dead(owner) or time.monotonic() > give_up_at:
                    raise
            time.sleep(_DYING_PAUSE_S)

    def fileno(self) -> int:
        """Return the file that holds the lock. Who inherits it holds it, too."""
        return self._file

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            folder = self.path.parent
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                why = f"the folder {folder} does not exist; make it first"
            elif error.errno == errno.EROFS:
                why = f"{folder} is on a read-only file system"
            elif error.errno in (errno.EACCES, errno.EPERM):
                why = f"{folder} or {self.path.name} in it is not writable for this user"
            else:
                why = f"{self.path} can't be opened: {error.strerror}"
            raise StoreError(f"the space {self.space_path} can't be opened: {why}") from error

    def _map(self) -> None:
        """Map the tid's place into memory, so that noting one is no call to the system."""
        try:
            # Only what is there: a store into a place without a block would end the process on a full disk.
            if len(os.pread(self._file, _OWNER_AT, 0)) == _OWNER_AT:
                self._memory = mmap.mmap(self._file, _ID_AT)
        except (OSError, ValueError) as error:
            _log.debug("%s can't be mapped: %s", self.path, error)

    # --- who ---------------------------------------------------------------------------------------------------------

    @property
    def owner(self) -> Owner:
        """Who owns the space: this process."""
        return self._owner

    def set_addresses(self, addresses: Sequence[str]) -> None:
        """Say where the owner listens, for whoever comes second. Safe beside a `note` in another thread."""
        self._owner = msgspec.structs.replace(self._owner, addresses=tuple(addresses))
        text = self._owner_text()
        try:
            # The tid in front is left alone: it may be noted at this moment.
            os.pwrite(self._file, text, _OWNER_AT)
            os.ftruncate(self._file, _OWNER_AT + len(text))
        except OSError as error:
            _log.warning("%s can't be written: %s", self.path, error)

    def _owner_text(self) -> bytes:
        return msgspec.json.encode(self._owner) + b"\n"

    def _read_owner(self) -> Owner | None:
        try:
            return msgspec.json.decode(os.pread(self._file, 4096, _OWNER_AT).strip(), type=Owner)
        except (msgspec.MsgspecError, ValueError, OSError):
            return None

    def _write_owner(self) -> None:
        text = self._owner_text()
        head = f"{tid_text(self._tid)}\n{self._space_id}\n".encode()
        try:
            os.pwrite(self._file, head + text, 0)
            os.ftruncate(self._file, len(head) + len(text))
        except OSError as error:
            # On a full disk the lock itself still holds; only its text is old.
            _log.warning("%s can't be written: %s", self.path, error)

    # --- up to where -------------------------------------------------------------------------------------------------

    def _read_tid(self) -> tuple[Tid, str]:
        try:
            tid, space_id = os.pread(self._file, _OWNER_AT, 0).decode("ascii").split("\n")[:2]
            if len(tid) == 16 and len(space_id) == 32:
                return Tid(int(tid, 16)), space_id
        except ValueError:
            pass
        return Tid(0), _NO_ID

    def check(self, space_id: str, newest_tid: int) -> None:
        """Compare the newest stored tid with the newest acknowledged one, then go on from the stored one.

        Args:
            space_id: Of the space that was opened; a note about another space says nothing.
            newest_tid: The newest tid in its transaction table.

        Raises:
            CorruptRecordError: If acknowledged commits are missing (ST6). Nothing has changed.
        """
        if space_id == self._space_id and newest_tid < self._tid:
            raise CorruptRecordError(
                f"the space {self.space_path} ends at tid {tid_text(newest_tid)}, but commits up to tid "
                f"{tid_text(self._tid)} were acknowledged and are missing. Nothing was changed. If you have put an "
                f"older copy in its place on purpose, delete {self.path.name} and open it again",
                tid=self._tid,
            )
        self._space_id = space_id
        self._tid = Tid(newest_tid)
        self._write_owner()

    def note(self, tid: int) -> None:
        """Note that everything up to ``tid`` is about to be acknowledged. Never raises."""
        self._tid = Tid(tid)
        if self._memory is not None:
            self._memory[:_TID_SIZE] = b"%016x" % tid
            return
        try:
            os.pwrite(self._file, b"%016x" % tid, 0)
        except OSError as error:
            if not self._noted_failure:
                self._noted_failure = True
                _log.warning("%s can't be written: %s", self.path, error)

    def release(self, *, discard: bool = False) -> None:
        """Give the space up. Idempotent.

        Args:
            discard: Delete the file too if this object made it: what it stood beside was not a space after all.
        """
        if self._file >= 0:
            if discard and self._is_new:
                self.path.unlink(missing_ok=True)
            if self._memory is not None:
                self._memory.close()
                self._memory = None
            os.close(self._file)
            self._file = -1


def _is_dead(owner: Owner) -> bool:
    """Tell whether ``owner`` was a process of this machine and is none any more."""
    if owner.host != socket.gethostname():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
