"""A proxy in front of a host that cuts or stalls connections."""

from __future__ import annotations

import contextlib
import random
import socket
import threading


class Proxy:
    """Forward to ``port``; each connection is cut after a random number of bytes, if ``budget`` is given."""

    def __init__(self, port: int, *, budget: int = 0, seed: int = 0) -> None:
        self._target = port
        self._budget = budget
        self._random = random.Random(seed)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"hub://127.0.0.1:{self._server.getsockname()[1]}"
        self.connections = 0
        self.cuts = 0
        self._open: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, fn, *args) -> None:
        thread = threading.Thread(target=fn, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            try:
                far = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                near.close()
                continue
            self._open |= {near, far}
            left = [self._random.randrange(self._budget) if self._budget else 1 << 60]
            stalled = threading.Event()
            for source, sink in ((near, far), (far, near)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._start(self._pump, source, sink, left, stalled)

    def _pump(self, source, sink, left, stalled) -> None:
        try:
            while data := source.recv(65536):
                if not self._flowing.is_set():
                    stalled.set()
                if stalled.is_set():
                    continue  # as if the network swallowed it, for this connection for ever
                part = data[: left[0]]
                left[0] -= len(data)
                sink.sendall(part)
                if left[0] <= 0:
                    self.cuts += 1
                    break
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Swallow what the present connections say from now on."""
        self._flowing.clear()

    def flow(self) -> None:
        """Serve new connections well again."""
        self._flowing.set()

    def steady(self) -> None:
        """Cut no new connection."""
        self._budget = 0

    def cut(self) -> None:
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for end in self._open:
            end.close()
