"""The machine's limit for one durable thing at a time: a socket, one write that waits for the disk, an answer.

No objects, no session, no checks, no order among users; nothing but what nobody can do without. What a system takes
above that is its own.
"""

from __future__ import annotations

import mmap
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 4096
_BLOCKS = 1024
_WARM_S = 0.3


def sequential(seconds: float) -> dict[str, float]:
    """One client sends 100 bytes, waits for the answer, sends the next."""
    with serving() as connection:
        rate(connection, _WARM_S)
        return {"command-seq": rate(connection, seconds)}


def rate(connection: socket.socket, seconds: float) -> float:
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        connection.send(b"x" * 100)
        assert connection.recv(_BLOCK)
        count += 1
    return count / (time.perf_counter() - began)


@contextmanager
def serving() -> Iterator[socket.socket]:
    """Serve one client in a process of its own until the block ends; return the client's socket."""
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as door:
        process = os.fork()
        if not process:
            try:
                serve(door, Path(directory) / "bare")
            finally:
                os._exit(0)
        try:
            with socket.create_connection(door.getsockname()) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield connection
        finally:
            os.waitpid(process, 0)


def serve(door: socket.socket, path: Path) -> None:
    """Answer when a block is durable, in a file whose blocks exist; end with the client."""
    path.write_bytes(bytes(_BLOCK * _BLOCKS))
    flags = os.O_RDWR | os.O_DSYNC | getattr(os, "O_DIRECT", 0)
    file = os.open(path, flags)
    os.fsync(file)
    connection, _ = door.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    number = 0
    with mmap.mmap(-1, _BLOCK) as block:
        while data := connection.recv(_BLOCK):
            block[: len(data)] = data
            os.pwrite(file, block, number % _BLOCKS * _BLOCK)
            connection.send(b"y" * 50)
            number += 1
