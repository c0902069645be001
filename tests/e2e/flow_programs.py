"""What the end-to-end tests of component programs share: free ports in a row, and clients that are bare sockets."""

from __future__ import annotations

import random
import socket
import time
from types import TracebackType
from typing import Self


def ports_in_a_row(count: int) -> int:
    """Return the first of ``count`` ports that are free and follow each other."""
    chance = random.SystemRandom()  # two runs of these tests beside each other choose differently
    for _ in range(200):
        first = chance.randrange(20000, 32000)
        taken: list[socket.socket] = []
        try:
            for port in range(first, first + count):
                here = socket.socket()
                taken.append(here)
                here.bind(("127.0.0.1", port))
        except OSError:
            continue
        else:
            return first
        finally:
            for here in taken:
                here.close()
    raise AssertionError(f"there are no {count} free ports in a row")


class LineClient:
    """One TCP connection that speaks lines. Connecting waits for the server to come up."""

    def __init__(self, port: int, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, f"nobody listens on port {port}"
                time.sleep(0.02)
        self.socket.settimeout(timeout_s)
        self._read = self.socket.makefile("r", encoding="utf-8", newline="\n")

    def say(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\n" for line in lines).encode())

    def hear(self, count: int = 1) -> list[str]:
        """Return the next ``count`` lines."""
        return [self._read.readline().rstrip("\n") for _ in range(count)]

    def rest(self) -> list[str]:
        """Return all lines until the other side closes."""
        return [line.rstrip("\n") for line in self._read]

    def hears_nothing(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for so long."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b"never"
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20.0)

    def close(self) -> None:
        self._read.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
