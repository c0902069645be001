"""Start and stop real servers, each in a process of its own, on free ports of the loopback address."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bench.harness import ROOT, MissingError


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server.

    Attributes:
        process: It.
        web: Base address of its web face, if it is a host with an application.
        hub: Where users and peers connect, if it is a host.
        told: What a rival's server said about itself when it was ready.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        web: str = "",
        hub: str = "",
        told: dict[str, Any] | None = None,
    ) -> None:
        self.process = process
        self.pid = process.pid
        self.web = web
        self.hub = hub
        self.told = told or {}


@contextmanager
def hosting(application: str = "") -> Iterator[Server]:
    """Serve ``application`` (none: the bare space, for peers) on a new file until the block ends."""
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(application, Path(directory) / "bench.hub") as server,
    ):
        yield server


@contextmanager
def serving(application: str, data: Path, *, timeout_s: float = 30.0) -> Iterator[Server]:
    """Serve ``application`` (empty: the bare space) on the file ``data`` until the block ends."""
    web, listen = free_port(), free_port()
    addresses = ["--web", f"127.0.0.1:{web}"] if application else []
    command = [sys.executable, "-m", "hubbub", "serve", *([application] if application else [])]
    command += ["--data", str(data), *addresses, "--listen", f"127.0.0.1:{listen}"]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
        try:
            wait_for_port(listen, process, timeout_s)
            if application:
                wait_for_port(web, process, timeout_s)
            yield Server(
                process,
                web=f"http://127.0.0.1:{web}/" if application else "",
                hub=f"hub://127.0.0.1:{listen}",
            )
        except Exception as error:
            if trouble := _trouble(said):
                raise MissingError(f"{error} (the host's log: {trouble})") from error
            raise
        finally:
            stop(process)


def _trouble(log: IO[bytes]) -> str:
    """Return the last error that a log tells of."""
    log.seek(0)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if "Error" in line), "")


@contextmanager
def rival(module: str, *arguments: str, timeout_s: float = 20.0) -> Iterator[Server]:
    """Run ``python -m module arguments`` until the block ends; its first line is JSON, printed when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], timeout_s)
        line = process.stdout.readline() if ready else b""
        if not line:
            raise MissingError(f"{module} did not start")
        yield Server(process, told=json.loads(line))
    finally:
        stop(process)


def wait_for_port(port: int, process: subprocess.Popen[bytes], timeout_s: float = 20.0) -> None:
    """Wait until somebody listens on ``port``. Raises `MissingError` if ``process`` ends or is too slow."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None:
                raise MissingError(f"the server ended with code {process.returncode}") from None
            if time.monotonic() > deadline:
                raise MissingError(f"no server on its port after {timeout_s:g} s") from None
            time.sleep(0.02)


def stop(
    process: subprocess.Popen[Any], how: int = signal.SIGTERM, timeout_s: float = 10.0
) -> None:
    """End ``process``, kindly at first."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that process ``pid`` has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int | None = None) -> int:
    """Return the resident memory of process ``pid`` (this one, if none is given)."""
    pages = Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
