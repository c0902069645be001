"""The socket of a peer: the greeting, frames out and messages in. It knows no cache and no calls.

Reading never waits (`receive`); waiting is `poll`, for whoever has the turn (see `hubbub.mount.turn`). Any thread may
send; a sender that finds the socket full takes in what the host sends meanwhile, so two full directions can't
lock each other out.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from hubbub.kernel import COMPANION_BIT, BrokenError, LoginFailedError, RemoteProtocolError
from hubbub.mount.address import Address
from hubbub.mount.secured import Certificates
from hubbub.wire import peer
from hubbub.wire.frames import PREFACE_PEER, FrameReader, frame

_READ_BYTES = 64 << 10
_MORE_BYTES = 256 << 10
"""So much is read once that was not enough: room of this size costs ten times as much to get as to fill."""
LOOK_S = 0.00015
"""So long a thread looks for an answer before it sleeps, if the last one came within it."""
_SLEEPS = 16
"""So often it does not after it has looked in vain."""
_LIMIT_BYTES = 1 << 30
_GREETING_BYTES = 16 << 20
_SHORTEST_HEARTBEAT_S, _LONGEST_HEARTBEAT_S = 0.01, 86_400.0
_MOST_OIDS = 1_000_000


class Bell:
    """Wakes the one who polls, from any thread."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        self._is_closed = False

    def fileno(self) -> int:
        """Return what to poll."""
        return self._out

    def ring(self) -> None:
        """Wake the one who polls, now or the next time."""
        if not self._is_closed:
            with contextlib.suppress(BlockingIOError):
                os.write(self._in, b"!")

    def clear(self) -> None:
        """Take the rings back."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._out, 4096)

    def wait(self, timeout_s: float) -> None:
        """Wait for a ring or until the time is over."""
        poller = select.poll()
        poller.register(self._out, select.POLLIN)
        if poller.poll(max(0, timeout_s * 1000)):
            self.clear()

    def close(self) -> None:
        """Close it. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._out)
            os.close(self._in)


