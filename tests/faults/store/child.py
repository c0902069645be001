"""A process that commits without end and prints each acknowledged tid; its parent kills it."""

from __future__ import annotations

import os
import sys
from unittest import mock

from hubbub.store import CommitQueue, Settled, SQLiteStore
from tests.conformance.store.building import commit, tid

OIDS_PER_COMMIT = 3


def main(path: str, *words: str) -> None:
    # On a machine with one processor, too.
    mock.patch("hubbub.store.sqlite.can_copy_apart", return_value=True).start()
    # A small log limit, so that checkpoints of both kinds are hit too.
    store = SQLiteStore(path, log_limit_bytes=1 << 20, copies_apart="apart" in words)

    def acknowledge(settled: Settled) -> None:
        assert settled.error is None
        os.write(1, b"".join(b"%016x\n" % c.tid for c in settled.commits))

    queue = CommitQueue(store, acknowledge)
    number = store.last_tid - tid(0) if store.last_tid else 0
    while True:
        for _ in range(7):
            number += 1
            oids = [number * OIDS_PER_COMMIT + i for i in range(OIDS_PER_COMMIT)]
            queue.put(commit(number, oids, [("last", b"", b"%d" % number)], size=700))
        queue.wait_settled(tid(number))


main(*sys.argv[1:])
