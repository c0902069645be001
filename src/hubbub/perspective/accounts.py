"""Accounts: names, and the hashes of their passwords, in a file of their own that no peer can read."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Protocol

from hubbub.kernel import Limits, LoginFailedError
from hubbub.perspective.private_file import PrivateFile

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
        self._file = PrivateFile(path, str, "accounts")

    def get(self, name: str) -> str | None:
        return self._file.read().get(folded_name(name))

    def set(self, name: str, hashed: str) -> None:
        folded = folded_name(checked_name(name))
        self._file.change(lambda hashes: hashes.update({folded: hashed}))

    def delete(self, name: str) -> bool:
        return self._file.change(lambda hashes: hashes.pop(folded_name(name), None)) is not None

    def list(self) -> list[str]:
        return sorted(self._file.read())
