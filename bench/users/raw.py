"""One user on a bare TCP socket: the user wire in frames of MessagePack, written by hand.

Calls are encoded once but for their id. Of what comes back only the kind is looked at, where that is enough. Every 32
deliveries, or after 50 ms, an acknowledgement goes out, as our Python client does it.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from bench.harness import MissingError

ACK_EVERY = 32
ACK_S = 0.05
PATIENCE_S = 10.0
READ_BYTES = 1 << 16
"""Of one read. `recv` allocates as much, and from 128 KiB on the allocator may ask the kernel for it each time and give
it back: 15 µs a read, or none, as it happens to have grown before."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_length = struct.Struct(">I")
_pack, _unpack = _length.pack, _length.unpack_from
_DELIVERIES = frozenset(("result", "answer", "item", "gap", "end", "mind"))


def frame(message: dict[str, Any]) -> bytes:
    """Return ``message`` as one frame."""
    payload = _encode(message)
    return _pack(len(payload)) + payload


def address_of(url: str) -> tuple[str, int]:
    """Return host and port of ``hub://host:port`` or ``http://host:port/``."""
    host, _, port = url.partition("://")[2].rstrip("/").partition(":")
    return host, int(port)


class Call:
    """A call that is encoded but for its id."""

    def __init__(self, name: str, *args: object) -> None:
        rest = _encode({"name": name, "args": list(args)})[1:]
        head = b"\x84\xa1t\xa4call\xa2id\xce"
        self._head = _pack(len(head) + 4 + len(rest)) + head
        self._rest = rest

    def with_id(self, call_id: int) -> bytes:
        """Return its frame."""
        return self._head + _pack(call_id) + self._rest


class Line:
    """A logged-in user's connection."""

    def __init__(self, url: str, name: str, *, mind: bool = False) -> None:
        self.socket = socket.create_connection(address_of(url), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.in_flight = 0
        self._rest = b""
        self._call_id = 0
        self._unacked = 0
        self._acked_at = time.perf_counter()
        self._epoch, self._seq = "", 0
        hello: dict[str, Any] = {"t": "hello", "credentials": {"name": name}}
        if mind:
            hello["mind"] = True
        self.socket.sendall(b"hubbub/1 user\n" + frame(hello))
        (welcome,) = self.messages()
        if welcome["t"] != "welcome":
            raise MissingError(f"not welcome: {welcome}")
        self._epoch, _, seq = welcome["cursor"].rpartition(".")
        self._seq = int(seq)

    def calls(self, call: Call, count: int) -> bytes:
        """Return the frames of ``count`` calls with the ids that follow, and of an acknowledgement that is due."""
        first = self._call_id + 1
        self._call_id += count
        self.in_flight += count
        with_id = call.with_id
        frames = [with_id(number) for number in range(first, first + count)]
        if self.is_ack_due:
            frames.append(self.ack())
        return b"".join(frames)

    @property
    def is_ack_due(self) -> bool:
        """Whether so much has come that it is to be acknowledged."""
        return self._unacked >= ACK_EVERY

    def ack(self) -> bytes:
        """Return the frame that acknowledges all that has come."""
        self._unacked = 0
        return frame({"t": "ack", "cursor": f"{self._epoch}.{self._seq}"})

    def acknowledge(self, *, late: bool = False) -> None:
        """Send an acknowledgement if one is due; ``late``: if there is anything to acknowledge."""
        if self.is_ack_due or (late and self._unacked):
            self.socket.sendall(self.ack())

    def watch(self, watch_id: int, name: str, *args: object, target: Sequence[Any] = ()) -> None:
        """Watch a query or a view."""
        message = {
            "t": "watch", "id": watch_id, "name": name, "args": list(args), "target": list(target),
        }  # fmt: skip
        self.socket.sendall(frame(message))

    def results(self) -> int:
        """Read what there is and return how many results it brought.

        Raises:
            MissingError: If the host says that something failed.
        """
        data = self._received()
        if b"\xa5error" in data:
            raise MissingError(f"the host refuses: {data[:200]!r}")
        place, end, results = 0, len(data), 0
        while end - place > 4:
            following = place + 4 + _unpack(data, place)[0]
            if following > end:
                break
            # A map, "t", the kind.
            if data[place + 8 : place + 10] == b"re":
                results += 1
            else:
                self._other(_decode(data[place + 4 : following]))
            place = following
        self._rest = data[place:]
        self._seq += results
        self._unacked += results
        self.in_flight -= results
        return results

    def messages(self) -> list[dict[str, Any]]:
        """Wait for whole messages and return them decoded."""
        while True:
            data = self._received()
            place, end, found = 0, len(data), []
            while end - place > 4:
                following = place + 4 + _unpack(data, place)[0]
                if following > end:
                    break
                found.append(_decode(data[place + 4 : following]))
                place = following
            self._rest = data[place:]
            for message in found:
                if message["t"] == "result":
                    self.in_flight -= 1
                self._other(message)
            if found:
                return found

    def _received(self) -> bytes:
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise MissingError("the host has closed the connection")
        return self._rest + data if self._rest else data

    def _other(self, message: dict[str, Any]) -> None:
        kind = message["t"]
        if kind in _DELIVERIES:
            self._seq += 1
            self._unacked += 1
        elif kind in ("lagged", "fault", "closing"):
            raise MissingError(f"the host says {message}")
        if "error" in message:
            raise MissingError(f"the host refuses: {message}")


def one_by_one(line: Line, call: Call, seconds: float) -> tuple[int, float]:
    """Call again and again, one at a time: how many results in how many seconds."""
    began, count = time.perf_counter(), 0
    end = began + seconds
    send = line.socket.sendall
    while time.perf_counter() < end:
        send(line.calls(call, 1))
        while line.in_flight:
            line.results()
        count += 1
    return count, time.perf_counter() - began


def in_flight(lines: Sequence[Line], call: Call, each: int, seconds: float) -> tuple[int, float]:
    """Keep ``each`` calls of each line in flight: how many results in how many seconds."""
    poll = select.epoll()
    by_fd = {line.socket.fileno(): line for line in lines}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    began, count = time.perf_counter(), 0
    end = began + seconds
    try:
        for line in lines:
            line.socket.sendall(line.calls(call, each))
        open_lines = len(lines)
        while open_lines:
            ready = poll.poll(PATIENCE_S)
            if not ready:
                raise MissingError(f"no result for {PATIENCE_S:g} s")
            goes_on = time.perf_counter() < end
            for fd, _ in ready:
                line = by_fd[fd]
                results = line.results()
                if not results:
                    continue
                count += results
                if goes_on:
                    line.socket.sendall(line.calls(call, results))
                elif not line.in_flight:
                    open_lines -= 1
        took = time.perf_counter() - began
    finally:
        poll.close()
    for line in lines:
        line.acknowledge(late=True)
    return count, took
