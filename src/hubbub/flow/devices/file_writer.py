"""A component that writes what comes into a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, Literal

from hubbub.flow.declaring import Boxes
from hubbub.flow.threaded import ThreadedComponent
from hubbub.flow.tracking import Token
from hubbub.kernel import ConfigurationError, Finished

Flush = Literal["idle", "each", "end"]

_POLICIES = ("idle", "each", "end")

_MOST = 1000
"""After so many items the file is flushed even if there are always more."""


class FileWriter(ThreadedComponent):
    """Write each item into a file: text as a line, bytes as they are. It writes in a thread.

    A tracked item counts as handled when it has been flushed; with ``fsync``, when it is on the disk. With the policy
    ``end`` that is at the end, so a source that waits for items to be handled would wait in vain.

    Args:
        path: The file. It is made where there is none; its directory is not.
        append: Whether to write behind what is there; else the file begins afresh.
        end: What to write after each item that is text.
        encoding: How to write text.
        flush: When what is written is given to the system: when nothing more waits (``idle``, at the latest after
            1000 items), after ``each`` item, or at the ``end``.
        fsync: Whether each flush waits until it is on the disk.

    Raises:
        ConfigurationError: If there is no such policy.
    """

    inboxes: Boxes = {"inbox": "what to write: text or bytes"}
    outboxes: Boxes = {}

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        append: bool = False,
        end: str = "\n",
        encoding: str = "utf-8",
        flush: Flush = "idle",
        fsync: bool = False,
    ) -> None:
        if flush not in _POLICIES:
            raise ConfigurationError(f"flush is one of {', '.join(_POLICIES)}, not {flush!r}")
        self._path = Path(path)
        self._append = append
        self._end = end
        self._encoding = encoding
        self._flush_policy = flush
        self._fsync = fsync

    def main(self) -> None:
        # A new run after a failure goes on behind what the one before has written.
        with self._path.open("ab" if self._append else "wb") as file:
            self._append = True
            self._write_all(file)

    def _write_all(self, file: BinaryIO) -> None:
        unflushed = 0
        tokens: tuple[Token, ...] = ()
        while True:
            try:
                item = self.inbox.get(timeout_s=self._patience_s(unflushed))
            except TimeoutError:
                item = None
            except Finished:
                self._flush(file, tokens)
                return
            else:
                file.write(self._bytes_of(item))
                unflushed += 1
                tokens += self.keep()
                if not self._is_due(unflushed):
                    continue
            self._flush(file, tokens)
            unflushed, tokens = 0, ()

    def _patience_s(self, unflushed: int) -> float | None:
        """Return how long to wait for an item before what is not flushed is."""
        return 0.0 if unflushed and self._flush_policy == "idle" else None

    def _is_due(self, unflushed: int) -> bool:
        if self._flush_policy == "each":
            return True
        return self._flush_policy == "idle" and unflushed >= _MOST

    def _flush(self, file: BinaryIO, tokens: tuple[Token, ...]) -> None:
        file.flush()
        if self._fsync:
            os.fsync(file.fileno())
        self.resume(tokens)  # in hand until the next item is asked for: handled

    def _bytes_of(self, item: Any) -> bytes:
        if isinstance(item, bytes | bytearray | memoryview):
            return bytes(item)
        return f"{item}{self._end}".encode(self._encoding)
