"""A space with ten million objects: how long opening it takes, and how much memory its host needs."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

import hubbub
from bench import apart
from bench.peers import upkeep
from bench.peers.bulk_space import PER_PAGE, build
from bench.server import resident_bytes, serving

TEN_MILLION = 10_000_000


def open_large(_seconds: float, count: int = TEN_MILLION) -> dict[str, float]:
    """Seconds to open the space and read one object; MiB of a host after 100,000 of its objects were read by a peer;
    then pack, backup and restore, the first two while four peers write (see `bench.peers.upkeep`)."""
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "large.hub"
        began = time.perf_counter()
        apart.alone(build, data, count)
        built_s = time.perf_counter() - began
        opened_s = apart.alone(time_opening, data, count)
        with serving("", data) as server:
            fresh = resident_bytes(server.pid)
            apart.alone(read_many, server.hub, count)
            used = resident_bytes(server.pid)
            load = upkeep.under_load(server.hub, server.pid, count, Path(directory) / "backup")
        restored_s = apart.alone(
            upkeep.restored, Path(directory) / "backup", Path(directory) / "copy.hub", data
        )
        size = sum(
            file.stat().st_size for file in Path(directory).glob("large.hub*") if file.is_file()
        )
    return {
        "open-10M": opened_s,
        "open-10M-host": fresh / 2**20,
        "open-10M-host-used": used / 2**20,
        "open-10M-file": size / 2**30,
        "open-10M-build": count / built_s,
        "pack-10M": load["pack_s"],
        "pack-10M-records": load["pack_records"],
        "backup-10M": load["backup_s"],
        "restore-10M": restored_s,
        "writers-10M": load["alone_commits"],
        "writers-10M-pack": load["pack_commits"],
        "writers-10M-backup": load["backup_commits"],
        "upkeep-10M-host": load["host_mib"],
    }


def time_opening(data: Path, count: int) -> float:
    began = time.perf_counter()
    with hubbub.open(data) as space:
        assert space.read(number_at, count - 1) == count - 1
        return time.perf_counter() - began


def number_at(root: Any, place: int) -> int:
    return int(root["pages"][place // PER_PAGE].items[place % PER_PAGE].number)


def read_many(url: str, count: int) -> None:
    """Read all objects of a thousand pages, anywhere in the space."""
    pages = random.Random(4).sample(range(count // PER_PAGE), min(1000, count // PER_PAGE))
    with hubbub.open(url) as space:
        for start in range(0, len(pages), 50):
            space.read(read_pages, pages[start : start + 50])


def read_pages(root: Any, pages: list[int]) -> int:
    return sum(item.number for page in pages for item in root["pages"][page].items)
