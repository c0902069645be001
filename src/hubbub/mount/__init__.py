"""A space as another process, or a program without a host, uses it.

`open` mounts what a URL or path names and returns a `Space`. Beneath it is a `Mount`: `LocalMount` for a store in this
process, `RemoteMount` for a host elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hubbub.kernel import ConfigurationError
from hubbub.mount.address import SCHEMES, URL
from hubbub.mount.base import InvalidationLog, Mount, MountStats
from hubbub.mount.checking import Checked, Finding
from hubbub.mount.history import MISSING, Difference, Reference, Revision
from hubbub.mount.local import LocalMount
from hubbub.mount.moments import When, snapshot_at
from hubbub.mount.opening import (
    DEFAULT_BLOB_BYTES,
    DEFAULT_CACHE_BYTES,
    DEFAULT_WAIT_TIMEOUT_S,
    Opening,
    open_by_file,
)
from hubbub.mount.past import PastMount
from hubbub.mount.remote import RemoteMount
from hubbub.mount.secured import Certificates
from hubbub.mount.space import Space
from hubbub.mount.tail import TailEntry, tail
from hubbub.mount.undoing import undo_here as undo
from hubbub.mount.walking import Walk
from hubbub.mount.watching import Change
from hubbub.mount.workspace import SpaceConnection
from hubbub.store import FeedEntry, open_store

__all__ = [
    "MISSING",
    "Change",
    "Checked",
    "Difference",
    "FeedEntry",
    "Finding",
    "InvalidationLog",
    "LocalMount",
    "Mount",
    "MountStats",
    "Reference",
    "RemoteMount",
    "Revision",
    "Space",
    "SpaceConnection",
    "TailEntry",
    "Walk",
    "open",
    "tail",
    "undo",
]

_NOT_YET = {
    "postgresql": "spaces in PostgreSQL are not there yet: give a path, or hub://host",
    "postgres": "spaces in PostgreSQL are not there yet: give a path, or hub://host",
}


def open(  # noqa: A001 - the public name is hubbub.open
    url: URL | Sequence[URL],
    name: str = "",
    *,
    token: str = "",
    read_only: bool = False,
    wait_timeout_s: float = DEFAULT_WAIT_TIMEOUT_S,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    ca: URL | None = None,
    cert: URL | None = None,
    key: URL | None = None,
    blob_dir: URL | None = None,
    blob_bytes: int = DEFAULT_BLOB_BYTES,
    at: When | None = None,
    serializable: bool = False,
) -> Space:
    """Mount a space.

    With several addresses (a list, or ``hub://a:1975,b:1975/space``) the first usable host wins, and when it is lost
    the others are tried. A host whose space is another one, or behind what was seen here, is never gone on with.

    Args:
        url: ``hub://host:port/space`` (port 1975 if none is given), ``hubs://`` for TLS, or ``hub+unix:///path`` of a
            host; or, embedded in this process, ``memory:`` or the path of an SQLite file; or that of a TOML file that
            says all this.
        name: Which of the spaces that a TOML file opens; without it the only one, or the one called ``default``.
        token: What the host asks of its peers.
        read_only: Refuse every change.
        wait_timeout_s: How many seconds a call waits for a host that is gone; and for how long at most, ten seconds or
            this, an answer is waited for when the space is opened.
        cache_bytes: Bytes of records of a host that are kept here: 1.5 MiB in memory, the rest in temporary files.
        ca: A PEM file with the certificates that are trusted for ``hubs://``; those of the system without it.
        cert: A PEM file with a certificate of ours, for a host that asks for one.
        key: A PEM file with its private key, if that is not in the same file.
        blob_dir: Where files of a host's blobs are kept; None: in a temporary folder that goes with the space.
        blob_bytes: About how many bytes of them. What is in use is kept in any case.
        at: Look at the space as it was then, to read only: a tid, or a time; see `Space.at`.
        serializable: What transactions are that don't say; see `Space.transaction`.

    Raises:
        BrokenError: If there is no host.
        LoginFailedError: If it does not let us in.
        SpaceInUseError: If another process owns the file (ST8); mount its host instead.
        ConfigurationError: If ``url`` names nothing that can be mounted, or ``at`` no moment.
        PackedError: If the space is not kept any more as it was ``at`` that moment.
        StoreError: If ``at`` is in the future.
    """
    if not isinstance(url, str | os.PathLike):
        where = ""
    else:
        where = os.fspath(url)
        if where.endswith(".toml") and "://" not in where:
            given = Opening(
                token=token,
                read_only=read_only,
                wait_timeout_s=wait_timeout_s,
                cache_bytes=cache_bytes,
                ca=ca,
                cert=cert,
                key=key,
                blob_dir=blob_dir,
                blob_bytes=blob_bytes,
                at=at,
                serializable=serializable,
            )
            return open_by_file(where, name, given, _open)
    if name:
        raise ConfigurationError(
            f"{where or url!r}: only a TOML file has names; a host's space is in its address: hub://host:port/{name}"
        )
    opening = Opening(
        url,
        token,
        read_only,
        wait_timeout_s,
        cache_bytes,
        ca,
        cert,
        key,
        blob_dir,
        blob_bytes,
        at,
        serializable,
    )
    return _open(opening)


def _open(opening: Opening) -> Space:
    url = opening.url
    where = "" if not isinstance(url, str | os.PathLike) else os.fspath(url)
    scheme, mark, _ = where.partition("://")
    certificates = Certificates(opening.ca, opening.cert, opening.key)
    if not isinstance(url, str | os.PathLike) or (mark and scheme in SCHEMES):
        return _space(
            RemoteMount(
                url,
                opening.token,
                read_only=opening.read_only,
                wait_timeout_s=opening.wait_timeout_s,
                cache_bytes=opening.cache_bytes,
                certificates=certificates,
                blob_dir=opening.blob_dir,
                blob_bytes=opening.blob_bytes,
            ),
            opening,
        )
    if mark:
        why = _NOT_YET.get(
            scheme, "give hub://host:port/space, hub+unix:///path, memory: or a path"
        )
        raise ConfigurationError(f"{where!r} can't be mounted: {why}")
    certificates.check_for(where, is_tls=False)
    return _space(LocalMount(open_store(where), read_only=opening.read_only), opening)


def _space(mount: Mount, opening: Opening) -> Space:
    """Return the space of ``mount``, as it was if ``opening`` says so."""
    if opening.at is None:
        return Space(mount, serializable=opening.serializable)
    try:
        past = PastMount(mount, snapshot_at(mount, opening.at), owns=True)
    except BaseException:
        mount.close()
        raise
    return Space(past)
