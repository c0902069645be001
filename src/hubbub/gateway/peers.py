"""The host's side of a mount: answers one peer.

Theory of operation
===================

Everything happens in the loop, without a task per message. What goes out is `Outlet`'s; what every peer is told of
others' commits is `Peers`'; what it commits is `Writing`'s, and what else it asks `Asking`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from hubbub.gateway.asking import Asking
from hubbub.gateway.blobs import Transfers
from hubbub.gateway.carriers import HELLO_S
from hubbub.gateway.following import Following
from hubbub.gateway.loading import Loading
from hubbub.gateway.neighbours import Neighbours
from hubbub.gateway.outlet import Outlet
from hubbub.gateway.strangers import Stranger
from hubbub.gateway.told import Peers
from hubbub.gateway.writing import MAY_ONLY_READ, Writing
from hubbub.kernel import (
    HubbubError,
    ReadOnlyError,
    RemoteProtocolError,
)
from hubbub.mount.failures import to_failed
from hubbub.perspective.host import Host
from hubbub.wire import peer
from hubbub.wire.frames import FrameReader

log = logging.getLogger("hubbub.peers")

_MAX_OID_BLOCK = 10_000
_GREETING_BYTES = 64 << 10
_MOST_MOUNT_KEY = 64


class PeerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer may do, and how much.

    Attributes:
        read_only: Refuse commits.
        is_public: It is a stranger: it reads the present, and learns nothing of the past and of who did what.
        heartbeat_s: Seconds of silence after which a peer that waits asks for a sign of life.
        max_message_bytes: Bytes of one message from a peer.
        buffer_limit_bytes: Bytes that may wait for a peer that does not read, before it is told to drop its cache.
        max_commits: Commits of one peer that wait for their answers.
        max_upload_bytes: Bytes of blobs of one peer that were uploaded and are not committed.
        oid_block: Oids given to a peer when it mounts.
        lease_s: For so many seconds a pack keeps what peers may still read: what was newest, or was loaded.
    """

    read_only: bool = False
    is_public: bool = False
    heartbeat_s: float = 15.0
    max_message_bytes: int = 64 << 20
    buffer_limit_bytes: int = 8 << 20
    max_commits: int = 1000
    max_upload_bytes: int = 64 << 30
    oid_block: int = 1000
    lease_s: float = 60.0


