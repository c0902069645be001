"""A process that backs a space up, or restores it, in small steps; its parent kills it."""

from __future__ import annotations

import os
import sys
from typing import Any

from hubbub.backup import back_up, commits, filling, restore
from hubbub.kernel import Job
from hubbub.mount import LocalMount
from hubbub.store import SQLiteStore

# Small steps, so that there are many moments to be killed at.
PIECE_BYTES = 3_000
FILE_BYTES = 20_000


def tell(what: str, done: int, total: int) -> None:
    os.write(1, b".")


def main(what: str, source: str, target: str) -> None:
    commits.FRAME_BYTES = PIECE_BYTES
    filling.GROUP_BYTES = PIECE_BYTES
    job = Job(tell)
    if what == "backup":
        mount = LocalMount(SQLiteStore(source))
        upkeep: Any = mount.upkeep
        whole = upkeep.commits
        upkeep.commits = lambda after, end, most_bytes=0: whole(after, end, PIECE_BYTES)
        back_up(mount, target, job=job, file_bytes=FILE_BYTES)
        mount.close()
    else:
        restore(source, target, job=job)
    os.write(1, b"!")


if __name__ == "__main__":
    main(*sys.argv[1:])
