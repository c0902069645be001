r"""A process of its own that puts what is durable in the group log into the tables.

Theory of operation
===================

Only one thread of a process runs Python at a time, and a host has better things to do than to copy. So where there is a
second core the copier (`hubbub.store.copier`) only says what to copy, and another process reads that from the group
log, whose entries carry all that the tables hold:

    owner                                   copy process
    CopyOrder(begin, end, number) ------>   reads the log from begin to end, puts it into the tables
                                  <------   CopyNews(): it is there, its place in the log is free
                                            copies SQLite's own log into the main file, if it has become long
                                  <------   CopyNews(is_over=True)

It is started when there is something to copy for the first time: a small space never has one. What goes wrong with it
is known as well as in a thread, for the tables say which group is their newest:

    it tells of an error              as `Tables.put` in this process
    it is gone, or can't be started   the owner copies itself from then on; what is there already is not put twice
    the owner is gone                 it is killed by the kernel (Linux), or ends when it asks for its next order

The process has the owner's side file open, and with it the lock: nobody else can open the space before it is gone, too.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import msgspec

from hubbub.kernel import CorruptRecordError, DiskFullError, HubbubError, StoreError

_log = logging.getLogger("hubbub.store")

_END_S = 10.0

_encode = msgspec.json.Encoder().encode


class CopyOrder(msgspec.Struct, frozen=True):
    """What to copy.

    Attributes:
        begin, end: Where it stands in the group log, in bytes.
        number: Of its newest group. All up to it that is not in the tables stands there.
    """

    begin: int
    end: int
    number: int


class CopyNews(msgspec.Struct, frozen=True):
    """How far the copy process is with its order.

    Attributes:
        is_over: It waits for the next.
        error: What has happened, if it is not in the tables: ``full``, ``damaged``, ``failed`` or empty.
        text: The error's.
        doubt: Why nothing more may be written, if it may be in the tables or not.
    """

    is_over: bool = False
    error: str = ""
    text: str = ""
    doubt: str = ""


class CopyProcessLostError(Exception):
    """The process is gone, or was never there. What it was to copy is in the tables as a whole, or not at all."""


class CopyProcess:
    """Have a space's log copied by another process. One thread at a time.

    Args:
        path: The main file.
        log_path: The group log.
        log_limit_bytes: As for `SQLiteStore`.
        lock: The owner's side file, open and locked.
    """

    def __init__(self, path: Path, log_path: Path, log_limit_bytes: int, lock: int) -> None:
        self._path = path
        self._arguments = [str(path), str(log_path), str(log_limit_bytes), str(os.getpid())]
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process's id, once it is started."""
        return None if self._process is None else self._process.pid

    def order(self, order: CopyOrder) -> None:
        """Have ``order`` carried out. Call `news` until it is over.

        Raises:
            CopyProcessLostError: It is gone, or can't be started.
        """
        try:
            if self._process is None:
                self._process = self._start()
            stdin = _pipe(self._process.stdin)
            stdin.write(_encode(order) + b"\n")
            stdin.flush()
        except (OSError, ValueError) as error:
            self.close()
            raise CopyProcessLostError(str(error)) from error

    def news(self) -> CopyNews:
        """Wait for what the process has to tell, and return it.

        Raises:
            CopyProcessLostError: It is gone.
        """
        assert self._process is not None
        line = _pipe(self._process.stdout).readline()
        try:
            return msgspec.json.decode(line, type=CopyNews)
        except msgspec.MsgspecError:
            self.close()
            raise CopyProcessLostError("it has ended") from None

    def close(self) -> None:
        """End the process, if there is one, and wait until it is gone. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=_END_S)
        except (subprocess.TimeoutExpired, OSError, ValueError):
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("there is no Python to start")
        return subprocess.Popen(  # noqa: S603 - this Python, and the paths of the space
            [sys.executable, "-m", "hubbub.store.copymain", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self._lock,),
            start_new_session=True,  # what is typed at the terminal is for the owner
        )


def can_copy_apart() -> bool:
    """Tell whether another process would have a processor of its own."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) > 1
    return (os.cpu_count() or 1) > 1


def error_of(news: CopyNews) -> HubbubError:
    """Return the error that ``news`` tells of, if it leaves no doubt."""
    if news.error == "full":
        return DiskFullError(news.text)
    if news.error == "damaged":
        return CorruptRecordError(news.text)
    return StoreError(news.text)


def news_of(error: HubbubError, doubt: str | None) -> CopyNews:
    """Return what tells of ``error``; the other way round than `error_of`."""
    kind = "failed"
    if isinstance(error, DiskFullError):
        kind = "full"
    elif isinstance(error, CorruptRecordError):
        kind = "damaged"
    return CopyNews(is_over=True, error=kind, text=str(error), doubt=doubt or "")


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
