"""A process that plays the script, with blobs and packs, and says what it begins and what it was told; its parent kills it."""

from __future__ import annotations

import os
import sys
from unittest import mock

from hubbub.store import SQLiteStore
from tests.conformance.store.building import tid
from tests.faults.store.script import LOG_LIMIT_BYTES, commit_of, pack_behind


def say(what: str, number: int) -> None:
    os.write(1, b"%s %06d\n" % (what.encode(), number))


def main(path: str, *words: str) -> None:
    # On a machine with one processor, too.
    mock.patch("hubbub.store.sqlite.can_copy_apart", return_value=True).start()
    store = SQLiteStore(path, log_limit_bytes=LOG_LIMIT_BYTES, copies_apart="apart" in words)
    number = store.last_tid - tid(0) if store.last_tid else 0
    while True:
        number += 1
        written = commit_of(number, store.stage)
        say("begun", number)
        store.write([written])
        say("acked", number)
        if pack_behind(number):
            say("packs", pack_behind(number))
            store.pack(tid(pack_behind(number)))
            say("ready", pack_behind(number))


main(*sys.argv[1:])
