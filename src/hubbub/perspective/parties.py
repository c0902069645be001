"""Who a session deals with: the carrier on its client's side, the desk on the host's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Raw

from hubbub.wire import session as wire
from hubbub.wire.session import Closing, Failure, Fault

if TYPE_CHECKING:
    from hubbub.perspective.session import Session


class Carrier(Protocol):
    """What moves a session's messages: a WebSocket, an event stream, a poll, a TCP connection."""

    def wake(self) -> None:
        """There is something to take: now, or as soon as it suits."""

    def close(self, message: Closing | Fault) -> None:
        """Send ``message`` and close. It may not take from the session any more."""


class Desk(Protocol):
    """Where a session hands in what its user wants: the host. Nothing here may raise.

    ``refresh`` asks for the newest answer, whole: only a patch was at hand, and it does not fit.
    """

    def call(self, session: Session, message: wire.Call) -> None: ...
    def watch(self, session: Session, message: wire.Watch) -> None: ...
    def refresh(self, session: Session, watch_id: int) -> None: ...
    def unwatch(self, session: Session, watch_id: int) -> None: ...
    def cancel(self, session: Session, call_id: int) -> None: ...
    def reply(
        self, session: Session, mind_id: int, value: Raw, failure: Failure | None
    ) -> None: ...
    def pruned(self, session: Session, ids: list[int], pruned_to: int) -> None: ...
    def bye(self, session: Session) -> None: ...
