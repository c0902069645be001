"""Bare web clients: WebSocket and keep-alive HTTP on plain sockets, for Hubbub and for bare servers alike."""

from __future__ import annotations

import json
import random
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from bench.harness import MissingError
from bench.users.raw import PATIENCE_S, READ_BYTES, address_of

ACK_EVERY = 32
ACK_S = 0.5
"""After so many deliveries or seconds a page acknowledges, as our browser client does; not all pages at once."""

_UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_decode = msgspec.json.Decoder().decode
_ANY_KIND = b'"t":"'
_BRACE = ord("{")
_LAST_WORDS = (b'{"t":"fault"', b'{"t":"closing"', b'"t":"lagged"', b'"t":"gap"', b'"t":"end"')


class Socket:
    """A WebSocket client. ``taken`` is how many messages it has counted."""

    def __init__(self, url: str, path: str = "/") -> None:
        self.socket = socket.create_connection(address_of(url), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.taken = 0
        self.socket.sendall(_UPGRADE % path.encode())
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(4096)
            if not more:
                raise MissingError(f"no WebSocket here: {data[:100]!r}")
            data += more
        head, _, self._rest = data.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise MissingError(f"no WebSocket here: {head[:100]!r}")

    def send(self, text: bytes) -> None:
        """Send a text frame. The mask is zero: the server takes it off all the same."""
        size = len(text)
        head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        self.socket.sendall(head + b"\0\0\0\0" + text)

    def frames(self) -> list[bytes]:
        """Read what there is and return the payloads of the frames that are whole now."""
        return self._cut(self._rest + self._received() if self._rest else self._received())

    def _cut(self, data: bytes) -> list[bytes]:
        place, end, found = 0, len(data), []
        while end - place >= 2:
            start, size = place + 2, data[place + 1]
            if size == 126:
                start = place + 4
                size = int.from_bytes(data[place + 2 : start], "big")
            elif size == 127:
                start = place + 10
                size = int.from_bytes(data[place + 2 : start], "big")
            following = start + size
            if following > end or start > end:
                break
            found.append(data[start:following])
            place = following
        self._rest = data[place:]
        return found

    def count(self, message: bytes) -> int:
        """Read what there is and return how often it holds ``message``: for servers that send nothing else."""
        data = self._rest + self._received() if self._rest else self._received()
        found = data.count(message)
        over = len(data) - found * len(message)
        self._rest = data[-over:] if over else b""
        self.taken += found
        return found

    def close(self) -> None:
        self.socket.close()

    def _received(self) -> bytes:
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise MissingError("the server has closed a WebSocket")
        return data


class Page(Socket):
    """A browser's page: one session of Hubbub over a WebSocket."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, "/_hub/ws")
        self.say({"t": "hello", "protocol": 1, "credentials": {"name": name}})
        welcome = self.until("welcome")
        self._epoch, _, seq = welcome["cursor"].rpartition(".")
        self._seq = int(seq)
        self._unacked = 0
        self.acks = 0
        self._draw()

    def _draw(self) -> None:
        # Each page counts from another point, as our browser client does (`spreadAcks`).
        self._ack_at = random.randrange(ACK_EVERY) + 1

    def say(self, message: Mapping[str, Any]) -> None:
        """Send one message."""
        self.send(json.dumps(message).encode())

    def until(self, kind: str) -> dict[str, Any]:
        """Wait for the first message of ``kind`` and return it. For the beginning, when not much else comes."""
        while True:
            for payload in self.frames():
                data = _decode(payload)
                for message in data if isinstance(data, list) else [data]:
                    if message["t"] in ("fault", "closing", "end"):
                        raise MissingError(f"the host says {message}")
                    if message.get("n") and message["t"] != "pong":
                        self._seq += 1
                        self._unacked += 1
                    if message["t"] == kind:
                        return dict(message)

    def watch(self, name: str, kwargs: Mapping[str, Any], target: Sequence[Any] = ()) -> None:
        """Watch a query, view or stream as number 1."""
        self.say({"t": "watch", "id": 1, "name": name, "kwargs": kwargs, "target": list(target)})

    def deliveries(self, kind: bytes) -> int:
        """Read what there is, acknowledge what is due, and return how many deliveries of ``kind`` it brought.

        ``kind`` is how such a message names it, as in ``b'"t":"item"'``; no value here holds ``"t":"``.
        """
        data = self._rest + self._received() if self._rest else self._received()
        size = len(data)
        if size > 4 and data[1] == 126 and size == 4 + (data[2] << 8) + data[3]:
            self._rest = b""
            # One frame with one message, as most often.
            found = (
                1 if data.startswith(kind, 5) and data[4] == _BRACE else self._count_of(data, kind)
            )
        else:
            found = 0
            for payload in self._cut(data):
                found += self._count_of(payload, kind)
        self.taken += found
        self._seq += found
        self._unacked += found
        if self._unacked >= self._ack_at:
            self.acknowledge()
        return found

    def _count_of(self, data: bytes, kind: bytes) -> int:
        found = data.count(kind)
        if found != data.count(_ANY_KIND) and (
            any(word in data for word in _LAST_WORDS) or b'"t":"pong"' not in data
        ):
            raise MissingError(f"the host says {data[:200]!r}")
        return found

    def acknowledge(self, *, late: bool = False) -> None:
        """Acknowledge all that has come, if there is anything; ``late``: because a timer asks."""
        if self._unacked:
            self._unacked = 0
            self.acks += 1
            if late:
                self._draw()
            else:
                self._ack_at = ACK_EVERY
            self.send(b'{"t":"ack","cursor":"%s.%d"}' % (self._epoch.encode(), self._seq))


class Acknowledging:
    """The pages' timers: what has come is acknowledged after half a second at the latest, if no number asks before."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self._pages = pages
        self._acks = [page.acks for page in pages]
        self._at = time.perf_counter()

    def look(self) -> None:
        """Call it again and again."""
        now = time.perf_counter()
        if now - self._at < ACK_S / 2:
            return
        self._at = now
        for page, before in zip(self._pages, self._acks, strict=True):
            if page.acks == before:  # nothing has been acknowledged since the last look
                page.acknowledge(late=True)
        self._acks = [page.acks for page in self._pages]


class Poll:
    """Wait for many sockets at once, each an object with ``socket``."""

    def __init__(self, members: Sequence[Any]) -> None:
        self._epoll = select.epoll()
        self._by_fd = {member.socket.fileno(): member for member in members}
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)

    def ready(self) -> list[Any]:
        """Wait and return those that have something to read.

        Raises:
            MissingError: After `PATIENCE_S` without anything.
        """
        ready = self._epoll.poll(PATIENCE_S)
        if not ready:
            raise MissingError(f"nothing comes for {PATIENCE_S:g} s")
        by_fd = self._by_fd
        return [by_fd[fd] for fd, _ in ready]

    def close(self) -> None:
        self._epoll.close()


