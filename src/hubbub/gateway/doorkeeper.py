"""The spaces behind one port, and who is in them by which right.

A right can be taken back while its holder is connected: once in `_CHECK_S` all are looked at again. Who has lost it is
told and cut off; who has another right now is asked to mount again, which it does by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from hubbub.gateway.admission import Admission, Shown, unknown_space
from hubbub.gateway.peers import PeerConnection, PeerOptions
from hubbub.kernel import HubbubError
from hubbub.perspective.host import Host
from hubbub.perspective.portal import Portal
from hubbub.perspective.tokens import Rights
from hubbub.wire import peer

log = logging.getLogger("hubbub.peers")

_CHECK_S = 1.0


class OpenSpace(msgspec.Struct, frozen=True, kw_only=True):
    """One space that is served.

    Attributes:
        name: How clients call it; empty for one without a name.
        portal: Where its users log in.
        host: Whose space peers mount; None turns peers away.
        peer_options: What peers may do.
        is_public: Strangers may read its present.
    """

    name: str = ""
    portal: Portal | None = None
    host: Host | None = None
    peer_options: PeerOptions = PeerOptions()
    is_public: bool = False


class _Guest(msgspec.Struct, frozen=True):
    """One peer that is in."""

    shown: Shown
    space: OpenSpace
    rights: Rights


class Doorkeeper:
    """Find spaces and judge peers, for all listeners of a process. Belongs to the loop.

    Args:
        spaces: All that are served.
        admission: Judges peers.
        default: The space of who names none; without it the only one.
    """

    def __init__(
        self, spaces: Sequence[OpenSpace], admission: Admission | None = None, default: str = ""
    ) -> None:
        self.admission = admission or Admission()
        self._spaces = {space.name: space for space in spaces}
        first = spaces[0].name if len(spaces) == 1 else None
        self._default = default or first
        self._guests: dict[PeerConnection, _Guest] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def spaces(self) -> Sequence[OpenSpace]:
        """All that are served."""
        return tuple(self._spaces.values())

    @property
    def takes_peers(self) -> bool:
        """Whether there is anything to mount."""
        return any(space.host is not None for space in self._spaces.values())

    def find(self, name: str) -> OpenSpace | None:
        """Return the space that a client means by ``name``, or None."""
        wanted = name or self._default
        return None if wanted is None else self._spaces.get(wanted)

    def portal_of(self, name: str) -> Portal:
        """Return where the users of the space ``name`` log in.

        Raises:
            HubbubError: If there is none; code ``unknown_space``.
        """
        space = self.find(name)
        if space is None or space.portal is None:
            raise unknown_space(name)
        return space.portal

    def admit(self, message: peer.Mount, shown: Shown) -> tuple[OpenSpace, Rights]:
        """Return the space that a peer may mount, and its rights there.

        Raises:
            LoginFailedError, HubbubError: As `Admission.admit`.
        """
        space = self.find(message.space)
        is_public = space is not None and space.is_public
        name = message.space if space is None else space.name
        rights = self.admission.admit(shown, name, is_public=is_public)
        if space is None or space.host is None:
            raise unknown_space(message.space)
        return space, rights

    def entered(
        self, guest: PeerConnection, shown: Shown, space: OpenSpace, rights: Rights
    ) -> None:
        """Note that a peer is in. Its rights are looked at again until it has `left`."""
        self._guests[guest] = _Guest(shown, space, rights)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_CHECK_S, self._check)

    def left(self, guest: PeerConnection) -> None:
        """It is out. Idempotent."""
        self._guests.pop(guest, None)
        if not self._guests and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_CHECK_S, self._check)
        for connection, guest in list(self._guests.items()):
            space = guest.space
            try:
                rights = self.admission.rights(guest.shown, space.name, is_public=space.is_public)
            except HubbubError as error:
                log.warning("a peer has lost its rights: %s", error)
                self.left(connection)
                connection.end("login_failed", f"what let you in is not valid any more: {error}")
                continue
            if rights is not guest.rights:
                self.left(connection)
                connection.end("rights_changed", "what you may do has changed")
