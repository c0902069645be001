"""Mount the store that a URL names, for ZODB's records."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from hubbub.kernel import ConfigurationError, HubbubError, Record, StoreError
from hubbub.mount import LocalMount, Mount, RemoteMount
from hubbub.mount.secured import Certificates
from hubbub.store import SQLiteStore, open_store
from hubbub.zodb.pickles import PREFIX

HOST_SCHEMES = ("hub", "hubs", "hub+unix")


class Opened(msgspec.Struct, frozen=True):
    """A space that is mounted for ZODB.

    Attributes:
        mount: Its records.
        folder: The folder that it is in; None if it is in no file here.
    """

    mount: Mount
    folder: Path | None


def _unmerged(_base: Record, _committed: Record, _new: Record) -> str:
    return "ZODB's records are merged where their classes are"


def mount_for_zodb(
    url: str | os.PathLike[str],
    *,
    token: str = "",
    read_only: bool = False,
    wait_timeout_s: float = 30.0,
    cache_bytes: int = 64 << 20,
    certificates: Certificates | None = None,
    blob_dir: str | os.PathLike[str] | None = None,
) -> Opened:
    """Mount what ``url`` names; as `hubbub.open`, but for ZODB's records.

    Raises:
        StoreError: It holds objects of Hubbub's own.
        ConfigurationError: ``url`` names nothing that can be mounted.
        HubbubError: As `hubbub.open`.
    """
    name = os.fspath(url)
    scheme, mark, _ = name.partition("://")
    mount: Mount
    folder = None
    if mark and scheme in HOST_SCHEMES:
        mount = RemoteMount(
            name,
            token,
            read_only=read_only,
            wait_timeout_s=wait_timeout_s,
            cache_bytes=cache_bytes,
            certificates=certificates,
            blob_dir=None if blob_dir is None else Path(blob_dir).absolute() / "cache",
        )
    elif mark:
        raise ConfigurationError(
            f"{name!r} can't be mounted: give hub://host:port/space, hub+unix:///path, memory: or a path"
        )
    else:
        store = open_store(name, create=not read_only)
        mount = LocalMount(store, read_only=read_only, merge=_unmerged)
        if isinstance(store, SQLiteStore):
            folder = store.path.parent
    try:
        check_holds_pickles(mount, name)
    except HubbubError:
        mount.close()
        raise
    return Opened(mount, folder)


def check_holds_pickles(mount: Mount, name: str) -> None:
    """Check that a space is empty or holds ZODB's records.

    Raises:
        StoreError: It holds objects of Hubbub's own.
    """
    first = mount.upkeep.current(-1, mount.begin(), 1)
    if first:
        check_class_name(first[0], name)


def check_class_name(record: Record, name: str) -> None:
    """Check that a record of the space ``name`` is one of ZODB's.

    Raises:
        StoreError: It is one of Hubbub's own.
    """
    if not record.class_name.startswith(PREFIX):
        raise StoreError(
            f"{name} holds Hubbub's own objects (object {record.oid:#x} is of class {record.class_name}), not those of "
            "an application of ZODB's: open it with hubbub.open, or give another name here"
        )
