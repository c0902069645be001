"""Start and stop a real host in a process of its own, on free ports of the loopback address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running host: ``web`` and ``hub`` are its addresses."""

    def __init__(self, process: subprocess.Popen[bytes], web: str, hub: str) -> None:
        self.process = process
        self.web = web
        self.hub = hub


@contextmanager
def serving(application: str, data: Path, *, timeout_s: float = 20.0) -> Iterator[Server]:
    """Serve ``application`` on the file ``data`` until the block ends."""
    web, listen = free_port(), free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [
            sys.executable, "-m", "hubbub", "serve", application, "--data", str(data),
            "--web", f"127.0.0.1:{web}", "--listen", f"127.0.0.1:{listen}",
        ],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                socket.create_connection(("127.0.0.1", listen), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    assert process.stderr is not None
                    process.kill()
                    raise RuntimeError(process.stderr.read().decode()) from None
                time.sleep(0.05)
        yield Server(process, f"http://127.0.0.1:{web}/", f"hub://127.0.0.1:{listen}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
