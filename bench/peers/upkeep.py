"""Upkeep of a large space while four peers write: pack, backup, restore; and a blob that is larger than any memory."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hubbub
from bench import apart
from bench.harness import MissingError
from bench.peers.bulk_space import PER_PAGE
from bench.server import hosting, resident_bytes
from hubbub.backup import back_up, restore
from hubbub.mount import RemoteMount
from hubbub.store import Store, open_store

WRITERS = 4
_ALONE_S = 10.0
_PIECE = 1 << 20
FIVE_GB = 5 * 10**9


def under_load(url: str, pid: int, count: int, folder: Path) -> dict[str, float]:
    """Pack and back up the space at ``url`` while four peers write.

    Args:
        url: Of a host whose space has ``count`` objects in pages.
        pid: Of the host.
        count: How many objects.
        folder: Where the backup goes.

    Returns:
        Seconds of both; commits/s of the writers before and meanwhile; MiB of the host at most.
    """
    phase = apart.shared_times(2)  # which phase it is; how many MiB the host had at most
    found = apart.together(WRITERS + 1, _take_part, url, pid, count, folder, phase)
    told: dict[str, float] = found[WRITERS]
    for number, name in enumerate(("alone", "pack", "backup")):
        lasted_s = told[f"{name}_s"]
        told[f"{name}_commits"] = sum(counts[number] for counts in found[:WRITERS]) / lasted_s
    return told


def _take_part(
    index: int, gate: apart.Gate, url: str, pid: int, count: int, folder: Path, phase: Any
) -> Any:
    if index < WRITERS:
        return _write(gate, url, count, phase, index)
    gate.wait()
    told: dict[str, float] = {}
    with _Watching(pid) as memory:
        works: list[tuple[str, Callable[[], None]]] = [
            ("alone", lambda: time.sleep(_ALONE_S)),
            ("pack", lambda: _pack(url, told)),
            ("backup", lambda: _back_up(url, folder)),
        ]
        for number, (name, work) in enumerate(works):
            phase[0] = number
            began = time.perf_counter()
            work()
            told[f"{name}_s"] = time.perf_counter() - began
        phase[0] = -1
        told["host_mib"] = memory() / 2**20
    return told


def _write(gate: apart.Gate, url: str, count: int, phase: Any, index: int) -> list[int]:
    """Change objects anywhere, one a commit, until the phases are over; return how many in each."""
    counts = [0, 0, 0]
    chance = random.Random(index)
    with hubbub.open(url) as space:
        gate.wait()
        while (now := int(phase[0])) >= 0:
            space.run(_touch, chance.randrange(count // PER_PAGE), chance.randrange(PER_PAGE))
            counts[now] += 1
    return counts


def _touch(root: Any, page: int, place: int) -> None:
    root["pages"][page].items[place].key += 1


def _pack(url: str, told: dict[str, float]) -> None:
    with hubbub.open(url) as space:
        report = space.pack()
    told["pack_records"] = report.records


def _back_up(url: str, folder: Path) -> None:
    mount = RemoteMount(url)
    try:
        back_up(mount, folder)
    finally:
        mount.close()


class _Watching:
    """Look at how much memory a process has, and remember the most."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._most = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._is_over.wait(0.2):
            self._most = max(self._most, resident_bytes(self._pid))

    def __enter__(self) -> Callable[[], int]:
        self._thread.start()
        return lambda: self._most

    def __exit__(self, *exc_info: object) -> None:
        self._is_over.set()
        self._thread.join()


def restored(folder: Path, data: Path, original: Path) -> float:
    """Restore the backup, compare it with the space itself up to where it goes; return seconds of restoring.

    Raises:
        MissingError: They differ.
    """
    began = time.perf_counter()
    restore(folder, data)
    lasted_s = time.perf_counter() - began
    source, copy = open_store(original), open_store(data)
    try:
        if _digest(source, copy.last_tid) != _digest(copy, copy.last_tid):
            raise MissingError("the restored space is not the one that was backed up")
    finally:
        copy.close()
        source.close()
    return lasted_s


def _digest(store: Store, end: int) -> str:
    digest = hashlib.sha256()
    after = 0
    while commits := store.commits(after, end, 4 << 20):
        for commit in commits:
            digest.update(repr((commit.tid, commit.label)).encode())
            for record in commit.records:
                digest.update(repr(record.fields()).encode())
        after = commits[-1].tid
    return digest.hexdigest()


def blob_in_and_out(_seconds: float, size: int = FIVE_GB) -> dict[str, float]:
    """Bytes/s of a blob into a host and out of it again through a peer; MiB of memory that both needed for it."""
    with hosting() as server:
        apart.alone(_prepare, server.hub)
        fresh = resident_bytes(server.pid)
        with _Watching(server.pid) as memory:
            wrote_s, write_mib = apart.alone(_put, server.hub, size)
            read_s, read_mib = apart.alone(_get, server.hub, size)
            host_mib = max(0, memory() - fresh) / 2**20
    return {
        "blob-5GB-in": size / wrote_s,
        "blob-5GB-out": size / read_s,
        "blob-5GB-host": host_mib,
        "blob-5GB-peer": max(write_mib, read_mib),
    }


def _prepare(url: str) -> None:
    with hubbub.open(url) as space:
        space.run(lambda root: root.update(film=hubbub.Blob()))


def _pieces(size: int) -> Iterator[bytes]:
    piece = random.Random(5).randbytes(_PIECE)
    for start in range(0, size, _PIECE):
        yield piece[: size - start]


def _put(url: str, size: int) -> tuple[float, float]:
    with hubbub.open(url) as space, _Watching(os.getpid()) as memory:
        fresh = resident_bytes(os.getpid())
        began = time.perf_counter()
        space.run(lambda root: root["film"].write_from(_pieces(size)))
        return time.perf_counter() - began, max(0, memory() - fresh) / 2**20


def _get(url: str, size: int) -> tuple[float, float]:
    with hubbub.open(url) as space, _Watching(os.getpid()) as memory:
        fresh = resident_bytes(os.getpid())
        began = time.perf_counter()
        found = space.read(_length)
        if found != size:
            raise MissingError(f"the blob came back with {found:,} bytes, not {size:,}")
        return time.perf_counter() - began, max(0, memory() - fresh) / 2**20


def _length(root: Any) -> int:
    length = 0
    with root["film"].open() as file:
        while piece := file.read(_PIECE):
            length += len(piece)
    return length
