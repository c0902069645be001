"""Errors on their way to a user (PE2), and back to exceptions on the user's side."""

from __future__ import annotations

import logging
import secrets

from hubbub.kernel import (
    AccessError,
    BrokenError,
    ClosedError,
    DiskFullError,
    HubbubError,
    InvalidArgumentsError,
    LimitError,
    LoginFailedError,
    NotAllowedError,
    OutcomeUnknownError,
    Refused,
    RemoteError,
    ReservedError,
)
from hubbub.wire.session import Failure

log = logging.getLogger("hubbub.host")

_CROSSING: tuple[tuple[type[HubbubError], str], ...] = (
    (Refused, "refused"),
    (InvalidArgumentsError, "invalid"),
    (LoginFailedError, "login_failed"),
    (LimitError, "limit"),
    (NotAllowedError, "not_allowed"),
    (DiskFullError, "disk_full"),
    (ReservedError, "reserved"),
    (OutcomeUnknownError, "outcome_unknown"),
    (ClosedError, "closed"),
)


def failure_of(error: BaseException, doing: str) -> Failure:
    """Return what a user is told of ``error``.

    The application's own no, and what the caller did wrong, cross as they are; anything else is ``internal`` with an
    incident number, and goes to the log with its traceback (PE2).

    Args:
        error: What was raised.
        doing: What was going on, for the log.
    """
    for kind_class, kind in _CROSSING:
        if isinstance(error, kind_class):
            return Failure(kind, error.code, str(error))
    incident = secrets.token_hex(4)
    log.error("incident %s: %s failed", incident, doing, exc_info=error)
    return Failure("internal", "internal", "something went wrong on the host", incident)


_RAISED: dict[str, type[HubbubError]] = {
    "invalid": InvalidArgumentsError,
    "login_failed": LoginFailedError,
    "limit": LimitError,
    "not_allowed": NotAllowedError,
    "disk_full": DiskFullError,
    "reserved": ReservedError,
    "outcome_unknown": OutcomeUnknownError,
    "closed": ClosedError,
    "broken": BrokenError,
    "access": AccessError,
}


def error_of(failure: Failure) -> HubbubError:
    """Return the exception that a user's client raises for ``failure``."""
    if failure.kind == "refused":
        return Refused(failure.code, failure.message)
    cls = _RAISED.get(failure.kind)
    if cls is not None:
        return cls(failure.message, code=failure.code)
    message = failure.message or "the host failed"
    if failure.incident:
        message += f" (incident {failure.incident}: see the host's log)"
    return RemoteError(message, incident=failure.incident, code=failure.code)
