"""What lets a peer mount: tokens, of which only hashes are kept, and subjects of client certificates.

Theory of operation
===================

A token is a random text of 256 bits, shown once when it is made. What is kept is its SHA-256: such a text can't be
guessed, so nothing slower is needed, and who reads the file has no token. The table is in a `PrivateFile` beside the
space; each look at it reads the file anew if it has changed. That is how a token can be taken back while hosts run.

    none --add--> valid --expires--> expired --remove--> none
                    '--------remove------------------> none
"""

from __future__ import annotations

import enum
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from hubbub.kernel import Clock, ConfigurationError, StoreError, SystemClock
from hubbub.perspective.accounts import checked_name
from hubbub.perspective.private_file import PrivateFile

_PREFIX = "hubbub_"  # so that a scanner for secrets finds one that got into a repository

_MOST_CHARS = 4096

_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "domainComponent": "DC",
    "userId": "UID",
    "emailAddress": "emailAddress",
    "serialNumber": "serialNumber",
}

Subject = frozenset[tuple[str, str]]
"""What a certificate says of its owner: pairs such as ``("CN", "front-end")``."""


class Rights(enum.IntEnum):
    """What a peer may do. Each may all that those below it may.

    ``PUBLIC`` is for strangers: they read the present. ``READ_ONLY`` reads the past, too, and who did what. ``FULL``
    writes.
    """

    PUBLIC = 1
    READ_ONLY = 2
    FULL = 3


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """One token, or one subject of client certificates, as it is kept.

    Attributes:
        made: When, as Unix time in seconds.
        digest: SHA-256 of the secret, in hexadecimal; empty for a subject.
        subject: What the certificate has to say, such as ``CN=front-end,O=Shop``; empty for a token.
        rights: What its holder may do.
        spaces: In which spaces of the host; empty: in all of them.
        expires: When it ends, as Unix time in seconds; 0: never.
    """

    made: float
    digest: str = ""
    subject: str = ""
    rights: Literal["full", "read-only"] = "full"
    spaces: tuple[str, ...] = ()
    expires: float = 0.0

    def has_expired(self, now: float) -> bool:
        """Whether its time is over."""
        return bool(self.expires) and now >= self.expires

    def rights_in(self, space: str) -> Rights | None:
        """Return what it allows in ``space``, or None."""
        if self.spaces and space not in self.spaces:
            return None
        return Rights.FULL if self.rights == "full" else Rights.READ_ONLY


def tokens_path(data: str | os.PathLike[str]) -> Path:
    """Return where the tokens of the host of the space in file ``data`` are kept: beside it."""
    return Path(f"{os.fspath(data)}-tokens")


class TokensFile:
    """The tokens of one host.

    Args:
        path: The file; it need not exist.
        clock: For times.
    """

    def __init__(self, path: str | os.PathLike[str], clock: Clock | None = None) -> None:
        self._file = PrivateFile(path, Token, "tokens")
        self._clock = clock or SystemClock()
        self._was_there = self._file.exists
        self._indexed: dict[str, Token] = {}
        self._by_digest: dict[str, Token] = {}
        self._subjects: list[tuple[Subject, Token]] = []

    @property
    def path(self) -> Path:
        """Where they are kept."""
        return self._file.path

    @property
    def are_asked_for(self) -> bool:
        """Whether peers have to show one: from the first that was made on, also when the last is gone again.

        Nor does it end when the file is lost: who takes it away from a host that runs lets nobody in by that.
        """
        if not self._was_there:
            self._was_there = self._file.exists
        return self._was_there

    def add(
        self,
        name: str,
        *,
        read_only: bool = False,
        spaces: Sequence[str] = (),
        lifetime_s: float | None = None,
        subject: str = "",
    ) -> str:
        """Make a token and return its secret: nobody can see it again. With ``subject`` there is none: it is empty.

        Args:
            name: For people.
            read_only: Its holder may read only.
            spaces: Where it is valid; in all spaces without any.
            lifetime_s: How long it is valid; without it, until it is removed.
            subject: What a client certificate has to say instead, such as ``CN=front-end``.

        Raises:
            LoginFailedError: If ``name`` can't be a name; code ``bad_name``.
            ConfigurationError: If there is one of that name, or ``subject`` is none. Nothing is changed.
        """
        name = checked_name(name)
        if subject:
            parsed_subject(subject)
        secret = "" if subject else _PREFIX + secrets.token_urlsafe(32)
        now = self._clock.now()
        made = Token(
            made=now,
            digest=digest_of(secret) if secret else "",
            subject=subject,
            rights="read-only" if read_only else "full",
            spaces=tuple(spaces),
            expires=0.0 if lifetime_s is None else now + lifetime_s,
        )

        def put(table: dict[str, Token]) -> None:
            if name in table:
                raise ConfigurationError(
                    f"there is a token {name!r}: remove it first, or choose another name"
                )
            table[name] = made

        self._file.change(put)
        return secret

    def remove(self, name: str) -> bool:
        """Take the token back; returns whether there was one."""
        if name not in self._file.read():
            return False
        return self._file.change(lambda table: table.pop(name, None)) is not None

    def listed(self) -> list[tuple[str, Token]]:
        """Return all of them with their names, sorted by name; the expired ones, too."""
        return sorted(self._file.read().items())

    def of_secret(self, secret: str) -> Token | None:
        """Return the token with this secret, expired or not."""
        if not secret or len(secret) > _MOST_CHARS:
            return None
        self._index()
        return self._by_digest.get(digest_of(secret))

    def of_subject(self, subject: Subject) -> list[Token]:
        """Return what is kept for a certificate that says ``subject``, expired or not."""
        if not subject:
            return []
        self._index()
        return [token for wanted, token in self._subjects if wanted <= subject]

    def _index(self) -> None:
        if self.are_asked_for and not self._file.exists:
            raise StoreError(
                f"{self._file.path} is gone: put it back, or start the host anew to ask nobody for a token",
                code="accounts",
            )
        table = self._file.read()
        if table is self._indexed:
            return
        self._by_digest = {token.digest: token for token in table.values() if token.digest}
        self._subjects = [
            (parsed_subject(token.subject), token) for token in table.values() if token.subject
        ]
        self._indexed = table


def digest_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def parsed_subject(text: str) -> Subject:
    r"""Return the pairs in ``CN=front-end,O=Shop``. A comma in a value is written ``\,``.

    Raises:
        ConfigurationError: If it is no such text.
    """
    pairs: set[tuple[str, str]] = set()
    for part in text.replace("\\,", "\0").split(","):
        key, equals, value = part.replace("\0", ",").strip().partition("=")
        if not (equals and key and value):
            raise ConfigurationError(
                f"{text!r} is no subject of a certificate: write it as CN=front-end,O=Shop"
            )
        if key not in _SHORT.values():
            raise ConfigurationError(
                f"{text!r}: a subject has {', '.join(_SHORT.values())}, not {key!r}"
            )
        pairs.add((key, value))
    return frozenset(pairs)


def subject_of(certificate: Mapping[str, object] | None) -> Subject:
    """Return the subject of a certificate as `ssl.SSLSocket.getpeercert` tells it; empty without one."""
    parts = (certificate or {}).get("subject", ())
    if not isinstance(parts, tuple):
        return frozenset()
    return frozenset(
        (_SHORT[key], str(value)) for part in parts for key, value in part if key in _SHORT
    )
