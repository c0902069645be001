"""The kinds of mounts that the suite runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hubbub.mount import LocalMount, Mount, RemoteMount
from hubbub.store import MemoryStore, open_store
from tests.conformance.mount.serving import HostThread

KINDS = ("local memory", "local sqlite", "tcp memory", "unix sqlite")


@pytest.fixture(params=KINDS)
def open_mount(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Mount]]:
    """A function that mounts the same space again and again; keyword arguments go to the mount."""
    place, kind = request.param.split()
    store: Any = MemoryStore() if kind == "memory" else open_store(tmp_path / "space.hub")
    mounts: list[Mount] = []
    server = None
    if place == "local":
        local = LocalMount(store)
        mounts.append(local)

        def make(**options: Any) -> Mount:
            local.read_only = options.get("read_only", False)
            return local
    else:
        server = HostThread(store, path=tmp_path / "socket" if place == "unix" else None)
        url = server.url

        def make(**options: Any) -> Mount:
            mount = RemoteMount(url, **options)
            mounts.append(mount)
            return mount

    yield make
    for mount in mounts:
        mount.close()
    if server is not None:
        server.close()