class PeerConnection:
    """One peer (see the module). All of it belongs to the loop's thread.

    Args:
        host: Whose space it mounts.
        write: Takes bytes for the peer; never waits.
        close: Ends the connection after what was written has gone out.
        buffered_bytes: Tells how many bytes have been written and not sent.
        options: What the peer may do.
    """

    def __init__(
        self,
        host: Host,
        write: Callable[[bytes], None],
        close: Callable[[], None],
        buffered_bytes: Callable[[], int],
        options: PeerOptions | None = None,
    ) -> None:
        self._host = host
        self._close = close
        self._options = options or PeerOptions()
        peers = self._peers = Peers.of(host, self._options.lease_s)
        self.outlet = Outlet(
            write,
            buffered_bytes,
            self._options.buffer_limit_bytes,
            Neighbours(host.ledger),
            lambda: peers.log.newest,
            peers.lookout.answered,
            self._give_up,
        )
        # Until it has shown its token it is anybody: what it says is small, and comes soon.
        self._frames = FrameReader(min(_GREETING_BYTES, self._options.max_message_bytes))
        self._serial = self._peers.next_serial()
        self._read_only = self._options.read_only
        self._following = Following(
            host,
            peers.threads,
            lambda: self._read_only,
            lambda: self._peers.log.newest,
            self._tell_commit,
            self.outlet.answer,
        )
        self._is_mounted = False
        self._is_closing = False
        self._is_lost = False
        self._mount_key = b""
        writing = self._writing = Writing(
            host,
            peers,
            self.outlet,
            self._serial,
            self._options.max_commits,
            lambda: self._read_only,
            self._close_if_done,
        )
        loading = self._loading = Loading(host, self.outlet, peers, self._options.max_message_bytes)
        transfers = Transfers(
            host,
            self.outlet,
            lambda: writing.held,
            lambda: peers.log.newest,
            lambda: self._read_only,
            self._options.max_upload_bytes,
        )
        asking = self._asking = Asking(
            peers.upkeep,
            peers.threads,
            self.outlet,
            lambda: self._read_only,
            self._options.max_message_bytes,
        )
        self._how: dict[type, Callable[[Any], None]] = {
            peer.Mount: self._mount,
            peer.Load: loading.load,
            peer.More: loading.more,
            peer.LoadMany: loading.load_many,
            peer.Commit: writing.commit,
            peer.Vote: writing.vote,
            peer.Finish: writing.finish,
            peer.Drop: writing.drop,
            peer.Ask: asking.ask,
            peer.StopJob: asking.stop,
            peer.PutPiece: transfers.put,
            peer.DropUpload: transfers.drop,
            peer.GetPiece: transfers.get,
            peer.Oids: self._oids,
            peer.Ping: self._ping,
            peer.Follow: self._following.follow,
            peer.Feed: self._following.feed,
        }
        self._stranger = Stranger(
            self.outlet.answer, host.clock, lambda oid: host.ledger.load(oid, peers.log.newest)
        )
        if self._options.is_public:
            self._how = self._stranger.kept_to_the_present(self._how)
        self._greeting = asyncio.get_running_loop().call_later(HELLO_S, self._no_greeting)

    # --- for the listener ---------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Take in bytes from the peer, behind the preface line. What makes no sense ends this peer only."""
        self.outlet.is_busy = True  # one write for all answers
        self._peers.lookout.came()
        try:
            for payload in self._frames.feed(data):
                if self.outlet.is_over:
                    return
                self._message(self._decoded(payload))
        except HubbubError as error:
            self._end(
                error.code if not isinstance(error, RemoteProtocolError) else "protocol", str(error)
            )
            return
        except Exception:
            log.exception("a peer's message could not be answered")
            self._end("internal", "the host failed; the cause is in its log")
            return
        finally:
            self.outlet.is_busy = False
        self.outlet.flush_read()

    def lost(self) -> None:
        """The connection is gone. Commits that have begun go on."""
        self.outlet.close()
        self._greeting.cancel()
        self._following.close()
        self._asking.close()
        self._loading.close()
        self._peers.forget(self.outlet)
        if self._is_mounted and not self._is_lost:
            self._is_lost = True
            self._peers.leases.left()
            self._peers.holding.let_go(self._mount_key, self._writing.held)

    def closing(self, reason: str, retry_s: float = 0.5) -> None:
        """Say that the host is about to go away, and end the connection once the commits that run are answered."""
        if self.outlet.is_over or self._is_closing:
            return
        self._is_closing = True
        self.outlet.answer(peer.Closing(reason, retry_s))
        self.outlet.flush()
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_closing and not self.outlet.awaited and not self.outlet.is_over:
            self.outlet.flush()
            self.lost()
            self._close()

    def _tell_commit(self, message: peer.ToPeer) -> bool:
        """Send what `Following` has to say. False when the peer does not read: it is cut off, not left with a hole."""
        if self.outlet.is_full:
            self._end("too_slow", "the feed was not read fast enough; ask again from where you are")
            return False
        self.outlet.answer(message)
        return not self.outlet.is_over

    def _give_up(self, why: str) -> None:
        log.warning("a peer %s; its connection ends", why)
        self.lost()
        self._close()

    def _end(self, kind: str, message: str) -> None:
        self.outlet.answer(peer.Fault(kind, message))
        self.outlet.flush()
        if not self.outlet.is_over:
            self.lost()
            self._close()

    # --- what the peer says -------------------------------------------------------------------------------------------

    def _decoded(self, payload: bytes) -> peer.ToHost:
        try:
            return peer.decode_to_host(payload)
        except RemoteProtocolError:
            # A peer of another version may greet in another form.
            protocol = None if self._is_mounted else peer.protocol_of(payload)
            refusal = None if protocol is None else peer.refusal_of(protocol)
            if refusal is None:
                raise
            raise RemoteProtocolError(refusal) from None

    def _message(self, message: peer.ToHost) -> None:
        if not self._is_mounted and type(message) is not peer.Mount:
            raise RemoteProtocolError(
                f"the first message has to be Mount, not {type(message).__name__}"
            )
        self._how[type(message)](message)

    def _ping(self, message: peer.Ping) -> None:
        self.outlet.answer(peer.Pong(message.id, self._peers.log.newest))

    def _oids(self, message: peer.Oids) -> None:
        if self._read_only:
            self.outlet.answer(to_failed(message.id, ReadOnlyError(MAY_ONLY_READ)))
            return
        if not 0 < message.count <= _MAX_OID_BLOCK:
            raise RemoteProtocolError(f"oids are given in blocks of 1 to {_MAX_OID_BLOCK}")
        block = self._host.ledger.new_oids(message.count)
        self.outlet.answer(peer.OidBlock(message.id, block.start, len(block)))

    def end(self, kind: str, message: str) -> None:
        """End the connection now, and say why. What becomes of commits that run is not told."""
        if not self.outlet.is_over:
            self._end(kind, message)

    def _no_greeting(self) -> None:
        self._end("protocol", f"no Mount within {HELLO_S:g} s")

    def _mount(self, message: peer.Mount) -> None:
        options, peers = self._options, self._peers
        if self._is_mounted:
            raise RemoteProtocolError("mounted twice")
        refusal = peer.refusal_of(message.protocol)
        if refusal is not None:
            raise RemoteProtocolError(refusal)
        self._is_mounted = True
        self._greeting.cancel()
        self._frames.limit_bytes = options.max_message_bytes
        self._read_only = options.read_only or message.read_only
        peers.outlets[self.outlet] = None
        self._mount_key = message.mount_key[:_MOST_MOUNT_KEY]
        self._writing.held = peers.holding.take(self._mount_key)
        peers.leases.came()
        changed = None
        if message.host_epoch == peers.epoch:
            changed = peers.log.since(message.known_tid)
        block = self._host.ledger.new_oids(0 if self._read_only else options.oid_block)
        self._stranger.mounted(peers.log.newest)
        self.outlet.answer(
            peer.Mounted(
                peers.log.newest,
                peers.epoch,
                None if changed is None else list(changed),
                block.start,
                len(block),
                options.heartbeat_s,
                options.max_message_bytes,
                options.lease_s,
                space_id=self._host.store.space_id,
            )
        )
