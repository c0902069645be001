"""The way in for a peer: its first message is read and judged here, then a `PeerConnection` takes over.

Theory of operation
===================

    WAITING --Mount, and it may--> handed over: what comes goes to the PeerConnection, and not through here
       |----Mount, and it may not-> told why, closed
       '----anything else, silence> told why, closed

Until it has shown who it is a peer is anybody: what it says is small, comes soon, and costs this host nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from hubbub.flow.net.sparingly import Sparingly
from hubbub.gateway.admission import Shown
from hubbub.gateway.carriers import HELLO_S
from hubbub.gateway.doorkeeper import Doorkeeper
from hubbub.gateway.peers import PeerConnection
from hubbub.kernel import HubbubError, LoginFailedError, RemoteProtocolError
from hubbub.perspective.tokens import Rights, Subject
from hubbub.wire import peer
from hubbub.wire.frames import FrameReader, frame

log = logging.getLogger("hubbub.peers")
_warnings = Sparingly(log)

_GREETING_BYTES = 64 << 10


class PeerDoor:
    """Let one peer in. Belongs to the loop.

    Args:
        doorkeeper: Knows the spaces, and judges.
        write: Takes bytes for the peer; never waits.
        close: Ends the connection after what was written has gone out.
        buffered_bytes: Tells how many bytes have been written and not sent.
        hand_over: Called with the connection that takes over.
        address: Where the peer comes from.
        subject: What its certificate says.
    """

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        write: Callable[[bytes], None],
        close: Callable[[], None],
        buffered_bytes: Callable[[], int],
        hand_over: Callable[[PeerConnection], None],
        address: str = "",
        subject: Subject = frozenset(),
    ) -> None:
        self._doorkeeper = doorkeeper
        self._write = write
        self._close = close
        self._buffered_bytes = buffered_bytes
        self._hand_over = hand_over
        self._address = address
        self._subject = subject
        self._read = b""
        self._frames = FrameReader(_GREETING_BYTES)
        self._is_over = False
        self._timer = asyncio.get_running_loop().call_later(HELLO_S, self._silent)

    def received(self, data: bytes) -> None:
        """Take in bytes from the peer, behind the preface line."""
        if self._is_over:
            return
        self._read += data
        try:
            payloads = self._frames.feed(data)
            if payloads:
                self._judge(payloads[0])
        except LoginFailedError as error:
            self._refuse(error.code, str(error))
        except RemoteProtocolError as error:
            self._refuse("protocol", str(error))
        except HubbubError as error:
            self._refuse(error.code, str(error))

    def lost(self) -> None:
        """The connection is gone."""
        self._is_over = True
        self._timer.cancel()

    def closing(self, reason: str, retry_s: float = 0.5) -> None:
        """Say that the host is about to go away, and end the connection."""
        if not self._is_over:
            self._last(peer.Closing(reason, retry_s))

    def _judge(self, payload: bytes) -> None:
        message = _decoded(payload)
        if type(message) is not peer.Mount:
            raise RemoteProtocolError(
                f"the first message has to be Mount, not {type(message).__name__}"
            )
        refusal = peer.refusal_of(message.protocol)
        if refusal is not None:
            raise RemoteProtocolError(refusal)
        shown = Shown(message.token, self._subject, self._address)
        space, rights = self._doorkeeper.admit(message, shown)
        assert space.host is not None
        options = msgspec.structs.replace(
            space.peer_options,
            read_only=space.peer_options.read_only or rights < Rights.FULL,
            is_public=rights is Rights.PUBLIC,
        )
        self.lost()
        connection = PeerConnection(
            space.host, self._write, self._close, self._buffered_bytes, options
        )
        self._doorkeeper.entered(connection, shown, space, rights)
        self._hand_over(connection)
        read, self._read = self._read, b""
        connection.received(read)

    def _silent(self) -> None:
        self._refuse("protocol", f"no Mount within {HELLO_S:g} s")

    def _refuse(self, kind: str, message: str) -> None:
        where = self._address or "a Unix socket"
        _warnings.warning("a peer from %s was not let in: %s", where, message)
        self._last(peer.Fault(kind, message))

    def _last(self, message: peer.ToPeer) -> None:
        self.lost()
        self._write(frame(peer.encode(message)))
        self._close()


def _decoded(payload: bytes) -> peer.ToHost:
    try:
        return peer.decode_to_host(payload)
    except RemoteProtocolError:
        # A peer of another version may greet in another form.
        protocol = peer.protocol_of(payload)
        refusal = None if protocol is None else peer.refusal_of(protocol)
        if refusal is None:
            raise
        raise RemoteProtocolError(refusal) from None
