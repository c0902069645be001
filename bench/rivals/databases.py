"""ZODB on each of its storages: ZEO with a FileStorage, RelStorage on PostgreSQL, and a FileStorage in process."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transaction
import ZODB

from bench.rivals import postgres
from bench.server import free_port, stop, wait_for_port

CACHE_OBJECTS = 1_000_000

Open = Callable[[], Any]
"""Gives a new storage, connected to the server."""


@contextmanager
def zeo() -> Iterator[Open]:
    """Run a ZEO server on a new FileStorage."""
    from ZEO.ClientStorage import ClientStorage

    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        settings = Path(name) / "zeo.conf"
        settings.write_text(
            f"<zeo>\n  address 127.0.0.1:{port}\n</zeo>\n"
            f"<filestorage 1>\n  path {name}/data.fs\n</filestorage>\n"
        )
        with (Path(name) / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ZEO.runzeo", "-C", settings],
                cwd=name,
                stdout=log,
                stderr=log,
            )
        try:
            wait_for_port(port, process)
            yield lambda: ClientStorage(("127.0.0.1", port), wait_timeout=20, cache_size=400 << 20)
        finally:
            stop(process)


@contextmanager
def relstorage_pg() -> Iterator[Open]:
    """Run a PostgreSQL server for RelStorage."""
    from relstorage.adapters.postgresql import PostgreSQLAdapter
    from relstorage.options import Options
    from relstorage.storage import RelStorage

    logging.disable(logging.WARNING)
    with postgres.running() as (_, where):
        yield lambda: RelStorage(
            PostgreSQLAdapter(where, Options()), options=Options(cache_local_mb=400)
        )


@contextmanager
def filestorage() -> Iterator[Open]:
    """Keep the data in a file of this process, without a server."""
    from ZODB.FileStorage import FileStorage

    with tempfile.TemporaryDirectory() as name:
        yield lambda: FileStorage(f"{name}/data.fs")


@contextmanager
def connected(open_storage: Open) -> Iterator[Any]:
    """Open a storage, a database on it and a connection, until the block ends."""
    logging.getLogger("ZEO").setLevel(logging.CRITICAL)
    database = ZODB.DB(open_storage(), cache_size=CACHE_OBJECTS)
    manager = transaction.TransactionManager()
    try:
        yield database.open(manager)
    finally:
        manager.abort()
        with contextlib.suppress(
            Exception
        ):  # what a server says about our leaving measures nothing
            database.close()


SYSTEMS: dict[str, Callable[[], contextlib.AbstractContextManager[Open]]] = {
    "zeo": zeo,
    "relstorage-pg": relstorage_pg,
    "filestorage": filestorage,
}
