"""Under which conditions a run was made: machine, kernel, versions, and what its disk can do at that time."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
import time
from pathlib import Path

from bench.goals import DISTRIBUTIONS
from bench.harness import Line, value_line

_BLOCK = b"x" * 4096


def disk_lines(seconds: float, rounds: int) -> list[Line]:
    """Measure how often the disk under the temporary directory takes 4 KiB and says that they are durable."""
    appends, rewrites = [], []
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            appends.append(append_rate(Path(directory) / "append", seconds))
            rewrites.append(rewrite_rate(Path(directory) / "rewrite", seconds))
    return [
        value_line("disk-append", "disk", appends, "fdatasync/s"),
        value_line("disk-rewrite", "disk", rewrites, "fdatasync/s"),
    ]


def append_rate(path: Path, seconds: float) -> float:
    """Return the appends of 4 KiB with fdatasync per second: the file grows each time."""
    with path.open("wb", buffering=0) as file:
        return _rate(file.fileno(), seconds, 0)


def rewrite_rate(path: Path, seconds: float, size: int = 4 << 20) -> float:
    """Return the same for writes inside a file that has its size already."""
    with path.open("wb", buffering=0) as file:
        file.write(b"\0" * size)
        os.fsync(file.fileno())
        return _rate(file.fileno(), seconds, size)


def _rate(descriptor: int, seconds: float, size: int) -> float:
    count, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        if size:
            os.lseek(descriptor, count * len(_BLOCK) % size, os.SEEK_SET)
        os.write(descriptor, _BLOCK)
        os.fdatasync(descriptor)
        count += 1
    return count / (time.perf_counter() - began)


def conditions_line(rounds: int, seconds: float) -> Line:
    """Return what the machine and its programs are."""
    return {
        "conditions": {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "cores": len(os.sched_getaffinity(0)),
            "processor": processor(),
            "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
            "kernel": f"{platform.system()} {platform.release()}",
            "file system": file_system(Path(tempfile.gettempdir())),
            "python": platform.python_version(),
            "load at begin": f"{os.getloadavg()[0]:.2f}",
            "rounds": rounds,
            "seconds": seconds,
        },
        "versions": versions(),
    }


def processor() -> str:
    """Return the processor's name as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def file_system(path: Path) -> str:
    """Return the type of file system that ``path`` is on."""
    best, kind = "", "?"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, found, *_ = line.split()
        is_above = path == Path(where) or Path(where) in path.parents
        if is_above and len(where) >= len(best):
            best, kind = where, found
    return kind


def versions() -> dict[str, str]:
    """Return each system's versions; a package that is not there is said."""
    return {system: ", ".join(map(_version, names)) for system, names in DISTRIBUTIONS.items()}


def _version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} (not installed)"
