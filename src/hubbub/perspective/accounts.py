"""Accounts: names, and the hashes of their passwords, in a file of their own that no peer can read."""

from __future__ import annotations

import json
import os
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from hubbub.kernel import Limits, LoginFailedError, StoreError

_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
# Letters by their category, and nothing to be seen: Hangul fillers and the blank of Braille.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f")


class Accounts(Protocol):
    """Where password hashes are kept. Names are compared as `checked_name` and `str.casefold` leave them."""

    def get(self, name: str) -> str | None:
        """Return the hash of an account, or None."""
        ...

    def set(self, name: str, hashed: str) -> None:
        """Make an account, or change its hash.

        Raises:
            LoginFailedError: If that can't be a name; code ``bad_name``.
        """
        ...

    def delete(self, name: str) -> bool:
        """Delete an account; returns whether there was one."""
        ...

    def list(self) -> list[str]:
        """Return all names, sorted."""
        ...


def checked_name(text: str, max_chars: int = Limits().max_name_chars) -> str:
    """Return a name in the one form in which it is shown and compared (NFKC, single plain spaces inside).

    Raises:
        LoginFailedError: If it is empty, too long, or has characters that can't be seen; code ``bad_name``.
    """
    # Measured before it is normalised: that takes quadratic time for a long run of accents.
    name = unicodedata.normalize("NFKC", text) if len(text) <= 4 * max_chars else text
    if not 1 <= len(name) <= max_chars:
        raise LoginFailedError(f"a name has 1 to {max_chars} characters", code="bad_name")
    for character in name:
        hidden = unicodedata.category(character) in _INVISIBLE or character in _BLANK
        if hidden or (character.isspace() and character != " "):
            raise LoginFailedError("a name has visible characters only", code="bad_name")
    if name != " ".join(name.split(" ")).strip() or "  " in name:
        raise LoginFailedError(
            "a name has no spaces at its ends, and no two in a row", code="bad_name"
        )
    if unicodedata.combining(name[0]):
        raise LoginFailedError("a name can't begin with an accent", code="bad_name")
    return name


def folded_name(name: str) -> str:
    """Return what two names that look the same but for case have in common."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


class MemoryAccounts:
    """Accounts that are gone with the process: for tests."""

    def __init__(self) -> None:
        self._hashes: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self._hashes.get(folded_name(name))

    def set(self, name: str, hashed: str) -> None:
        self._hashes[folded_name(checked_name(name))] = hashed

    def delete(self, name: str) -> bool:
        return self._hashes.pop(folded_name(name), None) is not None

    def list(self) -> list[str]:
        return sorted(self._hashes)


def accounts_path(data: str | os.PathLike[str]) -> Path:
    """Return where the accounts of the space in file ``data`` are kept: beside it, in a file of their own, because no
    peer may read them."""
    return Path(f"{os.fspath(data)}-accounts")


class AccountsFile:
    """Accounts in a JSON file that only its owner may read.

    It is replaced as a whole and read again when it has changed, so ``hubbub user add`` works while the host runs.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._stamp: tuple[int, int, int] | None = None
        self._hashes: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self._read().get(folded_name(name))

    def set(self, name: str, hashed: str) -> None:
        folded = folded_name(checked_name(name))
        self._change(lambda hashes: hashes.update({folded: hashed}))

    def delete(self, name: str) -> bool:
        return self._change(lambda hashes: hashes.pop(folded_name(name), None)) is not None

    def list(self) -> list[str]:
        return sorted(self._read())

    def _read(self) -> dict[str, str]:
        """Return the accounts as they are on disk now.

        Raises:
            StoreError: If the file can't be understood; nobody is let in then.
        """
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._hashes = None, {}
            return self._hashes
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != self._stamp:
            try:
                hashes = msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise StoreError(
                    f"{self._path} is no file of accounts: {error}", code="accounts"
                ) from None
            self._hashes, self._stamp = hashes, stamp
        return self._hashes

    def _change(self, change: Callable[[dict[str, str]], object]) -> object:
        """Apply ``change`` to the file's newest contents, while nobody else does."""
        import fcntl

        self._path.parent.mkdir(parents=True, exist_ok=True)
        guard = os.open(
            self._path.with_name(self._path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600
        )
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            hashes = dict(self._read())
            outcome = change(hashes)
            self._replace(json.dumps(hashes, indent=1, sort_keys=True, ensure_ascii=False).encode())
            return outcome
        finally:
            os.close(guard)

    def _replace(self, data: bytes) -> None:
        # mkstemp makes it 0600 from the first moment.
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