class Link:
    """One connection to a host.

    Args:
        address: Where.
        bell: Ends a `poll` early.
        timeout_s: How long connecting may take.
        certificates: For TLS.

    Raises:
        OSError: If nobody answers; `ssl.SSLError` if TLS does not come about.
    """

    def __init__(
        self,
        address: Address,
        bell: Bell,
        timeout_s: float,
        certificates: Certificates | None = None,
    ) -> None:
        self.address = address
        self._bell = bell
        self._socket = address.connect(timeout_s, certificates)
        self._shows_certificate = address.tls and certificates is not None and certificates.has_own
        self._frames = FrameReader(_GREETING_BYTES)
        self._early: deque[peer.ToPeer] = deque()
        self._send_lock = threading.Lock()
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)
        self._poller.register(bell, select.POLLIN)
        self._glance = select.poll()
        self._glance.register(self._socket, select.POLLIN)
        self._is_secured = address.tls
        self._bell_descriptor = bell.fileno()
        self._is_quick = False
        self._sleeps_yet = 0
        self.heartbeat_s = 15.0
        self.max_bytes = 1 << 20
        self.bytes_in = 0
        self.bytes_out = 0
        self.received_at = time.monotonic()
        self.pinged_at: float | None = None

    def greet(self, message: peer.Mount, timeout_s: float) -> peer.Mounted:
        """Say who we are and return the host's answer. What came behind it is the first that `receive` returns.

        Raises:
            OSError: If the connection fails or takes too long.
            BrokenError: If the host goes away at once.
            RemoteProtocolError: If it is no Hubbub host.
            HubbubError: The host's own no.
        """
        deadline = time.monotonic() + timeout_s
        self._socket.settimeout(timeout_s)
        greeting = PREFACE_PEER + frame(peer.encode(message))
        first = b""
        messages: list[peer.ToPeer] = []
        while not messages:
            # All of it has its time, not each drop.
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                if greeting:
                    self._socket.sendall(greeting)
                    greeting = b""
                data = self._socket.recv(_READ_BYTES)
            except (ConnectionResetError, BrokenPipeError):
                if not self._shows_certificate:
                    raise
                data = b""  # a host that does not accept it is gone by now
            first = (first + data)[:60]
            if not data:
                if self._shows_certificate:
                    raise LoginFailedError(
                        f"{self.address} closed the connection behind the TLS handshake: most likely it does not "
                        "accept our certificate; its log says why",
                        code="certificate",
                    )
                raise BrokenError(
                    f"{self.address} closed the connection before it answered: "
                    "is it a Hubbub host that takes peers?"
                )
            try:
                messages = [peer.decode_to_peer(payload) for payload in self._frames.feed(data)]
            except RemoteProtocolError:
                raise RemoteProtocolError(
                    f"what listens at {self.address} is not a Hubbub host: it answered {first!r}",
                    code="not_hubbub",
                ) from None
        self._socket.settimeout(None)
        answer = messages[0]
        self._early.extend(messages[1:])
        if isinstance(answer, peer.Fault | peer.Closing):
            raise Refusal(answer)
        if not isinstance(answer, peer.Mounted):
            raise RemoteProtocolError(f"{self.address} answered with {type(answer).__name__}")
        _check_mounted(answer, str(self.address))
        self._frames.limit_bytes = _LIMIT_BYTES
        self.heartbeat_s = answer.heartbeat_s
        self.max_bytes = answer.max_bytes
        self.received_at = time.monotonic()
        return answer

    def receive(self) -> list[peer.ToPeer]:
        """Return the messages that have arrived, in order; never waits. One thread at a time.

        Raises:
            OSError: If the connection is broken.
            RemoteProtocolError: If what arrives makes no sense.
        """
        messages: list[peer.ToPeer] = []
        if self._early:
            messages += self._early
            self._early.clear()
        size = _READ_BYTES
        while True:
            try:
                data = self._socket.recv(size, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return messages
            if not data:
                if messages:
                    return messages  # the next call finds the end again
                raise ConnectionResetError("the host closed the connection")
            count = len(data)
            self.bytes_in += count
            self.received_at = time.monotonic()
            self.pinged_at = None
            messages += map(peer.decode_to_peer, self._frames.feed(data))
            if count < size:
                return messages
            size = _MORE_BYTES

    @property
    def has_news(self) -> bool:
        """Whether `receive` may find something: to look costs a third of reading in vain. One thread at a time."""
        return bool(self._is_secured or self._early or self._glance.poll(0))

    def poll(self, timeout_s: float, look_s: float = LOOK_S) -> None:
        """Wait until something arrives, the bell rings or the time is over. One thread at a time.

        A thread that sleeps takes some time to wake. So where the last answer came quickly, this looks a few times
        before it sleeps; where that was in vain, the next waits sleep at once.

        Args:
            timeout_s: How long to wait at most.
            look_s: What is quick: so long it looks at most.
        """
        poll = self._poller.poll
        began = time.perf_counter()
        ready: list[tuple[int, int]] = []
        if self._sleeps_yet:
            self._sleeps_yet -= 1
        elif self._is_quick:
            patience = began + min(look_s, timeout_s)
            while not ready and time.perf_counter() < patience:
                ready = poll(0)
            if not ready:
                self._sleeps_yet = _SLEEPS
        ready = ready or poll(max(0.0, timeout_s * 1000))
        self._is_quick = time.perf_counter() - began < look_s
        for descriptor, _ in ready:
            if descriptor == self._bell_descriptor:
                self._bell.clear()

    def send(self, data: bytes, drain: Callable[[], None]) -> None:
        """Send ``data`` whole. Any thread.

        Args:
            data: Frames.
            drain: Takes in what has arrived; called while the socket is full.

        Raises:
            OSError: If the connection is broken, or nothing moves for two heartbeats.
        """
        with self._send_lock:
            self.bytes_out += len(data)
            view = memoryview(data)
            while view:
                try:
                    view = view[self._socket.send(view, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    self._wait_for_room(drain)

    def _wait_for_room(self, drain: Callable[[], None]) -> None:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN | select.POLLOUT)
        ready = poller.poll(2000 * self.heartbeat_s)
        if not ready:
            raise TimeoutError("the host does not read")
        if ready[0][1] & select.POLLIN:
            drain()

    def shut(self) -> None:
        """Break it: whoever polls or sends wakes up. `close` follows once nobody polls."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def check_oids(first: int, count: int) -> None:
    """Refuse oids that no host gives away.

    Raises:
        RemoteProtocolError: If these are such; code ``garbled``.
    """
    if not (first > 0 and 0 <= count <= _MOST_OIDS and first + count <= COMPANION_BIT):
        raise RemoteProtocolError(
            f"the host gave {count} oids from {first:#x} on: that makes no sense", code="garbled"
        )


def check_feed(asked: peer.Feed, answer: peer.Fed) -> None:
    """Refuse a piece of the feed that is not in order.

    Raises:
        RemoteProtocolError: If they are not in order, or others than ``asked`` for; code ``garbled``.
    """
    last = asked.after
    for commit in answer.commits:
        if commit.tid <= last:
            raise RemoteProtocolError("the host told commits out of order", code="garbled")
        last = commit.tid


def _check_mounted(answer: peer.Mounted, address: str) -> None:
    check_oids(answer.first_oid, answer.oid_count)
    heartbeat_fits = _SHORTEST_HEARTBEAT_S <= answer.heartbeat_s <= _LONGEST_HEARTBEAT_S
    if not (heartbeat_fits and answer.tid >= 0 and answer.max_bytes > 0):
        raise RemoteProtocolError(
            f"{address} greets with numbers that make no sense", code="garbled"
        )


class Refusal(Exception):  # noqa: N818 - an answer, told to the user as another error
    """The host answered the greeting with a no."""

    def __init__(self, answer: peer.Fault | peer.Closing) -> None:
        super().__init__(str(answer))
        self.answer = answer
