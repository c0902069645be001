"""What a stranger may ask of a public space: its present. Not the past, nor who did what.

Labels name users and their commands; old states may hold what was taken back since. A snapshot that began a few minutes
ago is present enough: a long transaction is finished on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubbub.kernel import Clock, NotAllowedError, Record, UnknownObjectError, tid_at
from hubbub.mount.failures import to_failed
from hubbub.wire import peer

_PRESENT_S = 600.0
_REFUSAL = "strangers read the present of this space only: show a token for more"

_ALLOWED = (peer.Mount, peer.Ping)
_OF_THE_PRESENT = (peer.Load, peer.LoadMany, peer.More)
_REFUSED_ANYWAY = (peer.Commit, peer.Oids)  # of all who may not write, in words of their own

How = dict[type, Callable[[Any], None]]


class Stranger:
    """Keep one stranger to the present.

    Args:
        answer: Sends an answer.
        clock: Of the host.
        load: Returns the newest record of an object.
    """

    def __init__(
        self,
        answer: Callable[[peer.ToPeer], None],
        clock: Clock,
        load: Callable[[int], Record],
    ) -> None:
        self._answer = answer
        self._clock = clock
        self._load = load
        self._since = 0

    def mounted(self, tid: int) -> None:
        """Note the tid that it was told when it mounted: that is the present, however old it is."""
        self._since = tid

    def kept_to_the_present(self, how: How) -> How:
        """Return ``how`` each kind of message is taken, for a stranger. What is not known here is refused."""
        kept: How = {}
        for kind, take in how.items():
            if kind in _ALLOWED or kind in _REFUSED_ANYWAY:
                kept[kind] = take
            elif kind in _OF_THE_PRESENT:
                kept[kind] = self._if_present(take)
            elif kind is peer.GetPiece:
                kept[kind] = self._if_newest(take)
            else:
                kept[kind] = self._refuse
        return kept

    def _if_present(self, take: Callable[[Any], None]) -> Callable[[Any], None]:
        def taken(message: Any) -> None:
            if message.at >= min(self._since, self._recent):
                take(message)
            else:
                self._refuse(message)

        return taken

    def _if_newest(self, take: Callable[[Any], None]) -> Callable[[Any], None]:
        """Of blobs: a record names its own tid, however old; it is of the present if no newer one has replaced it."""

        def taken(message: Any) -> None:
            try:
                is_newest = message.tid == self._load(message.oid).tid
            except UnknownObjectError:
                is_newest = False
            if is_newest or message.tid >= self._recent:
                take(message)
            else:
                self._refuse(message)

        return taken

    @property
    def _recent(self) -> int:
        return tid_at(self._clock.now() - _PRESENT_S)

    def _refuse(self, message: Any) -> None:
        self._answer(to_failed(getattr(message, "id", 0), NotAllowedError(_REFUSAL)))
