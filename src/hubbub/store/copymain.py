"""The copy process itself (see `hubbub.store.copyprocess`). Started as ``python -m hubbub.store.copymain``."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import IO

import apsw
import msgspec

from hubbub.kernel import CorruptRecordError, HubbubError
from hubbub.store.copyprocess import CopyNews, CopyOrder, news_of
from hubbub.store.grouplog import read_segment
from hubbub.store.recent import Recent
from hubbub.store.tables import Tables, connect

_PR_SET_PDEATHSIG = 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CopyOrder).decode


class Copying:
    """Carry out orders.

    Args:
        path: The main file.
        log_path: The group log.
        log_limit_bytes: As for `SQLiteStore`.
    """

    def __init__(self, path: Path, log_path: Path, log_limit_bytes: int) -> None:
        self._log_path = log_path
        self._connection = connect(path, None)
        # The owner has it open, too, and closes last; if it is gone the next one examines the log as it is.
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._mark = self._connection.execute("SELECT value FROM meta WHERE key = 'mark'").get
        self.tables = Tables(self._connection, path, log_limit_bytes)
        self.tables.prepare()

    def put(self, order: CopyOrder) -> None:
        """Put what is ordered into the tables.

        Raises:
            CorruptRecordError: It is not in the log.
            HubbubError: As `Tables.put`.
        """
        recent = Recent()
        there = recent.number = self.tables.number
        for entry in read_segment(self._log_path, self._mark, order.begin, order.end, there):
            if entry.number != recent.number + 1:
                break
            records, transactions, rows = entry.body
            recent.records += records
            recent.transactions += transactions
            recent.add_rows(rows)
            recent.number = entry.number
        if recent.number != order.number and there < order.number:
            raise CorruptRecordError(
                f"group {recent.number + 1} is not in {self._log_path}, where it was written a moment ago"
            )
        self.tables.put([recent])


def _end_with(owner: int) -> None:
    """Have the kernel end this process with its owner, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        sys.exit("the owner is gone")


def serve(copying: Copying, orders: IO[bytes], news: IO[bytes]) -> None:
    """Carry out ``orders``, one a line, until there are no more; tell of each."""

    def tell(what: CopyNews) -> None:
        news.write(_encode(what) + b"\n")
        news.flush()

    for line in orders:
        try:
            copying.put(_decode(line))
        except HubbubError as error:
            tell(news_of(error, copying.tables.doubt))
            continue
        tell(CopyNews())
        copying.tables.keep_log_short()
        tell(CopyNews(is_over=True))


def main(path: str, log_path: str, log_limit_bytes: str, owner: str) -> None:
    """Copy for the process ``owner``."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends when the owner closes the pipe
    _end_with(int(owner))
    copying = Copying(Path(path), Path(log_path), int(log_limit_bytes))
    with contextlib.suppress(BrokenPipeError):
        serve(copying, sys.stdin.buffer, sys.stdout.buffer)
    copying.tables.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
