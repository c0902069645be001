"""ZEO: how soon a client sees what another has committed. The work is that of `bench.peers.seen`.

ZODB has no call that waits for a change. This one hooks into the storage's own invalidation, the fastest way there is.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from bench import apart
from bench.apart import Gate
from bench.peers.seen import latencies, rounds, write
from bench.rivals import things
from bench.rivals.databases import SYSTEMS, Open, connected


def visible(seconds: float) -> dict[str, float]:
    """Milliseconds from the call of a commit to the new value in another process."""
    count = rounds(seconds)
    with SYSTEMS["zeo"]() as open_storage:
        apart.alone(things.prepare, open_storage, things.make_counters, 1)
        began = apart.shared_times(count + 1)
        _, seen = apart.together(2, write_or_watch, open_storage, count, began)
    return latencies(began, seen)


def write_or_watch(
    index: int, gate: Gate, open_storage: Open, count: int, began: Any
) -> dict[int, float] | None:
    """Number 0 counts up, number 1 notes when it sees which number."""
    with connected(open_storage) as connection:
        counter = connection.root()["counter 0"]
        number = counter.number
        if index == 0:

            def commit(_: int) -> None:
                counter.number += 1
                connection.transaction_manager.commit()

            write(gate, count, began, commit)
            return None
        news = wake_on_change(connection)
        gate.wait()
        seen: dict[int, float] = {}
        while number < count:
            news.wait(1)
            news.clear()
            connection.transaction_manager.begin()
            number = counter.number
            seen.setdefault(number, time.monotonic())
        gate.wait()
        seen.pop(0, None)
        return seen


def wake_on_change(connection: Any) -> threading.Event:
    """Return an event that is set whenever the server has told of a change."""
    news = threading.Event()
    storage = connection._storage
    told = storage._invalidate

    def invalidate(*arguments: Any) -> Any:
        answer = told(*arguments)
        news.set()
        return answer

    storage._invalidate = invalidate
    return news
