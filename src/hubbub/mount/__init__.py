"""A space as another process, or a program without a host, uses it.

`open` mounts what a URL or path names and returns a `Space`. Beneath it is a `Mount`: `LocalMount` for a store in this
process, `RemoteMount` for a host elsewhere.
"""

from __future__ import annotations

import os

from hubbub.kernel import ConfigurationError
from hubbub.mount.base import InvalidationLog, Mount, MountStats
from hubbub.mount.local import LocalMount
from hubbub.mount.remote import DEFAULT_CACHE_BYTES, RemoteMount
from hubbub.mount.space import Space
from hubbub.mount.tail import TailEntry, tail
from hubbub.mount.walking import Walk
from hubbub.mount.watching import Change
from hubbub.mount.workspace import SpaceConnection
from hubbub.store import FeedEntry, open_store

__all__ = [
    "Change",
    "FeedEntry",
    "InvalidationLog",
    "LocalMount",
    "Mount",
    "MountStats",
    "RemoteMount",
    "Space",
    "SpaceConnection",
    "TailEntry",
    "Walk",
    "open",
    "tail",
]

_NOT_YET = {
    "hubs": "TLS is not there yet: use hub:// through a tunnel (ssh -L, WireGuard)",
    "postgresql": "spaces in PostgreSQL are not there yet: give a path, or hub://host",
    "postgres": "spaces in PostgreSQL are not there yet: give a path, or hub://host",
}


def open(  # noqa: A001 - the public name is hubbub.open
    url: str | os.PathLike[str],
    *,
    token: str = "",
    read_only: bool = False,
    wait_timeout_s: float = 30.0,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> Space:
    """Mount a space.

    Args:
        url: ``hub://host:port/space`` (port 1975 if none is given) or ``hub+unix:///path`` of a host; or, embedded in
            this process, ``memory:`` or the path of an SQLite file.
        token: What the host asks of its peers.
        read_only: Refuse every change.
        wait_timeout_s: How long a call waits for a host that is gone.
        cache_bytes: Bytes of records of a host that are kept here.

    Raises:
        BrokenError: If there is no host.
        SpaceInUseError: If another process owns the file (ST8); mount its host instead.
        ConfigurationError: If ``url`` names nothing that can be mounted.
    """
    name = os.fspath(url)
    scheme, mark, _ = name.partition("://")
    if mark and scheme in ("hub", "hub+unix"):
        return Space(
            RemoteMount(
                name,
                token,
                read_only=read_only,
                wait_timeout_s=wait_timeout_s,
                cache_bytes=cache_bytes,
            )
        )
    if mark:
        why = _NOT_YET.get(
            scheme, "give hub://host:port/space, hub+unix:///path, memory: or a path"
        )
        raise ConfigurationError(f"{name!r} can't be mounted: {why}")
    if name.endswith(".toml"):
        raise ConfigurationError(f"{name!r}: opening by a TOML file is not there yet: give a URL")
    return Space(LocalMount(open_store(name), read_only=read_only))
