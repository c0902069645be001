"""The host's side of a mount: answers one peer, and tells it what became old.

Theory of operation
===================

Everything happens in the loop, without a task per message. For each group of commits that the disk has taken, the host
calls `Peers` first and the answers to those commits after that, so on every peer's ordered stream:

    Invalidate(group's last tid, what others wrote) -> Committed(own tids)          (ST2)

The *told* tid is that of the newest group that has been told. It is always the tid of a stored commit, so it means the
same to the host that runs after a crash. Whatever a peer calls a snapshot is such a tid.

A peer that does not read is not queued for without end (PE5):

    FOLLOWING --buffer over its limit--> BEHIND     no invalidations any more
    BEHIND --drained, or an answer has to go out--> FOLLOWING    DropCache first: all copies may be old
    any --buffer over four times the limit--> ended

Commits of a connection that its mount has replaced by a newer one are refused: they could otherwise run a second time,
after their first answer was acknowledged and forgotten.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import weakref
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec

from hubbub.gateway.carriers import HELLO_S
from hubbub.gateway.following import Following
from hubbub.gateway.neighbours import Neighbours
from hubbub.gateway.pushed import Pushed
from hubbub.kernel import (
    COMPANION_BIT,
    Changeset,
    Commit,
    HubbubError,
    LimitError,
    ReadOnlyError,
    Record,
    RemoteProtocolError,
    UnknownObjectError,
)
from hubbub.mount.base import InvalidationLog
from hubbub.mount.failures import to_failed
from hubbub.perspective.host import Host, Outcome
from hubbub.store.ledger import PEER_COMMIT
from hubbub.wire import peer
from hubbub.wire.frames import FrameReader, frame

log = logging.getLogger("hubbub.peers")

_MOUNT_KEY_BYTES = 12
_MAX_KEY_BYTES = 64
_REMEMBERED_MOUNTS = 10_000
_MAX_OID_BLOCK = 10_000
_GREETING_BYTES = 64 << 10
_OID_LEAP = 1 << 40
_MAX_CLASS_NAME = 1000
_PUSH_BELOW_BYTES = 64 << 10
_MERGED_BYTES = 64 << 10
_HOLD_S = 0.005
"""So long a peer that waits for an answer may not be told of others' commits."""
_REMEMBERED_WRITES = 64

_oid_of = attrgetter("oid")
_tid_of = attrgetter("tid")
_class_name_of = attrgetter("class_name")
_refs_of = attrgetter("refs")


class PeerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What peers may do, and how much.

    Attributes:
        token: What a peer has to show; empty: nothing.
        read_only: Refuse commits.
        space: The name of the space; a peer that asks for another one is refused.
        heartbeat_s: Seconds of silence after which a peer that waits asks for a sign of life.
        max_message_bytes: Bytes of one message from a peer.
        buffer_limit_bytes: Bytes that may wait for a peer that does not read, before it is told to drop its cache.
        max_commits: Commits of one peer that wait for their answers.
        oid_block: Oids given to a peer when it mounts.
    """

    token: str = ""
    read_only: bool = False
    space: str = ""
    heartbeat_s: float = 15.0
    max_message_bytes: int = 64 << 20
    buffer_limit_bytes: int = 8 << 20
    max_commits: int = 1000
    oid_block: int = 1000


class Peers:
    """All peers of one host, and what it told them lately."""

    _of_host: weakref.WeakKeyDictionary[Host, Peers] = weakref.WeakKeyDictionary()

    def __init__(self, host: Host) -> None:
        told = min(host.ledger.settled_tid, host.store.last_tid)
        self.log = InvalidationLog(told)
        self.epoch = secrets.token_hex(8)
        self.connections: dict[PeerConnection, None] = {}
        self.writers: dict[bytes, PeerConnection] = {}
        self._serials: dict[bytes, int] = {}
        self._next_serial = 0
        host.on_settled(self._settled)

    @classmethod
    def of(cls, host: Host) -> Peers:
        """Return the peers of ``host``, made at the first call. In the loop."""
        found = cls._of_host.get(host)
        if found is None:
            found = cls._of_host[host] = cls(host)
        return found

    def next_serial(self) -> int:
        """Number the connections as they come."""
        self._next_serial += 1
        return self._next_serial

    def is_replaced(self, mount_key: bytes, serial: int) -> bool:
        """Tell whether a newer connection of the same mount has committed; note this one otherwise."""
        newest = self._serials.pop(mount_key, 0)
        self._serials[mount_key] = max(newest, serial)
        if len(self._serials) > _REMEMBERED_MOUNTS:
            del self._serials[next(iter(self._serials))]
        return newest > serial

    def _settled(self, commits: Sequence[Commit]) -> None:
        told = self.log.newest
        last: dict[int, Record] = {}
        written: list[dict[int, Record]] = []
        own: dict[PeerConnection, dict[int, Record]] = {}
        answers: dict[PeerConnection, int] = {}
        newest = 0
        for commit in commits:
            if not commit.records or commit.tid <= told:
                continue
            newest = commit.tid
            writer = self._writer_of(commit)
            records = dict(zip(map(_oid_of, commit.records), commit.records, strict=True))
            written.append(records)
            last.update(records)
            if writer is not None:
                own.setdefault(writer, {}).update(records)
                answers[writer] = answers.get(writer, 0) + 1
        if not newest:
            return
        self.log.add(newest, last)
        message = frame(peer.encode(peer.Invalidate(newest, list(last))))
        for connection in list(self.connections):
            mine = own.get(connection)
            if mine is None:
                connection.tell(newest, last, written, message)
                connection.flush_told()
            else:
                others = {
                    oid: record for oid, record in last.items() if mine.get(oid) is not record
                }
                connection.expect(answers[connection])
                connection.tell(newest, others, written)

    def _writer_of(self, commit: Commit) -> PeerConnection | None:
        for kind, key, value in commit.rows:
            if kind == PEER_COMMIT and value is not None:
                return self.writers.get(key)
        return None


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
        self._write = write
        self._close = close
        self._buffered_bytes = buffered_bytes
        self._options = options or PeerOptions()
        self._peers = Peers.of(host)
        # Until it has shown its token it is anybody: what it says is small, and comes soon.
        self._frames = FrameReader(min(_GREETING_BYTES, self._options.max_message_bytes))
        self._serial = self._peers.next_serial()
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flush_handle: asyncio.Handle | None = None
        self._held: asyncio.TimerHandle | None = None
        self._drain_timer: asyncio.TimerHandle | None = None
        self._neighbours = Neighbours(host.ledger)
        self._pushed = Pushed()
        self._commits = 0
        self._read_only = self._options.read_only
        self._following = Following(
            host, lambda: self._peers.log.newest, self._tell_commit, self._answer
        )
        self._is_mounted = False
        self._is_busy = False
        self._untold = 0
        self._is_behind = False
        self._is_closing = False
        self._is_over = False
        self._how: dict[type, Callable[[Any], None]] = {
            peer.Mount: self._mount,
            peer.Load: self._load,
            peer.More: self._more,
            peer.Commit: self._commit,
            peer.Oids: self._oids,
            peer.Ping: self._ping,
            peer.Follow: self._following.follow,
            peer.Feed: self._following.feed,
        }
        self._greeting = self._loop.call_later(HELLO_S, self._no_greeting)

    # --- for the listener ---------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Take in bytes from the peer, behind the preface line. What makes no sense ends this peer only."""
        self._is_busy = True  # one write for all answers
        try:
            for payload in self._frames.feed(data):
                if self._is_over:
                    return
                self._message(peer.decode_to_host(payload))
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
            self._is_busy = False
        self._flush()

    def lost(self) -> None:
        """The connection is gone. Commits that have begun go on."""
        self._is_over = True
        self._greeting.cancel()
        self._following.close()
        self._peers.connections.pop(self, None)
        for key in [key for key, owner in self._peers.writers.items() if owner is self]:
            del self._peers.writers[key]
        for handle in (self._flush_handle, self._held, self._drain_timer):
            if handle is not None:
                handle.cancel()

    def closing(self, reason: str, retry_s: float = 0.5) -> None:
        """Say that the host is about to go away, and end the connection once the commits that run are answered."""
        if self._is_over or self._is_closing:
            return
        self._is_closing = True
        self._answer(peer.Closing(reason, retry_s))
        self._flush()
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_closing and not self._commits and not self._is_over:
            self._flush()
            self.lost()
            self._close()

    # --- for `Peers` --------------------------------------------------------------------------------------------------

    def tell(
        self,
        tid: int,
        changed: Mapping[int, Record],
        commits: Sequence[Mapping[int, Record]],
        message: bytes = b"",
    ) -> None:
        """Say that objects changed up to ``tid``, or note that the peer is behind (PE5).

        Args:
            tid: The newest.
            changed: The newest records of the objects.
            commits: What each of the commits has written.
            message: The frame that says it without records, if there is one already.
        """
        if self._is_behind:
            self._catch_up()
            return
        waiting = self._buffered_bytes() + self._out_bytes
        pushed: list[Record] = []
        # Who does not keep up with what is sent gets no more than has to be.
        if self._pushed.wanted and waiting < _PUSH_BELOW_BYTES:
            pushed = self._pushed.chosen(changed, commits)
        if pushed or not message:
            told = peer.Invalidate(tid, list(changed), peer.written(pushed))
            message = frame(peer.encode(told))
        if waiting + len(message) > self._options.buffer_limit_bytes:
            self._is_behind = True
            self._forget_all()
            self._catch_up()
            return
        had = self._neighbours.has(changed)
        if pushed:
            fresh = set(map(_oid_of, pushed))
            self._neighbours.remember(fresh)
            had -= fresh
        if had:
            self._neighbours.forget(had)
            self._pushed.told(had)
        self._put(message)

    def flush_told(self) -> None:
        """Send what the peer was told: at once, so that it is under way before any answer to the same group is.

        A peer that waits for an answer to a commit gets it with that, or after `_HOLD_S`: else all would wake all.
        """
        if not self._commits:
            self._flush()
        elif self._held is None and self._out:
            if self._flush_handle is not None:
                self._flush_handle.cancel()
                self._flush_handle = None
            self._held = self._loop.call_later(_HOLD_S, self._flush)

    def _forget_all(self) -> None:
        self._neighbours.forget_all()
        self._pushed.clear()

    def expect(self, answers: int) -> None:
        """So many answers to commits of this group are about to come: the last sends all that is told to this peer."""
        self._untold = answers

    def _catch_up(self, *, now: bool = False) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None
        is_drained = (
            self._buffered_bytes() + self._out_bytes < self._options.buffer_limit_bytes // 2
        )
        if now or is_drained:
            self._is_behind = False
            self._put(frame(peer.encode(peer.DropCache(self._peers.log.newest))))
        else:
            self._drain_timer = self._loop.call_later(0.05, self._catch_up)

    def _tell_commit(self, message: peer.ToPeer) -> bool:
        """Send what `Following` has to say. False when the peer does not read: it is cut off, not left with a hole."""
        if self._buffered_bytes() + self._out_bytes > 4 * self._options.buffer_limit_bytes:
            self._end("too_slow", "the feed was not read fast enough; ask again from where you are")
            return False
        self._answer(message)
        return not self._is_over

    # --- sending ------------------------------------------------------------------------------------------------------

    def _answer(self, message: peer.ToPeer) -> None:
        if self._is_over:
            return
        if self._is_behind:
            # An answer says that everything before it was told.
            self._catch_up(now=True)
        self._put(frame(peer.encode(message)))

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)
        if self._flush_handle is None and not self._is_busy:
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        for handle in (self._flush_handle, self._held):
            if handle is not None:
                handle.cancel()
        self._flush_handle = self._held = None
        if not self._out or self._is_over:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        self._write(data)
        if self._buffered_bytes() > 4 * self._options.buffer_limit_bytes + len(data):
            log.warning("a peer asks and does not read the answers; its connection ends")
            self.lost()
            self._close()

    def _end(self, kind: str, message: str) -> None:
        self._answer(peer.Fault(kind, message))
        self._flush()
        if not self._is_over:
            self.lost()
            self._close()

    # --- what the peer says -------------------------------------------------------------------------------------------

    def _message(self, message: peer.ToHost) -> None:
        if not self._is_mounted and type(message) is not peer.Mount:
            raise RemoteProtocolError(
                f"the first message has to be Mount, not {type(message).__name__}"
            )
        self._how[type(message)](message)

    def _ping(self, message: peer.Ping) -> None:
        self._answer(peer.Pong(message.id, self._peers.log.newest))

    def _oids(self, message: peer.Oids) -> None:
        if not 0 < message.count <= _MAX_OID_BLOCK:
            raise RemoteProtocolError(f"oids are given in blocks of 1 to {_MAX_OID_BLOCK}")
        block = self._host.ledger.new_oids(message.count)
        self._answer(peer.OidBlock(message.id, block.start, len(block)))

    def _no_greeting(self) -> None:
        self._end("protocol", f"no Mount within {HELLO_S:g} s")

    def _mount(self, message: peer.Mount) -> None:
        options, peers = self._options, self._peers
        if self._is_mounted:
            raise RemoteProtocolError("mounted twice")
        if message.protocol != peer.PROTOCOL:
            raise RemoteProtocolError(
                f"this host speaks version {peer.PROTOCOL} of the peer protocol, not {message.protocol}"
            )
        if options.token and not hmac.compare_digest(
            options.token.encode(), message.token.encode()
        ):
            self._end("login_failed", "it is not the one that this host asks of peers")
            return
        if message.space not in ("", options.space):
            self._end("unknown_space", f"there is no space {message.space!r} here")
            return
        self._is_mounted = True
        self._greeting.cancel()
        self._frames.limit_bytes = options.max_message_bytes
        self._read_only = options.read_only or message.read_only
        peers.connections[self] = None
        changed = None
        if message.host_epoch == peers.epoch:
            changed = peers.log.since(message.known_tid)
        block = self._host.ledger.new_oids(options.oid_block)
        self._answer(
            peer.Mounted(
                peers.log.newest,
                peers.epoch,
                None if changed is None else list(changed),
                block.start,
                len(block),
                options.heartbeat_s,
                options.max_message_bytes,
            )
        )

    def _load(self, message: peer.Load) -> None:
        at = message.at
        self._check_at(at)
        if not 0 <= message.oid < COMPANION_BIT:
            raise RemoteProtocolError(f"a load of {message.oid:#x} is out of range")
        try:
            record = self._host.ledger.load(message.oid, at)
        except UnknownObjectError:
            self._answer(peer.Loaded(message.id, []))
            return
        except HubbubError as error:
            self._answer(to_failed(message.id, error))
            return
        if message.forget:
            self._forget_all()
        self._pushed.asked(message.oid)
        neighbours = self._neighbours.of(record, at, message.room)
        goes_on = message.room > 0 and self._neighbours.goes_on
        self._answer(peer.Loaded(message.id, peer.written([record, *neighbours]), goes_on))

    def _more(self, message: peer.More) -> None:
        self._check_at(message.at)
        neighbours = self._neighbours.more(message.at, message.room)
        self._answer(peer.Loaded(message.id, peer.written(neighbours), self._neighbours.goes_on))

    def _check_at(self, at: int) -> None:
        if not 0 <= at <= self._host.ledger.settled_tid:
            raise RemoteProtocolError(f"a load at {at:#x} is out of range")

    # --- commits ------------------------------------------------------------------------------------------------------

    def _commit(self, message: peer.Commit) -> None:
        self._check_commit(message)
        if self._read_only:
            self._answer(to_failed(message.id, ReadOnlyError("peers may only read this space")))
            return
        if self._commits >= self._options.max_commits:
            refusal = LimitError(f"more than {self._options.max_commits} commits wait for answers")
            self._answer(to_failed(message.id, refusal))
            return
        mount_key = message.key[:_MOUNT_KEY_BYTES]
        if message.key and self._peers.is_replaced(mount_key, self._serial):
            raise RemoteProtocolError(
                "this connection was replaced by a newer one of the same mount"
            )
        self._commits += 1
        if message.key:
            self._peers.writers[message.key] = self
        changeset = Changeset(
            message.base,
            message.writes,
            message.current,
            # What a peer says of changes inside a container can't be checked: views look again for themselves (LV1).
            {},
            message.label,
            message.key,
        )
        self._host.apply(
            changeset,
            message.done,
            lambda outcome: self._committed(message.id, message.key, outcome),
        )

    def _check_commit(self, message: peer.Commit) -> None:
        """Refuse what would hurt others: the disk writes a group for all."""
        settled = self._host.ledger.settled_tid
        writes, current = message.writes, message.current
        written = set(map(_oid_of, writes))
        oids = {*chain.from_iterable(map(_refs_of, writes)), *(oid for oid, _ in current)}
        oids |= written
        if oids:
            for oid in (min(oids), max(oids)):
                if not 0 <= oid < COMPANION_BIT:
                    raise RemoteProtocolError(f"{oid:#x} is no oid that can be stored")
            # The oids of a commit are never given out again. One that leaps ahead would use up those of everybody.
            if max(oids) > self._host.ledger.new_oids(0).start + _OID_LEAP:
                raise RemoteProtocolError("a commit names oids that nobody was given")
        for name in set(map(_class_name_of, writes)):
            if not (0 < len(name) <= _MAX_CLASS_NAME and name.isprintable()):
                raise RemoteProtocolError(f"{name[:80]!a} is no name of a class")
        if len(written) < len(writes):
            raise RemoteProtocolError("a commit writes an object twice")
        tids = {message.base, *map(_tid_of, writes), *(tid for _, tid in current)}
        if not (min(tids) >= 0 and max(tids) <= settled):
            raise RemoteProtocolError("a commit says that it has read what is not stored")
        if any(not key or len(key) > _MAX_KEY_BYTES for key in message.done):
            raise RemoteProtocolError(f"a commit's key has 1 to {_MAX_KEY_BYTES} bytes")
        if len(message.key) > _MAX_KEY_BYTES:
            raise RemoteProtocolError(f"a commit's key has at most {_MAX_KEY_BYTES} bytes")

    def _committed(self, call_id: int, key: bytes, outcome: Outcome) -> None:
        self._commits -= 1
        if self._peers.writers.get(key) is self:
            del self._peers.writers[key]
        error = outcome.error
        if error is None:
            tid, merged = outcome.value
            self._answer(peer.Committed(call_id, tid, merged, self._merged(outcome)))
        else:
            if not isinstance(error, HubbubError):
                log.error("a peer's commit failed", exc_info=error)
            self._answer(to_failed(call_id, error))
        if self._untold:
            self._untold -= 1
            if not self._untold:
                self._flush()
        self._close_if_done()

    def _merged(self, outcome: Outcome) -> list[Any]:
        """Return what is stored instead of what the peer sent, if that is small; note what it has now."""
        if outcome.commit is None:
            return []  # a repeat
        records = outcome.commit.records
        merged = outcome.value[1]
        sent: list[Record] = []
        if merged:
            names = set(merged)
            sent = [record for record in records if record.oid in names]
            if sum(len(record.payload) for record in sent) > _MERGED_BYTES:
                sent = []
            names.difference_update(map(_oid_of, sent))
            records = [record for record in records if record.oid not in names]
        if len(records) <= _REMEMBERED_WRITES:
            self._neighbours.remember(map(_oid_of, records))
        return peer.written(sent)