@contextmanager
def polling(members: Sequence[Any]) -> Iterator[Poll]:
    """Wait for many sockets within the block, and close them behind it."""
    poll = Poll(members)
    try:
        yield poll
    finally:
        poll.close()
        for member in members:
            member.socket.close()


class Http:
    """A keep-alive HTTP client that has one request under way at most."""

    def __init__(self, url: str) -> None:
        self.socket = socket.create_connection(address_of(url), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def post(self, path: str, body: bytes) -> None:
        """Send a request."""
        head = "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.socket.sendall((head % (path, len(body))).encode() + body)

    def get(self, path: str) -> None:
        """Send a request."""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def response(self) -> bytes | None:
        """Read what there is and return the body of the response if it is whole now.

        Raises:
            MissingError: If it is not a 200.
        """
        more = self.socket.recv(READ_BYTES)
        if not more:
            raise MissingError("the server has closed a connection")
        data = self._rest + more
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._rest = data
            return None
        if not data.startswith(b"HTTP/1.1 200"):
            raise MissingError(f"the server answers {data[:200]!r}")
        place = data.lower().index(b"content-length:", 0, end) + 15
        size = int(data[place : data.index(b"\r\n", place)])
        if len(data) - end - 4 < size:
            self._rest = data
            return None
        self._rest = b""
        return data[end + 4 :]

    def whole(self) -> bytes:
        """Wait for the whole response and return its body."""
        while True:
            body = self.response()
            if body is not None:
                return body
