"""Who may mount, and with which rights: tokens, certificates, strangers (PE7).

Theory of operation
===================

    token known -----------> its rights in this space; none there: as if nothing had been shown
    token unknown ---------> no, in the same words whatever is wrong with it
    token expired ---------> no, and its holder is told so
    certificate known -----> its rights in this space
    nothing ---------------> PUBLIC in a public space; FULL where this host asks nobody; else no

A host asks for tokens from the first that is made on. Failures are counted by address, like those of logins.
"""

from __future__ import annotations

import hmac
import logging

import msgspec

from hubbub.flow.net.sparingly import Sparingly
from hubbub.kernel import (
    Clock,
    Limits,
    LoginFailedError,
    NotAllowedError,
    StoreError,
    SystemClock,
)
from hubbub.perspective.checkers import FailedLogins
from hubbub.perspective.tokens import Rights, Subject, Token, TokensFile

log = logging.getLogger("hubbub.peers")

_WRONG = "the token is not valid here"
_EXPIRED = "the token has expired: ask for a new one"
_NOTHING = "this host asks peers for a token or a certificate (hubbub token add)"
_UNREADABLE = "the host can't read its tokens; its log says why"


class Shown(msgspec.Struct, frozen=True):
    """What a peer shows.

    Attributes:
        token: Empty for none.
        subject: What its certificate says; empty without one.
        address: Where it comes from.
    """

    token: str = ""
    subject: Subject = frozenset()
    address: str = ""


class Admission:
    """Judge peers.

    Args:
        secret: One token with full rights in all spaces; empty for none.
        tokens: Those that ``hubbub token`` keeps; None where there can be none.
        limits: See `Limits.failed_logins`.
        clock: For times.
    """

    def __init__(
        self,
        *,
        secret: str = "",
        tokens: TokensFile | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._secret = secret.encode()
        self._tokens = tokens
        self._clock = clock or SystemClock()
        self._warnings = Sparingly(log, most=1)
        self._failures = FailedLogins(limits or Limits(), self._clock)

    @property
    def asks(self) -> bool:
        """Whether peers have to show something."""
        return bool(self._secret) or (self._tokens is not None and self._tokens.are_asked_for)

    def admit(self, shown: Shown, space: str, *, is_public: bool) -> Rights:
        """Return the rights of who shows ``shown`` and wants to mount ``space``.

        Raises:
            LoginFailedError: If there are none; code ``too_many_failures`` after too many attempts from its address.
            NotAllowedError: If what is shown is for other spaces; code ``unknown_space``.
        """
        if shown.token:
            self._failures.admit(shown.address)
        try:
            return self.rights(shown, space, is_public=is_public)
        except LoginFailedError:
            if shown.token:
                self._failures.note(shown.address)
            raise

    def rights(self, shown: Shown, space: str, *, is_public: bool) -> Rights:
        """As `admit`, and count nothing: for who is in already."""
        if not self.asks and not is_public:
            return Rights.FULL
        given = shown.token.encode("utf-8", "surrogatepass")
        if self._secret and given and hmac.compare_digest(self._secret, given):
            return Rights.FULL
        valid = self._valid(shown)
        allowed = [rights for token in valid if (rights := token.rights_in(space)) is not None]
        if allowed:
            return max(allowed)
        if is_public:
            return Rights.PUBLIC
        if valid:
            raise unknown_space(space)
        raise LoginFailedError(_NOTHING)

    def _valid(self, shown: Shown) -> list[Token]:
        """Return what is kept of what is shown, as far as it is valid now."""
        if self._tokens is None:
            if shown.token:
                raise LoginFailedError(_WRONG)
            return []
        try:
            by_secret = self._tokens.of_secret(shown.token)
            by_subject = self._tokens.of_subject(shown.subject)
        except StoreError as error:
            self._warnings.warning("no peer is let in: %s", error)
            raise LoginFailedError(_UNREADABLE) from None
        now = self._clock.now()
        if shown.token:
            if by_secret is None:
                raise LoginFailedError(_WRONG)
            if by_secret.has_expired(now):
                raise LoginFailedError(_EXPIRED)
        found = [] if by_secret is None else [by_secret]
        return found + [token for token in by_subject if not token.has_expired(now)]


def unknown_space(name: str) -> NotAllowedError:
    """Return the error for a space that is not there, or not for who asks: which of the two is not told."""
    if not name:
        return NotAllowedError(
            "this host has several spaces: say which, as in hub://host:port/NAME",
            code="unknown_space",
        )
    return NotAllowedError(
        f"there is no space {name!r} here that you may use", code="unknown_space"
    )
