"""A small table in a JSON file that only its owner may read: accounts, tokens.

It is replaced as a whole and read again when it has changed, so a command may change it while a host runs. No peer can
read it: it is no space, and what is mounted is always a space.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from hubbub.kernel import StoreError

V = TypeVar("V")
R = TypeVar("R")


class PrivateFile(Generic[V]):
    """Keep a table from names to values.

    Args:
        path: Where. It need not exist; its folder is made with the first change.
        value: Type of the values; `msgspec` knows it.
        what: What the file is one of, for messages.
    """

    def __init__(self, path: str | os.PathLike[str], value: type[V], what: str) -> None:
        self.path = Path(path)
        self._what = what
        self._decoder: msgspec.json.Decoder[dict[str, V]] = msgspec.json.Decoder(
            dict[str, value]  # type: ignore[valid-type]
        )
        self._stamp: tuple[int, int, int] | None = None
        self._table: dict[str, V] = {}

    @property
    def exists(self) -> bool:
        """Whether there is such a file: it stays when its last entry goes."""
        return self.path.exists()

    def read(self) -> dict[str, V]:
        """Return the table as it is on disk now; the same object as long as nothing has changed.

        Raises:
            StoreError: If the file can't be read or understood; code ``accounts``.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            if self._stamp is not None:
                self._stamp, self._table = None, {}
            return self._table
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != self._stamp:
            try:
                table = self._decoder.decode(self.path.read_bytes())
            except (msgspec.MsgspecError, UnicodeDecodeError, OSError) as error:
                raise StoreError(
                    f"{self.path} is no file of {self._what}: {error}", code="accounts"
                ) from None
            self._table, self._stamp = table, stamp
        return self._table

    def change(self, change: Callable[[dict[str, V]], R]) -> R:
        """Apply ``change`` to the file's newest contents, while nobody else does, and return what it returns.

        Raises:
            StoreError: As `read`, or if the file can't be written; it is unchanged.
            Exception: What ``change`` raises; nothing is written.
        """
        import fcntl

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            guard = os.open(
                self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600
            )
        except OSError as error:
            raise StoreError(f"{self.path} can't be changed: {error.strerror}") from error
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            table = dict(self.read())
            outcome = change(table)
            encoded = msgspec.json.encode(table, order="sorted")
            self._replace(msgspec.json.format(encoded, indent=1))
            return outcome
        finally:
            os.close(guard)

    def _replace(self, data: bytes) -> None:
        # mkstemp makes it 0600 from the first moment.
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
