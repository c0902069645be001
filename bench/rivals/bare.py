"""The machine's limit for what is durable: sockets, one write that waits for the disk, answers.

No objects, no sessions, no checks, no order; nothing but what nobody can do without. What a system takes above that is
its own. Whoever waits when the disk is free shares one write.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import apart
from bench.apart import Gate
from bench.peers.seen import latencies, rounds, write

_BLOCK = 4096
_BLOCKS = 1024
_WARM = 20
_FOLLOW = b"follow"

Address = tuple[str, int]


def sequential(seconds: float) -> dict[str, float]:
    """One client sends 100 bytes, waits for the answer, sends the next."""
    return {"command-seq": rate(seconds, 1)}


def one(seconds: float) -> dict[str, float]:
    """The same, beside a peer that commits."""
    return {"commit-1": rate(seconds, 1)}


def sixteen(seconds: float) -> dict[str, float]:
    """Sixteen processes do so."""
    return {"commit-16": rate(seconds, 16)}


def visible(seconds: float) -> dict[str, float]:
    """Milliseconds from sending a number until it has arrived, once durable, in another process."""
    count = rounds(seconds)
    with serving() as address:
        began = apart.shared_times(count + 1)
        _, seen = apart.together(2, write_or_follow, address, count, began)
    return latencies(began, seen)


def rate(seconds: float, clients: int) -> float:
    """Return the answers/s of ``clients`` processes together."""
    with serving() as address:
        return float(sum(apart.together(clients, ask, address, seconds)))


def ask(_index: int, gate: Gate, address: Address, seconds: float) -> float:
    """Send and wait for the answer, again and again; return answers/s."""
    with connected(address) as connection:
        for _ in range(_WARM):
            connection.send(b"x" * 100)
            assert connection.recv(_BLOCK)
        gate.wait()
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            connection.send(b"x" * 100)
            assert connection.recv(_BLOCK)
            count += 1
        found = count / (time.perf_counter() - began)
        gate.wait()
    return found


def write_or_follow(
    index: int, gate: Gate, address: Address, count: int, began: Any
) -> dict[int, float] | None:
    """Number 0 sends numbers, number 1 notes when each has come. Pauses are those of all systems."""
    with connected(address) as connection:
        if index == 0:

            def commit(number: int) -> None:
                connection.send(b"%100d" % number)
                assert connection.recv(_BLOCK)

            write(gate, count, began, commit)
            return None
        connection.send(_FOLLOW)
        assert connection.recv(_BLOCK) == _FOLLOW
        gate.wait()
        seen: dict[int, float] = {}
        while count not in seen:
            number = int(connection.recv(_BLOCK)[-100:])
            seen[number] = time.monotonic()
        gate.wait()
        return seen


@contextmanager
def connected(address: Address) -> Iterator[socket.socket]:
    """Connect until the block ends."""
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


@contextmanager
def serving() -> Iterator[Address]:
    """Serve in a process of its own until the block ends; return where."""
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as door:
        here, there = os.pipe()
        process = os.fork()
        if not process:
            try:
                os.close(there)
                serve(door, Path(directory) / "bare", here)
            finally:
                os._exit(0)
        os.close(here)
        try:
            yield door.getsockname()
        finally:
            os.close(there)
            os.waitpid(process, 0)


def serve(door: socket.socket, path: Path, end: int) -> None:
    """Answer when a block is durable, in a file whose blocks exist, and tell who follows; until ``end`` is closed."""
    path.write_bytes(bytes(_BLOCK * _BLOCKS))
    file = os.open(path, os.O_RDWR | os.O_DSYNC | getattr(os, "O_DIRECT", 0))
    os.fsync(file)
    poller = select.poll()
    for number in (door.fileno(), end):
        poller.register(number, select.POLLIN)
    clients: dict[int, socket.socket] = {}
    followers: list[socket.socket] = []
    writes = 0
    with mmap.mmap(-1, _BLOCK) as block:
        while True:
            asked: list[tuple[socket.socket, bytes]] = []
            for ready, _ in poller.poll():
                if ready == end:
                    return
                if ready == door.fileno():
                    client, _ = door.accept()
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    clients[client.fileno()] = client
                    poller.register(client, select.POLLIN)
                    continue
                data = clients[ready].recv(_BLOCK)
                if data == _FOLLOW:
                    followers.append(clients[ready])
                    clients[ready].send(_FOLLOW)
                elif data:
                    asked.append((clients[ready], data))
                else:
                    poller.unregister(ready)
                    clients.pop(ready).close()
            if not asked:
                continue
            _, data = asked[-1]
            block[: len(data)] = data
            os.pwrite(file, block, writes % _BLOCKS * _BLOCK)
            writes += 1
            for follower in followers:
                follower.send(data)
            for client, _ in asked:
                client.send(b"y" * 50)
